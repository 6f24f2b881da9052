//! Failures of others that became famous, one named test each: what happens there, and that it does not happen here.
//!
//! The issue numbers are those of the public tracker of the self node remediation in use today. These are the
//! controller's halves; the agent's are in `host/agent/tests/famous.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::agent::{TIME_TO_LIVE_MILLIS, WATCHDOG_MILLIS};
use common::{VICTIM, World, eventually, stays};
use palisade_api::{ProofKind, Stage};

/// Longer than every bound of the scripted agents: `T` 0.8 s, 2 `Wd` 0.8 s, margins.
const LONG_AFTER_D: Duration = Duration::from_secs(5);

async fn waiting_for(world: &World) -> String {
    let status = world.remediation("r1").await.status.unwrap_or_default();
    status.palisade.unwrap_or_default().fencing.unwrap_or_default().waiting_for.unwrap_or_default()
}

/// Waits until the status says all this about what is missing: it is put together again with every answer of a juror.
async fn waits_for(world: &World, parts: &[&str]) {
    eventually(&format!("it waits for {parts:?}"), || async {
        let waiting = waiting_for(world).await;
        parts.iter().all(|part| waiting.contains(part))
    })
    .await;
}

async fn succeeded(world: &World) -> String {
    let status = world.remediation("r1").await.status.unwrap_or_default();
    let found = status.conditions.into_iter().find(|known| known.type_ == "Succeeded");
    found.map(|known| known.status).unwrap_or_default()
}

/// **#251.** There: a control-plane node that still reaches its peers is never remediated, although the cluster calls it
/// unhealthy.
///
/// Here: the role does not matter. The node is asked by the intent, acknowledges, and its end is proven.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snr_251_a_control_plane_node_that_answers_everybody_is_remediated() {
    let mut world = World::start().await;
    world.label(VICTIM, "node-role.kubernetes.io/control-plane", "").await;
    // No proof by time: the node lives and is heard.
    world.agents.willing.store(false, Ordering::SeqCst);
    world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    let (intent, client) = (world.intent().await.unwrap(), world.client.clone());
    world.agents.acknowledge(&client, &intent).await;
    world.completes("r1").await;
    assert!(!world.has_pod("web").await);
    let certificate = world.remediation("r1").await.status.unwrap().palisade.unwrap().certificate.unwrap();
    assert_eq!(certificate.proof, ProofKind::AgentAcknowledged);
}

/// **#258.** There: the remediation waits a computed time and *assumes* the reboot; the maintainers say that a remote
/// reboot cannot be seen. A node that never rebooted is reported "Fencing-Completed", its pods deleted while they run.
///
/// Here: the kubelet of the same boot, heard after the deadline, contradicts the end. Nothing is released, no success is
/// reported, and the status says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snr_258_a_node_that_did_not_reboot_is_not_reported_as_fenced() {
    let mut world = World::start().await;
    let web = world.pod("web", Some("ReplicaSet")).await;
    // Heartbeats are stored in whole seconds, so the right to live must be longer than that, as it always is.
    let client = world.client.clone();
    world.agents.publish(&client, VICTIM, "b1", |record| record.terms.time_to_live_millis = 3_000).await;
    // Given a node that is unhealthy, whose agent does nothing, and whose kubelet goes on,
    world.patch_ready(VICTIM, "False", None).await;
    world.remediate("r1", "ResourceDeletion").await;
    // when its heartbeats go on beyond the deadline,
    eventually("the contradiction is told", || async {
        world.patch_ready(VICTIM, "False", Some("b1")).await;
        world.stages("r1").await.contains(&Stage::Contradicted)
    })
    .await;
    // then it is not declared dead, now or later.
    stays("nothing is released", Duration::from_secs(3), || async {
        world.pods().get("web").await.is_ok_and(|pod| pod.metadata.uid == web.metadata.uid)
            && !world.is_terminating("web").await
    })
    .await;
    let status = world.remediation("r1").await.status.unwrap();
    assert_eq!(status.palisade.unwrap().certificate, None);
    assert_ne!(status.phase.as_deref(), Some("Fencing-Completed"));
    assert_ne!(succeeded(&world).await, "True");
}

/// **#261, #268.** There: the network of a node is lost completely, the remediation says "Fencing-Completed" and
/// assumes the reboot; the node did not reboot, because its agent knew no peers and so took itself for healthy.
///
/// Here: what an agent does in isolation is published while it is healthy. Where its lease does not claim that it fences
/// itself, silence proves nothing, however long it lasts; the status says what is missing and what would help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snr_261_the_silence_of_a_node_that_does_not_fence_itself_releases_nothing() {
    let mut world = World::start().await;
    let client = world.client.clone();
    world
        .agents
        .publish(&client, VICTIM, "b1", |record| {
            record.terms.jury.clear();
            record.terms.claims.self_fences = false;
        })
        .await;
    world.pod("web", Some("ReplicaSet")).await;
    world.pod("db-0", Some("StatefulSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    stays("nothing is released", LONG_AFTER_D, || async {
        world.has_pod("web").await && world.has_pod("db-0").await && !world.is_terminating("web").await
    })
    .await;
    waits_for(&world, &["did not claim to fence itself", "power off"]).await;
    assert_eq!(succeeded(&world).await, "Unknown");
    // When the node is back with a new boot, that is a proof, and nothing had to be forced.
    world.boot("b2").await;
    world.confirm_marked().await;
    world.completes("r1").await;
    assert!(world.has_pod("web").await);
}

