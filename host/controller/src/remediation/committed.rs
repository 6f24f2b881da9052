//! Reading back what a remediation's status has committed to. What this version does not know is nobody's effect here.

use palisade_api::progress::{PendingEffect, Progress};
use palisade_runtime::Effect;

/// The effect that was stored.
pub fn effect(stored: &PendingEffect) -> Option<Effect> {
    serde_json::from_value(stored.effect.clone()).ok()
}

/// Whether there is nothing to apply once it is committed: a fencing session runs for as long as the commit stands.
pub fn is_done_by_commit(effect: &Effect) -> bool {
    matches!(effect, Effect::RequestFence { .. })
}

/// Every effect that was committed: first those that are applied.
pub fn effects(progress: &Progress) -> impl Iterator<Item = Effect> + '_ {
    progress.applied.iter().chain(&progress.pending).filter_map(effect)
}
