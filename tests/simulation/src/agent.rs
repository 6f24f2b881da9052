//! One process of the real agent on a simulated machine: its loop, its juror, its feeder, over adapters.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_agent::api::kube::KubeApi;
use palisade_agent::api::{Api, LeaseChange, StoredLease, WriteFailure};
use palisade_agent::clock::Clock;
use palisade_agent::devices::{Devices, Fed, Feeder, FeederReport, Leash, NotDisarmed, Report, Watchdog};
use palisade_agent::host_file::HostStore;
use palisade_agent::identity::{Keep, Keyring};
use palisade_agent::juror::{JurorService, Shared};
use palisade_agent::node::{Handle, Node, Parts};
use palisade_agent::peers::Peers;
use palisade_core::fencing::agent::{Base, HostFile, Me, ResetSteps, Settings};
use palisade_core::fencing::record::{self, BootId, INTENT};
use palisade_core::time::Mono;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::boot::Boot;
use crate::diagnose::OwnKubelet;
use crate::machine::Machine;
use crate::network::{Actor, Network};
use crate::peers::{Server, SimulatedPeers};
use crate::world::Breakage;

/// Namespace of the agents' leases.
const NAMESPACE: &str = "palisade-system";
/// How often an agent looks at the others at the least.
const ROSTER: Duration = Duration::from_mins(5);

/// The folder under `/run`: a reboot clears it.
#[derive(Default)]
pub struct Folder {
    file: Mutex<Option<HostFile>>,
    texts: Mutex<BTreeMap<String, String>>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").finish_non_exhaustive()
    }
}

impl Keep for Folder {
    fn read(&self, name: &str) -> Option<String> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), text.to_owned());
        Ok(())
    }
}

/// The folder as one process uses it: a process that is gone or stopped writes nothing.
struct FolderOfProcess {
    folder: Arc<Folder>,
    gone: watch::Receiver<bool>,
    network: Network,
    actor: Actor,
}

impl HostStore for FolderOfProcess {
    fn store(&self, file: HostFile) -> BoxFuture<'_, io::Result<()>> {
        async move {
            self.network.thawed(self.actor).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
            if *self.gone.borrow() {
                return Err(io::Error::other("the process is gone"));
            }
            *self.folder.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
            Ok(())
        }
        .boxed()
    }
}

/// `CLOCK_BOOTTIME` of one boot as one process reads it. A stopped process reads nothing: its time stands still and
/// jumps when it goes on.
struct NodeClock {
    start: Instant,
    machine: Machine,
    frozen_at: AtomicU64,
}

impl Clock for NodeClock {
    fn now(&self) -> Mono {
        let elapsed = self.start.elapsed().as_millis() as i64;
        let now = 50_000 + (elapsed + elapsed * self.machine.spec.clock_per_mille / 1000).cast_unsigned();
        if self.machine.around.network.is_frozen(self.machine.agent_actor()) {
            let _ = self.frozen_at.compare_exchange(0, now, Ordering::SeqCst, Ordering::SeqCst);
            return Mono(self.frozen_at.load(Ordering::SeqCst));
        }
        self.frozen_at.store(0, Ordering::SeqCst);
        Mono(now)
    }

    fn suspended(&self) -> Duration {
        self.machine.suspended()
    }
}

/// The device.
struct SimulatedWatchdog {
    boot: Arc<Boot>,
    timeout: Duration,
}

impl Watchdog for SimulatedWatchdog {
    fn describe(&self) -> record::Watchdog {
        record::Watchdog { identity: "simulated".into(), timeout_millis: self.timeout.as_millis() as u64, resets: true }
    }
    fn ping(&mut self) -> io::Result<()> {
        self.boot.feed();
        Ok(())
    }
    fn disarm(self: Box<Self>) -> Result<(), NotDisarmed> {
        self.boot.disarm();
        Ok(())
    }
}

enum Order {
    Look,
    Disarm(oneshot::Sender<Result<(), String>>),
}

/// Watchdog and reset of a machine, for one process.
struct SimulatedDevices {
    machine: Machine,
    boot: Arc<Boot>,
    clock: Arc<dyn Clock>,
    orders: Mutex<Option<mpsc::UnboundedSender<Order>>>,
    feeder: Arc<Mutex<Option<AbortHandle>>>,
}

impl SimulatedDevices {
    fn order(&self, order: Order) -> bool {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }

    async fn thawed(&self) {
        self.machine.around.network.thawed(self.machine.agent_actor()).await;
    }
}

