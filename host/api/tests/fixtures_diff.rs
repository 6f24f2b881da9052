//! Our definitions against the stock ones, field by field. Every difference is intended and has its reason here; a
//! difference that is not listed fails, and so does a listed one that no longer exists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests outside test functions")]

mod fixtures;

use std::collections::BTreeSet;

use kube::CustomResourceExt;
use palisade_api::all_crds;
use serde_json::{Map, Value, json};

/// `(kind or *, place, reason)`; a place ends in `#keyword` for a keyword of the schema there, `+` marks a field that
/// only we have.
const INTENDED: &[(&str, &str, &str)] = &[
    ("*", "columns", "kubectl get shows more than names"),
    ("SelfNodeRemediation", "categories", "kubectl get remediations lists every remediation kind"),
    ("MachineDeletionRemediation", "categories", "kubectl get remediations lists every remediation kind"),
    ("FenceAgentsRemediation", "categories", "kubectl get remediations lists every remediation kind"),
    ("CustomizedUserRemediation", "categories", "kubectl get remediations lists every remediation kind"),
    ("SelfNodeRemediation", "status.palisade+", "progress and fencing certificate"),
    ("MachineDeletionRemediation", "status.palisade+", "progress and fencing certificate"),
    ("FenceAgentsRemediation", "status.palisade+", "progress and fencing certificate"),
    ("CustomizedUserRemediation", "status.palisade+", "progress and fencing certificate"),
    ("CustomizedUserRemediation", "status.conditions+", "its detector learns the outcome without a time-out"),
    ("SelfNodeRemediation", "spec#default", "without a spec its defaults would not apply"),
    ("SelfNodeRemediationConfig", "spec#default", "without a spec its defaults would not apply"),
    (
        "NodeHealthCheck",
        "#x-kubernetes-validations",
        "no change of target or template while remediating (webhook A14), spec needed",
    ),
    ("NodeHealthCheck", "spec#x-kubernetes-validations", "webhook rules A1, A2, A5, A6, A8, A9"),
    ("NodeHealthCheck", "spec.minHealthy#x-kubernetes-validations", "webhook rule A3"),
    ("NodeHealthCheck", "spec.maxUnhealthy#x-kubernetes-validations", "webhook rule A4"),
    ("NodeHealthCheck", "spec.selector.matchLabels#x-kubernetes-validations", "webhook rule A7"),
    ("NodeHealthCheck", "spec.selector.matchLabels#maxProperties", "cost budget of A7"),
    ("NodeHealthCheck", "spec.selector.matchLabels{}#maxLength", "cost budget of A7; a label value is never longer"),
    ("NodeHealthCheck", "spec.selector.matchExpressions#maxItems", "cost budget of A7"),
    ("NodeHealthCheck", "spec.selector.matchExpressions[]#x-kubernetes-validations", "webhook rule A7"),
    ("NodeHealthCheck", "spec.selector.matchExpressions[].key#x-kubernetes-validations", "webhook rule A7"),
    (
        "NodeHealthCheck",
        "spec.selector.matchExpressions[].key#maxLength",
        "cost budget of A7; a label key is never longer",
    ),
    ("NodeHealthCheck", "spec.selector.matchExpressions[].values#maxItems", "cost budget of A7"),
    (
        "NodeHealthCheck",
        "spec.selector.matchExpressions[].values[]#maxLength",
        "cost budget of A7; a label value is never longer",
    ),
    ("NodeHealthCheck", "spec.selector.matchExpressions[].values[]#x-kubernetes-validations", "webhook rule A7"),
    (
        "NodeHealthCheck",
        "spec.unhealthyConditions#x-kubernetes-validations",
        "an empty list would watch nothing (case C02)",
    ),
    ("NodeHealthCheck", "spec.unhealthyConditions#maxItems", "cost budget of the next rule"),
    (
        "NodeHealthCheck",
        "spec.unhealthyConditions[].duration#x-kubernetes-validations",
        "a duration of more than 64 bits cannot be decoded",
    ),
    ("NodeHealthCheck", "spec.unhealthyConditions[].duration#maxLength", "cost budget of the rule there"),
    (
        "NodeHealthCheck",
        "spec.stormCooldownDuration#x-kubernetes-validations",
        "a duration of more than 64 bits cannot be decoded",
    ),
    (
        "NodeHealthCheck",
        "spec.healthyDelay#x-kubernetes-validations",
        "a duration of more than 64 bits cannot be decoded",
    ),
    (
        "NodeHealthCheck",
        "spec.remediationTemplate#x-kubernetes-validations",
        "a kind that is no template kind gives a wrong remediation (case A17)",
    ),
    ("NodeHealthCheck", "spec.escalatingRemediations#maxItems", "cost budget of A5 and A10"),
    ("NodeHealthCheck", "spec.escalatingRemediations#x-kubernetes-validations", "webhook rule A10"),
    ("NodeHealthCheck", "spec.escalatingRemediations[].timeout#maxLength", "cost budget of A11"),
    ("NodeHealthCheck", "spec.escalatingRemediations[].timeout#x-kubernetes-validations", "webhook rule A11"),
    (
        "NodeHealthCheck",
        "spec.escalatingRemediations[].remediationTemplate#x-kubernetes-validations",
        "a kind that is no template kind gives a wrong remediation (case A17)",
    ),
    ("NodeHealthCheck", "spec.budget+", "extension: how many nodes at a time"),
    ("NodeHealthCheck", "spec.correlatedFailures+", "extension: holds fire when nodes fail together"),
    ("NodeHealthCheck", "spec.attempts+", "extension: quarantine of repeat offenders"),
    ("NodeHealthCheck", "spec.dryRun+", "extension: decides and shows, touches nothing"),
    ("NodeHealthCheck", "spec.notifications+", "extension: CloudEvents to webhooks"),
    ("NodeHealthCheck", "spec.etcd+", "extension: guard of the quorum on any distribution"),
    ("NodeHealthCheck", "spec.maintenanceSignals+", "extension: what counts as planned work on a node"),
    ("NodeHealthCheck", "status.unhealthyNodes[].nodeUid+", "extension: a node made anew is another node"),
    ("NodeHealthCheck", "status.unhealthyNodes[].verdict+", "extension: the status answers what is wrong"),
    ("NodeHealthCheck", "status.unhealthyNodes[].since+", "extension: the status answers since when"),
    ("NodeHealthCheck", "status.unhealthyNodes[].blockedBy+", "extension: the status answers what blocks"),
    (
        "NodeHealthCheck",
        "status.unhealthyNodes[].blockedBecause+",
        "extension: the status answers why, and what would help",
    ),
    ("NodeHealthCheck", "status.unhealthyNodes[].next+", "extension: the status answers what happens next"),
    ("NodeHealthCheck", "status.unhealthyNodes[].nextAt+", "extension: the status answers when"),
    ("NodeHealthCheck", "status.budget+", "extension: how much of the budget is used"),
    ("NodeHealthCheck", "status.attempts+", "extension: attempts are remembered there"),
    ("NodeHealthCheck", "status.wouldDo+", "extension: what dryRun keeps from happening"),
    (
        "SelfNodeRemediationConfig",
        "spec.controlPlanePolicy+",
        "extension: whether control-plane nodes may exempt themselves (R4)",
    ),
    ("SelfNodeRemediationConfig", "status.conditions+", "whether it is valid, and how far it is rolled out"),
    ("SelfNodeRemediationConfig", "status.observedGeneration+", "which generation the conditions are about"),
    ("SelfNodeRemediationConfig", "#x-kubernetes-validations", "webhook rule: singleton name on creation"),
    ("SelfNodeRemediationConfig", "spec.apiCheckInterval#x-kubernetes-validations", "webhook minimum 1s"),
    ("SelfNodeRemediationConfig", "spec.apiServerTimeout#x-kubernetes-validations", "webhook minimum 10ms"),
    ("SelfNodeRemediationConfig", "spec.peerApiServerTimeout#x-kubernetes-validations", "webhook minimum 10ms"),
    ("SelfNodeRemediationConfig", "spec.peerUpdateInterval#x-kubernetes-validations", "webhook minimum 10s"),
    ("SelfNodeRemediationConfig", "spec.peerDialTimeout#x-kubernetes-validations", "webhook minimum 10ms"),
    ("SelfNodeRemediationConfig", "spec.peerRequestTimeout#x-kubernetes-validations", "webhook minimum 10ms"),
    ("SelfNodeRemediationConfig", "spec.customDsTolerations#maxItems", "cost budget of the toleration rules"),
    (
        "SelfNodeRemediationConfig",
        "spec.customDsTolerations[]#x-kubernetes-validations",
        "webhook rules on tolerations",
    ),
    (
        "SelfNodeRemediationConfig",
        "spec.customDsNodeSelectorRequirements#maxItems",
        "cost budget of the selector rules",
    ),
    (
        "SelfNodeRemediationConfig",
        "spec.customDsNodeSelectorRequirements[]#x-kubernetes-validations",
        "webhook rules on node selectors",
    ),
    (
        "SelfNodeRemediationConfig",
        "spec.customDsNodeSelectorRequirements[].values[]#maxLength",
        "cost budget of the selector rules; a label value is never longer",
    ),
    ("FenceAgentsRemediation", "#x-kubernetes-validations", "a remediation without spec names no agent"),
    ("FenceAgentsRemediation", "spec#x-kubernetes-validations", "webhook rules on parameter sources"),
    ("FenceAgentsRemediation", "spec.sharedparameters#maxProperties", "cost budget of the parameter rules"),
    ("FenceAgentsRemediation", "spec.sharedparameters{}#maxLength", "cost budget of the parameter rules"),
    (
        "FenceAgentsRemediation",
        "spec.sharedparameters#x-kubernetes-validations",
        "only reboot and off are supported actions, only one placeholder is known",
    ),
    ("FenceAgentsRemediation", "spec.retrycount#x-kubernetes-validations", "no attempt is no success (B.2 #1)"),
    ("FenceAgentsRemediation", "spec.timeout#x-kubernetes-validations", "an agent that gets no time cannot act (X-21)"),
    (
        "FenceAgentsRemediationTemplate",
        "spec.template.spec#x-kubernetes-validations",
        "webhook rules on parameter sources",
    ),
    (
        "FenceAgentsRemediationTemplate",
        "spec.template.spec.sharedparameters#maxProperties",
        "cost budget of the parameter rules",
    ),
    (
        "FenceAgentsRemediationTemplate",
        "spec.template.spec.sharedparameters{}#maxLength",
        "cost budget of the parameter rules",
    ),
    (
        "FenceAgentsRemediationTemplate",
        "spec.template.spec.sharedparameters#x-kubernetes-validations",
        "only reboot and off are supported actions, only one placeholder is known",
    ),
    (
        "FenceAgentsRemediationTemplate",
        "spec.template.spec.retrycount#x-kubernetes-validations",
        "no attempt is no success (B.2 #1)",
    ),
    (
        "FenceAgentsRemediationTemplate",
        "spec.template.spec.timeout#x-kubernetes-validations",
        "an agent that gets no time cannot act (X-21)",
    ),
];

