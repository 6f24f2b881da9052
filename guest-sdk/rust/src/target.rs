//! Capability `target`: the node as the host sees it.

pub use crate::__bindings::palisade::remediation::target::{Node, NodeCondition};

/// The node, `None` when the object is gone.
pub fn get() -> Option<Node> {
    crate::host::target()
}
