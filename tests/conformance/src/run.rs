//! Who runs when: planes side by side, cases of the shared plane side by side, the others in turn.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use palisade_sandbox::demo::BackendKind;
use palisade_sandbox::lab::process::{self, Process};
use tokio::sync::{Mutex, Semaphore};

use crate::case::{Case, Done, Needs, Place};
use crate::parts::Parts;
use crate::plane::{Plane, Start};
use crate::report::{Outcome, Verdict};
use crate::world::World;

/// No case takes longer; one that does says where it waits.
const CASE_LIMIT: Duration = Duration::from_mins(5);
/// Name of the shared controller.
pub const CONTROLLER: &str = "controller";

/// How to run the suite.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which back end.
    pub backend: BackendKind,
    /// Programs and files.
    pub parts: Parts,
    /// How many cases of the shared plane run side by side.
    pub lanes: usize,
    /// Also those that wait for minutes of real time.
    pub slow: bool,
    /// Say every result as it comes.
    pub verbose: bool,
}

/// Runs the cases and returns an outcome for each.
pub async fn run(options: &Options, cases: Vec<Case>) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let mut places: BTreeMap<Place, Vec<Case>> = BTreeMap::new();
    for case in cases {
        match reason_to_leave_out(options, &case) {
            Some(reason) => outcomes.push(Outcome::of(&case, options.backend, Verdict::LeftOut(reason), 0.0)),
            None => places.entry(case.place).or_default().push(case),
        }
    }
    let mut of = |place: Place| places.remove(&place).unwrap_or_default();
    let (shipped, shared, alone, openshift) =
        (of(Place::Shipped), of(Place::Shared), of(Place::Alone), of(Place::OpenShift));
    let (first, second) = futures::join!(shared_plane(options, shipped, shared), own_planes(options, alone, openshift));
    outcomes.extend(first?);
    outcomes.extend(second?);
    Ok(outcomes)
}

fn reason_to_leave_out(options: &Options, case: &Case) -> Option<String> {
    if let (Needs::Real(why), BackendKind::Sandbox) = (case.needs, options.backend) {
        return Some(format!("the sandbox leaves it to the real control plane: {why}"));
    }
    if let (Some(why), false) = (case.slow, options.slow) {
        return Some(format!("slow, runs with --slow only: {why}"));
    }
    let path = options.parts.fixtures.join(case.fixture?);
    (!path.exists())
        .then(|| format!("FIXTURE MISSING: {} is not there; name its folder with --fixtures", path.display()))
}

async fn shared_plane(options: &Options, shipped: Vec<Case>, shared: Vec<Case>) -> anyhow::Result<Vec<Outcome>> {
    if shipped.is_empty() && shared.is_empty() {
        return Ok(Vec::new());
    }
    let plane = Plane::start(options.backend, "shared", &options.parts).await?;
    plane.install().await?;
    // Admission policies take a moment until they are in force.
    plane.apply_file(&options.parts.deploy.join("admission/nodehealthcheck-deletion.yaml")).await?;
    let controller = plane.controller(&Start { name: CONTROLLER.to_owned(), ..Start::default() })?;
    let mut outcomes = side_by_side(options, &plane, shipped).await;
    if !shared.is_empty() {
        let probe = crate::cases::lenient_probe();
        plane.loosen(&|rule| rule.contains("duration('60s')"), &probe).await?;
        outcomes.extend(side_by_side(options, &plane, shared).await);
    }
    if outcomes.iter().any(|outcome| matches!(outcome.verdict, Verdict::Failed(_))) {
        slow_passes(&controller);
    }
    outcomes.extend(died(options, controller));
    plane.stop().await;
    Ok(outcomes)
}

/// Says which passes of the controller took long: a case that was late may have waited for one.
fn slow_passes(controller: &Process) {
    let log = std::fs::read_to_string(&controller.log).unwrap_or_default();
    for line in log.lines().filter(|line| line.contains("a slow pass")).take(20) {
        eprintln!("controller: {line}");
    }
}

/// A controller that died, or panicked, is a failure of its own: cases may have passed all the same.
fn died(options: &Options, mut controller: Process) -> Option<Outcome> {
    let ended = controller.try_ended().map(process::describe);
    let log = std::fs::read_to_string(&controller.log).unwrap_or_default();
    let panic = log.lines().find(|line| line.contains("panicked at")).map(str::to_owned);
    let why = ended.or(panic)?;
    let last = process::tail(&controller.log, 10).join("\n");
    let case =
        crate::case::case("controller", crate::case::Tag::Keep, "8").given("the whole suite").run(async |_| Ok(()));
    let failure = format!("the shared controller did not survive: {why}\n{last}");
    Some(Outcome::of(&case, options.backend, Verdict::Failed(failure), 0.0))
}

async fn own_planes(options: &Options, alone: Vec<Case>, openshift: Vec<Case>) -> anyhow::Result<Vec<Outcome>> {
    if alone.is_empty() && openshift.is_empty() {
        return Ok(Vec::new());
    }
    let plane = Plane::start(options.backend, "alone", &options.parts).await?;
    plane.install().await?;
    let probe = crate::cases::lenient_probe();
    plane.loosen(&|rule| rule.contains("duration('60s')"), &probe).await?;
    let mut outcomes = Vec::new();
    for case in alone {
        outcomes.push(one(options, &plane, case).await);
    }
    if !openshift.is_empty() {
        crate::cases::openshift::install(&plane).await?;
        for case in openshift {
            outcomes.push(one(options, &plane, case).await);
        }
    }
    plane.stop().await;
    Ok(outcomes)
}

async fn side_by_side(options: &Options, plane: &Rc<Plane>, cases: Vec<Case>) -> Vec<Outcome> {
    let lanes = Semaphore::new(options.lanes.max(1));
    let mut locks: HashMap<&'static str, Rc<Mutex<()>>> = HashMap::new();
    let mut running = FuturesUnordered::new();
    // Those that have to wait for each other begin first.
    let mut cases = cases;
    cases.sort_by_key(|case| case.exclusive.is_none());
    for case in cases {
        let lock = case.exclusive.map(|what| Rc::clone(locks.entry(what).or_default()));
        let lanes = &lanes;
        running.push(async move {
            let _alone = match &lock {
                Some(lock) => Some(lock.lock().await),
                None => None,
            };
            // The semaphore is never closed.
            let _lane = lanes.acquire().await.ok();
            one(options, plane, case).await
        });
    }
    let mut outcomes = Vec::new();
    while let Some(outcome) = running.next().await {
        outcomes.push(outcome);
    }
    outcomes
}

async fn one(options: &Options, plane: &Rc<Plane>, case: Case) -> Outcome {
    let started = Instant::now();
    let result = std::panic::AssertUnwindSafe(play(plane, &case)).catch_unwind().await;
    let verdict = match result {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(error)) => Verdict::Failed(format!("{error:#}")),
        Err(_) => Verdict::Failed("the case itself panicked".to_owned()),
    };
    let outcome = Outcome::of(&case, options.backend, verdict, started.elapsed().as_secs_f64());
    if options.verbose {
        eprintln!("{}", outcome.line());
    }
    outcome
}

async fn play(plane: &Rc<Plane>, case: &Case) -> Done {
    let world = World::new(Rc::clone(plane), case.id).await?;
    let result = match tokio::time::timeout(CASE_LIMIT, (case.run)(Rc::clone(&world))).await {
        Ok(result) => result.and_then(|()| world.explained_all(case.id)),
        Err(_) => Err(anyhow::anyhow!("the case was not done after {CASE_LIMIT:?}")),
    };
    world.leave().await;
    result
}
