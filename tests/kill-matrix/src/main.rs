//! `palisade-kill-matrix`: kills the controller at every write that it makes, and looks whether anything is different in
//! the end; `cargo xtask kill-matrix` builds what it needs and starts it.
//!
//! A story is played once without a kill. Then it is played again with a kill at its first write, at its second, and so
//! on until a run is over before its kill; every write in both ways of [`gate::How`]. The controller is the real process,
//! and dies by SIGKILL.

mod gate;
mod lane;
mod story;

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use palisade_conformance::parts::{PartArguments, Parts};
use palisade_sandbox::demo::BackendKind;
use palisade_sandbox::program;
use serde_json::Value;
use tokio::sync::Mutex;

use gate::{How, Plan, Write};
use lane::{Lane, Played};
use story::{Ending, Story};

/// So many status writes of a remediation are in the sample.
const STATUS_WRITES: usize = 1;

/// Kills the controller at every write.
#[derive(Debug, Parser)]
struct Arguments {
    /// sandbox or real.
    #[arg(long, default_value_t = BackendKind::Real)]
    backend: BackendKind,
    /// Only these remediators, separated by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    remediator: Vec<String>,
    /// Every write in both ways; without it a sample that takes a few minutes.
    #[arg(long)]
    all: bool,
    /// Only this one, for looking at it: `3` is the third write made with its answer lost, `3-` the third not made.
    #[arg(long, value_name = "WRITE")]
    at: Option<String>,
    /// How many control planes play side by side.
    #[arg(long, default_value_t = 2)]
    lanes: usize,
    /// Name what the controller writes.
    #[arg(long)]
    verbose: bool,
    /// Leave logs where they are, even if all passed.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    parts: PartArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::OFF).init();
    program::run_local("palisade-kill-matrix", run(arguments))
}

/// A run that is to be made: of which story, with which kill.
struct Order {
    story: usize,
    plan: Plan,
}

/// What is known of a story.
#[derive(Default)]
struct Known {
    ending: Option<Ending>,
    writes: Vec<Write>,
    runs: BTreeMap<How, usize>,
    /// Runs that were over before their kill.
    over: usize,
    most: BTreeMap<&'static str, usize>,
    seconds: f64,
    failures: Vec<String>,
}

