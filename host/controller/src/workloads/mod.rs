//! Pods and volumes of a node: marking them, releasing them, and putting the node back.

pub mod classify;
pub mod inventory;
pub mod mark;
pub mod release;