#[test]
fn every_difference_from_the_stock_definitions_is_intended() {
    let ours: Vec<Value> = all_crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
    let mut unlisted = Vec::new();
    let mut used = BTreeSet::new();
    let stock = fixtures::definitions();
    assert_eq!(stock.len(), 11, "the stock definitions are not complete");

    for theirs in &stock {
        let kind = theirs["spec"]["names"]["kind"].as_str().unwrap();
        let mine = ours
            .iter()
            .find(|mine| mine["metadata"]["name"] == theirs["metadata"]["name"])
            .unwrap_or_else(|| panic!("we have no {kind}"));
        let mut differences = Vec::new();
        compare_definitions(theirs, mine, &mut differences);
        for (place, detail) in differences {
            let listed = INTENDED.iter().position(|(of, at, _)| (*of == "*" || *of == kind) && *at == place);
            match listed {
                Some(index) => {
                    used.insert(index);
                }
                None => unlisted.push(format!("{kind} {place}: {detail}")),
            }
        }
    }

    assert!(unlisted.is_empty(), "differences that are not listed as intended:\n  {}", unlisted.join("\n  "));
    let stale: Vec<String> = (0..INTENDED.len())
        .filter(|index| !used.contains(index))
        .map(|index| format!("{} {}", INTENDED[index].0, INTENDED[index].1))
        .collect();
    assert!(stale.is_empty(), "listed differences that do not exist:\n  {}", stale.join("\n  "));
}

