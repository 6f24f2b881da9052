//! `palisade-conformance`: runs the black-box suite; `cargo xtask conformance` builds what it needs and starts it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use palisade_conformance::case::{Case, Tag};
use palisade_conformance::parts::PartArguments;
use palisade_conformance::report::{self, Outcome, Verdict};
use palisade_conformance::run::{self, Options};
use palisade_conformance::{cases, catalogue, remediators, self_node};
use palisade_sandbox::demo::BackendKind;
use palisade_sandbox::lab::process;
use palisade_sandbox::program;

/// The black-box suite of NodeHealthCheck and SelfNodeRemediation.
#[derive(Debug, Parser)]
#[allow(clippy::struct_excessive_bools)] // flags of a command line
struct Arguments {
    /// sandbox or real; both, one after the other, if not given.
    #[arg(long)]
    backend: Option<BackendKind>,
    /// Only cases whose id begins with one of these, separated by commas.
    #[arg(long, value_name = "ID")]
    filter: Option<String>,
    /// One JSON object with every outcome.
    #[arg(long)]
    json: bool,
    /// Only name the cases.
    #[arg(long)]
    list: bool,
    /// How many cases run side by side on the shared plane.
    #[arg(long, default_value_t = 24)]
    lanes: usize,
    /// Also the cases that wait for minutes of real time.
    #[arg(long)]
    slow: bool,
    /// Say only what failed.
    #[arg(long)]
    quiet: bool,
    /// Leave logs and control plane files where they are, even if all passed.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    parts: PartArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::OFF).init();
    program::run_local("palisade-conformance", start(arguments))
}

async fn start(arguments: Arguments) -> anyhow::Result<bool> {
    if arguments.list {
        for case in cases::all() {
            println!("{:<5} {} {:<5} {} → {}", case.id, case.tag.letter(), case.section, case.given, case.then);
        }
        return Ok(true);
    }
    let dir = std::env::temp_dir().join(format!("palisade-conformance-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let parts = arguments.parts.clone().parts(&dir)?;
    let backends = arguments.backend.map_or_else(|| vec![BackendKind::Real, BackendKind::Sandbox], |one| vec![one]);
    let mut outcomes = Vec::new();
    let mut times = BTreeMap::new();
    for backend in backends {
        let started = Instant::now();
        let chosen = cases::all().into_iter().filter(|case| is_chosen(&arguments, case.id)).collect::<Vec<Case>>();
        let options = Options {
            backend,
            parts: parts.clone(),
            lanes: arguments.lanes,
            slow: arguments.slow,
            verbose: !arguments.quiet,
        };
        let ran = run::run(&options, chosen)
            .await
            .with_context(|| format!("back end {backend}; logs are in {}", dir.display()))?;
        outcomes.extend(ran);
        outcomes.extend(left_out(&arguments, backend));
        outcomes.extend(self_node_elsewhere(&arguments, backend));
        outcomes.extend(other_remediators(&arguments, backend));
        times.insert(backend.to_string(), started.elapsed().as_secs_f64());
    }
    outcomes.sort_by(|a, b| (a.section.len(), &a.section, &a.id).cmp(&(b.section.len(), &b.section, &b.id)));
    let passed = tell(&arguments, &outcomes, &times)?;
    if passed && !arguments.keep {
        let _ = std::fs::remove_dir_all(&dir);
    } else {
        eprintln!("everything is kept in {}", dir.display());
        if !passed {
            for backend in times.keys() {
                let log = dir.join(format!("{backend}-shared/logs/{}.log", run::CONTROLLER));
                eprintln!("--- the end of {}\n{}", log.display(), process::tail(&log, 8).join("\n"));
            }
        }
    }
    Ok(passed)
}

fn is_chosen(arguments: &Arguments, id: &str) -> bool {
    arguments.filter.as_ref().is_none_or(|filter| filter.split(',').any(|start| id.starts_with(start.trim())))
}

/// What the specification lists and nobody automated.
fn left_out(arguments: &Arguments, backend: BackendKind) -> Vec<Outcome> {
    let reasons: BTreeMap<&str, &str> = catalogue::LEFT_OUT.iter().copied().collect();
    let automated: Vec<&str> = cases::all().iter().map(|case| case.id).collect();
    let listed =
        catalogue::NODE_HEALTH_CHECK.iter().filter(|(id, ..)| is_chosen(arguments, id) && !automated.contains(id));
    listed
        .map(|(id, section, tag)| Outcome {
            id: (*id).to_owned(),
            tag: *tag,
            section: (*section).to_owned(),
            given: String::new(),
            then: String::new(),
            backend,
            verdict: Verdict::LeftOut((*reasons.get(id).unwrap_or(&"NOT AUTOMATED, and nobody said why")).to_owned()),
            seconds: 0.0,
        })
        .collect()
}

/// What the specification of SelfNodeRemediation lists and this suite does not run: where it is proven, or why not.
fn self_node_elsewhere(arguments: &Arguments, backend: BackendKind) -> Vec<Outcome> {
    self_node::catalogue::not_here()
        .filter(|((id, ..), _)| is_chosen(arguments, id))
        .map(|((id, section, tag), why)| Outcome {
            id: id.to_owned(),
            tag,
            section: section.to_owned(),
            given: String::new(),
            then: String::new(),
            backend,
            verdict: Verdict::LeftOut(why),
            seconds: 0.0,
        })
        .collect()
}

/// The same for the other remediators.
fn other_remediators(arguments: &Arguments, backend: BackendKind) -> Vec<Outcome> {
    remediators::catalogue::not_here()
        .filter(|(id, ..)| is_chosen(arguments, id))
        .map(|(id, section, why)| Outcome {
            id: id.to_owned(),
            tag: Tag::Keep,
            section: section.to_owned(),
            given: String::new(),
            then: String::new(),
            backend,
            verdict: Verdict::LeftOut(why.to_owned()),
            seconds: 0.0,
        })
        .collect()
}

fn tell(arguments: &Arguments, outcomes: &[Outcome], times: &BTreeMap<String, f64>) -> anyhow::Result<bool> {
    let differences = report::differences(outcomes);
    let failed: Vec<&Outcome> = outcomes.iter().filter(|one| matches!(one.verdict, Verdict::Failed(_))).collect();
    let automated = cases::all();
    let listed = catalogue::NODE_HEALTH_CHECK;
    let covered = listed.iter().filter(|(id, ..)| automated.iter().any(|case| case.id == *id)).count();
    if arguments.json {
        let all = serde_json::json!({
            "outcomes": outcomes, "differences": differences, "seconds": times,
            "listed": listed.len(), "listedAutomated": covered,
        });
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        println!();
        for outcome in &failed {
            println!("{} {}", outcome.backend, outcome.line());
        }
        for outcome in outcomes.iter().filter(|one| matches!(one.verdict, Verdict::LeftOut(_))) {
            println!("{} {}", outcome.backend, outcome.line());
        }
        for difference in &differences {
            println!("DIFFERENCE: {difference}");
        }
        println!("\n{}", report::table(outcomes));
        let kept_back = automated
            .iter()
            .filter(|case| !listed.iter().any(|(id, ..)| *id == case.id) && case.tag != Tag::Beyond)
            .count();
        println!("listed cases of NodeHealthCheck automated: {covered} of {}; others: {kept_back}", listed.len());
        println!("{}", self_node::catalogue::summary());
        println!("{}", remediators::catalogue::summary());
        for (backend, seconds) in times {
            println!("{backend}: {seconds:.0} s");
        }
    }
    Ok(failed.is_empty())
}