impl Devices for SimulatedDevices {
    fn open_watchdog(&self, leash: Arc<Leash>, report: Report) -> BoxFuture<'_, Result<record::Watchdog, String>> {
        async move {
            self.thawed().await;
            let Some(timeout) = self.machine.spec.watchdog else { return Err("there is no watchdog".into()) };
            if !self.boot.arm(timeout) {
                return Err("the machine is over".into());
            }
            let device = SimulatedWatchdog { boot: Arc::clone(&self.boot), timeout };
            let description = device.describe();
            let (orders, received) = mpsc::unbounded_channel();
            *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = Some(orders);
            let feeder = Feeder::new(Box::new(device), Arc::clone(&self.clock), leash);
            let stubborn = self.machine.around.breakage == Some(Breakage::AgentIgnoresItsEnd);
            let task = feed(feeder, self.machine.clone(), Arc::clone(&self.boot), received, report, stubborn);
            *self.feeder.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::spawn(task).abort_handle());
            Ok(description)
        }
        .boxed()
    }

    fn disarm_watchdog(&self) -> BoxFuture<'_, Result<(), String>> {
        async move {
            self.thawed().await;
            let (reply, replied) = oneshot::channel();
            if !self.order(Order::Disarm(reply)) {
                return Err("the feeder is not running".into());
            }
            replied.await.unwrap_or_else(|_| Err("the feeder ended".into()))
        }
        .boxed()
    }

    fn nudge(&self) {
        self.order(Order::Look);
    }

    fn reset(&self, steps: ResetSteps) -> BoxFuture<'_, ()> {
        async move {
            self.thawed().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let spec = &self.machine.spec;
            let stubborn = self.machine.around.breakage == Some(Breakage::AgentIgnoresItsEnd);
            if spec.reset_works && spec.software_reboot && !stubborn {
                self.machine.reset(&self.boot, "its agent asked for a reset");
            }
            tokio::time::sleep(steps.sysrq + steps.reboot).await;
        }
        .boxed()
    }
}

/// The feeder's thread: the same feeder, the same loop around it.
async fn feed(
    mut feeder: Feeder,
    machine: Machine,
    boot: Arc<Boot>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    report: Report,
    stubborn: bool,
) {
    let period = feeder.period();
    loop {
        machine.around.network.thawed(machine.agent_actor()).await;
        match feeder.step() {
            Fed::Yes | Fed::Withheld => {}
            Fed::TimeLost => report(FeederReport::TimeLost),
            Fed::Failed(why) => {
                report(FeederReport::Failed(why));
                return;
            }
        }
        if stubborn {
            boot.feed();
        }
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Look) => {}
                Some(Order::Disarm(reply)) => match feeder.disarm() {
                    Ok(()) => {
                        let _ = reply.send(Ok(()));
                        return;
                    }
                    Err((armed, why)) => {
                        feeder = armed;
                        let _ = reply.send(Err(why));
                    }
                },
                None => return,
            },
            () = tokio::time::sleep(period) => {}
        }
    }
}

/// The API without intents: what an agent that ignores them sees.
struct Blind(KubeApi);

fn blind(mut lease: StoredLease) -> StoredLease {
    lease.annotations.remove(INTENT);
    lease
}

impl Api for Blind {
    fn read<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<Option<StoredLease>, String>> {
        async move { Ok(self.0.read(node).await?.map(blind)) }.boxed()
    }
    fn write<'a>(
        &'a self,
        node: &'a str,
        base: &'a Base,
        change: LeaseChange,
    ) -> BoxFuture<'a, Result<StoredLease, WriteFailure>> {
        async move { self.0.write(node, base, change).await.map(blind) }.boxed()
    }
    fn list<'a>(&'a self, node: &'a str, fellows: bool) -> BoxFuture<'a, Result<Vec<StoredLease>, String>> {
        self.0.list(node, fellows)
    }
    fn watch<'a>(&'a self, _: &'a str, _: mpsc::Sender<StoredLease>) -> BoxFuture<'a, Result<(), String>> {
        async { futures::future::pending().await }.boxed()
    }
    fn trust(&self) -> BoxFuture<'_, Result<Option<String>, String>> {
        self.0.trust()
    }
}

