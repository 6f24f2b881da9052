//! The loop: what happened goes into the core, what the core wants goes to the adapters.
//!
//! Every effect that takes time runs as a task of its own and comes back as an input; the loop itself never waits for
//! anything but the next input or the core's next deadline.

mod background;
mod effects;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use palisade_core::fencing::agent::{Agent, Event, HostFile, Me, RequestId, Settings, WriteId};
use palisade_core::fencing::juror::{Juror, JurorTiming};
use palisade_core::fencing::record::{CERTIFICATE, CONTROL_PLANE};
use palisade_core::fencing::timing::Tuning;
use palisade_core::time::Mono;
use palisade_rpc::{AgentClient, Credentials, Limits};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::api::{Api, StoredLease};
use crate::clock::Clock;
use crate::devices::{Devices, FeederReport, Leash};
use crate::diagnose::Diagnostics;
use crate::host_file::HostStore;
use crate::identity::Keyring;
use crate::juror::Shared;
use crate::peers::Peers;
use crate::roster::Roster;

/// Shortest sleep of the loop: a deadline that is due but cannot be acted on must not spin.
const SHORTEST_SLEEP: Duration = Duration::from_millis(2);
/// Agents whose lease did not change for so long are not asked to be jurors (or three `T`, if that is longer).
const SILENCE: Duration = Duration::from_mins(5);

/// Everything a node is made of.
pub struct Parts {
    /// Who it is.
    pub me: Me,
    /// Its configuration. `diagnose` is what it is to do if it is a control-plane node.
    pub settings: Settings,
    /// It is one, whatever the controller tells.
    pub control_plane: bool,
    /// Zone label for its lease.
    pub zone: Option<String>,
    /// Outgoing peer connections leave from here.
    pub source: Option<IpAddr>,
    /// Longest pause between two looks at the other agents' leases.
    pub roster_interval: Duration,
    /// The boot's clock.
    pub clock: Arc<dyn Clock>,
    /// The API.
    pub api: Arc<dyn Api>,
    /// The other agents.
    pub peers: Arc<dyn Peers>,
    /// Watchdog and reset.
    pub devices: Arc<dyn Devices>,
    /// What this node finds out about itself (R4).
    pub diagnostics: Arc<dyn Diagnostics>,
    /// Where the host file goes.
    pub host: Arc<dyn HostStore>,
    /// The host file as found.
    pub host_file: Option<HostFile>,
    /// Key, certificate, trust.
    pub keyring: Keyring,
    /// Shared with the service that answers.
    pub shared: Arc<Shared>,
    /// Credentials of the server.
    pub credentials: watch::Sender<Option<Credentials>>,
}

/// How the loop ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The lease says "disarmed" and the watchdog is.
    pub disarmed: bool,
    /// Why, for people.
    pub why: String,
}

/// What comes back to the loop.
#[derive(Debug)]
enum Input {
    Event(Box<Event>),
    Read { request: RequestId, result: Result<Option<StoredLease>, String> },
    Wrote { request: RequestId, result: Wrote },
    Stored { write: WriteId, stored: bool },
    OwnLease(StoredLease),
    Leases(Vec<StoredLease>),
    Trust(String),
    Feeder(FeederReport),
}

impl Input {
    fn event(event: Event) -> Self {
        Self::Event(Box::new(event))
    }
}

/// How a write ended, with the object if one came back.
#[derive(Debug)]
enum Wrote {
    Stored(StoredLease),
    Conflict(Option<StoredLease>),
    Failed(String),
}

/// Sends orders to a running node.
#[derive(Clone)]
pub struct Handle {
    inputs: mpsc::UnboundedSender<Input>,
}

impl Handle {
    /// Asks for a graceful stop within this limit.
    pub fn stop(&self, limit: Duration) {
        self.event(Event::GracefulStop { limit });
    }

    /// New configuration. `diagnose` of the settings is what a node with the role of control plane is to do.
    pub fn configure(&self, settings: Settings) {
        self.event(Event::SettingsChanged(settings));
    }

    fn event(&self, event: Event) {
        // A node that ended takes no orders.
        let _ = self.inputs.send(Input::event(event));
    }
}

