//! Answering other agents and the controller.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palisade_core::fencing::agent::Base;
use palisade_core::fencing::juror::{AskerBounds, Attempt, Juror, JurorTiming, PeerAnswer, Relay, judge_relay};
use palisade_core::fencing::record::{BootId, CERTIFICATE, RECORD, RECORD_SIGNATURE};
use palisade_core::fencing::timing::life_bound;
use palisade_core::time::Mono;
use palisade_rpc::{AgentHandler, AskAnswer, PromiseAnswer, PromiseRequest, SignedRecord, StatusAnswer};
use tokio::sync::{Semaphore, mpsc};

use crate::api::{Api, LeaseChange, WriteFailure};
use crate::clock::Clock;
use crate::peers::Peers;

/// Compare-and-swap attempts for one relay; more means that somebody writes without pause.
const RELAY_ATTEMPTS: usize = 5;
/// Calls to look that wait for the loop; one is as good as many, so more are dropped.
const CALLS: usize = 16;
/// Relays that use the API server at the same time. The client opens a connection for each and keeps it: 300 askers at once
/// would cost the API server 300 handshakes and this process 12 MiB. Who waits does so within the same time limit.
const RELAYS: usize = 8;

/// What the loop tells about the node, for `Status`.
#[derive(Debug, Clone, Default)]
pub struct NodeStatus {
    /// Stopped feeding for good.
    pub fenced: bool,
    /// `L`.
    pub until: Option<Mono>,
    /// When the last confirmed renewal was sent.
    pub last_renewal: Option<Mono>,
    /// About the watchdog.
    pub watchdog: String,
    /// Jury of the last confirmed lease.
    pub jury: Vec<String>,
}

/// What the loop and the service share.
pub struct Shared {
    juror: Mutex<Juror>,
    status: Mutex<NodeStatus>,
    /// `apiServerTimeout` of a configuration that came after the start.
    api_timeout: Mutex<Option<Duration>>,
    /// Who woke this node, on the way to the loop.
    calls: mpsc::Sender<String>,
    relays: Semaphore,
    called: Mutex<Option<mpsc::Receiver<String>>>,
}

impl Shared {
    /// Around a juror.
    pub fn new(juror: Juror) -> Arc<Self> {
        let (calls, called) = mpsc::channel(CALLS);
        Arc::new(Self {
            juror: Mutex::new(juror),
            status: Mutex::new(NodeStatus::default()),
            api_timeout: Mutex::new(None),
            calls,
            relays: Semaphore::new(RELAYS),
            called: Mutex::new(Some(called)),
        })
    }

