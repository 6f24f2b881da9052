//! The detector: `NodeHealthCheck` policies from watch to remediation objects.
//!
//! Watches keep trimmed copies of nodes, policies, templates and remediations; any change wakes the policies it
//! concerns. A policy is looked at by one pass at a time, which asks `palisade_core::health` what to do, and applies it;
//! different policies side by side. A node or a policy that fails, or waits for an answer, never keeps the others waiting:
//! its error is reported and it is tried again later.

mod answer;
mod apply;
mod create;
mod definitions;
mod extensions;
mod facts;
mod guard;
mod kinds;
pub(crate) mod leases;
mod nodes;
mod observe;
mod policies;
mod queue;
mod recent;
mod reconcile;
mod report;
mod scene;
mod scribe;
mod status;
mod template;
mod turn;
mod views;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use palisade_api::NodeHealthCheck;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout};

use crate::leader::Leadership;

pub use self::guard::ControlPlaneGuard;
pub use self::observe::{News, Observe};

use self::definitions::Definitions;
use self::kinds::Kinds;
use self::leases::Leases;
use self::nodes::Nodes;
use self::queue::Queue;
use self::reconcile::Written;
use self::report::Reporter;
use self::scene::Refusals;
use self::scribe::Scribe;

/// What decisions read of a node; for programs that ask the same core without a controller.
pub fn view_of(node: &k8s_openapi::api::core::v1::Node) -> palisade_core::health::NodeView {
    views::node(node)
}

/// A policy as it was read; one that cannot be decoded stays in the store as an error.
type Guarded = DeserializeGuard<NodeHealthCheck>;

/// Options of the detector.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name of this process in events.
    pub instance: String,
    /// Whether it acts; without election it always does.
    pub leadership: Leadership,
    /// Namespace of the node leases that are shared with other programs; `medik8s-leases` if absent.
    pub lease_namespace: Option<String>,
    /// Who is asked before a control-plane node is remediated, beside OpenShift's disruption budget.
    pub guards: Vec<Arc<dyn ControlPlaneGuard>>,
    /// Who is told what happens.
    pub observers: Vec<Arc<dyn Observe>>,
    /// Where what is seen is shown.
    pub board: Option<Arc<palisade_page::Board>>,
    /// Where what would be done is told, if nothing is to be done.
    pub watch: Option<Arc<watch::Report>>,
}

/// Wakes policies.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wake {
    /// This one.
    Policy(String),
    /// Every one: a watch started over, so anything may have changed.
    All,
}

/// What every part of the detector shares.
struct World {
    client: Client,
    policies: Store<Guarded>,
    nodes: Arc<Nodes>,
    kinds: Kinds,
    definitions: Arc<Definitions>,
    leases: Arc<Leases>,
    reporter: Reporter,
    leadership: Leadership,
    guards: Vec<Arc<dyn ControlPlaneGuard>>,
    observers: Vec<Arc<dyn Observe>>,
    written: Written,
    refusals: Refusals,
    recent: Arc<recent::Recent>,
    /// Nothing is written, and this is told instead.
    watch: Option<Arc<watch::Report>>,
}

/// A pass over one policy takes no longer; the rest is done in the next.
const PASS_LIMIT: Duration = Duration::from_mins(1);
/// So many policies are looked at side by side. What two of them do to one node is kept apart as between two controllers:
/// by the lease of the node, and by the turn in the control plane.
const SIDE_BY_SIDE: usize = 8;
/// A pass that took longer is worth a line in the log.
const SLOW: Duration = Duration::from_secs(2);

