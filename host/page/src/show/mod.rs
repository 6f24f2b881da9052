//! From what was seen to what is shown. Pure; the verdicts, rules and reasons are those of `palisade explain`.

mod approvals;
mod fleet;
mod modules;
mod policies;
mod remediations;

use jiff::Timestamp;
use palisade_explain::{Snapshot, answer};

use crate::board::Seen;

pub use approvals::{Approval, Kind, approvals, kind_of};
pub use fleet::fleet;
pub use modules::modules;
pub use policies::policies;
pub use remediations::remediations;

/// What is known of one node, as `palisade explain NODE -o json` answers.
pub fn node(seen: &Seen, name: &str, now: Timestamp) -> anyhow::Result<answer::Answer> {
    let snapshot = Snapshot {
        now,
        nodes: seen.nodes.get(name).cloned().into_iter().collect(),
        policies: seen.readable().map(|policy| (**policy).clone()).collect(),
        remediations: seen.remediations().filter(|one| one.said.node == name).map(|one| one.said.clone()).collect(),
        gaps: seen
            .policies
            .all()
            .filter_map(|policy| Some(format!("a NodeHealthCheck cannot be read: {}", policy.as_ref().err()?)))
            .collect(),
    };
    answer::of(&snapshot, name)
}