    /// Where the loop hears who woke this node. There is one loop; another one would hear nothing.
    pub(crate) fn calls(&self) -> mpsc::Receiver<String> {
        let called = self.called.lock().unwrap_or_else(PoisonError::into_inner).take();
        called.unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// The juror; promises and `NoApi` are decided under this one lock.
    pub fn juror(&self) -> MutexGuard<'_, Juror> {
        self.juror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// New timing by configuration: of the juror, and of what it does for others.
    pub fn retime(&self, timing: JurorTiming, api_timeout: Duration) {
        self.juror().retime(timing);
        *self.api_timeout.lock().unwrap_or_else(PoisonError::into_inner) = Some(api_timeout);
    }

    fn api_timeout(&self) -> Option<Duration> {
        *self.api_timeout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node's state, as last told.
    pub fn status(&self) -> MutexGuard<'_, NodeStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service behind the RPC server.
pub struct JurorService {
    /// Own node name.
    pub node: String,
    /// Own boot.
    pub boot_id: BootId,
    /// Start of this process.
    pub started: Mono,
    /// The API, on the way of this node.
    pub api: Arc<dyn Api>,
    /// The other agents.
    pub peers: Arc<dyn Peers>,
    /// The node's clock.
    pub clock: Arc<dyn Clock>,
    /// Promises and state.
    pub shared: Arc<Shared>,
    /// `apiServerTimeout` at the start: the whole attempt to relay takes no longer.
    pub api_timeout: Duration,
}

impl JurorService {
    /// A node that lives by its peers would hear of the intent only when it asks again, up to a check interval later. Told
    /// in the background: the controller does not wait for a node that may be dead.
    fn wake_soon(&self, node: String, address: String) {
        if address.is_empty() || node == self.node {
            return;
        }
        let (peers, me) = (Arc::clone(&self.peers), self.node.clone());
        tokio::spawn(async move {
            if let Err(why) = peers.wake(&node, &address, &me).await {
                tracing::debug!(node, why, "not woken: it hears of the intent when it asks");
            }
        });
    }

    /// Tries to store the caller's record by rule R2.
    async fn relay(&self, signed: &SignedRecord) -> Attempt {
        let record = &signed.record;
        // Never closed.
        let _permit = self.shared.relays.acquire().await;
        for _ in 0..RELAY_ATTEMPTS {
            let begun = self.clock.now();
            let lease = match self.api.read(&record.node).await {
                Ok(lease) => lease,
                Err(why) => return Attempt::Failed(why),
            };
            let view = match lease.as_ref().map(crate::api::StoredLease::view).transpose() {
                Ok(view) => view,
                Err(why) => return Attempt::Refused(why),
            };
            self.shared.juror().saw(&record.node, begun, view.as_ref());
            match judge_relay(record, view.as_ref()) {
                Relay::AlreadyStored => return Attempt::Stored,
                Relay::IntentExists { uid } => return Attempt::IntentExists { uid },
                Relay::Refuse(why) => return Attempt::Refused(why.into()),
                Relay::Store => {}
            }
            let base = Base::At(lease.map(|lease| lease.version).unwrap_or_default());
            match self.api.write(&record.node, &base, relayed(signed)).await {
                Ok(stored) if stored.annotations.get(RECORD) == Some(&signed.ask.record) => return Attempt::Stored,
                Ok(_) => return Attempt::Failed("the API answered with another record than was relayed".into()),
                Err(WriteFailure::Conflict) => {}
                Err(WriteFailure::Failed(why)) => return Attempt::Failed(why),
            }
        }
        Attempt::Refused("the lease changes faster than it can be written".into())
    }
}

/// Exactly what the subject signed; nothing of ours. Above all not `spec.renewTime`: it says when the *agent* wrote, and
/// a relaying peer's clock would make a silent agent look alive.
fn relayed(signed: &SignedRecord) -> LeaseChange {
    let ask = &signed.ask;
    LeaseChange {
        annotations: [
            (RECORD.to_owned(), Some(ask.record.clone())),
            (RECORD_SIGNATURE.to_owned(), Some(ask.signature.clone())),
            (CERTIFICATE.to_owned(), Some(ask.certificate.clone())),
        ]
        .into(),
        seconds: None,
        zone: None,
    }
}

/// Reads the leases of all nodes that promises were given for, so that a promise ends soon after its intent did. Without
/// promises it asks nobody anything.
pub async fn look_after_promises(shared: &Shared, api: &dyn Api, clock: &dyn Clock, limit: Duration) {
    let nodes = shared.juror().promised_nodes();
    for node in nodes {
        let begun = clock.now();
        let Ok(Ok(lease)) = tokio::time::timeout(limit, api.read(&node)).await else { continue };
        // A lease that cannot be read is not known to carry no intent: the promise stands.
        let Ok(view) = lease.as_ref().map(crate::api::StoredLease::view).transpose() else { continue };
        shared.juror().saw(&node, begun, view.as_ref());
    }
}

/// `spec.leaseDurationSeconds`: `T`, rounded up.
pub fn lease_seconds(time_to_live: Duration) -> u32 {
    u32::try_from(time_to_live.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

#[tonic::async_trait]
impl AgentHandler for JurorService {
    async fn ask(&self, signed: SignedRecord) -> AskAnswer {
        let bounds = AskerBounds {
            largest_time_to_live: signed.ask.largest_time_to_live,
            largest_reset_bound: signed.ask.largest_reset_bound,
            smallest_time_to_live: signed.ask.smallest_time_to_live,
        };
        let limit = self.shared.api_timeout().unwrap_or(self.api_timeout);
        let attempt = tokio::time::timeout(limit, self.relay(&signed)).await;
        let attempt = attempt.unwrap_or_else(|_| Attempt::Failed(format!("no answer within {limit:?}")));
        let answer = {
            // Decided and recorded in one breath; the clock is read under the lock, so that no promise is older.
            let mut juror = self.shared.juror();
            juror.answer(self.clock.now(), &signed.record, attempt, &bounds)
        };
        tracing::info!(node = signed.record.node, ?answer, "a peer asked");
        match answer {
            PeerAnswer::Relayed => AskAnswer::Relayed,
            PeerAnswer::IntentExists { uid, boot_id } => {
                AskAnswer::IntentExists { intent_uid: uid, boot_id: boot_id.into() }
            }
            PeerAnswer::NoApi => AskAnswer::NoApi,
            PeerAnswer::Undecided { why } | PeerAnswer::Unknown { why } => AskAnswer::Unknown { why },
        }
    }

    async fn promise(&self, request: PromiseRequest) -> PromiseAnswer {
        let Some(boot) = BootId::new(request.boot_id) else {
            return PromiseAnswer::Refused { why: "the boot id is empty".into() };
        };
        let bound = life_bound(request.time_to_live, request.reset_bound);
        let answer = {
            let mut juror = self.shared.juror();
            juror.promise(self.clock.now(), &request.node, &boot, &request.intent_uid, bound)
        };
        tracing::info!(node = request.node, intent = request.intent_uid, ?answer, "the controller asked for a promise");
        match answer {
            Ok(last_no_api_age) => {
                self.wake_soon(request.node, request.node_address);
                PromiseAnswer::Promised { last_no_api_age }
            }
            Err(refused) => PromiseAnswer::Refused { why: refused.to_string() },
        }
    }

    async fn wake(&self, by: String) {
        // What does not fit is not needed: calls are on their way.
        let _ = self.shared.calls.try_send(by);
    }

    async fn status(&self) -> StatusAnswer {
        let now = self.clock.now();
        let status = self.shared.status().clone();
        StatusAnswer {
            node: self.node.clone(),
            boot_id: self.boot_id.to_string(),
            fenced: status.fenced,
            remaining_life: status.until.filter(|until| *until > now).map(|until| until.since(now)),
            last_renewal_age: status.last_renewal.map(|sent| now.since(sent)),
            watchdog: status.watchdog,
            jury: status.jury,
            process_age: now.since(self.started),
        }
    }
}

#[cfg(test)]
mod tests;
