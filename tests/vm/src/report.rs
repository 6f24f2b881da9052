//! The table, and the same as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::machine::Accelerator;
use crate::series::Series;

/// Times of a series, sorted.
fn times(series: &Series) -> Vec<Duration> {
    let mut times: Vec<Duration> = series.runs.iter().filter_map(|run| run.took).collect();
    times.sort();
    times
}

fn seconds(time: Option<&Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.2}", time.as_secs_f64()))
}

/// The smallest limit of a series: the one that was closest to being broken is told by comparison with the maximum.
fn limit(series: &Series) -> Option<Duration> {
    series.runs.iter().filter_map(|run| run.limit).min()
}

fn verdict(series: &Series) -> String {
    let within = series.runs.iter().filter(|run| run.took.zip(run.limit).is_none_or(|(took, limit)| took <= limit));
    format!("{} of {}", within.count(), series.wanted)
}

/// One line as soon as a series is over.
pub fn line(series: &Series) -> String {
    let failure = series.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} {}: {}{failure}", series.device, series.scenario, verdict(series))
}

/// For people.
pub fn table(all: &[Series], accelerator: Accelerator, took: Duration) -> String {
    let mut text = format!(
        "{:<9} {:<16} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7}  {:<15} ended by\n",
        "device", "scenario", "in bound", "min s", "median", "max", "bound", "starved", "formula"
    );
    for series in all {
        let times = times(series);
        let by = match (times.is_empty(), series.runs.iter().any(|run| run.watchdog_fired), series.scenario) {
            (true, ..) => "nothing",
            (_, true, _) => "watchdog",
            (_, false, scenario) if scenario.only_the_watchdog() => "watchdog (softdog)",
            _ => "sysrq",
        };
        let _ = writeln!(
            text,
            "{:<9} {:<16} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7}  {:<15} {by}",
            series.device.to_string(),
            series.scenario.to_string(),
            verdict(series),
            seconds(times.first()),
            seconds(times.get(times.len() / 2)),
            seconds(times.last()),
            seconds(limit(series).as_ref()),
            seconds(series.runs.iter().filter_map(|run| run.starved).max().as_ref()),
            series.scenario.formula(),
        );
    }
    for series in all.iter().filter(|series| series.interrupted > 0) {
        let (device, scenario, count) = (series.device, series.scenario, series.interrupted);
        let _ = writeln!(text, "{device} {scenario}: {count} boots ended before anything was done to them; no runs");
    }
    for series in all {
        if let Some(why) = &series.failure {
            let _ = writeln!(text, "FAILED {} {}: {why}", series.device, series.scenario);
        }
    }
    let _ = write!(text, "guests by {}, {:.0} s in all", accelerator.name(), took.as_secs_f64());
    if let Some(memory) = all.iter().find_map(|series| series.memory.as_ref()) {
        let _ = write!(text, "; an agent: {memory}");
    }
    text
}

/// For programs.
pub fn json(all: &[Series], accelerator: Accelerator, took: Duration) -> String {
    let millis = |time: Duration| time.as_millis() as u64;
    let series: Vec<_> = all
        .iter()
        .map(|series| {
            json!({
                "device": series.device.to_string(),
                "scenario": series.scenario.to_string(),
                "interrupted": series.interrupted,
                "formula": series.scenario.formula(),
                "wanted": series.wanted,
                "passed": series.passed(),
                "runs": series.runs.iter().map(|run| json!({
                    "millis": run.took.map(millis),
                    "limitMillis": run.limit.map(millis),
                    "watchdogFired": run.watchdog_fired,
                    "starvedMillis": run.starved.map(millis),
                })).collect::<Vec<_>>(),
                "failure": series.failure,
                "memory": series.memory,
            })
        })
        .collect();
    json!({ "accelerator": accelerator.name(), "millis": millis(took), "series": series }).to_string()
}
