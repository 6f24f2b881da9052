//! Three agents in one process: the real loop, the real core, real mutual TLS on loopback; an API in memory, machines
//! that remember, and a clock in the hand of the test.
//!
//! Time stands still until the test moves it, and it is moved only when nothing is under way: no sleeps, no races.

mod api;
mod machine;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_agent::clock::Clock;
use palisade_agent::diagnose::Diagnostics;
use palisade_agent::host_file::HostStore;
use palisade_agent::identity::{Keep, Keyring};
use palisade_agent::juror::{JurorService, Shared};
use palisade_agent::node::{Handle, Node, Outcome, Parts};
use palisade_agent::peers::{Peers, RpcPeers};
use palisade_core::fencing::agent::{HostFile, Me, Peer, ResetSteps, Settings};
use palisade_core::fencing::juror::PeerAnswer;
use palisade_core::fencing::record::{BootId, FenceIntent};
use palisade_core::fencing::timing::Tuning;
use palisade_core::time::Mono;
use palisade_rpc::{AgentClient, Ask, Authority, Limits, PromiseAnswer, PromiseRequest};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub use api::{Cut, FakeApi, Store};
pub use machine::TestMachine;

/// Virtual time moves in steps of this length.
pub const STEP: Duration = Duration::from_millis(100);
/// Real time that one step may take.
const PATIENCE: Duration = Duration::from_mins(1);

pub fn settings() -> Settings {
    Settings {
        tuning: Tuning {
            api_check_interval: Duration::from_secs(2),
            api_server_timeout: Duration::from_secs(1),
            max_api_error_threshold: 3,
            peer_dial_timeout: Duration::from_secs(1),
            peer_request_timeout: Duration::from_secs(2),
        },
        min_peers: 1,
        generation: 1,
        software_reboot: true,
        watchdog: true,
        steps: ResetSteps::default(),
        diagnose: false,
        spread: true,
    }
}

/// `T` of [`settings`].
pub const T: Duration = Duration::from_secs(13);

struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Mono {
        Mono(1_000_000) + self.0.elapsed()
    }
    fn suspended(&self) -> Duration {
        Duration::ZERO
    }
}

/// Counts what is under way.
#[derive(Clone, Default)]
pub struct Busy(Arc<AtomicUsize>);

pub struct BusyGuard(Busy);

impl Busy {
    pub fn begin(&self) -> BusyGuard {
        self.0.fetch_add(1, Ordering::SeqCst);
        BusyGuard(self.clone())
    }
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The folder under `/run` of one machine.
#[derive(Default)]
struct HostFolder {
    file: Mutex<Option<HostFile>>,
    texts: Mutex<BTreeMap<String, String>>,
}

impl HostStore for HostFolder {
    fn store(&self, file: HostFile) -> BoxFuture<'_, io::Result<()>> {
        *self.file.lock().unwrap() = Some(file);
        async { Ok(()) }.boxed()
    }
}

impl Keep for HostFolder {
    fn read(&self, name: &str) -> Option<String> {
        self.texts.lock().unwrap().get(name).cloned()
    }
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        self.texts.lock().unwrap().insert(name.into(), text.into());
        Ok(())
    }
}

/// Real calls, unless the network between the two is cut.
struct Network {
    me: String,
    rpc: RpcPeers,
    cut: Arc<Mutex<Vec<String>>>,
    /// Nodes behind a cut: they reach each other, and nobody else.
    behind: Arc<Mutex<Vec<String>>>,
    /// Instants at which a node asked a peer, whether it was reached or not.
    questions: Arc<Mutex<Vec<(String, Mono)>>>,
    clock: Arc<TestClock>,
    busy: Busy,
}

impl Network {
    fn is_cut(&self, other: &str) -> bool {
        let (cut, behind) = (self.cut.lock().unwrap(), self.behind.lock().unwrap());
        let among = |nodes: &[String], node: &str| nodes.iter().any(|known| known == node);
        among(&cut, &self.me) || among(&cut, other) || among(&behind, &self.me) != among(&behind, other)
    }
}

