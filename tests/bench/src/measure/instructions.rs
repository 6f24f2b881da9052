//! Instructions of the decision core for each node, counted by callgrind: the same on a busy machine as on a quiet one.
//!
//! A small program does a part of the core a few times more in one run than in another; everything else in the two runs is
//! the same, so the difference is that part, whatever the compiler has made of its functions.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::Report;

/// Times that a part is done more in the second run.
const TIMES: usize = 4;
/// Parts, and what they are.
const PARTS: [(&str, &str); 3] = [
    ("event", "an event: one node judged by itself"),
    ("judge", "all nodes judged, for each"),
    ("plan", "planned over all nodes, for each"),
];

/// Which sizes, how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Sizes of the fleet, separated by commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [100, 1_000, 5_000])]
    pub nodes: Vec<usize>,
    /// Counts of each figure; they differ by where the system puts memory, and by nothing else.
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// The program that is counted; `palisade-instructions` beside this one if not given.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Not used here; accepted so that all benches are started the same way.
    #[command(flatten)]
    pub parts: crate::plane::Parts,
}

/// Counts and prints.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::begin();
    let here = std::env::current_exe().context("path of this program")?;
    let program = options.program.clone().unwrap_or_else(|| here.with_file_name("palisade-instructions"));
    for &nodes in &options.nodes {
        for (part, what) in PARTS {
            let mut counts = Vec::new();
            for _ in 0..options.runs {
                let (once, more) = (count(&program, part, nodes, 1)?, count(&program, part, nodes, 1 + TIMES)?);
                counts.push(more.saturating_sub(once) as f64 / TIMES as f64 / nodes as f64);
            }
            report.add(nodes, what, "instructions", counts)?;
        }
    }
    report.print(options.json)
}

/// Instructions of a whole run.
fn count(program: &Path, part: &str, nodes: usize, times: usize) -> anyhow::Result<u64> {
    let mut command = Command::new("valgrind");
    // The file is read for its total only, and names of functions cost a minute of debug information.
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--error-exitcode=3"]);
    command.arg(program).args([part, &nodes.to_string(), &times.to_string()]).stdin(Stdio::null());
    let output = command.output().context("valgrind (Debian package valgrind)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}: {said}", program.display(), output.status);
    collected(&said).with_context(|| format!("callgrind said {said:?}"))
}

/// What callgrind says at its end: `==123== Collected : 4567`.
fn collected(said: &str) -> anyhow::Result<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :")).context("no count")?;
    line.1.trim().parse().with_context(|| format!("{:?} is no count", line.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_in_the_last_words() {
        let said = "==9== Events    : Ir\n==9== Collected : 123456\n==9== \n==9== I   refs:      123,456\n";
        assert_eq!(collected(said).unwrap(), 123_456);
        assert!(collected("==9== Collected : many").is_err());
        assert!(collected("").is_err());
    }
}
