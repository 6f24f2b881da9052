//! The referee is worth something only if it sees a foul.

use std::time::{Duration, Instant};

use palisade_sandbox::demo::Running;
use palisade_sandbox::lab::fault::Fault;

use crate::suite::Suite;

/// How long the fault may take to reach its node.
const LIMIT: Duration = Duration::from_mins(2);

/// Given a dead kubelet whose pods run on, when somebody force-deletes the pod without any proof, as impatient people
/// do, then the oracle says that it ran twice.
pub async fn sees_a_foul(suite: &mut Suite, running: &mut Running) {
    let started = Instant::now();
    let result = foul(suite, running).await;
    suite.note("referee: a pod that is deleted by force before its node's end is seen running twice", started, result);
}

async fn foul(suite: &Suite, running: &mut Running) -> Result<(), String> {
    running.scenario.fault = Fault::Kubelet;
    let namespace = running.scenario.namespace();
    let shared = running.shared.clone();
    // An earlier fault of this lab is not the one to wait for.
    shared.write(|world| world.hit.clear());
    let impatient = async {
        // At once: until the node is detected and fenced there are many seconds in which the second pod can start.
        let hit = |world: &palisade_sandbox::demo::World| {
            if world.hit.is_empty() { Err("no node is hit".to_owned()) } else { Ok(()) }
        };
        shared.wait(LIMIT, hit, |_| ()).await?;
        suite.kubectl(&["delete", "pod", "-n", &namespace, "ledger-0", "--force", "--grace-period=0"]).await?;
        suite.kubectl(&["delete", "volumeattachment", "--all"]).await
    };
    let (played, foul) = tokio::join!(Box::pin(running.play()), impatient);
    foul?;
    let outcome = running.outcome(played.map_err(|error| format!("{error:#}")), 0.0);
    if outcome.passed || outcome.oracle.violations.is_empty() {
        return Err(format!("nobody noticed: {:?}", outcome.failures));
    }
    Ok(())
}
