//! The node agent: it renews its lease, feeds the watchdog while it may live, answers for its peers, and ends its own
//! boot when it has to.
//!
//! All decisions are made by `palisade_core::fencing`; here are only the adapters and the loop that joins them:
//!
//! - [`node`]: the loop. Core and adapters, nothing else; the simulation drives the same code.
//! - [`api`]: the Lease objects, behind a trait; [`api::kube`] is the real one.
//! - [`peers`] and [`juror`]: asking and answering other agents.
//! - [`identity`]: key, certificate, trust.
//! - [`devices`]: watchdog, feeder thread, reset.
//! - [`diagnose`]: what a control-plane node can find out about itself.
//! - [`host_file`], [`clock`], [`roster`]: what their names say.
//! - [`stock`]: what agents of the stock product are answered.
//! - [`options`] and [`run`]: the process; [`configuration`]: what changes while it runs.

pub mod api;
pub mod clock;
pub mod configuration;
pub mod devices;
pub mod diagnose;
pub mod host_file;
pub mod identity;
pub mod juror;
pub mod node;
pub mod options;
pub mod peers;
pub mod roster;
pub mod run;
pub mod stock;
