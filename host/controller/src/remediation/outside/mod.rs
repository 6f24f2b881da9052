//! What is outside of the node, behind one interface for each capability: machines and people here, power devices and
//! jobs by whoever provides them.
//!
//! A provider answers three things: what a component is shown, how a committed effect is applied, and what it sees that
//! proves the end of a boot. Evidence goes to the fencing session, which alone decides whether it counts: it must have
//! been read after the pods of the node were marked, and be about the boot of the intent.

pub mod approval;
pub mod machines;
mod pass;

pub use pass::acts_from_outside;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Node;
use palisade_api::progress::Progress;
use palisade_core::fencing::proof::{Grade, ProofKind};
use palisade_core::fencing::prover::Evidence;
use palisade_core::fencing::record::BootId;
use palisade_core::time::Mono;
use palisade_runtime::{Answered, JobsView, PowerAction, PowerView, RefusalReason};
use serde_json::Value;

use crate::context::{Context, Target};
use crate::error::Error;
use crate::fence::FenceState;

/// What a provider gets to know.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// The controller's common things.
    pub context: &'a Context,
    /// The remediation and its node.
    pub target: &'a Target,
    /// The remediation object as it was read, with its specification.
    pub object: &'a Value,
    /// The node; `None` when the object is gone.
    pub node: Option<&'a Node>,
    /// What is recorded in the remediation's status.
    pub progress: &'a Progress,
    /// Where fencing stands, if it was asked for.
    pub fence: Option<&'a FenceState>,
}

/// Something seen outside that may prove the end of a boot (P4 to P6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Kind of proof it is.
    pub kind: ProofKind,
    /// How sure.
    pub grade: Grade,
    /// The boot it is about.
    pub boot: BootId,
    /// When the reading *began*, on the clock of decisions: it counts only if the marks were stored before.
    pub begun: Mono,
    /// Device, machine or person, for the certificate. Never a secret.
    pub explanation: String,
}

impl From<Sighting> for Evidence {
    fn from(sighting: Sighting) -> Self {
        let Sighting { kind, grade, boot, begun, explanation } = sighting;
        Self { kind, grade, boot, observed: begun, explanation }
    }
}

/// Power devices. All functions are called from passes over the remediation, which have a minute: work that takes longer
/// than a few seconds belongs into a task of the provider's own, and the remediation is looked at again when it ends
/// (`about.context.triggers.fire(about.target)`).
pub trait Power: Send + Sync + 'static {
    /// What the device says, from what is known or can be read at once.
    fn status<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<Answered<PowerView>, Error>>;

    /// Records the intent of a wish. The status is stored before [`Power::apply`] is called.
    fn intend(&self, _about: &About<'_>, _action: PowerAction) -> Option<Progress> {
        None
    }

    /// Works on a wish. Whether it is fulfilled, read back from the device; until then it is asked again. A crash may
    /// come at any line: the device is read before it is told anything.
    fn apply<'a>(&'a self, about: &'a About<'a>, action: PowerAction) -> BoxFuture<'a, Result<bool, Error>>;

    /// The device read back as off, now.
    fn evidence<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<Option<Sighting>, Error>>;

    /// How long a machine that was switched on again has until its node is ready; `None`: nobody waits for that.
    fn patience(&self, _about: &About<'_>) -> Option<Duration> {
        None
    }

    /// The machine could not be helped: a device that knows such a mark says that it is not to be chosen again.
    fn condemn<'a>(&'a self, _about: &'a About<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// Nothing more is wanted of the device: what runs for this remediation ends, and nothing further is begun.
    fn halt(&self, _remediation: &str) {}

    /// The remediation is being deleted: stop what runs, and take back holds on devices that are its own.
    fn clean_up<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<(), Error>>;
}

/// The administrator's jobs.
pub trait Jobs: Send + Sync + 'static {
    /// All that are on the list, with what came of those that this remediation ran.
    fn listed<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<Answered<JobsView>, Error>>;

    /// Runs one, once for the life of the remediation. Whether it was made.
    fn run<'a>(&'a self, about: &'a About<'a>, name: &'a str) -> BoxFuture<'a, Result<bool, Error>>;

    /// The success of a job that is declared to be evidence.
    fn evidence<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<Option<Sighting>, Error>>;

    /// The remediation is being deleted.
    fn clean_up<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<(), Error>>;
}

/// The providers of a controller process.
#[derive(Clone)]
pub struct Providers {
    /// Power devices.
    pub power: Arc<dyn Power>,
    /// Jobs.
    pub jobs: Arc<dyn Jobs>,
}

impl Default for Providers {
    fn default() -> Self {
        Self { power: Arc::new(NotConfigured), jobs: Arc::new(NotConfigured) }
    }
}

/// Stands where nobody provides anything, and says so.
struct NotConfigured;

impl NotConfigured {
    fn refusal<T>(what: &str, about: &About<'_>) -> Answered<T> {
        Err(RefusalReason::Unavailable(format!(
            "{what} not configured for kind {}; use a remediation kind whose template names them",
            about.target.kind
        )))
    }
}

impl Power for NotConfigured {
    fn status<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<Answered<PowerView>, Error>> {
        async move { Ok(Self::refusal("power devices are", about)) }.boxed()
    }

    fn apply<'a>(&'a self, _about: &'a About<'a>, _action: PowerAction) -> BoxFuture<'a, Result<bool, Error>> {
        async { Ok(false) }.boxed()
    }

    fn evidence<'a>(&'a self, _about: &'a About<'a>) -> BoxFuture<'a, Result<Option<Sighting>, Error>> {
        async { Ok(None) }.boxed()
    }

    fn clean_up<'a>(&'a self, _about: &'a About<'a>) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }
}

impl Jobs for NotConfigured {
    fn listed<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<Answered<JobsView>, Error>> {
        async move { Ok(Self::refusal("jobs are", about)) }.boxed()
    }

    fn run<'a>(&'a self, _about: &'a About<'a>, _name: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        async { Ok(false) }.boxed()
    }

    fn evidence<'a>(&'a self, _about: &'a About<'a>) -> BoxFuture<'a, Result<Option<Sighting>, Error>> {
        async { Ok(None) }.boxed()
    }

    fn clean_up<'a>(&'a self, _about: &'a About<'a>) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }
}
