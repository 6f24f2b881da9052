//! Everything a Palisade remediator needs: the typed host API, the [`remediator!`] macro, a [flow] for what all
//! fencing remediators have in common, and a [test harness](testing) that runs without Wasm and without a cluster.
//!
//! A remediator is a function from a remediation and a snapshot to an answer. It is level-triggered: every call starts
//! with nothing but what it is shown. What it asks for is *staged*, and done only if the call returns `Ok`.
//!
//! ```
//! use palisade_remediator::{Failure, Outcome, Remediation, Remediator, fencing, target};
//!
//! /// Fences nodes that nobody heard of for ten minutes.
//! struct Patient;
//!
//! impl Remediator for Patient {
//!     fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
//!         let silent = target::get().is_none_or(|node| {
//!             node.conditions.iter().any(|c| c.kind == "Ready" && c.status == "Unknown" && c.age > 600_000)
//!         });
//!         if silent && !remediation.deleting {
//!             fencing::request("fence", fencing::Method::SelfFence)?;
//!         }
//!         Ok(Outcome::working("watching"))
//!     }
//! }
//!
//! palisade_remediator::remediator! {
//!     name: "patient",
//!     remediator: Patient,
//!     capabilities: [target, fencing],
//! }
//! ```
//!
//! Built with `cargo rustc --profile guest --target wasm32-unknown-unknown --crate-type cdylib`, and linked by
//! `wasm-component-ld`, the crate is a finished component that imports nothing but what it uses of this contract.
//!
//! # The promise
//!
//! [`workloads::release`] takes a [`Proof`](fencing::Proof). Nobody but the host makes one:
//!
//! ```compile_fail
//! # use palisade_remediator::{Refusal, workloads};
//! # fn f() -> Result<(), Refusal> {
//! workloads::release("now", workloads::ReleaseMethod::ResourceDeletion)?; // no proof, no release
//! # Ok(()) }
//! ```
//!
//! ```compile_fail,E0423
//! # use palisade_remediator::fencing;
//! let proof = fencing::Proof(7); // private: only `fencing::proof()` gives one
//! ```
//!
//! ```compile_fail,E0277
//! # use palisade_remediator::fencing;
//! let proof = fencing::Proof::default(); // there is no proof of nothing
//! ```
//!
//! ```
//! # use palisade_remediator::{Refusal, fencing, workloads};
//! # fn f() -> Result<(), Refusal> {
//! if let Some(proof) = fencing::proof() {
//!     workloads::release("now", &proof, workloads::ReleaseMethod::ResourceDeletion)?;
//! }
//! # Ok(()) }
//! ```

mod answer;
#[cfg_attr(target_arch = "wasm32", path = "host_wasm.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "host_native.rs")]
mod host;

pub mod agent;
pub mod approval;
pub mod cycle;
pub mod fencing;
pub mod flow;
pub mod jobs;
pub mod machines;
pub mod power;
pub mod report;
pub mod scheduling;
pub mod target;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod workloads;

#[doc(hidden)]
#[path = "export.rs"]
pub mod __export;

/// Generated from the WIT package. Public only for [`remediator!`].
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, clippy::all, clippy::pedantic)]
pub mod __bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "remediator",
        pub_export_macro: true,
        export_macro_name: "__export_remediator",
        default_bindings_module: "palisade_remediator::__bindings",
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
}

pub use __bindings::palisade::remediation::types::{Failure, Outcome, Refusal, Remediation, Taint, Verdict};

/// A remediator: one function.
pub trait Remediator {
    /// Looks at the remediation and at the snapshot behind the host API, stages effects, answers.
    fn reconcile(remediation: Remediation) -> Result<Outcome, Failure>;
}
