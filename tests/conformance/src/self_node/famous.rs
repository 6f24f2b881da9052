//! The measured race on the real control plane, where Kubernetes' own controllers may act on the taint.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use super::know;
use super::subject::OUT_OF_SERVICE;
use crate::case::Tag::Fix;
use crate::case::{Case, case};
use crate::node::State::Sick;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        // There (measured on 5 of 5 nodes): no pod is terminating yet when the wait ends, so the taint is withdrawn 30
        // to 70 ms after it was set, success is reported, and every pod is still there.
        case("S12", Fix, "8")
            .given("strategy OutOfServiceTaint, and no pod is terminating when the taint is set")
            .then("the taint stays until the pod is gone (not for 70 ms), and only then success is reported")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                w.pod(&trio.victim.node, "web", "ReplicaSet", json!([])).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "OutOfServiceTaint").await?;
                trio.victim.tainted(OUT_OF_SERVICE, true).await?;
                tokio::time::sleep(Duration::from_secs(4)).await;
                ensure!(w.pod_now("web").await? == (true, false), "the pod is terminating, so this shows nothing");
                ensure!(trio.victim.taints().contains(&OUT_OF_SERVICE.to_owned()), "the taint was withdrawn");
                let object = snr.now().await?;
                ensure!(object["status"]["phase"] == "Reboot-Completed", "it is {}", object["status"]["phase"]);
                let now = kube::api::DeleteParams::default().grace_period(0);
                w.plane.api("Pod", &w.name)?.delete("web", &now).await?;
                snr.reaches("Fencing-Completed").await?;
                trio.victim.tainted(OUT_OF_SERVICE, false).await
            }),
    ]
}
