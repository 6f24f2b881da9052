//! Power devices as remediations see them: which device is the node's, what is wished of it, what it proves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_core::fencing::proof::{Grade, ProofKind};
use palisade_runtime::{Answered, Effect, PowerAction, PowerProgress, PowerState, PowerView, RefusalReason};

use super::agent::{Agents, wanted_action};
use super::catalogue::Catalogue;
use super::fault::{Fault, Goal, Reading};
use super::parameters::Action;
use super::plan::Progress;
use super::session::{Device, Session, Shown};
use super::{find, hosts};
use crate::clock;
use crate::error::Error;
use crate::remediation::committed;
use crate::remediation::outside::{About, Power, Sighting};

/// A reading for a proof or a release is waited for so long in a pass; a slower one is there in the next pass.
const READING: Duration = Duration::from_secs(20);
/// A reading that is younger is good enough for a proof that is not yet made.
const FRESH: Duration = Duration::from_secs(3);

/// Fence agents and `BareMetalHosts`.
pub struct Devices {
    agents: Arc<Agents>,
    /// By UID of the remediation.
    sessions: Mutex<HashMap<String, Session>>,
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").field("agents", &self.agents).finish_non_exhaustive()
    }
}

impl Devices {
    /// With the agents of a catalogue.
    pub fn new(catalogue: Catalogue) -> Self {
        Self { agents: Arc::new(Agents::new(catalogue)), sessions: Mutex::default() }
    }

    /// The agents, for whoever only asks for a status.
    pub fn agents(&self) -> Arc<Agents> {
        self.agents.clone()
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        // The map is never left half changed.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps up work on a goal, and tells how far it is.
    async fn work(&self, about: &About<'_>, goal: Goal) -> Result<Shown, Fault> {
        let uid = &about.target.uid;
        let known = self.sessions().get(uid).map(|session| session.device().clone());
        let device = match find::device(about).await {
            Ok(device) => device,
            // The objects that led to a host may vanish while it is held: the host itself is still known.
            Err(why) => match known.filter(|device| matches!(device, Device::Host(_))) {
                Some(device) => device,
                None => return Err(why),
            },
        };
        let bounds = device.bounds()?;
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.runs());
        if let Some(session) = sessions.get(uid).filter(|session| session.serves(&device, goal)) {
            session.keep();
            return Ok(session.shown());
        }
        // On comes after off, and never the other way round. A pass that still sees the remediation as it was before the
        // wish for on was stored loses its commit, but must not switch the machine off once more before that.
        if let Some(session) = sessions.get(uid).filter(|known| goal == Goal::Off && known.goal() == Goal::On) {
            return Ok(session.shown());
        }
        // Dropped before the next one begins, with what it runs.
        sessions.remove(uid);
        let target = about.target.clone();
        let wake = about.context.triggers.waker(&target);
        let session = Session::begin(about.context.client.clone(), self.agents.clone(), device, goal, bounds, wake);
        let shown = session.shown();
        sessions.insert(uid.clone(), session);
        Ok(shown)
    }

    /// Whether everything that a first run needs is there and makes sense, without a run.
    async fn check(&self, about: &About<'_>) -> Result<Device, Fault> {
        let device = find::device(about).await?;
        device.bounds()?;
        match &device {
            Device::Agent(machine) => self.agents.check(&about.context.client, machine).await?,
            Device::Host(host) => host.check(&about.context.client).await?,
        }
        Ok(device)
    }

    async fn sighting(&self, about: &About<'_>) -> Option<Sighting> {
        let boot = about.fence?.boot.clone()?;
        if wish(about) != Some(Goal::Off) {
            return None;
        }
        self.work(about, Goal::Off).await.ok()?;
        let (device, reading) = {
            let sessions = self.sessions();
            let session = sessions.get(&about.target.uid)?;
            let now = clock::now();
            // A release wants a reading of its own; a proof that is not yet made is content with a young one.
            let since = if about.fence.is_some_and(|fence| fence.proof.is_some()) { now } else { now - FRESH };
            (session.device().name(), session.reading_after(since, READING))
        };
        let (reading, asked) = reading.await?;
        (reading == Reading::Off).then(|| Sighting {
            kind: ProofKind::PoweredOff,
            grade: Grade::Certain,
            boot,
            begun: asked,
            explanation: format!("{device} was read back as off"),
        })
    }
}

impl Power for Devices {
    fn status<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<Answered<PowerView>, Error>> {
        async move {
            if about.object.pointer("/metadata/deletionTimestamp").is_some() {
                // Only clean-up works on a device now: the wish of before would switch off what it switches on again.
                let sessions = self.sessions();
                let known = sessions.get(&about.target.uid);
                return Ok(Ok(known.map(|session| view(&session.shown(), session.goal())).unwrap_or_default()));
            }
            let Some(goal) = wish(about) else {
                return Ok(self.check(about).await.map(|_| PowerView::default()).map_err(|why| refusal(&why)));
            };
            Ok(match self.work(about, goal).await {
                Ok(shown) => Ok(view(&shown, goal)),
                Err(why) => Err(refusal(&why)),
            })
        }
        .boxed()
    }