/// **#312.** There: `minPeersForRemediation` is rendered and never read.
///
/// Here: it is part of what the agent publishes, and a jury below it gives no proof by time, whatever else is claimed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snr_312_a_jury_below_the_minimum_gives_no_proof_by_time() {
    let mut world = World::start().await;
    let client = world.client.clone();
    world.agents.publish(&client, VICTIM, "b1", |record| record.terms.min_peers = 4).await;
    world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    stays("nothing is released", LONG_AFTER_D, || async { world.has_pod("web").await }).await;
    waits_for(&world, &["smaller than minPeersForRemediation"]).await;
}

/// **#325, #339.** There: an isolated control-plane node may take itself for healthy by its own diagnostics, and its
/// workloads are released all the same after the computed time.
///
/// Here: a node that may exempt itself says so in its lease, and then its silence proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snr_325_a_control_plane_node_that_may_exempt_itself_is_not_declared_dead_by_time() {
    let mut world = World::start().await;
    let client = world.client.clone();
    world.label(VICTIM, "node-role.kubernetes.io/control-plane", "").await;
    world.agents.publish(&client, VICTIM, "b1", |record| record.terms.claims.may_exempt = true).await;
    world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    stays("nothing is released", LONG_AFTER_D, || async { world.has_pod("web").await }).await;
    waits_for(&world, &["exempt itself", "what would unblock it"]).await;
}

/// **#332.** There: the published watchdog timeout is always 0, so the wait is too short by the whole watchdog.
///
/// Here: the bound is `T` plus twice the timeout that the opened device named, plus a margin; the certificate shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snr_332_the_wait_contains_the_real_watchdog_twice() {
    let world = World::start().await;
    world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.completes("r1").await;
    let progress = world.remediation("r1").await.status.unwrap().palisade.unwrap();
    let certificate = progress.certificate.unwrap();
    assert_eq!(certificate.watchdog_timeout.unwrap().to_std(), Duration::from_millis(WATCHDOG_MILLIS));
    let bound = Duration::from_millis(TIME_TO_LIVE_MILLIS + 2 * WATCHDOG_MILLIS);
    assert!(certificate.waited.unwrap().to_std() + Duration::from_secs(1) >= bound);
    assert!(certificate.margin.unwrap().to_std() > Duration::ZERO);
}

/// **#354.** There: a whole rack is cut off and keeps itself alive, while the healthy side deletes its pods and volume
/// attachments after the computed time.
///
/// Here: without the promises of a majority of the node's own jury nothing is released by time. With two of three
/// jurors behind the cut, the controller waits and names them; one of them in reach is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snr_354_nothing_is_released_while_the_majority_of_the_jury_is_behind_the_cut() {
    let world = World::start().await;
    world.agents.refusing.lock().unwrap().extend(["n2".to_owned(), "n3".to_owned()]);
    world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    stays("nothing is released", LONG_AFTER_D, || async { world.has_pod("web").await }).await;
    waits_for(&world, &["1 of 3", "n2", "n3"]).await;
    world.agents.refusing.lock().unwrap().remove("n3");
    world.completes("r1").await;
    assert!(!world.has_pod("web").await);
}

/// **The measured race** (5 of 5 nodes). There: with the out-of-service taint the remediation asks only whether any pod
/// *is terminating*. Where none is terminating yet when the wait ends, the taint is withdrawn 30 to 70 ms after it was
/// set, before any other controller acts on it; success is reported, and every pod is still there.
///
/// Here: the taint stays until every pod that it has to free is gone, and only then success is reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measured_race_the_out_of_service_taint_stays_until_the_pods_are_gone() {
    let world = World::start().await;
    for name in ["web-1", "web-2"] {
        world.pod(name, Some("ReplicaSet")).await;
    }
    world.silence().await;
    world.remediate("r1", "OutOfServiceTaint").await;
    let tainted = || async { world.taints().await.contains(&"node.kubernetes.io/out-of-service".to_owned()) };
    eventually("the taint is set", tainted).await;
    // Given that no pod is terminating yet when the wait ends, the taint outlives 50 times the measured 70 ms.
    stays("the taint stays", Duration::from_millis(3_500), || async {
        tainted().await && !world.is_terminating("web-1").await && succeeded(&world).await == "Unknown"
    })
    .await;
    // When Kubernetes has taken one of two pods away, it still stays;
    world.take("web-1").await;
    stays("the taint stays for the other", Duration::from_secs(2), || async {
        tainted().await && succeeded(&world).await == "Unknown"
    })
    .await;
    // with the last one it goes, and that is the success.
    world.take("web-2").await;
    world.completes("r1").await;
    assert!(!tainted().await);
    assert_eq!(succeeded(&world).await, "True");
}
