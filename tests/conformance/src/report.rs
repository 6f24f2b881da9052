//! What came out: a table for people, JSON for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use palisade_sandbox::demo::BackendKind;
use serde::Serialize;

use crate::case::{Case, Tag};

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "result", content = "why")]
pub enum Verdict {
    /// As it should.
    Passed,
    /// Expected this, saw that.
    Failed(String),
    /// It was not run, for this reason.
    LeftOut(String),
}

/// A case and how it ended.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Id of the case.
    pub id: String,
    /// How binding it is.
    pub tag: Tag,
    /// Section of the specification.
    pub section: String,
    /// The situation.
    pub given: String,
    /// What must follow.
    pub then: String,
    /// Which back end.
    pub backend: BackendKind,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took.
    pub seconds: f64,
}

impl Outcome {
    /// Of a case that was run, or not.
    pub fn of(case: &Case, backend: BackendKind, verdict: Verdict, seconds: f64) -> Self {
        Self {
            id: case.id.to_owned(),
            tag: case.tag,
            section: case.section.to_owned(),
            given: case.given.to_owned(),
            then: case.then.to_owned(),
            backend,
            verdict,
            seconds,
        }
    }

    /// One line for people, more if it failed.
    pub fn line(&self) -> String {
        let (id, tag, seconds) = (&self.id, self.tag.letter(), self.seconds);
        let (given, then) = (&self.given, &self.then);
        match &self.verdict {
            Verdict::Passed => format!("ok      {seconds:>6.1} s  {id} {tag}  {given} → {then}"),
            Verdict::Failed(why) => format!("FAILED  {seconds:>6.1} s  {id} {tag}  {given} → {then}\n        {why}"),
            Verdict::LeftOut(why) => format!("left out          {id} {tag}  {why}"),
        }
    }
}

/// The table: by back end and tag, how many there are, passed, failed, were left out.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut rows: BTreeMap<(String, Tag), [usize; 4]> = BTreeMap::new();
    for outcome in outcomes {
        let row = rows.entry((outcome.backend.to_string(), outcome.tag)).or_default();
        row[0] += 1;
        row[match outcome.verdict {
            Verdict::Passed => 1,
            Verdict::Failed(_) => 2,
            Verdict::LeftOut(_) => 3,
        }] += 1;
    }
    let mut text =
        format!("{:<9} {:<7} {:>6} {:>7} {:>7} {:>9}\n", "back end", "tag", "cases", "passed", "failed", "left out");
    let mut sums: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for ((backend, tag), [cases, passed, failed, left]) in &rows {
        let tag = format!("{tag:?}");
        let _ = writeln!(text, "{backend:<9} {tag:<7} {cases:>6} {passed:>7} {failed:>7} {left:>9}");
        let sum = sums.entry(backend).or_default();
        for (sum, part) in sum.iter_mut().zip([cases, passed, failed, left]) {
            *sum += part;
        }
    }
    for (backend, [cases, passed, failed, left]) in sums {
        let _ = writeln!(text, "{backend:<9} {:<7} {cases:>6} {passed:>7} {failed:>7} {left:>9}", "all");
    }
    text
}

/// Cases that ended differently on the two back ends: the sandbox is wrong about them.
pub fn differences(outcomes: &[Outcome]) -> Vec<String> {
    let verdict = |id: &str, backend: BackendKind| {
        outcomes.iter().find(|outcome| outcome.id == id && outcome.backend == backend).map(|outcome| &outcome.verdict)
    };
    let ids: BTreeSet<&str> = outcomes.iter().map(|outcome| outcome.id.as_str()).collect();
    ids.iter()
        .filter_map(|id| match (verdict(id, BackendKind::Real)?, verdict(id, BackendKind::Sandbox)?) {
            (Verdict::Passed, Verdict::Failed(why)) => {
                Some(format!("{id} passes on real and fails on the sandbox: {why}"))
            }
            (Verdict::Failed(why), Verdict::Passed) => {
                Some(format!("{id} passes on the sandbox and fails on real: {why}"))
            }
            _ => None,
        })
        .collect()
}