impl Peers for Network {
    fn ask(&self, peer: Peer, ask: Ask) -> BoxFuture<'_, PeerAnswer> {
        async move {
            self.questions.lock().unwrap().push((self.me.clone(), self.clock.now()));
            if self.is_cut(&peer.node) {
                return PeerAnswer::Unknown { why: "no route".into() };
            }
            let _busy = self.busy.begin();
            self.rpc.ask(peer, ask).await
        }
        .boxed()
    }
    fn wake<'a>(&'a self, node: &'a str, address: &'a str, by: &'a str) -> BoxFuture<'a, Result<(), String>> {
        async move {
            if self.is_cut(node) {
                return Err("no route".into());
            }
            let _busy = self.busy.begin();
            self.rpc.wake(node, address, by).await
        }
        .boxed()
    }
    fn reconnect(&self, client: Option<AgentClient>) {
        self.rpc.reconnect(client);
    }
}

/// What a node finds out about itself; well unless the test says why not.
#[derive(Default)]
pub struct TestDiagnosis(Mutex<Option<String>>);

impl TestDiagnosis {
    pub fn ill(&self, why: &str) {
        *self.0.lock().unwrap() = Some(why.into());
    }
}

impl Diagnostics for TestDiagnosis {
    fn check(&self, _limit: Duration) -> BoxFuture<'_, Result<(), String>> {
        let ill = self.0.lock().unwrap().clone();
        async move { ill.map_or(Ok(()), Err) }.boxed()
    }
}

pub struct TestNode {
    pub machine: Arc<TestMachine>,
    pub diagnosis: Arc<TestDiagnosis>,
    host: Arc<HostFolder>,
    handle: Handle,
    running: JoinHandle<Outcome>,
    _end_server: oneshot::Sender<()>,
}

pub struct Cluster {
    pub store: Arc<Store>,
    pub nodes: BTreeMap<String, TestNode>,
    isolated: Arc<Mutex<Vec<String>>>,
    behind: Arc<Mutex<Vec<String>>>,
    questions: Arc<Mutex<Vec<(String, Mono)>>>,
    boots: BTreeMap<String, u32>,
    settings: Settings,
    authority: Authority,
    clock: Arc<TestClock>,
    busy: Busy,
    /// Questions whose peer waits for a silent API server: only time can end them.
    held: Busy,
    /// As long as a blocking task runs, the paused clock does not advance by itself.
    _hold_time: std::sync::mpsc::Sender<()>,
}

impl Cluster {
    /// Three agents that have certificates and claim that they fence themselves; their jurors are old enough to speak.
    pub async fn ready() -> Self {
        let mut cluster = Self::started().await;
        cluster.pass(Duration::from_secs(45)).await;
        for node in ["n1", "n2", "n3"] {
            let record = cluster.store.record(node).unwrap();
            assert!(record.terms.claims.self_fences, "{record:#?}");
            assert_eq!(record.terms.jury.len(), 2, "{record:#?}");
        }
        cluster
    }

    /// Any nodes with any settings, some time after their start; nothing is promised about them.
    pub async fn of(names: &[&str], settings: Settings) -> Self {
        let mut cluster = Self::begun(names, settings).await;
        cluster.pass(Duration::from_secs(45)).await;
        cluster
    }

    pub async fn started() -> Self {
        Self::begun(&["n1", "n2", "n3"], settings()).await
    }

    pub async fn begun(names: &[&str], settings: Settings) -> Self {
        Self::begun_on(names, settings, |_| {}).await
    }

