//! What a rehearsal came to, for people and for programs.

use std::fmt::Write as _;

use jiff::Timestamp;
use palisade_api::GoDuration;
use serde::Serialize;

use super::play::{Happening, Standing};
use crate::explain::{Style, foreign, table};

/// The whole of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The policy.
    pub policy: String,
    /// When it began.
    pub begin: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// How many recorded changes were played, if it was the past.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<usize>,
    /// What happened.
    pub happenings: Vec<Happening>,
    /// How it stands at the end.
    pub standing: Standing,
}

impl Report {
    /// For people.
    pub fn text(&self, style: Style) -> String {
        let mut text = String::new();
        let length = GoDuration::from_millis(self.end.as_millisecond() - self.begin.as_millisecond());
        let what = match self.recorded {
            Some(changes) => format!("the last {length}, {changes} changes of readiness recorded"),
            None => format!("{length} from now on"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", style.bold(&format!("NodeHealthCheck {}: {what}", self.policy)));
        if self.happenings.is_empty() {
            text.push_str("  nothing happens\n");
        }
        text.push_str(&journal(&self.happenings, self.begin));
        let standing = &self.standing;
        let _ = writeln!(
            text,
            "at the end: {}, {} of {} nodes healthy, {} under remediation, {} held back",
            standing.phase,
            standing.healthy,
            standing.observed,
            standing.remediated.len(),
            standing.blocked.len()
        );
        text
    }
}

/// A table of what happened.
pub fn journal(happenings: &[Happening], begin: Timestamp) -> String {
    let rows: Vec<Vec<String>> = happenings
        .iter()
        .map(|one| {
            let after = GoDuration::from_millis(one.at.as_millisecond() - begin.as_millisecond());
            vec![
                format!("  {after}"),
                one.what.to_owned(),
                one.node.clone().unwrap_or_else(|| "-".to_owned()),
                foreign(&one.detail),
            ]
        })
        .collect();
    table(&rows)
}
