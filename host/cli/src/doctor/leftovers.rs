//! What was left behind: taints, intents, finalizers, leases. Pure.

use std::collections::BTreeSet;

use kube::ResourceExt;
use palisade_api::keys::{cluster, palisade, self_node};

use super::fix::Fix;
use super::look::Seen;
use super::{Finding, Weight};
use crate::explain::length;

/// A deletion that takes longer than this waits for somebody: the whole of a fencing takes minutes.
const STUCK: i64 = 600;

/// All of them.
pub fn find(seen: &Seen) -> Vec<Finding> {
    let mut found = taints(seen);
    found.extend(intents(seen));
    found.extend(finalizers(seen));
    found.extend(leases(seen));
    found
}

/// Taints that only a remediation sets, on nodes that none is about.
fn taints(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &seen.nodes {
        let name = node.name_any();
        if seen.is_remediated(&name) != Some(false) {
            continue;
        }
        for taint in node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default() {
            let value = taint.value.as_deref().unwrap_or_default();
            let ours = matches!(taint.key.as_str(), palisade::RELEASE_TAINT | self_node::TAINT)
                || (taint.key.as_str(), value) == (self_node::LEGACY_TAINT, self_node::LEGACY_TAINT_VALUE);
            let perhaps = (taint.key.as_str(), value) == (cluster::OUT_OF_SERVICE_TAINT, cluster::OUT_OF_SERVICE_VALUE);
            if !ours && !perhaps {
                continue;
            }
            let text = format!("{}:{}", taint.key, taint.effect);
            found.push(Finding {
                check: "orphan-taint",
                weight: Weight::Trouble,
                about: format!("node {name}"),
                what: format!("it carries the taint {text}, and no remediation is about it"),
                remedy: if ours {
                    format!("kubectl taint node {name} {text}-")
                } else {
                    format!("people set this taint too: ask, and if nobody needs it, kubectl taint node {name} {text}-")
                },
                fix: ours.then(|| Fix::Taint {
                    node: name.clone(),
                    key: taint.key.clone(),
                    effect: taint.effect.clone(),
                }),
            });
        }
    }
    found
}

/// Intents all of whose owners are gone.
fn intents(seen: &Seen) -> Vec<Finding> {
    let (Some(agents), Some(remediations)) = (&seen.agents, &seen.remediations) else { return Vec::new() };
    let uids: BTreeSet<&str> = remediations.iter().map(|one| one.uid.as_str()).collect();
    let orphan = |owner: &String| owner.rsplit('/').next().is_none_or(|uid| !uids.contains(uid));
    let intents = agents.iter().filter_map(|agent| Some((agent, agent.view.as_ref().ok()?.intent.as_ref()?)));
    intents
        .filter(|(_, intent)| intent.owners.iter().all(orphan))
        .map(|(agent, intent)| Finding {
            check: "orphan-intent",
            weight: Weight::Trouble,
            about: format!("node {}", agent.node),
            what: format!(
                "its lease carries a fence intent for boot {}, and none of its remediations exists any more ({})",
                intent.boot_id.as_str(),
                if intent.owners.is_empty() { "none named".to_owned() } else { intent.owners.join(", ") }
            ),
            remedy: "that boot ends as soon as its agent reads it; clear it if the node should live on".to_owned(),
            fix: Some(Fix::Intent { node: agent.node.clone(), uid: intent.uid.clone() }),
        })
        .collect()
}

fn finalizers(seen: &Seen) -> Vec<Finding> {
    let stuck = seen.remediations.iter().flatten().filter_map(|one| {
        let waited = seen.now.as_second() - one.deleted?.as_second();
        (waited > STUCK && !one.finalizers.is_empty()).then_some((one, waited))
    });
    stuck
        .map(|(one, waited)| Finding {
            check: "stuck-deletion",
            weight: Weight::Trouble,
            about: format!("{} {}", one.said.kind, one.said.path()),
            what: format!(
                "it was deleted {} ago and waits for {}",
                length(waited.unsigned_abs()),
                one.finalizers.join(", ")
            ),
            remedy: format!(
                "see why: palisade explain {}; its controller has to run and clean up, do not remove the finalizer before \
                 the node's taints and its lease are as they should be",
                one.said.node
            ),
            fix: None,
        })
        .collect()
}

/// Leases of agents whose node is gone.
fn leases(seen: &Seen) -> Vec<Finding> {
    let nodes: BTreeSet<String> = seen.nodes.iter().map(ResourceExt::name_any).collect();
    let gone = seen.agents.iter().flatten().filter(|agent| !nodes.contains(&agent.node));
    gone.filter(|agent| agent.renewed.is_none_or(|at| seen.now.as_second() - at.as_second() > STUCK))
        .map(|agent| Finding {
            check: "lease-without-node",
            weight: Weight::Note,
            about: format!("lease {}", agent.node),
            what: "its node does not exist, and nobody renews it".to_owned(),
            remedy: format!(
                "harmless; if the machine is surely gone: kubectl delete lease --namespace {} {}",
                palisade::NAMESPACE,
                agent.node
            ),
            fix: None,
        })
        .collect()
}
