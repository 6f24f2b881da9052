//! Clusters that also serve the kinds of OpenShift.

use std::rc::Rc;

use crate::case::Case;
use crate::plane::Plane;

/// Brings the definitions.
pub async fn install(_plane: &Rc<Plane>) -> anyhow::Result<()> {
    Ok(())
}

/// The cases.
pub fn cases() -> Vec<Case> {
    Vec::new()
}