struct Matrix {
    stories: Vec<Story>,
    orders: Mutex<VecDeque<Order>>,
    known: Mutex<Vec<Known>>,
    arguments: Arguments,
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let names: Vec<&str> = story::all().iter().map(|story| story.name).collect();
    for name in &arguments.remediator {
        ensure!(names.contains(&name.as_str()), "--remediator {name}: there are {}", names.join(", "));
    }
    let wanted =
        |story: &Story| arguments.remediator.is_empty() || arguments.remediator.iter().any(|it| it == story.name);
    let mut stories = Vec::new();
    for story in story::all().into_iter().filter(wanted) {
        match story.not_on.filter(|(kind, _)| *kind == arguments.backend) {
            Some((kind, why)) => println!("{:<22} left to the other back end than {kind}: {why}", story.name),
            None => stories.push(story),
        }
    }
    ensure!(!stories.is_empty(), "nothing to play on back end {}", arguments.backend);
    let dir = std::env::temp_dir().join(format!("palisade-kill-matrix-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let parts = arguments.parts.clone().parts(&dir)?;
    let begun = Instant::now();
    let lanes = arguments.lanes.clamp(1, stories.len());
    let known = stories.iter().map(|_| Known::default()).collect();
    let orders = (0..stories.len()).map(|story| Order { story, plan: None }).collect();
    let (backend, keep) = (arguments.backend, arguments.keep);
    let matrix = Rc::new(Matrix { stories, orders: Mutex::new(orders), known: Mutex::new(known), arguments });
    let lanes = (0..lanes).map(|lane| matrix.lane(backend, format!("lane-{lane}"), &parts));
    let audited =
        futures::future::try_join_all(lanes).await.with_context(|| format!("logs are in {}", dir.display()))?;
    let passed = matrix.tell(begun.elapsed().as_secs_f64(), &audited).await;
    if passed && !keep {
        let _ = std::fs::remove_dir_all(&dir);
    } else {
        println!("logs are kept in {}", dir.display());
    }
    Ok(passed)
}

impl Matrix {
    async fn lane(&self, kind: BackendKind, name: String, parts: &Parts) -> anyhow::Result<Option<usize>> {
        let mut lane = Lane::start(kind, &name, parts).await?;
        loop {
            let Some(order) = self.orders.lock().await.pop_front() else { break };
            let story = &self.stories[order.story];
            let played = lane.play(story, order.plan).await;
            self.note(&order, played).await;
        }
        lane.end().await
    }

    async fn note(&self, order: &Order, played: anyhow::Result<Played>) {
        let story = &self.stories[order.story];
        let mut all = self.known.lock().await;
        let known = &mut all[order.story];
        let where_ = order.plan.map_or_else(
            || "without a kill".to_owned(),
            |(at, how)| {
                let line = known.writes.get(at - 1).map(Write::line).unwrap_or_default();
                format!("killed at write {at} ({line}), {how}")
            },
        );
        let verdict = played.and_then(|played| judge(known, order.plan, played));
        match verdict {
            Ok(line) => eprintln!("{:<22} {where_}: {line}", story.name),
            Err(error) => {
                eprintln!("{:<22} {where_}: FAILED: {error:#}", story.name);
                known.failures.push(format!("{where_}: {error:#}"));
            }
        }
        if order.plan.is_none() && known.ending.is_some() {
            if self.arguments.verbose {
                for (number, write) in known.writes.iter().enumerate() {
                    eprintln!("    {:>3} {}", number + 1, write.line());
                }
            }
            let kills = self.kills(&known.writes);
            self.orders
                .lock()
                .await
                .extend(kills.into_iter().map(|plan| Order { story: order.story, plan: Some(plan) }));
        }
    }

    /// Where a story is to be killed. The sample leaves out events and what the server refused, and of status writes all
    /// but a few; every other write is in it. Of a kill's two ways each write gets one, in turn.
    fn kills(&self, writes: &[Write]) -> Vec<(usize, How)> {
        if let Some(at) = &self.arguments.at {
            let how = if at.ends_with('-') { How::Unsent } else { How::Lost };
            return at.trim_end_matches('-').parse().map(|at| vec![(at, how)]).unwrap_or_default();
        }
        let numbered = || (1..).zip(writes);
        if self.arguments.all {
            return numbered().flat_map(|(number, _)| [(number, How::Lost), (number, How::Unsent)]).collect();
        }
        let (status, others): (Vec<_>, Vec<_>) = numbered()
            .filter(|(_, write)| write.accepted() && !write.path.contains("/events"))
            .partition(|(_, write)| write.path.ends_with("/status"));
        let step = status.len().div_ceil(STATUS_WRITES).max(1);
        let mut numbers: Vec<usize> = others.iter().map(|(number, _)| *number).collect();
        numbers.extend(status.iter().step_by(step).map(|(number, _)| *number));
        numbers.sort_unstable();
        let ways = [How::Lost, How::Unsent].into_iter().cycle();
        numbers.into_iter().zip(ways).collect()
    }

    async fn tell(&self, seconds: f64, audited: &[Option<usize>]) -> bool {
        let all = self.known.lock().await;
        println!(
            "\n{:<22} {:>6} {:>11} {:>9} {:>8}  most of each act",
            "remediator", "writes", "answer lost", "not made", "s/run"
        );
        let mut passed = true;
        for (story, known) in self.stories.iter().zip(all.iter()) {
            let runs = |how: How| known.runs.get(&how).copied().unwrap_or(0);
            let total = runs(How::Lost) + runs(How::Unsent) + known.over + 1;
            let most: Vec<String> = known.most.iter().map(|(act, count)| format!("{act} {count}")).collect();
            println!(
                "{:<22} {:>6} {:>11} {:>9} {:>10} {:>6.1}  {}",
                story.name,
                known.writes.len(),
                runs(How::Lost),
                runs(How::Unsent),
                known.over,
                known.seconds / total as f64,
                most.join(", ")
            );
            for failure in &known.failures {
                println!("    FAILED {failure}");
            }
            passed &= known.failures.is_empty() && known.ending.is_some();
            // A matrix that killed nobody shows nothing.
            passed &= self.arguments.at.is_some() || runs(How::Lost) + runs(How::Unsent) > 0;
        }
        let audited: usize = audited.iter().flatten().sum();
        if audited > 0 {
            println!("the audit logs show the same {audited} writes of the controller that the gates counted");
        }
        let kills: usize = all.iter().flat_map(|known| known.runs.values()).sum();
        println!("{kills} kills in {seconds:.0} s on back end {}", self.arguments.backend);
        passed
    }
}

/// Whether a run ended as the one without a kill, with no act done twice.
fn judge(known: &mut Known, plan: Plan, played: Played) -> anyhow::Result<String> {
    known.seconds += played.seconds;
    for (act, count) in &played.ending.acts {
        let most = known.most.entry(act).or_default();
        *most = (*most).max(*count);
        ensure!(*count == 1, "{act}: done {count} times");
    }
    let Some((_, how)) = plan else {
        known.writes = played.writes;
        known.ending = Some(played.ending);
        return Ok(format!("{} writes, {:.1} s", known.writes.len(), played.seconds));
    };
    let Some(wanted) = &known.ending else { bail!("the run without a kill failed") };
    let differences = differences("", &wanted.state, &played.ending.state);
    ensure!(differences.is_empty(), "the end differs: {}", differences.join("; "));
    // How many writes there are depends on how often a watch is late.
    if !played.killed {
        known.over += 1;
        return Ok(format!(
            "over before it, after {} writes; the same end, {:.1} s",
            played.writes.len(),
            played.seconds
        ));
    }
    *known.runs.entry(how).or_default() += 1;
    Ok(format!("the same end, {:.1} s", played.seconds))
}

fn differences(at: &str, wanted: &Value, found: &Value) -> Vec<String> {
    match (wanted, found) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            keys.into_iter().flat_map(|key| differences(&format!("{at}.{key}"), &wanted[key], &found[key])).collect()
        }
        _ if wanted == found => Vec::new(),
        _ => vec![format!("{at} is {found}, without a kill {wanted}")],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn played(state: Value, acts: usize, killed: bool) -> Played {
        Played { ending: Ending { state, acts: vec![("power off", acts)] }, writes: vec![], killed, seconds: 1.0 }
    }

    #[test]
    fn a_second_act_and_another_end_are_failures_and_a_kill_that_never_came_does_not_count() {
        let mut known = Known::default();
        judge(&mut known, None, played(json!({ "a": { "b": 1 } }), 1, false)).unwrap();
        let plan = Some((3, How::Lost));
        judge(&mut known, plan, played(json!({ "a": { "b": 1 } }), 1, true)).unwrap();
        let twice = judge(&mut known, plan, played(json!({ "a": { "b": 1 } }), 2, true)).unwrap_err();
        assert!(twice.to_string().contains("power off: done 2 times"));
        let other = judge(&mut known, plan, played(json!({ "a": { "b": 2 } }), 1, true)).unwrap_err();
        assert!(other.to_string().contains(".a.b is 2, without a kill 1"), "{other}");
        judge(&mut known, plan, played(json!({ "a": { "b": 1 } }), 1, false)).unwrap();
        assert_eq!((known.runs[&How::Lost], known.over), (1, 1));
    }
}