/// One node: core and adapters.
pub struct Node {
    core: Agent,
    parts: Parts,
    leash: Arc<Leash>,
    roster: Roster,
    inputs: mpsc::UnboundedReceiver<Input>,
    /// Jurors that say that it is worth asking now.
    calls: mpsc::Receiver<String>,
    sender: mpsc::UnboundedSender<Input>,
    tasks: JoinSet<()>,
    /// Look at the other leases soon again.
    look_around: Arc<Notify>,
    /// As configured; what the core gets follows from it and the role.
    configured: Settings,
    control_plane: bool,
    /// The same for the look at the other leases.
    fellows: Arc<AtomicBool>,
    tuning: watch::Sender<Tuning>,
}

impl Node {
    /// A node that begins to live when [`Node::run`] is called.
    pub fn new(parts: Parts) -> (Self, Handle) {
        let (sender, inputs) = mpsc::unbounded_channel();
        let now = parts.clock.now();
        let identity = parts.keyring.identity().is_some();
        // Until the controller tells, the role is the one that this boot published: an agent killed in an outage must not
        // take its claim back.
        let known = parts.host_file.as_ref().filter(|file| file.boot_id == parts.me.boot_id);
        let exempt = known.and_then(|file| file.confirmed.as_ref()).is_some_and(|known| known.terms.claims.may_exempt);
        let control_plane = parts.control_plane || exempt;
        let configured = parts.settings.clone();
        let settings = effective(&configured, control_plane);
        let core = Agent::start(now, parts.me.clone(), settings, identity, parts.host_file.clone());
        let (tuning, _) = watch::channel(configured.tuning);
        let calls = parts.shared.calls();
        let node = Self {
            core,
            calls,
            parts,
            leash: Arc::new(Leash::default()),
            roster: Roster::default(),
            inputs,
            sender: sender.clone(),
            tasks: JoinSet::new(),
            look_around: Arc::new(Notify::new()),
            configured,
            control_plane,
            fellows: Arc::new(AtomicBool::new(control_plane)),
            tuning,
        };
        (node, Handle { inputs: sender })
    }

    /// A juror for the service of this node.
    pub fn juror(started: Mono, settings: &Settings) -> Juror {
        Juror::new(started, juror_timing(settings))
    }

    /// Lives until it is told to stop, or is reset.
    pub async fn run(mut self) -> Outcome {
        self.identity_changed();
        let writer = self.spawn_background();
        let mut event = Some(Input::event(Event::Tick));
        loop {
            if let Some(input) = event.take()
                && let Some(outcome) = self.take(input, &writer)
            {
                writer.finish().await;
                return outcome;
            }
            self.tell_status();
            while self.tasks.try_join_next().is_some() {}
            let now = self.parts.clock.now();
            let wait = self.core.next_deadline().map_or(Duration::from_mins(1), |deadline| deadline.since(now));
            event = tokio::select! {
                biased;
                // The sender is held by this very struct, so the channel cannot close.
                input = self.inputs.recv() => input,
                Some(by) = self.calls.recv() => Some(Input::event(Event::Woken { by })),
                () = tokio::time::sleep(wait.max(SHORTEST_SLEEP)) => Some(Input::event(Event::Tick)),
            };
        }
    }

    /// One input, all its effects.
    fn take(&mut self, input: Input, writer: &background::Writer) -> Option<Outcome> {
        let now = self.parts.clock.now();
        let time_lost = matches!(input, Input::Feeder(FeederReport::TimeLost));
        let mut effects = Vec::new();
        for event in self.understand(now, input) {
            let event = match event {
                Event::SettingsChanged(configured) => self.configure(configured),
                other => other,
            };
            effects.extend(self.core.on(now, event));
        }
        let outcome = self.carry_out(effects, writer);
        if time_lost {
            self.leash.lost_time_is_known();
        }
        outcome
    }

    fn configure(&mut self, configured: Settings) -> Event {
        if configured.tuning != self.configured.tuning {
            self.parts.shared.retime(juror_timing(&configured), configured.tuning.api_server_timeout);
            self.tuning.send_replace(configured.tuning);
            self.configured.tuning = configured.tuning;
            self.connect_peers();
        }
        self.configured = configured;
        Event::SettingsChanged(effective(&self.configured, self.control_plane))
    }

    /// What the controller says of this node's role, if it is news.
    fn role_in(&mut self, lease: &StoredLease) -> Option<Event> {
        let told = lease.annotations.get(CONTROL_PLANE).is_some_and(|value| value == "true");
        let control_plane = told || self.parts.control_plane;
        if std::mem::replace(&mut self.control_plane, control_plane) == control_plane {
            return None;
        }
        tracing::info!(control_plane, "the controller tells the role of this node");
        self.fellows.store(control_plane, Ordering::Relaxed);
        self.look_around.notify_one();
        Some(Event::SettingsChanged(effective(&self.configured, control_plane)))
    }