/// A running process.
pub struct Agent {
    running: AbortHandle,
    feeder: Arc<Mutex<Option<AbortHandle>>>,
    handle: Handle,
    gone: watch::Sender<bool>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

impl Agent {
    /// Does what the agent's `run` does, with simulated parts.
    ///
    /// # Panics
    /// If no key can be made.
    pub fn start(machine: &Machine, boot: &Arc<Boot>, folder: Arc<Folder>) -> Self {
        let (spec, around) = (&machine.spec, &machine.around);
        let settings = Settings {
            tuning: spec.tuning,
            min_peers: spec.min_peers,
            generation: 1,
            software_reboot: spec.software_reboot,
            watchdog: spec.watchdog.is_some(),
            steps: ResetSteps::default(),
            diagnose: spec.role.diagnoses(),
            spread: true,
        };
        let clock: Arc<dyn Clock> =
            Arc::new(NodeClock { start: boot.since, machine: machine.clone(), frozen_at: AtomicU64::new(0) });
        let started = clock.now();
        let address = format!("{}:30001", spec.name);
        let host_file = folder.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let host_file = host_file.filter(|_| around.breakage != Some(Breakage::HostFileForgotten));
        // The key is made from this host's randomness; nothing can be done without one.
        #[allow(clippy::expect_used)]
        let keyring = Keyring::load(&spec.name, Arc::clone(&folder) as Arc<dyn Keep>).expect("a key can be made");
        let kube_api = KubeApi::new(&around.client(machine.agent_actor()), NAMESPACE);
        let api: Arc<dyn Api> = if around.breakage == Some(Breakage::AgentIgnoresIntents) {
            Arc::new(Blind(kube_api))
        } else {
            Arc::new(kube_api)
        };
        // Names of boots are not empty.
        #[allow(clippy::expect_used)]
        let boot_id = BootId::new(boot.id.clone()).expect("a boot id");
        let shared = Shared::new(Node::juror(started, &settings));
        let (credentials, shown) = watch::channel(None);
        let (gone, is_gone) = watch::channel(false);
        let peers: Arc<dyn Peers> = Arc::new(SimulatedPeers {
            from: machine.agent_actor(),
            network: around.network.clone(),
            directory: around.directory.clone(),
            limit: spec.tuning.peer_dial_timeout + spec.tuning.effective_peer_request_timeout(),
            ready: Mutex::new(false),
            trace: around.trace.clone(),
            breakage: around.breakage,
        });
        let service = Arc::new(JurorService {
            node: spec.name.clone(),
            boot_id: boot_id.clone(),
            started,
            api: Arc::clone(&api),
            peers: Arc::clone(&peers),
            clock: Arc::clone(&clock),
            shared: Arc::clone(&shared),
            api_timeout: spec.tuning.api_server_timeout,
        });
        let server =
            Server { node: spec.name.clone(), actor: machine.agent_actor(), service, shown, gone: is_gone.clone() };
        around.directory.listen(&address, server);
        let feeder = Arc::new(Mutex::new(None));
        let devices = SimulatedDevices {
            machine: machine.clone(),
            boot: Arc::clone(boot),
            clock: Arc::clone(&clock),
            orders: Mutex::new(None),
            feeder: Arc::clone(&feeder),
        };
        let host =
            FolderOfProcess { folder, gone: is_gone, network: around.network.clone(), actor: machine.agent_actor() };
        let (node, handle) = Node::new(Parts {
            me: Me { node: spec.name.clone(), boot_id, address },
            settings,
            control_plane: spec.role.diagnoses(),
            zone: Some(spec.zone.clone()),
            source: None,
            roster_interval: ROSTER,
            clock,
            api,
            peers,
            devices: Arc::new(devices) as Arc<dyn Devices>,
            diagnostics: Arc::new(OwnKubelet { machine: machine.clone(), boot: Arc::clone(boot) }),
            host: Arc::new(host) as Arc<dyn HostStore>,
            host_file,
            keyring,
            shared,
            credentials,
        });
        let name = spec.name.clone();
        let trace = around.trace.clone();
        let running = tokio::spawn(async move {
            let outcome = node.run().await;
            trace.say(&format!("{name} its agent ends: {outcome:?}"));
        });
        Self { running: running.abort_handle(), feeder, handle, gone }
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.gone.send_replace(true);
        self.running.abort();
        if let Some(feeder) = self.feeder.lock().unwrap_or_else(PoisonError::into_inner).take() {
            feeder.abort();
        }
    }

    /// SIGTERM.
    pub fn stop(&self, limit: Duration) {
        self.handle.stop(limit);
    }
}
