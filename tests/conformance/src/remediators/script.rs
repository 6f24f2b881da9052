//! D.6: Jobs of the administrator.

use crate::case::Case;

/// The cases.
pub fn cases() -> Vec<Case> {
    Vec::new()
}
