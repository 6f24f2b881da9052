//! D.3: Fence agents.

use crate::case::Case;

/// The cases.
pub fn cases() -> Vec<Case> {
    Vec::new()
}