    /// The same on machines that were prepared.
    pub async fn begun_on(names: &[&str], settings: Settings, prepare: impl Fn(&TestMachine)) -> Self {
        tokio::time::pause();
        let (hold, released) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || released.recv());
        let authority = Authority::create().unwrap();
        let busy = Busy::default();
        let mut cluster = Self {
            store: Store::new(authority.certificate_pem()),
            nodes: BTreeMap::new(),
            isolated: Arc::default(),
            behind: Arc::default(),
            questions: Arc::default(),
            boots: BTreeMap::new(),
            settings,
            authority,
            clock: Arc::new(TestClock(tokio::time::Instant::now())),
            busy,
            held: Busy::default(),
            _hold_time: hold,
        };
        for name in names {
            let machine = Arc::new(TestMachine::default());
            prepare(&machine);
            cluster.start(name, Arc::default(), machine).await;
        }
        cluster
    }

    async fn start(&mut self, name: &str, host: Arc<HostFolder>, machine: Arc<TestMachine>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let boot = match self.boots.get(name) {
            None => format!("boot-of-{name}"),
            Some(number) => format!("boot-{number}-of-{name}"),
        };
        let me = Me {
            node: name.into(),
            boot_id: BootId::new(boot).unwrap(),
            address: listener.local_addr().unwrap().to_string(),
        };
        let api = Arc::new(FakeApi::new(name, Arc::clone(&self.store), self.busy.clone()));
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let started = clock.now();
        let shared = Shared::new(Node::juror(started, &self.settings));
        let (credentials, shown) = watch::channel(None);
        let peers: Arc<dyn Peers> = Arc::new(Network {
            me: name.into(),
            rpc: RpcPeers::default(),
            cut: Arc::clone(&self.isolated),
            behind: Arc::clone(&self.behind),
            questions: Arc::clone(&self.questions),
            clock: Arc::clone(&self.clock),
            busy: self.busy.clone(),
        });
        let service = JurorService {
            node: me.node.clone(),
            boot_id: me.boot_id.clone(),
            started,
            api: Arc::new(FakeApi::serving(name, Arc::clone(&self.store), self.busy.clone(), self.held.clone())),
            peers: Arc::clone(&peers),
            clock: Arc::clone(&clock),
            shared: Arc::clone(&shared),
            api_timeout: self.settings.tuning.api_server_timeout,
        };
        let (end_server, ended) = oneshot::channel::<()>();
        tokio::spawn(palisade_rpc::serve(listener, shown, Arc::new(service), async {
            let _ = ended.await;
        }));
        let host_file = host.file.lock().unwrap().clone();
        let diagnosis = Arc::new(TestDiagnosis::default());
        let (node, handle) = Node::new(Parts {
            me,
            settings: self.settings.clone(),
            control_plane: false,
            zone: None,
            source: None,
            roster_interval: Duration::from_mins(15),
            clock,
            api,
            peers,
            devices: Arc::clone(&machine) as Arc<dyn palisade_agent::devices::Devices>,
            diagnostics: Arc::clone(&diagnosis) as Arc<dyn Diagnostics>,
            host: Arc::clone(&host) as Arc<dyn HostStore>,
            host_file,
            keyring: Keyring::load(name, Arc::clone(&host) as Arc<dyn Keep>).unwrap(),
            shared,
            credentials,
        });
        let running = tokio::spawn(node.run());
        self.nodes.insert(name.into(), TestNode { machine, diagnosis, host, handle, running, _end_server: end_server });
    }

    /// SIGKILL and a new process; the machine and its folder stay.
    pub async fn restart(&mut self, name: &str) {
        let node = self.nodes.remove(name).unwrap();
        node.running.abort();
        node.machine.process_died();
        let (host, machine) = (Arc::clone(&node.host), Arc::clone(&node.machine));
        drop(node);
        self.settle().await;
        self.start(name, host, machine).await;
    }

    /// A new configuration for one node, or for what is started later.
    pub fn configure(&mut self, name: &str, settings: &Settings) {
        self.settings = settings.clone();
        self.nodes[name].handle.configure(settings.clone());
    }

    /// The machine was reset: another boot, an empty folder under `/run`, a new process.
    pub async fn reboot(&mut self, name: &str) {
        let node = self.nodes.remove(name).unwrap();
        node.running.abort();
        drop(node);
        self.settle().await;
        *self.boots.entry(name.into()).or_insert(1) += 1;
        self.start(name, Arc::default(), Arc::default()).await;
    }

    pub fn now(&self) -> Mono {
        self.clock.now()
    }

    /// When this node began to ask its peers, round for round.
    pub fn rounds(&self, name: &str) -> Vec<Mono> {
        let questions = self.questions.lock().unwrap();
        let mut rounds: Vec<Mono> = questions.iter().filter(|(who, _)| who == name).map(|(_, at)| *at).collect();
        rounds.dedup();
        rounds
    }

    /// Whether its process still runs.
    pub fn runs(&self, name: &str) -> bool {
        !self.nodes[name].running.is_finished()
    }

    /// SIGTERM, without waiting for what comes of it.
    pub fn terminate(&self, name: &str) {
        self.nodes[name].handle.stop(Duration::from_secs(4));
    }

    pub fn feeds(&self, name: &str) -> bool {
        self.nodes[name].machine.feeds(self.now())
    }

    pub fn resets(&self, name: &str) -> usize {
        self.nodes[name].machine.resets()
    }

    /// The controller collects the promise of a juror about a node.
    pub async fn promise(&self, juror: &str, node: &str, intent: &FenceIntent) {
        let (identity, trust) = (self.authority.issue_controller().unwrap(), self.authority.trust().unwrap());
        let limits = Limits { dial: PATIENCE, request: PATIENCE };
        let controller = AgentClient::new(&identity, &trust, limits, None).unwrap();
        let address = |node: &str| self.store.record(node).unwrap().address;
        let request = PromiseRequest {
            intent_uid: intent.uid.clone(),
            node: node.into(),
            boot_id: intent.boot_id.to_string(),
            time_to_live: intent.terms.time_to_live(),
            reset_bound: intent.terms.reset_bound(),
            node_address: address(node),
        };
        let answer = controller.promise(juror, &address(juror), request).await.unwrap();
        assert!(matches!(answer, PromiseAnswer::Promised { .. }), "{answer:?}");
    }

    /// Cuts a node from its peers, in both directions.
    pub fn isolate(&self, name: &str) {
        self.isolated.lock().unwrap().push(name.into());
    }

    /// Cuts these nodes off together: they reach each other, nobody else and no API.
    pub fn zone_cut(&self, names: &[&str], api: Cut) {
        for name in names {
            self.store.cut(name, api);
            self.behind.lock().unwrap().push((*name).into());
        }
    }

    /// Asks for a graceful stop and gives how it ended.
    pub async fn stop(&mut self, name: &str) -> Outcome {
        self.nodes[name].handle.stop(Duration::from_secs(4));
        self.pass(Duration::from_secs(5)).await;
        let node = self.nodes.remove(name).unwrap();
        assert!(node.running.is_finished());
        node.running.await.unwrap()
    }

    /// Virtual time passes; everything that is due happens on the way.
    pub async fn pass(&mut self, length: Duration) {
        let mut left = length;
        while !left.is_zero() {
            let step = left.min(STEP);
            tokio::time::advance(step).await;
            left -= step;
            self.settle().await;
        }
    }

    /// Passes time until something is so; gives how long it took.
    pub async fn pass_until(&mut self, limit: Duration, so: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.now();
        while !so(self) {
            let passed = self.now().since(begun);
            assert!(passed < limit, "not within {limit:?} of virtual time");
            self.pass(STEP).await;
        }
        self.now().since(begun)
    }

    /// Waits, in real time but without a clock, until nothing is under way.
    async fn settle(&self) {
        let begun = std::time::Instant::now();
        let mut quiet = 0;
        while quiet < 60 {
            self.store.issue_certificates(&self.authority);
            tokio::task::yield_now().await;
            quiet = if self.busy.count() <= self.held.count() { quiet + 1 } else { 0 };
            assert!(begun.elapsed() < PATIENCE, "{} calls hang", self.busy.count());
        }
    }
}
