//! `palisade certificate verify`: recomputes what a fencing certificate claims, with the functions of the controller, and
//! compares it with the cluster if there is one.

mod checks;
mod input;
mod reality;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use palisade_api::FencingCertificate;
use serde::Serialize;

use crate::connect::{Connection, wait};
use crate::explain::{Output, Remediation, State, Style, ended, foreign, show};

/// `palisade certificate`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks again what a certificate claims: kind, terms, bounds, jury, times; and that reality does not contradict it.
    Verify(Verify),
}

/// `palisade certificate verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 it holds, 3 there is not enough in it to tell, 4 it does not hold, 1 no answer, 2 wrong \
                        usage. Without a certificate: 3."
)]
pub struct Verify {
    /// A node, or a remediation as NAME, NAMESPACE/NAME or KIND/NAME.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    name: Option<String>,
    /// A remediation, a list of them, or the certificate alone, as YAML or JSON; `-` for standard input. No cluster is
    /// asked.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    /// Namespace of the agents' leases.
    #[arg(long, short, default_value = palisade_api::keys::palisade::NAMESPACE)]
    namespace: String,
    /// For people, or for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A certificate, and the remediation that carries it.
#[derive(Debug, Clone)]
struct Claim {
    about: String,
    remediation: Option<Remediation>,
    certificate: Option<FencingCertificate>,
}

/// What became of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    /// It is as claimed.
    Ok,
    /// It is not.
    Wrong,
    /// What it takes to tell is not there.
    Unknown,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    /// Stable for scripts.
    #[serde(rename = "check")]
    name: &'static str,
    outcome: Outcome,
    /// Whether the argument of the certificate rests on it.
    needed: bool,
    /// With the numbers.
    what: String,
}

/// What all checks together say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Holds,
    NotEnough,
    DoesNotHold,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Judged {
    about: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<FencingCertificate>,
    verdict: Verdict,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    verdict: Verdict,
    compared_with_cluster: bool,
    certificates: Vec<Judged>,
}

/// Runs it.
pub fn run(command: &Command) -> ExitCode {
    let Command::Verify(arguments) = command;
    ended(verify(arguments))
}

fn verify(arguments: &Verify) -> anyhow::Result<State> {
    let now = Timestamp::now();
    let judged: Vec<Judged> = match (&arguments.file, &arguments.name) {
        (Some(path), _) => input::read(path)?.iter().map(|claim| judge(claim, now, Vec::new())).collect(),
        (None, name) => {
            let name = name.as_deref().unwrap_or_default();
            wait(online(arguments, name, now))?
        }
    };
    let verdict = worst(judged.iter().map(|one| one.verdict));
    let report = Report { verdict, compared_with_cluster: arguments.file.is_none(), certificates: judged };
    match arguments.output {
        Output::Json => show(&(serde_json::to_string_pretty(&report)? + "\n"))?,
        Output::Text => show(&text(&report, Style::of_stdout()))?,
    }
    Ok(match verdict {
        Verdict::Holds => State::Well,
        Verdict::NotEnough => State::Busy,
        Verdict::DoesNotHold => State::Held,
    })
}

async fn online(arguments: &Verify, name: &str, now: Timestamp) -> anyhow::Result<Vec<Judged>> {
    let client = arguments.connection.client().await?;
    let mut judged = Vec::new();
    for claim in input::find(&arguments.connection, name).await? {
        let seen = match &claim.certificate {
            Some(certificate) => {
                let reality = reality::read(&client, &arguments.namespace, certificate).await;
                reality::compare(&reality, &claim, certificate)
            }
            None => Vec::new(),
        };
        judged.push(judge(&claim, now, seen));
    }
    Ok(judged)
}

fn judge(claim: &Claim, now: Timestamp, seen: Vec<Check>) -> Judged {
    let mut checks = match &claim.certificate {
        Some(certificate) => checks::of(certificate, claim.remediation.as_ref(), now),
        None => vec![checks::none(claim.remediation.as_ref())],
    };
    checks.extend(seen);
    Judged {
        about: claim.about.clone(),
        certificate: claim.certificate.clone(),
        verdict: worst(checks.iter().map(|check| match check.outcome {
            Outcome::Wrong => Verdict::DoesNotHold,
            Outcome::Unknown if check.needed => Verdict::NotEnough,
            Outcome::Ok | Outcome::Unknown => Verdict::Holds,
        })),
        checks,
    }
}

fn worst(all: impl Iterator<Item = Verdict>) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Holds => 0,
        Verdict::NotEnough => 1,
        Verdict::DoesNotHold => 2,
    };
    all.max_by_key(rank).unwrap_or(Verdict::NotEnough)
}

fn text(report: &Report, style: Style) -> String {
    let mut text = String::new();
    for one in &report.certificates {
        let kind = one.certificate.as_ref().map(|found| format!(": {} ({})", found.proof, found.grade));
        text.push_str(&style.bold(&foreign(&format!("{}{}", one.about, kind.unwrap_or_default()))));
        text.push('\n');
        for check in &one.checks {
            // All words have one width: colours would be counted by the columns otherwise.
            let word = match (check.outcome, check.needed) {
                (Outcome::Ok, _) => style.good("ok               "),
                (Outcome::Wrong, _) => style.bad("wrong            "),
                (Outcome::Unknown, true) => style.busy("cannot be checked"),
                (Outcome::Unknown, false) => style.bold("not checked      "),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {word}  {:<13} {}", check.name, foreign(&check.what));
        }
        let verdict = match one.verdict {
            Verdict::Holds => style.good("it holds"),
            Verdict::NotEnough => style.busy("there is not enough in it to tell"),
            Verdict::DoesNotHold => style.bad("it does not hold"),
        };
        let _ = writeln!(text, "  {verdict}");
    }
    if !report.compared_with_cluster {
        text.push_str(
            "checked by itself: whether the node has shown life since is seen only with a cluster (palisade certificate verify \
             NODE); and a certificate is not signed, so a file is worth what the way is worth on which it came\n",
        );
    }
    text
}
