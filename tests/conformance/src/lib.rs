//! The black-box suite: the real `palisade controller` process against the real kube-apiserver, and against the sandbox.
//!
//! A case is a small record: an id of the specification, a tag, what is given, what must follow, and a few lines that
//! do it. The engine starts control planes and controllers, gives every case names of its own so that many run side by
//! side, remembers everything the API server told it, and prints a table. Nothing in here knows how the controller
//! works: it writes nodes and policies, and reads what becomes of them.
//!
//! - [`case`]: the record and its vocabulary of tags, needs and places
//! - [`catalogue`]: every id that the specification lists, automated or not
//! - [`world`]: what a case says: nodes, policies, templates, remediations, leases, events
//! - [`eyes`]: everything that was ever seen, so that cases wait for events and never sleep
//! - [`parts`]: the programs and files that it starts and reads
//! - [`plane`]: control planes and controllers
//! - [`run`] and [`report`]: who runs when, and the table

// Cases speak a small language: words return what they were said to, take what `json!` made, and `foo` is what the
// specification calls its remediation.
#![allow(clippy::return_self_not_must_use, clippy::needless_pass_by_value, clippy::disallowed_names)]

pub mod case;
pub mod cases;
pub mod catalogue;
pub mod definitions;
pub mod explained;
pub mod eyes;
pub mod node;
pub mod parts;
pub mod plane;
pub mod policy;
pub mod remediation;
pub mod remediators;
pub mod report;
pub mod run;
pub mod self_node;
pub mod value;
pub mod world;
