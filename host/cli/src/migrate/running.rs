//! What is under way, and what only those who began it would take back: remediations, leases, taints, annotations. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use palisade_api::keys::{cluster, node_health_check, remediation, self_node};
use palisade_api::reasons::phase;
use serde_json::Value;

use super::look::{Object, Seen};
use super::objects::is_ours;
use super::{Item, Section};

/// All findings.
pub fn find(seen: &Seen) -> Vec<Item> {
    let remediations: Vec<&Object> =
        seen.objects.iter().filter(|object| object.kind.ends_with("Remediation")).collect();
    let mut found: Vec<Item> = remediations.iter().filter_map(|one| of_remediation(one)).collect();
    found.extend(other_finalizers(seen));
    found.extend(leases(seen));
    found.extend(nodes(seen, &remediations));
    found.extend(machine_health_checks(seen));
    found
}

/// The node that a remediation is about.
fn node_of(object: &Object) -> &str {
    let annotations = object.value.pointer("/metadata/annotations");
    let named = annotations.and_then(|all| all.get(remediation::NODE_NAME)).and_then(Value::as_str);
    named.unwrap_or(&object.name)
}

fn condition<'a>(object: &'a Object, wanted: &str) -> &'a str {
    let all = object.value.pointer("/status/conditions").and_then(Value::as_array);
    let found = all.into_iter().flatten().find(|condition| condition["type"] == wanted);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}

fn of_remediation(object: &Object) -> Option<Item> {
    // Made by Palisade already: it goes on with its own.
    if object.value.pointer("/status/palisade").is_some() {
        return None;
    }
    let node = node_of(object);
    if !is_ours(object) {
        let what = format!("its own operator remediates node {node} by it, and goes on with it");
        return Some(Item::new(Section::Know, "remediation-elsewhere", object.title(), what));
    }
    let finalizers = object.list("/metadata/finalizers");
    let held = if finalizers.is_empty() { String::new() } else { format!("; {} holds it", finalizers.join(", ")) };
    let by_policy = object
        .value
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .is_some_and(|owners| owners.iter().any(|owner| owner["kind"] == "NodeHealthCheck"));
    let over = object.said("/status/phase") == phase::FENCING_COMPLETED
        || ["True", "False"].contains(&condition(object, "Succeeded"))
        || condition(object, "Processing") == "False";
    let deleting = object.value.pointer("/metadata/deletionTimestamp").is_some();
    let (check, state) = match (deleting, over) {
        (true, _) => ("remediation-ends", format!("it is being deleted, node {node} is being cleaned up{held}")),
        (false, true) => ("remediation-left", format!("it is done with node {node}, and still there{held}")),
        (false, false) => ("remediation-runs", format!("node {node} is being remediated{held}")),
    };
    let remedy = match (deleting, by_policy) {
        (true, _) => "let its operator run until it is gone: only that takes back what it did to the node".to_owned(),
        (false, true) => format!(
            "let its operator run until node {node} is healthy: then the policy deletes it\nto give it up: kubectl delete {}",
            object.kubectl()
        ),
        (false, false) => {
            format!("nobody but who made it deletes it; while its operator runs: kubectl delete {}", object.kubectl())
        }
    };
    Some(Item::new(Section::Blocks, check, object.title(), state).remedy(remedy))
}

/// Finalizers of theirs on what is not a remediation.
fn other_finalizers(seen: &Seen) -> Vec<Item> {
    let mut found = Vec::new();
    for object in seen.objects.iter().filter(|object| is_ours(object) && !object.kind.ends_with("Remediation")) {
        let finalizers = object.list("/metadata/finalizers");
        let theirs: Vec<&str> = finalizers.into_iter().filter(|one| one.contains("medik8s.io/")).collect();
        if !theirs.is_empty() {
            let what = format!("it carries {}, which only their operator removes", theirs.join(", "));
            found.push(
                Item::new(Section::Blocks, "finalizer", object.title(), what)
                    .remedy("it could never be deleted: let their operator remove it, or remove it by hand"),
            );
        }
    }
    found
}

/// Until when a lease is held; none if by nobody.
fn held_until(lease: &Lease, now: Timestamp) -> Option<(String, Timestamp)> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    let length = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds?));
    let end = spec.renew_time.as_ref()?.0.checked_add(length).ok()?;
    (end > now).then_some((holder, end))
}

