//! From a dead node to a gated release, and back: the controller against the sandbox's API store.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{VICTIM, World, eventually, stays};
use palisade_api::{ProofKind, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_proven_dead_before_anything_is_released() {
    // Given a node with pods of every class,
    let mut world = World::start().await;
    world.pod("db-0", Some("StatefulSet")).await;
    world.pod("web", Some("ReplicaSet")).await;
    world.pod("log", Some("DaemonSet")).await;
    // when it falls silent and is remediated,
    world.agents.willing.store(false, Ordering::SeqCst);
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;

    // then first its stateful pod is marked, by a graceful deletion that nobody confirms,
    world.reaches("r1", Stage::Intended).await;
    assert!(world.is_terminating("db-0").await);
    assert!(world.taints().await.contains(&"remediation.medik8s.io/self-node-remediation".to_owned()));
    // and without promises nothing is released, however long it takes; the status says what is missing.
    stays("nothing is released without a proof", Duration::from_secs(4), || async {
        world.has_pod("db-0").await && world.has_pod("web").await && !world.is_terminating("web").await
    })
    .await;
    eventually("it names who has not promised", || async {
        let progress = world.remediation("r1").await.status.unwrap().palisade.unwrap();
        let waiting = progress.fencing.unwrap_or_default().waiting_for.unwrap_or_default();
        waiting.contains("n3") && waiting.contains("too young")
    })
    .await;
    let status = world.remediation("r1").await.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Pre-Reboot-Completed"));
    assert!(status.time_assumed_rebooted.is_some());

    // When the jury promises, the boot is proven dead and everything but the DaemonSet's pod is released.
    world.agents.willing.store(true, Ordering::SeqCst);
    world.completes("r1").await;
    assert!(!world.has_pod("db-0").await && !world.has_pod("web").await && world.has_pod("log").await);
    let status = world.remediation("r1").await.status.unwrap();
    let certificate = status.palisade.unwrap().certificate.unwrap();
    assert_eq!((certificate.proof, certificate.boot_id.as_str()), (ProofKind::LeaseExpired, "b1"));
    assert!(certificate.jurors.len() >= 2);
    let succeeded = status.conditions.iter().find(|condition| condition.type_ == "Succeeded").unwrap();
    assert_eq!((succeeded.status.as_str(), succeeded.reason.as_str()), ("True", "RemediationFinishedSuccessfully"));

    // When the node is back and the remediation is deleted, everything is taken back.
    world.boot("b2").await;
    world.reaches("r1", Stage::Recovered).await;
    world.delete("r1").await;
    world.vanishes("r1").await;
    assert_eq!(world.taints().await, Vec::<String>::new());
    assert_eq!(world.intent().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_22_killing_the_controller_at_every_step_changes_nothing() {
    for stage in [Stage::Started, Stage::Marked, Stage::Intended, Stage::Promised, Stage::Proven, Stage::Released] {
        let mut world = World::start().await;
        world.pod("db-0", Some("StatefulSet")).await;
        world.pod("web", Some("ReplicaSet")).await;
        world.silence().await;
        world.remediate("r1", "ResourceDeletion").await;
        world.reaches("r1", stage).await;
        world.restart_controller().await;
        world.completes("r1").await;
        assert!(!world.has_pod("db-0").await && !world.has_pod("web").await, "killed at {stage}");
        let stages = world.stages("r1").await;
        for told in [Stage::Intended, Stage::Proven, Stage::Released] {
            assert_eq!(stages.iter().filter(|known| **known == told).count(), 1, "killed at {stage}: {stages:?}");
        }
        world.boot("b2").await;
        world.delete("r1").await;
        world.restart_controller().await;
        world.vanishes("r1").await;
        assert_eq!((world.taints().await, world.intent().await), (vec![], None), "killed at {stage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_is_killed_again_and_again_gets_there() {
    let mut world = World::start().await;
    world.pod("db-0", Some("StatefulSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    for pause in [30, 70, 110, 160, 220, 350, 500, 800, 1_300] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        world.restart_controller().await;
    }
    world.completes("r1").await;
    assert!(!world.has_pod("db-0").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_controllers_at_once_do_the_work_of_one() {
    let mut world = World::start().await;
    world.start_controller();
    world.pod("db-0", Some("StatefulSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.completes("r1").await;
    assert!(!world.has_pod("db-0").await);
    world.boot("b2").await;
    world.delete("r1").await;
    world.vanishes("r1").await;
    assert_eq!((world.taints().await, world.intent().await), (vec![], None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_1_a_node_that_is_back_with_a_new_boot_is_left_alone() {
    let mut world = World::start().await;
    world.agents.willing.store(false, Ordering::SeqCst);
    world.pod("db-0", Some("StatefulSet")).await;
    let web = world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    // When the node is back before any other proof,
    world.boot("b2").await;
    world.reaches("r1", Stage::Proven).await;
    // then the marked pod waits for its kubelet,
    assert!(world.is_terminating("db-0").await);
    world.confirm_marked().await;
    world.completes("r1").await;
    // and the other one was never touched.
    assert_eq!(world.pods().get("web").await.unwrap().metadata.uid, web.metadata.uid);
    assert!(!world.is_terminating("web").await);
    let certificate = world.remediation("r1").await.status.unwrap().palisade.unwrap().certificate.unwrap();
    assert_eq!((certificate.proof, certificate.new_boot_id.as_deref()), (ProofKind::BootChanged, Some("b2")));
    assert!(!world.taints().await.contains(&"palisade.dev/released".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_proves_the_end_without_any_promise() {
    let mut world = World::start().await;
    world.agents.willing.store(false, Ordering::SeqCst);
    world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    let intent = world.intent().await.unwrap();
    let client = world.client.clone();
    world.agents.acknowledge(&client, &intent).await;
    world.completes("r1").await;
    assert!(!world.has_pod("web").await);
    let certificate = world.remediation("r1").await.status.unwrap().palisade.unwrap().certificate.unwrap();
    assert_eq!(certificate.proof, ProofKind::AgentAcknowledged);
    assert!(certificate.waited.unwrap().to_std() >= Duration::from_millis(2 * common::agent::WATCHDOG_MILLIS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_out_of_service_taint_comes_after_the_proof_and_goes_before_the_end() {
    let world = World::start().await;
    world.agents.willing.store(false, Ordering::SeqCst);
    world.pod("db-0", Some("StatefulSet")).await;
    world.silence().await;
    // Given a pod that somebody's finalizer keeps,
    world.finalize("db-0", true).await;
    world.remediate("r1", "OutOfServiceTaint").await;
    world.reaches("r1", Stage::Intended).await;
    let tainted = || async { world.taints().await.contains(&"node.kubernetes.io/out-of-service".to_owned()) };
    stays("no taint before the proof", Duration::from_secs(3), || async { !tainted().await }).await;
    world.agents.willing.store(true, Ordering::SeqCst);
    eventually("the taint is set", tainted).await;
    // and stays as long as the pod does.
    stays("the taint stays", Duration::from_secs(2), tainted).await;
    world.finalize("db-0", false).await;
    world.completes("r1").await;
    assert!(!tainted().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_remediation_before_the_proof_is_an_abort() {
    let world = World::start().await;
    world.agents.willing.store(false, Ordering::SeqCst);
    world.pod("db-0", Some("StatefulSet")).await;
    world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    world.delete("r1").await;
    world.vanishes("r1").await;
    world.agents.willing.store(true, Ordering::SeqCst);
    assert_eq!((world.taints().await, world.intent().await), (vec![], None));
    stays("nothing is released afterwards", Duration::from_secs(4), || async {
        world.is_terminating("db-0").await && world.has_pod("web").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_10_an_intent_that_was_cleared_is_written_anew_with_another_uid() {
    let world = World::start().await;
    world.agents.willing.store(false, Ordering::SeqCst);
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    let first = world.intent().await.unwrap();
    world.clear_intent().await;
    eventually("another intent", || async { world.intent().await.is_some_and(|uid| uid != first) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_remediations_of_one_node_share_intent_and_taint() {
    let mut world = World::start().await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.remediate("r2", "ResourceDeletion").await;
    world.completes("r1").await;
    world.completes("r2").await;
    world.boot("b2").await;
    world.delete("r1").await;
    world.vanishes("r1").await;
    assert!(world.taints().await.contains(&"remediation.medik8s.io/self-node-remediation".to_owned()));
    assert!(world.intent().await.is_some());
    world.delete("r2").await;
    world.vanishes("r2").await;
    assert_eq!((world.taints().await, world.intent().await), (vec![], None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remediation_whose_detector_gave_up_begins_nothing() {
    let world = World::start().await;
    world.agents.willing.store(false, Ordering::SeqCst);
    world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    world.annotate("r1", "remediation.medik8s.io/nhc-timed-out", "2026-01-01T00:00:00Z").await;
    eventually("it stands down", || async {
        let conditions = world.remediation("r1").await.status.unwrap().conditions;
        conditions.iter().any(|known| known.type_ == "Succeeded" && known.reason == "RemediationTimeoutByNHC")
    })
    .await;
    world.agents.willing.store(true, Ordering::SeqCst);
    stays("nothing is released", Duration::from_secs(4), || async { world.has_pod("web").await }).await;
    // What it put on the node stays until it is deleted.
    assert!(!world.taints().await.is_empty());
    world.delete("r1").await;
    world.vanishes("r1").await;
    assert_eq!((world.taints().await, world.intent().await), (vec![], None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_agent_is_not_touched() {
    let world = World::start().await;
    world.leases().delete(VICTIM, &kube::api::DeleteParams::default()).await.unwrap();
    world.pod("db-0", Some("StatefulSet")).await;
    world.remediate("r1", "ResourceDeletion").await;
    eventually("it says why", || async {
        let error = world.remediation("r1").await.status.unwrap_or_default().last_error.unwrap_or_default();
        error.contains("no agent lease")
    })
    .await;
    let remediation = world.remediation("r1").await;
    assert_eq!(remediation.metadata.finalizers, None);
    assert_eq!(world.taints().await, Vec::<String>::new());
    assert!(!world.is_terminating("db-0").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_of_life_after_the_deadline_withdraws_everything_also_over_a_restart() {
    let mut world = World::start().await;
    world.agents.willing.store(false, Ordering::SeqCst);
    world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    // Given that D is past, when the old boot's kubelet is heard again, and only then the jury promises,
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.patch_ready(VICTIM, "Unknown", Some("b1")).await;
    world.agents.willing.store(true, Ordering::SeqCst);
    // then nothing is released,
    world.reaches("r1", Stage::Contradicted).await;
    let untouched = || async { world.has_pod("web").await };
    stays("nothing is released", Duration::from_secs(2), untouched).await;
    // nor by a controller that did not hear it itself,
    world.restart_controller().await;
    stays("nothing is released after a restart", Duration::from_secs(6), || async { world.has_pod("web").await }).await;
    assert!(!world.stages("r1").await.contains(&Stage::Released));
    // until the node names another boot, which ends the remediation without force.
    world.boot("b2").await;
    world.completes("r1").await;
    assert!(world.has_pod("web").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fencing_ends_with_its_remediation_however_that_went() {
    let world = World::start().await;
    world.agents.willing.store(false, Ordering::SeqCst);
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    // When somebody takes the finalizer away by hand and the object vanishes before any controller has cleaned up,
    world.drop_finalizers("r1").await;
    world.delete("r1").await;
    world.vanishes("r1").await;
    world.clear_intent().await;
    // then nobody fences the node again.
    stays("no intent without a remediation", Duration::from_secs(6), || async { world.intent().await.is_none() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_release_the_fencing_only_looks_and_tells_what_it_sees() {
    let world = World::start().await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.completes("r1").await;
    // When the old boot is heard after all, the proof is withdrawn, loudly,
    world.patch_ready(VICTIM, "Unknown", Some("b1")).await;
    eventually("the contradiction is told", || async {
        let status = world.remediation("r1").await.status.unwrap();
        status.conditions.iter().any(|known| known.type_ == "Contradicted" && known.status == "True")
            && status.palisade.unwrap().certificate.is_none()
    })
    .await;
    // and an intent that goes is not written again.
    world.clear_intent().await;
    stays("no further intent", Duration::from_secs(6), || async { world.intent().await.is_none() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_node_is_not_marked_again_when_its_intent_goes() {
    let world = World::start().await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.completes("r1").await;
    world.clear_intent().await;
    stays("no further intent", Duration::from_secs(6), || async { world.intent().await.is_none() }).await;
}
