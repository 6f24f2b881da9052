//! Stand-ins for the parts of a control plane that the sandbox does not have: node lifecycle, scheduler, StatefulSet
//! controller, attach/detach, and pod garbage collection. Each does what moving one workload needs, no more: the real
//! ones are what the real back end is there for.

mod attach;
mod lifecycle;
mod pods;
mod schedule;

use std::future::Future;
use std::time::Duration;

use kube::Client;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

pub use attach::attacher;

/// Pause between two passes of a stand-in.
const PACE: Duration = Duration::from_millis(300);

/// Starts all stand-ins; they end when the set is dropped. `grace` is the silence after which a node is Unknown.
pub fn start(client: &Client, grace: Duration) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(lifecycle::run(client.clone(), grace));
    let passes = client.clone();
    tasks.spawn(every("pod stand-ins", move || {
        let client = passes.clone();
        async move {
            pods::evict_and_collect(&client).await?;
            pods::recreate(&client).await?;
            schedule::bind_pending(&client).await
        }
    }));
    let passes = client.clone();
    tasks.spawn(every("attach/detach stand-in", move || {
        let client = passes.clone();
        async move { attach::attach_and_detach(&client).await }
    }));
    tasks
}

/// Repeats a pass for ever; conflicts and the like are settled by the next one.
async fn every<F, Fut>(what: &'static str, mut pass: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = kube::Result<()>>,
{
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        if let Err(error) = pass().await {
            tracing::debug!(what, %error, "pass failed");
        }
    }
}

/// Whether a conflict or a missing object made a write pointless: somebody else was there first.
fn outrun<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status))
            if status.is_not_found() || status.is_conflict() || status.is_already_exists() =>
        {
            Ok(())
        }
        other => other.map(drop),
    }
}
