//! A certificate against what Node and agent lease say now.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::{Client, ResourceExt};
use palisade_api::{FencingCertificate, ProofKind};
use palisade_core::fencing::record::LeaseView;

use super::checks::{List, terms};
use super::{Check, Claim};
use crate::connect::answer;
use crate::explain::ready;

/// What there is now.
#[derive(Debug, Default)]
pub struct Reality {
    /// The Node; none if there is none.
    pub node: Option<Node>,
    /// The lease of its agent.
    pub lease: Option<Lease>,
    /// What could not be read.
    pub gaps: Vec<String>,
}

/// Reads it, as far as the caller may.
pub async fn read(client: &Client, namespace: &str, certificate: &FencingCertificate) -> Reality {
    let mut reality = Reality::default();
    match answer(Api::all(client.clone()).get_opt(&certificate.node)).await {
        Ok(node) => reality.node = node,
        Err(error) => reality.gaps.push(format!("Node {} cannot be read: {error:#}", certificate.node)),
    }
    match answer(Api::namespaced(client.clone(), namespace).get_opt(&certificate.node)).await {
        Ok(lease) => reality.lease = lease,
        Err(error) => reality.gaps.push(format!("Lease {namespace}/{} cannot be read: {error:#}", certificate.node)),
    }
    reality
}

/// What it says of the certificate.
pub fn compare(reality: &Reality, claim: &Claim, certificate: &FencingCertificate) -> Vec<Check> {
    let mut list = List::default();
    for gap in &reality.gaps {
        list.missing("cluster", gap.clone());
    }
    if reality.gaps.is_empty() {
        node(&mut list, reality.node.as_ref(), claim, certificate);
        lease(&mut list, reality.lease.as_ref(), certificate);
    }
    list.into_checks()
}

fn node(list: &mut List, node: Option<&Node>, claim: &Claim, certificate: &FencingCertificate) {
    let Some(node) = node else {
        return list.beyond("boot now", format!("there is no Node {} any more", certificate.node));
    };
    let taken_up = claim.remediation.as_ref().and_then(|one| one.progress.as_ref()?.node_uid.clone());
    if let (Some(then), Some(now)) = (taken_up, node.uid())
        && then != now
    {
        return list.beyond("boot now", format!("the Node of that name is another object (UID {now}, then {then})"));
    }
    let boot =
        node.status.as_ref().and_then(|status| status.node_info.as_ref()).map_or("", |info| info.boot_id.as_str());
    if boot != certificate.boot_id {
        let what = if boot.is_empty() {
            "the Node names no boot".to_owned()
        } else {
            format!("the Node names boot {boot}: the old one has ended")
        };
        return if boot.is_empty() { list.beyond("boot now", what) } else { list.judge("boot now", true, what) };
    }
    if certificate.proof == ProofKind::BootChanged {
        return list.judge("boot now", false, format!("the Node names the old boot {boot} again"));
    }
    let is_ready = ready(node).is_some_and(|(status, ..)| status == "True");
    if is_ready {
        return list.judge(
            "boot now",
            false,
            format!("the Node is Ready and names boot {boot}, whose end is certified: it shows life"),
        );
    }
    list.judge("boot now", true, format!("the Node still names boot {boot} and is not Ready"));
    // Stamps of the node's own clock, whose value nobody vouches for: told, not judged.
    if let Some(heard) = heard(node)
        && heard > certificate.proven_at.0
    {
        list.beyond("heartbeat", format!(
            "by the node's own clock its kubelet was heard {heard}, after provenAt {}: its clock is ahead, or it lived on",
            certificate.proven_at.0
        ));
    }
}

fn heard(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|one| one.type_ == "Ready")?.last_heartbeat_time.as_ref().map(|time| time.0)
}

fn lease(list: &mut List, lease: Option<&Lease>, certificate: &FencingCertificate) {
    let Some(uid) = certificate.lease_uid.as_deref() else {
        return list.beyond("lease now", "leaseUid is not in the certificate".to_owned());
    };
    let Some(lease) = lease.filter(|lease| lease.metadata.uid.as_deref() == Some(uid)) else {
        return list.beyond("lease now", format!("the agent lease {uid} is gone"));
    };
    let view = match LeaseView::from_annotations(lease.annotations()) {
        Ok(view) => view,
        Err(error) => return list.missing("lease now", error.to_string()),
    };
    let intent = view.intent.as_ref().filter(|intent| Some(intent.uid.as_str()) == certificate.intent_uid.as_deref());
    let Some(intent) = intent else {
        return list.beyond(
            "lease now",
            "the lease no longer carries this intent: it is cleared when the remediation lets go".to_owned(),
        );
    };
    list.judge(
        "intent boot",
        intent.boot_id.as_str() == certificate.boot_id,
        format!("the intent in the lease is for boot {}", intent.boot_id),
    );
    match terms(certificate) {
        Some(certified) => {
            let there = &intent.terms;
            let same = certified.time_to_live() == there.time_to_live()
                && certified.reset_bound() == there.reset_bound()
                && certified.claims == there.claims
                && certified.min_peers == there.min_peers
                && there.jury.iter().all(|juror| certified.jury.contains(juror))
                && certified.jury.iter().all(|juror| there.jury.contains(juror))
                && certified.watchdog.as_ref().map(|one| one.resets) == there.watchdog.as_ref().map(|one| one.resets);
            list.judge(
                "terms now",
                same,
                format!(
                    "the intent in the lease says time to live {}s, reset {}s, jury {}; the certificate {}",
                    there.time_to_live().as_secs_f64(),
                    there.reset_bound().as_secs_f64(),
                    there.jury.join(", "),
                    if same { "the same" } else { "something else" }
                ),
            );
        }
        None => list
            .beyond("terms now", "the certificate does not carry the terms; an older controller wrote it".to_owned()),
    }
    let Some(record) = view.record.filter(|record| record.boot_id == intent.boot_id) else { return };
    let obeyed = record.acknowledged.as_deref() == Some(intent.uid.as_str());
    if !obeyed && record.sequence > intent.based_on_sequence {
        list.judge(
            "agent now",
            false,
            format!(
                "the agent of the old boot wrote its lease after the intent (sequence {}, intent based on {})",
                record.sequence, intent.based_on_sequence
            ),
        );
    } else if certificate.proof == ProofKind::AgentAcknowledged {
        list.judge(
            "agent now",
            obeyed,
            format!(
                "the record of the old boot {} intent {}",
                if obeyed { "acknowledges" } else { "does not acknowledge" },
                intent.uid
            ),
        );
    }
}
