//! What an uninstallation may not leave behind: looked for by name in every kind that the API server serves.

use std::time::Duration;

use anyhow::ensure;
use palisade_bench::wait;

use crate::readme::Readme;

/// How long it may take.
const LIMIT: Duration = Duration::from_mins(2);
/// Words that only we, and the products whose names we keep, write into names and keys.
///
/// The lab's volumes are the lab's: see [`LAB`].
const OURS: &[&str] = &["palisade", "medik8s", "self-node-remediation", "node-healthcheck"];

/// The driver of the volumes that the test itself brings.
const LAB: &str = "csi.lab.palisade.dev";

/// Nodes carry no taint, label or annotation of ours.
pub async fn on_nodes(readme: &Readme, annotations_too: bool) -> anyhow::Result<()> {
    let fields = if annotations_too {
        "{.spec.taints}{.metadata.annotations}{.spec.unschedulable}"
    } else {
        "{.spec.taints}{.spec.unschedulable}"
    };
    let said = readme
        .shell(&format!(
            "kubectl get nodes -o jsonpath='{{range .items[*]}}{{.metadata.name}} {fields}{{\"\\n\"}}{{end}}'"
        ))
        .await?;
    let left: Vec<&str> = said
        .lines()
        .filter(|line| {
            OURS.iter().any(|word| line.contains(word)) || line.contains("out-of-service") || line.ends_with("true")
        })
        .collect();
    ensure!(left.is_empty(), "nodes still carry something of ours:\n{}", left.join("\n"));
    Ok(())
}

/// No object of any kind has a name of ours.
pub async fn anywhere(readme: &Readme) -> anyhow::Result<()> {
    let script = "kubectl api-resources --verbs=list -o name | grep -v '^events' | sort -u | \
        xargs -I KIND sh -c 'kubectl get KIND --all-namespaces --ignore-not-found -o name 2>/dev/null | sed s,^,KIND:, || true'";
    // Discovery and garbage collection take some seconds.
    wait::until(LIMIT, "nothing of ours is left", async || {
        let said = readme.shell(script).await?;
        ensure!(said.lines().count() > 20, "the search found nothing at all: {said}");
        let ours = |line: &&str| OURS.iter().any(|word| line.contains(word)) && !line.ends_with(LAB);
        let left: Vec<&str> = said.lines().filter(ours).collect();
        Ok(if left.is_empty() { Ok(()) } else { Err(left.join("\n")) })
    })
    .await
}