    /// What the own lease says to this side.
    fn told_by(&mut self, lease: &StoredLease) -> Vec<Event> {
        self.certificate_in(lease).into_iter().chain(self.role_in(lease)).collect()
    }

    /// Turns an input into events of the core; certificates and trust stay on this side.
    fn understand(&mut self, now: Mono, input: Input) -> Vec<Event> {
        match input {
            Input::Event(event) => vec![*event],
            Input::Stored { write, stored } => vec![Event::HostFileWritten { write, stored }],
            Input::Read { request, result } => {
                let mut events = Vec::new();
                if let Ok(Some(lease)) = &result {
                    events.extend(self.told_by(lease));
                }
                let result = result.and_then(|lease| lease.map(|lease| lease.lease()).transpose());
                events.push(Event::ReadAnswer { request, result });
                events
            }
            Input::Wrote { request, result } => {
                let mut events = Vec::new();
                if let Wrote::Stored(lease) | Wrote::Conflict(Some(lease)) = &result {
                    events.extend(self.told_by(lease));
                }
                events.push(Event::WriteAnswer { request, result: effects::write_result(result) });
                events
            }
            Input::OwnLease(lease) => {
                let mut events = self.told_by(&lease);
                match lease.lease() {
                    Ok(lease) => events.push(Event::LeaseSeen(lease)),
                    Err(error) => tracing::error!(%error, "the own lease cannot be read"),
                }
                events
            }
            Input::Leases(leases) => {
                let Some(trust) = self.parts.keyring.trust() else { return Vec::new() };
                let silence = SILENCE.max(self.configured.tuning.time_to_live() * 3);
                let peers = self.roster.peers(now, &self.parts.me.node, &leases, &trust, silence);
                vec![Event::RosterChanged(peers)]
            }
            Input::Trust(bundle) => {
                if self.parts.keyring.offer_trust(&bundle) {
                    self.identity_changed()
                } else {
                    Vec::new()
                }
            }
            Input::Feeder(FeederReport::TimeLost) => vec![Event::TimeLost],
            Input::Feeder(FeederReport::Failed(why)) => vec![Event::WatchdogFailed(why)],
        }
    }

    fn certificate_in(&mut self, lease: &StoredLease) -> Option<Event> {
        let certificate = lease.annotations.get(CERTIFICATE)?;
        if !self.parts.keyring.offer_certificate(certificate) {
            return None;
        }
        tracing::info!("this agent has a certificate");
        self.identity_changed().pop()
    }

    /// Server and client show the current identity.
    fn identity_changed(&mut self) -> Vec<Event> {
        let credentials = self.parts.keyring.credentials();
        let ready = credentials.is_some();
        self.parts.credentials.send_replace(credentials);
        self.connect_peers();
        self.look_around.notify_one();
        vec![Event::IdentityChanged { ready }]
    }

    fn connect_peers(&self) {
        let tuning = &self.configured.tuning;
        let limits = Limits { dial: tuning.peer_dial_timeout, request: tuning.effective_peer_request_timeout() };
        let client = self
            .parts
            .keyring
            .identity()
            .and_then(|(identity, trust)| AgentClient::new(&identity, &trust, limits, self.parts.source).ok());
        self.parts.peers.reconnect(client);
    }

    fn tell_status(&self) {
        let mut status = self.parts.shared.status();
        status.fenced = self.core.is_fenced();
        status.until = self.core.until();
        status.last_renewal = self.core.last_renewal();
        status.watchdog = self.core.watchdog_line();
        if let Some(confirmed) = self.core.confirmed()
            && confirmed.terms.jury != status.jury
        {
            status.jury.clone_from(&confirmed.terms.jury);
        }
    }
}

/// What the core gets: only a control-plane node may exempt itself.
fn effective(configured: &Settings, control_plane: bool) -> Settings {
    Settings { diagnose: configured.diagnose && control_plane, ..configured.clone() }
}

fn juror_timing(settings: &Settings) -> JurorTiming {
    let tuning = &settings.tuning;
    JurorTiming {
        time_to_live: tuning.time_to_live(),
        round: tuning.peer_dial_timeout + tuning.effective_peer_request_timeout(),
    }
}
