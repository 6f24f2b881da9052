//! Remediations: from the object to effects and back to its status.
//!
//! One pass: look → call the component → gate → **commit** (one status write, guarded by the resource version, with the
//! effects as pending) → apply (each idempotent) → record. Two controllers at once are decided by the commit. Nothing is
//! remembered outside the objects, except what a restart may lose on purpose.

mod apply;
mod call;
pub mod committed;
pub mod controller;
mod echo;
mod hand_back;
pub mod kind;
mod kind_power;
pub mod modules;
mod node_lease;
pub mod outside;
mod pass;
pub mod registry;
mod replaced;
mod restore;
pub mod rights;
mod schema;
mod snapshot;
mod spent;
pub mod status;
mod target;