    fn apply<'a>(&'a self, about: &'a About<'a>, action: PowerAction) -> BoxFuture<'a, Result<bool, Error>> {
        async move {
            let goal = match action {
                PowerAction::Off => Goal::Off,
                PowerAction::On => Goal::On,
            };
            // An older wish is not worked on any more, also when it was never fulfilled.
            if wish(about).is_some_and(|newest| newest != goal) {
                return Ok(true);
            }
            match self.work(about, goal).await {
                Ok(shown) => Ok(shown.progress == Progress::Done),
                // The component sees it in the status, and decides.
                Err(_) => Ok(false),
            }
        }
        .boxed()
    }

    fn evidence<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<Option<Sighting>, Error>> {
        async move { Ok(self.sighting(about).await) }.boxed()
    }

    fn patience(&self, about: &About<'_>) -> Option<Duration> {
        let is_host = about.target.kind != find::AGENT_KIND && wish(about).is_some();
        is_host.then(|| find::parameters(about.object).ok()).flatten().map(|(limit, _)| limit)
    }

    fn condemn<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if about.target.kind == find::AGENT_KIND || wish(about).is_none() {
                return Ok(());
            }
            match find::device(about).await {
                Ok(Device::Host(host)) => host.condemn(&about.context.client).await.map_err(Error::from),
                // Nothing leads to it any more, so nothing would choose it by this machine either.
                Ok(Device::Agent(_)) | Err(_) => Ok(()),
            }
        }
        .boxed()
    }

    fn halt(&self, remediation: &str) {
        self.sessions().remove(remediation);
    }

    fn clean_up<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let uid = &about.target.uid;
            let Some(goal) = wish(about) else {
                self.sessions().remove(uid);
                return Ok(());
            };
            if goal == Goal::Off && switched_on_again(about) {
                // The machine was switched off to be switched on again, and nobody else will.
                match self.work(about, Goal::On).await.map(|shown| shown.progress) {
                    Ok(Progress::Waiting | Progress::Running) => {
                        return Err(Error::Busy(format!("node {} is being switched on again", about.target.node)));
                    }
                    Ok(Progress::Done) => {}
                    Ok(Progress::Failed | Progress::TimedOut) | Err(_) => {
                        tracing::warn!(node = about.target.node, "the machine could not be switched on again");
                    }
                }
            }
            self.sessions().remove(uid);
            if about.target.kind == find::AGENT_KIND {
                Agents::sweep(uid).await.map_err(|error| Error::Busy(error.to_string()))?;
            } else {
                hosts::let_go(&about.context.client, uid).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// Whether a remediation that ends before its time switches the machine on again: only if that was the plan, and there
/// still is a node that waits for it. Hosts are switched on by their own operator.
fn switched_on_again(about: &About<'_>) -> bool {
    about.node.is_some()
        && about.target.kind == find::AGENT_KIND
        && find::specification(about).is_ok_and(|spec| wanted_action(&spec) == Action::Reboot)
}

/// The newest wish, by what was committed.
fn wish(about: &About<'_>) -> Option<Goal> {
    let any = |wanted: &Effect| committed::effects(about.progress).any(|effect| effect == *wanted);
    // The order is always the same: off, and later on.
    if any(&Effect::PowerOn) {
        Some(Goal::On)
    } else if any(&Effect::PowerOff) {
        Some(Goal::Off)
    } else {
        None
    }
}

fn refusal(fault: &Fault) -> RefusalReason {
    let text = fault.to_string();
    match fault {
        Fault::Invalid(_) | Fault::Refused(_) => RefusalReason::Refused(text),
        Fault::Missing(_) | Fault::Unreachable(_) | Fault::TimedOut(_) | Fault::Failed(_) => {
            RefusalReason::Unavailable(text)
        }
    }
}

fn view(shown: &Shown, goal: Goal) -> PowerView {
    PowerView {
        state: match shown.last {
            None => PowerState::Unknown,
            Some((Reading::On, _)) => PowerState::On,
            Some((Reading::Off, _)) => PowerState::Off,
        },
        age_millis: shown.last.map(|(_, asked)| palisade_core::time::millis(clock::now().since(asked))),
        action: Some(match goal {
            Goal::Off => PowerAction::Off,
            Goal::On => PowerAction::On,
        }),
        progress: match shown.progress {
            Progress::Waiting => PowerProgress::Waiting,
            Progress::Running => PowerProgress::Running,
            Progress::Done => PowerProgress::Done,
            Progress::Failed => PowerProgress::Failed,
            Progress::TimedOut => PowerProgress::TimedOut,
        },
        attempts: shown.attempts,
        detail: shown.fault.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}
