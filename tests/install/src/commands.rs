//! The commands of people, on a real API server: holding back, looking again at a proof, seconds, the bundle.

use std::path::Path;

use anyhow::{Context, ensure};
use palisade_sandbox::lab::Lab;
use palisade_sandbox::lab::fault::Fault;

use crate::story::Stand;

/// A word that must not leave the cluster.
const PLANTED: &str = "hunter2-planted";

/// Given a node with a veto, when it fails, then it is not remediated, and explain names who and why; the same when its
/// policy is paused; and when both are taken back, it goes on.
pub async fn held_back(stand: &Stand, dir: &Path, lab: &Lab, node: &str) -> anyhow::Result<()> {
    let palisade = stand.palisade.display();
    // The veto stands in the Node before its condition changes, so nobody sees the one without the other.
    stand.readme.shell(&format!("{palisade} veto node/{node} --why 'its disk is read' --for 1h")).await?;
    stand.ask(dir, &["explain", node], 0, "its disk is read").await?;
    lab.inject(Fault::Isolate, std::slice::from_ref(&node.to_owned())).await?;
    stand.ask(dir, &["explain", node], 4, "its disk is read").await?;
    stand.readme.shell(&format!("{palisade} pause workers --why 'racks are moved'")).await?;
    stand.ask(dir, &["explain", node], 4, "racks are moved").await?;
    stand.readme.shell(&format!("{palisade} veto node/{node} --lift")).await?;
    let (code, said) = stand.readme.try_shell(&format!("{palisade} resume no-such-policy")).await?;
    ensure!(code == Some(1) && said.contains("no-such-policy"), "{code:?}: {said}");
    let resumed = stand.readme.shell(&format!("{palisade} resume workers")).await?;
    ensure!(resumed.contains("workers is not paused"), "{resumed}");
    eprintln!("    held back by a veto and by a pause, then let go");
    Ok(())
}

/// Given a proof of the real controller, then it holds, beside the cluster and in a file; changed in one word it does not.
pub async fn proof(stand: &Stand, dir: &Path, node: &str) -> anyhow::Result<()> {
    let said = stand.ask(dir, &["certificate", "verify", node], 0, "it holds").await?;
    eprintln!("    {}", said.lines().next().unwrap_or_default());
    ensure!(!said.contains("cannot be checked"), "its own controller wrote it:\n{said}");
    let kept = dir.join("remediation.yaml");
    stand
        .readme
        .shell(&format!("kubectl get selfnoderemediations --all-namespaces --output yaml > {}", kept.display()))
        .await?;
    let verify = format!("{} certificate verify --file", stand.palisade.display());
    stand.readme.shell(&format!("{verify} {}", kept.display())).await?;
    let changed = format!("sed 's/countedFor: .*/countedFor: 1ms/' {} | {verify} -", kept.display());
    let (code, said) = stand.readme.try_shell(&changed).await?;
    ensure!(code == Some(4) && said.contains("it does not hold"), "{code:?}: {said}");
    let (code, said) = stand.readme.try_shell(&format!("grep -v countedFor {} | {verify} -", kept.display())).await?;
    ensure!(code == Some(3) && said.contains("countedFor is not in the certificate"), "{code:?}: {said}");
    Ok(())
}

/// Then the seconds of this cluster are told from what its agents publish.
pub async fn seconds(stand: &Stand, dir: &Path) -> anyhow::Result<()> {
    let said = stand
        .ask(dir, &["failover-time", "--policy", "workers", "--node-monitor-grace", "6s"], 0, "published by the agent")
        .await?;
    ensure!(said.contains("isolated") && said.contains("LeaseExpired") && !said.contains("never"), "{said}");
    Ok(())
}

/// Given secrets in the cluster, then none is in the bundle; what cannot be read (the logs: these kubelets are played) is
/// noted, and the rest is there.
pub async fn bundle(stand: &Stand, dir: &Path, node: &str) -> anyhow::Result<()> {
    let file = dir.join("bundle.tar.gz");
    stand
        .readme
        .shell(&format!(
            "kubectl --namespace palisade-system create secret generic planted --from-literal=password={PLANTED}\n\
             kubectl annotate node {node} example.com/password={PLANTED} example.com/note='token={PLANTED}'"
        ))
        .await?;
    let (code, said) =
        stand.readme.try_shell(&format!("{} collect -o {}", stand.palisade.display(), file.display())).await?;
    ensure!(code == Some(3) && said.contains("bundle.tar.gz"), "{code:?}: {said}");
    let unpacked = dir.join("bundle");
    std::fs::create_dir_all(&unpacked)?;
    stand
        .readme
        .shell(&format!(
            "tar --extract --strip-components 1 --file {} --directory {}",
            file.display(),
            unpacked.display()
        ))
        .await?;
    let (code, found) = stand.readme.try_shell(&format!("grep -rl {PLANTED} {}", unpacked.display())).await?;
    ensure!(code == Some(1), "a secret is in the bundle: {found}");
    for (part, says) in [
        ("versions.json", "kubernetes"),
        ("nodes.json", node),
        ("nodes.json", "[REDACTED]"),
        ("status.json", "workers"),
        ("doctor.json", "findings"),
        ("objects/nodehealthchecks.remediation.medik8s.io.json", "workers"),
        ("leases/palisade-system.json", "palisade.dev/agent"),
        ("installation/deployments.json", "palisade-controller"),
        ("CONTENTS.txt", "nodes.json"),
    ] {
        let text = std::fs::read_to_string(unpacked.join(part)).with_context(|| part.to_owned())?;
        ensure!(text.contains(says), "{part} does not say {says:?}");
    }
    let (code, said) = stand.readme.try_shell(&format!("ls {}/logs/*.error.txt", unpacked.display())).await?;
    ensure!(code == Some(0), "the logs of played kubelets cannot have been read: {said}");
    let (code, said) =
        stand.readme.try_shell(&format!("{} collect -o {}", stand.palisade.display(), file.display())).await?;
    ensure!(code == Some(1) && said.contains("name another file"), "a file was overwritten: {code:?}: {said}");
    stand
        .readme
        .shell(&format!(
            "kubectl --namespace palisade-system delete secret planted\n\
             kubectl annotate node {node} example.com/password- example.com/note-"
        ))
        .await?;
    eprintln!("    collected, without what was planted");
    Ok(())
}
