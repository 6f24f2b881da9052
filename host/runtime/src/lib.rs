//! The Wasm side of Palisade: loads remediators, calls them under limits, and hands back what they ask for.
//!
//! No Kubernetes client, no clock, no async. A call is data in ([`CallInput`]) and data out ([`CallReport`]); nothing a guest does
//! reaches the world except as [`StagedEffect`]s that the caller passes through the [`gate`] and then applies itself.
//!
//! ```text
//! Host::new(settings) → host.load(bytes) → module.call(input, limits, granted) → gate(effects, …) → commit → apply
//! ```
//!
//! Calls are synchronous and bounded by [`Limits::deadline_millis`]; from async code use a blocking thread.

mod aside;
mod breaker;
mod cache;
mod capability;
mod contract;
mod effect;
mod engine;
mod error;
mod failure;
mod gate;
mod hex;
mod host;
mod inspect;
mod journal;
mod limits;
mod manifest;
mod module;
mod outside;
mod places;
mod proof;
mod report;
mod state;
mod ticker;
mod view;

pub use aside::Compiler;
pub use breaker::{Breaker, BreakerState};
pub use capability::{CAPABILITIES, Capability, Granted, UnknownCapability};
pub use effect::{
    ConditionStatus, Effect, FenceMethod, OWN_TAINT_PREFIXES, OwnTaint, OwnTaintEffect, Restoration, StagedEffect,
};
pub use engine::EngineSettings;
pub use error::{HostError, LoadError};
pub use gate::{GateContext, KEY_LIMIT, gate};
pub use host::Host;
pub use inspect::inspect;
pub use journal::{HostCall, Journal, JournalInput, JournalRecord, ReplayError};
pub use limits::{Limits, MEMORY_LIMIT};
pub use manifest::{CONTRACTS, Manifest, SECTION, attach};
pub use module::Module;
pub use outside::{
    AnswerState, AnswerView, Answered, ApprovalView, JobState, JobView, JobsView, MachineApi, MachineFate, MachineView,
    Outside, OwnerView, PersonView, PowerAction, PowerProgress, PowerState, PowerView, Question, ReplacementView,
};
pub use proof::{Grade, Proof, ProofAuthority, ProofClaim, ProofId, ProofKind};
pub use report::{CallFailure, CallInput, CallReport, FailureCause, Outcome, Refusal, RefusalReason};
pub use view::{
    AgentReach, AgentView, FenceStage, FencingView, NodeCondition, ReleaseMethod, RemediationView, SchedulingView,
    Snapshot, Taint, TargetView, WatchdogView, WorkloadsView,
};
