//! The nodes: objects only, a handful of them as a bad night leaves them.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, ApiResource, GroupVersionKind, PostParams};
use serde_json::{Value, json};

/// Policies, their template and its remediator.
pub const POLICIES: &str = include_str!("../policies.yaml");
/// The nodes whose remediation asks people.
pub const ASKED: [&str; 2] = ["worker-00017", "worker-00042"];
/// So many are created at the same time.
const AT_A_TIME: usize = 48;

/// How their remediations are asked for.
pub fn remediation() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("palisade.dev", "v1alpha1", "WasmRemediation"),
        "wasmremediations",
    )
}

/// Creates them.
pub async fn create(client: &Client, nodes: usize) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let create = |number: usize| {
        let api = api.clone();
        async move {
            let node: Node = serde_json::from_value(body(number))?;
            api.create(&PostParams::default(), &node).await?;
            anyhow::Ok(())
        }
    };
    stream::iter((0..nodes).map(create)).buffer_unordered(AT_A_TIME).try_collect::<()>().await
}

fn body(number: usize) -> Value {
    let now = jiff_now(0);
    let (pool, name) = match number % 10 {
        7 | 2 if number < 100 => ("workers", format!("worker-{number:05}")),
        8 => ("batch", format!("batch-{number:05}")),
        9 if number % 100 == 99 => ("none", format!("spare-{number:05}")),
        _ => ("workers", format!("worker-{number:05}")),
    };
    let mut labels =
        json!({ "pool": pool, "topology.kubernetes.io/zone": format!("eu-{}", ["a", "b", "c"][number % 3]) });
    let mut annotations = json!({});
    let sick = ASKED.contains(&name.as_str()) || matches!(number, 63 | 64 | 88 | 1_288 | 199);
    match number {
        63 => labels["remediation.medik8s.io/exclude-from-remediation"] = json!("true"),
        64 => {
            annotations["palisade.dev/veto"] = json!(
                "owner=storage-team; until=2099-01-01T00:00:00Z; reason=disks are being copied <img src=x onerror=alert(1)>"
            );
        }
        _ => {}
    }
    let ready = json!({
        "type": "Ready", "status": if sick { "Unknown" } else { "True" },
        "reason": if sick { "NodeStatusUnknown" } else { "KubeletReady" }, "message": "",
        "lastHeartbeatTime": now, "lastTransitionTime": jiff_now(if sick { 420 } else { 86_400 }),
    });
    json!({
        "metadata": { "name": name, "labels": labels, "annotations": annotations },
        "status": {
            "conditions": [ready],
            "nodeInfo": {
                "architecture": "amd64", "bootID": format!("b1-{number:05}"), "containerRuntimeVersion": "containerd://2.1.0",
                "kernelVersion": "6.12.0", "kubeProxyVersion": "", "kubeletVersion": "v1.36.0",
                "machineID": format!("m-{number:05}"), "operatingSystem": "linux", "osImage": "Debian", "systemUUID": "",
            },
        },
    })
}

fn jiff_now(ago: i64) -> String {
    let now = jiff::Timestamp::now().as_second() - ago;
    jiff::Timestamp::from_second(now).unwrap_or_default().to_string()
}