#[test]
fn a_changed_default_or_a_lost_field_would_be_noticed() {
    let theirs = json!({ "properties": { "spec": { "properties": { "a": { "default": 1 }, "b": {} } } } });
    let mine = json!({ "properties": { "spec": { "properties": { "a": { "default": 2 } } } } });
    let mut differences = Vec::new();
    compare_schemas("", &theirs, &mine, &mut differences);
    let places: Vec<&str> = differences.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["spec.a#default", "spec.b-"]);
}

#[test]
fn names_of_the_traits_agree_with_the_definitions() {
    assert_eq!(palisade_api::NodeHealthCheck::crd_name(), "nodehealthchecks.remediation.medik8s.io");
    assert_eq!(palisade_api::SelfNodeRemediation::shortnames(), ["snr", "snremediation"]);
    for crd in all_crds() {
        assert_eq!(crd.metadata.name.unwrap(), format!("{}.{}", crd.spec.names.plural, crd.spec.group));
        let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        assert!(schema.is_some(), "{} has no schema", crd.spec.names.kind);
    }
}

type Differences = Vec<(String, String)>;

fn compare_definitions(theirs: &Value, mine: &Value, out: &mut Differences) {
    let (their_spec, my_spec) = (&theirs["spec"], &mine["spec"]);
    for key in ["group", "scope"] {
        compare_values(key, &their_spec[key], &my_spec[key], out);
    }
    for key in ["kind", "listKind", "plural", "singular", "shortNames", "categories"] {
        compare_values(key, &their_spec["names"][key], &my_spec["names"][key], out);
    }
    assert_eq!(their_spec["versions"].as_array().map(Vec::len), my_spec["versions"].as_array().map(Vec::len));
    let (theirs, mine) = (&their_spec["versions"][0], &my_spec["versions"][0]);
    for key in ["name", "served", "storage", "subresources"] {
        compare_values(key, &theirs[key], &mine[key], out);
    }
    compare_values("columns", &theirs["additionalPrinterColumns"], &mine["additionalPrinterColumns"], out);
    compare_schemas("", &theirs["schema"]["openAPIV3Schema"], &mine["schema"]["openAPIV3Schema"], out);
}

