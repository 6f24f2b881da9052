//! The other remediators: the listed cases of their specification, part D.

pub mod approval;
pub mod catalogue;
mod cluster_api;
mod contract;
mod detectors;
pub mod devices;
pub mod fence_agents;
mod hand_over;
pub mod machine_deletion;
pub mod machines;
pub mod metal3;
mod metal3_hand_off;
pub mod script;
pub mod shared;
pub mod subject;
pub mod weaknesses;

use crate::case::Case;

/// All cases.
pub fn cases() -> Vec<Case> {
    [
        shared::cases(),
        contract::cases(),
        machine_deletion::cases(),
        fence_agents::cases(),
        hand_over::cases(),
        metal3::cases(),
        approval::cases(),
        script::cases(),
        detectors::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
