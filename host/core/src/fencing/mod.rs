//! The fencing protocol: state machines of agent, juror and controller, and the records they exchange.
//!
//! Normative text: the design page on fencing. The one promise: a workload is released elsewhere only when the host
//! holds a proof that the boot it ran on has ended.

pub mod agent;
pub mod juror;
pub mod proof;
pub mod prover;
pub mod record;
pub mod sightings;
pub mod timing;
