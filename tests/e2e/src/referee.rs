//! The referee is worth something only if it sees a foul.

use std::time::{Duration, Instant};

use palisade_sandbox::demo::Running;
use palisade_sandbox::lab::fault::Fault;

use crate::suite::Suite;

/// How long the node may take to look dead.
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
    let impatient = async {
        let silent = |world: &palisade_sandbox::demo::World| {
            let node = world.pods.get("ledger-0").and_then(|pod| world.nodes.get(&pod.node));
            if node.is_some_and(|node| node.ready == "Unknown") { Ok(()) } else { Err("the node is ready".to_owned()) }
        };
        shared.wait(LIMIT, silent, |_| ()).await?;
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
