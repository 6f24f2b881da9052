//! What the controller wrote down, read back for people and for scripts: the account that `palisade explain`, `status`,
//! `history` and the page give, and the way in which people answer the questions of remediations.
//!
//! Nothing is judged here a second time. Verdicts, rules and reasons are those that the controller's core left in the
//! status of policies and remediations; the one thing asked of the core is whether a selector selects a node.

pub mod answer;
pub mod cluster;
pub mod history;
pub mod overview;
pub mod questions;
pub mod text;

use serde::Serialize;

pub use cluster::{Remediation, Snapshot, ready};
pub use text::{Style, foreign, length, print, show, table};

/// What a script is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nothing to do.
    Well,
    /// Unhealthy or suspect, and taken care of.
    Busy,
    /// A rule holds back what is due, or somebody has to look.
    Held,
}