fn leases(seen: &Seen) -> Vec<Item> {
    let mut found = Vec::new();
    for lease in &seen.leader_leases {
        let Some((holder, end)) = held_until(lease, seen.now) else { continue };
        let about = format!("Lease {}/{}", lease.namespace().unwrap_or_default(), lease.name_any());
        let what = format!(
            "{holder} leads by it until {}: an operator of theirs runs, or has just ended",
            end.round(jiff::Unit::Second).unwrap_or(end)
        );
        found.push(
            Item::new(Section::Blocks, "leader", about, what)
                .remedy("stop it, or wait: it is not given back, it runs out within seconds"),
        );
    }
    for lease in &seen.node_leases {
        let Some((holder, end)) = held_until(lease, seen.now) else { continue };
        let about = format!("Lease {}/{}", lease.namespace().unwrap_or_default(), lease.name_any());
        let until = end.round(jiff::Unit::Second).unwrap_or(end);
        found.push(if holder.starts_with(node_health_check::HOLDER_PREFIX) {
            Item::new(
                Section::Blocks,
                "node-lease",
                about,
                format!("{holder} holds it until {until}: that policy works on the node"),
            )
            .remedy("their operator gives it back when the remediation is gone; what was left behind runs out then")
        } else {
            Item::new(
                Section::Know,
                "node-lease-other",
                about,
                format!("{holder} holds it until {until}: Palisade keeps off the node as theirs did"),
            )
        });
    }
    found
}

/// Annotations of theirs on nodes whose meaning is known: either read by Palisade too, or written anew by its agents.
const KNOWN: &[&str] = &[self_node::REBOOT_CAPABLE, self_node::WATCHDOG_TIMEOUT, remediation::CONFIRMED_HEALTHY];

fn nodes(seen: &Seen, remediations: &[&Object]) -> Vec<Item> {
    let mut found = Vec::new();
    let mut strange: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut excluded = Vec::new();
    let mut capable = 0;
    for node in &seen.nodes {
        let name = node.name_any();
        let remediated = remediations.iter().any(|one| node_of(one) == name);
        for taint in node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default() {
            let value = taint.value.as_deref().unwrap_or_default();
            let theirs = taint.key == self_node::TAINT
                || (taint.key.as_str(), value) == (self_node::LEGACY_TAINT, self_node::LEGACY_TAINT_VALUE);
            let perhaps = (taint.key.as_str(), value) == (cluster::OUT_OF_SERVICE_TAINT, cluster::OUT_OF_SERVICE_VALUE);
            // What a remediation set goes with it, and that one is named already.
            if !(theirs || perhaps) || remediated {
                continue;
            }
            let text = format!("{}:{}", taint.key, taint.effect);
            let (section, who) = if theirs {
                (Section::Blocks, "their operator set it, no remediation is about the node, and nobody takes it off")
            } else {
                (Section::Know, "an operator or a person set it, and Palisade never takes off what it did not set")
            };
            found.push(
                Item::new(section, "taint", format!("node {name}"), format!("it carries {text}: {who}"))
                    .remedy(format!("if nobody needs it: kubectl taint node {name} {text}-")),
            );
        }
        capable += usize::from(node.annotations().contains_key(self_node::REBOOT_CAPABLE));
        for key in node.annotations().keys() {
            let theirs = key.split('/').next().is_some_and(|domain| domain.ends_with("medik8s.io"));
            if theirs && !KNOWN.contains(&key.as_str()) {
                strange.entry(key).or_default().push(name.clone());
            }
        }
        if node.labels().get(remediation::EXCLUDE).map(String::as_str) == Some("true") {
            excluded.push(name.clone());
        }
    }
    if capable > 0 {
        let what = format!(
            "{capable} nodes say by annotation whether they can reboot themselves; Palisade's agents write that anew"
        );
        found.push(Item::new(Section::Know, "capability", "nodes", what));
    }
    for (key, names) in strange {
        let what = format!("annotation {key} is on {}; nothing of Palisade reads or removes it", some(&names));
        found.push(Item::new(Section::Know, "annotation", "nodes", what));
    }
    if !excluded.is_empty() {
        let what = format!("{} excluded by label: that is kept", some(&excluded));
        found.push(Item::new(Section::Know, "excluded", "nodes", what));
    }
    found
}

fn some(names: &[String]) -> String {
    let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown} and {} more", names.len() - 5) } else { shown }
}

fn machine_health_checks(seen: &Seen) -> Vec<Item> {
    let mut found = Vec::new();
    for check in &seen.machine_health_checks {
        let types = check.value.pointer("/spec/unhealthyConditions").and_then(Value::as_array);
        let termination =
            types.is_some_and(|types| matches!(types.as_slice(), [only] if only["type"] == "Terminating"));
        let item = if check.group == "machine.openshift.io" && !termination {
            let what =
                "it remediates nodes too: while it exists, Palisade disables every policy, as their operator does";
            Item::new(Section::Blocks, "machine-health-check", check.title(), what)
                .remedy(format!("choose one detector; to take this one away: kubectl delete {}", check.kubectl()))
        } else if termination {
            let what = "it handles instances that the cloud ends; nodes with the condition Terminating are left to it";
            Item::new(Section::Know, "machine-health-check", check.title(), what)
        } else {
            let what = "it remediates the machines that it selects; nothing keeps policies off their nodes";
            Item::new(Section::Know, "machine-health-check", check.title(), what).remedy(
                "see that no NodeHealthCheck selects the same nodes, or let it name one of Palisade's templates",
            )
        };
        found.push(item);
    }
    found
}