fn compare_schemas(place: &str, theirs: &Value, mine: &Value, out: &mut Differences) {
    let empty = Map::new();
    let (theirs, mine) = (theirs.as_object().unwrap_or(&empty), mine.as_object().unwrap_or(&empty));
    let keywords: BTreeSet<&String> = theirs.keys().chain(mine.keys()).collect();
    for keyword in keywords {
        match (keyword.as_str(), theirs.get(keyword), mine.get(keyword)) {
            ("description", _, _) => {}
            ("properties", their_fields, my_fields) => {
                let none = json!({});
                let (their_fields, my_fields) = (their_fields.unwrap_or(&none), my_fields.unwrap_or(&none));
                compare_fields(place, their_fields, my_fields, out);
            }
            ("items", Some(theirs), Some(mine)) => compare_schemas(&format!("{place}[]"), theirs, mine, out),
            ("additionalProperties", Some(theirs), Some(mine)) => {
                compare_schemas(&format!("{place}{{}}"), theirs, mine, out);
            }
            (keyword, theirs, mine) => {
                let none = Value::Null;
                compare_values(&format!("{place}#{keyword}"), theirs.unwrap_or(&none), mine.unwrap_or(&none), out);
            }
        }
    }
}

fn compare_fields(place: &str, theirs: &Value, mine: &Value, out: &mut Differences) {
    let names = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
    let (their_names, my_names): (BTreeSet<String>, BTreeSet<String>) = (names(theirs), names(mine));
    for name in their_names.union(&my_names) {
        let field = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        match (theirs.get(name), mine.get(name)) {
            (Some(theirs), Some(mine)) => compare_schemas(&field, theirs, mine, out),
            (Some(_), None) => out.push((format!("{field}-"), "only they have it".to_owned())),
            _ => out.push((format!("{field}+"), "only we have it".to_owned())),
        }
    }
}

fn compare_values(place: &str, theirs: &Value, mine: &Value, out: &mut Differences) {
    let (theirs, mine) = (normal(place, theirs), normal(place, mine));
    if theirs != mine {
        out.push((place.to_owned(), format!("they have {theirs}, we have {mine}")));
    }
}

/// Order does not matter in `required` and `enum`; `0` and `0.0` are the same number.
fn normal(place: &str, value: &Value) -> Value {
    match value {
        Value::Array(items) if place.ends_with("#required") || place.ends_with("#enum") => {
            let mut items: Vec<String> = items.iter().map(ToString::to_string).collect();
            items.sort();
            json!(items)
        }
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}