/// Runs the detector until `shutdown` ends.
pub async fn run(client: Client, options: Options, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let (wake, wakes) = mpsc::unbounded_channel();
    let (policies, writer) = kube::runtime::reflector::store();
    let nodes = Arc::new(Nodes::default());
    let definitions = Arc::new(Definitions::default());
    let leases = Arc::new(Leases::new(client.clone(), options.lease_namespace));
    let mut observers = options.observers;
    match &options.watch {
        Some(report) => observers.push(Arc::clone(report) as Arc<dyn Observe>),
        None => {
            tasks.spawn(prepare(Arc::clone(&leases), options.leadership.clone()));
        }
    }
    let recent = Arc::new(recent::Recent::default());
    let (scribe, writing) = options.watch.is_none().then(|| Scribe::start(client.clone())).unzip();
    let world = World {
        client: client.clone(),
        policies: policies.clone(),
        nodes: Arc::clone(&nodes),
        kinds: Kinds::new(client.clone(), policies.clone(), wake.clone(), Arc::clone(&recent), options.board.clone()),
        definitions: Arc::clone(&definitions),
        leases: Arc::clone(&leases),
        reporter: Reporter::new(scribe, options.instance, observers.clone()),
        leadership: options.leadership,
        guards: options.guards,
        observers,
        watch: options.watch,
        written: Written::default(),
        refusals: Refusals::default(),
        recent,
    };
    tasks.spawn(definitions::watch(client.clone(), definitions, wake.clone()));
    tasks.spawn(leases::watch(leases, Arc::clone(&nodes), policies.clone(), wake.clone()));
    tasks.spawn(policies::watch(client.clone(), writer, wake.clone(), world.observers.clone(), options.board));
    tasks.spawn(nodes::watch(client, nodes, policies, wake, world.observers.clone()));
    tokio::select! {
        biased;
        () = shutdown => {}
        () = work(&world, wakes) => {}
    }
    tasks.shutdown().await;
    drop(world);
    if let Some(writing) = writing {
        writing.end().await;
    }
    Ok(())
}

/// Makes the namespace of the leases before a node fails: then is no time for it.
async fn prepare(leases: Arc<Leases>, leadership: Leadership) {
    leadership.gained().await;
    if let Err(error) = leases.prepare().await {
        // The first lease that needs it tries again, and says so if that does not work either.
        tracing::debug!(%error, "the namespace of the node leases is not there yet");
    }
}

async fn work(world: &World, mut wakes: mpsc::UnboundedReceiver<Wake>) {
    // Decisions on half a list would take the other half for gone.
    if world.policies.wait_until_ready().await.is_err() {
        return;
    }
    world.nodes.ready().await;
    world.definitions.ready().await;
    world.leases.ready().await;
    let mut queue = Queue::default();
    let mut passes = FuturesUnordered::new();
    let mut follows = !world.leadership.leads();
    loop {
        while !follows
            && passes.len() < SIDE_BY_SIDE
            && let Some(name) = queue.take(Instant::now())
        {
            passes.push(pass(world, name));
        }
        let next_due = queue.next_due().unwrap_or_else(far_away);
        tokio::select! {
            biased;
            wake = wakes.recv() => match wake {
                Some(wake) => {
                    note(world, &mut queue, wake);
                    while let Ok(wake) = wakes.try_recv() {
                        note(world, &mut queue, wake);
                    }
                }
                None => return,
            },
            // Only the leader takes what is due; whoever becomes leader does not trust what it noted before.
            () = world.leadership.gained(), if follows => {
                follows = false;
                note(world, &mut queue, Wake::All);
            }
            Some((name, ended)) = passes.next() => follows |= !settle(world, &mut queue, &name, ended),
            () = sleep_until(next_due), if !follows && passes.len() < SIDE_BY_SIDE => {}
        }
    }
}

/// What a pass came to, unless the lead was lost.
type Ended = Option<Result<anyhow::Result<Option<Duration>>, Elapsed>>;

async fn pass(world: &World, name: String) -> (String, Ended) {
    let begun = Instant::now();
    let ended = world.leadership.only_leading(timeout(PASS_LIMIT, reconcile::reconcile(world, &name))).await;
    let took = begun.elapsed();
    if took > SLOW {
        tracing::info!(policy = name, ?took, "a slow pass");
    }
    (name, ended)
}

/// Notes when the policy is looked at again; false if the lead was lost.
fn settle(world: &World, queue: &mut Queue, name: &str, ended: Ended) -> bool {
    let Some(result) = ended else {
        queue.given_up(name);
        return false;
    };
    let failed = !matches!(result, Ok(Ok(_)));
    world.observers.iter().for_each(|observer| observer.ended(name, failed));
    match result {
        Ok(Ok(again_in)) => queue.succeeded(name, again_in, Instant::now()),
        Ok(Err(error)) => {
            tracing::warn!(policy = name, error = format!("{error:#}"), "policy will be tried again");
            queue.failed(name, Instant::now());
        }
        Err(_) => {
            tracing::warn!(policy = name, "a pass took longer than {PASS_LIMIT:?} and is tried again");
            queue.failed(name, Instant::now());
        }
    }
    true
}

fn note(world: &World, queue: &mut Queue, wake: Wake) {
    match wake {
        Wake::Policy(name) => queue.wake(name, Instant::now()),
        Wake::All => {
            for policy in world.policies.state() {
                if let Some(name) = policies::name(&policy) {
                    queue.wake(name, Instant::now());
                }
            }
        }
    }
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_hours(1)
}
