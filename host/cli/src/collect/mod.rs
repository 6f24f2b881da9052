//! `palisade collect`: what somebody needs who is to find out what went wrong, without what is nobody's business.

mod bundle;
mod read;
mod redact;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::connect::{Connection, wait};
use crate::explain::{Output, State, ended, foreign, show};
use bundle::{Bundle, Part};

const ABOUT: &str = "Collected by `palisade collect` for a report of a fault.

Taken out: Secrets (never read), values of environment variables, parameters of fence agents that are not known to be
harmless, scripts, paths of notification URLs, values of fields and options that are named like a secret, bearer
tokens, PEM blocks, user names in URLs, managedFields, last-applied-configuration.
Kept: names of nodes, pods and namespaces, IP addresses, labels, messages of logs and events.
Look through it before you send it: what is secret and looks like an ordinary word cannot be recognised.
";

/// `palisade collect`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads as whoever asks; what that may not read is noted in the bundle. Exit codes: 0 everything is in it, 3 \
                        some parts could not be read (each is a file *.error.txt), 1 nothing was written, 2 wrong usage."
)]
pub struct Arguments {
    /// Where the bundle goes (tar.gz); a name with the time if not given. A file that exists is not overwritten.
    #[arg(long, short = 'o', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Namespace of the installation.
    #[arg(long, short, default_value = palisade_api::keys::palisade::NAMESPACE)]
    namespace: String,
    /// Logs of so many agents: of nodes that are not Ready first.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    agents: usize,
    /// The last so many lines of each log.
    #[arg(long, value_name = "NUMBER", default_value_t = 5_000)]
    lines: i64,
    #[command(flatten)]
    connection: Connection,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    parts: Vec<Part>,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> ExitCode {
    ended(wait(collect(arguments)))
}

async fn collect(arguments: &Arguments) -> anyhow::Result<State> {
    let now = Timestamp::now();
    let folder = format!("palisade-collect-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let path = arguments.file.clone().unwrap_or_else(|| PathBuf::from(format!("{folder}.tar.gz")));
    let client = arguments.connection.client().await?;
    let file = create(&path)?;
    let mut bundle = Bundle::new(file, &folder, u64::try_from(now.as_second()).unwrap_or_default());
    let written = async {
        read::everything(&client, arguments, &mut bundle).await?;
        let (file, parts) = bundle.finish(ABOUT)?;
        file.sync_all()?;
        Ok(parts)
    };
    let parts = written.await.inspect_err(|_: &anyhow::Error| {
        // Half an archive would be taken for a whole one.
        let _ = std::fs::remove_file(&path);
    });
    let report = Report { file: path.display().to_string(), parts: parts.with_context(|| path.display().to_string())? };
    match arguments.output {
        Output::Json => show(&(serde_json::to_string_pretty(&report)? + "\n"))?,
        Output::Text => show(&text(&report))?,
    }
    Ok(if report.parts.iter().any(|part| part.failed) { State::Busy } else { State::Well })
}

/// A new file that others of this machine cannot read.
fn create(path: &Path) -> anyhow::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be made; name another file with -o", path.display()))
}

fn text(report: &Report) -> String {
    let bytes: usize = report.parts.iter().map(|part| part.bytes).sum();
    let mut text = format!("{}: {} files, {} KiB before compression\n", report.file, report.parts.len(), bytes / 1024);
    for part in report.parts.iter().filter(|part| part.note.is_some()) {
        text.extend([
            "  ",
            &foreign(&part.file),
            ": ",
            &foreign(part.note.as_deref().unwrap_or_default()),
            "
",
        ]);
    }
    text.push_str("Secrets are taken out as far as they can be recognised; look through it before you send it.\n");
    text
}
