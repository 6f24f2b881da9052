//! The CEL rules, evaluated as the API server does: what is accepted, and what is refused with which words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests outside test functions"
)]

#[path = "rules/extensions.rs"]
mod extensions;
mod fixtures;

use kube::core::cel::{ValidationErrors, Validator, compile_schema};
use palisade_api::all_crds;
use serde_json::{Value, json};

/// Errors as `field: message`.
fn check(kind: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    let crd = all_crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
    // This evaluator gives an optional `oldSelf` as the value or null. That the rules are right as written is shown by
    // the black-box suite (A18), on a real API server and on the sandbox.
    let schema = serde_json::to_string(&schema).unwrap();
    let schema = schema.replace("oldSelf.hasValue()", "oldSelf != null").replace("oldSelf.value()", "oldSelf");
    let compiled = compile_schema(&serde_json::from_str(&schema).unwrap());
    assert!(!compiled.has_errors(), "{kind}: {:?}", compiled.compilation_errors());
    match Validator::new().validate_compiled(&compiled, new, old) {
        Ok(()) => Vec::new(),
        Err(errors) => ValidationErrors::into_vec(errors)
            .into_iter()
            .map(|error| format!("{}: {}", error.field_path, error.message))
            .collect(),
    }
}

/// A valid object of `kind` with `spec` changed by a merge.
fn object(kind: &str, change: &Value) -> Value {
    let mut spec = match kind {
        "NodeHealthCheck" => json!({
            "selector": { "matchLabels": { "pool": "a" } },
            "minHealthy": "51%",
            "remediationTemplate": template("SelfNodeRemediationTemplate"),
        }),
        "FenceAgentsRemediation" => json!({
            "agent": "fence_ipmilan",
            "nodeparameters": { "--ipport": { "worker-0": "6230" } },
            "sharedparameters": { "--action": "reboot" },
        }),
        "Remediator" => json!({ "source": { "builtin": "self-node" } }),
        _ => json!({}),
    };
    merge(&mut spec, change);
    json!({ "metadata": { "name": "self-node-remediation-config" }, "spec": spec })
}

fn template(kind: &str) -> Value {
    json!({ "apiVersion": "test.example/v1", "kind": kind, "name": "t", "namespace": "n" })
}

fn step(order: i64, timeout: &str, kind: &str) -> Value {
    json!({ "order": order, "timeout": timeout, "remediationTemplate": template(kind) })
}

/// JSON merge patch.
fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let map = target.as_object_mut().unwrap();
    for (key, value) in change {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[track_caller]
fn accepted(kind: &str, change: Value) {
    let errors = check(kind, &object(kind, &change), None);
    assert!(errors.is_empty(), "{change} was refused: {errors:?}");
}

/// Exactly one rule refuses it, and its message has every fragment.
#[track_caller]
fn refused(kind: &str, change: Value, fragments: &[&str]) {
    let errors = check(kind, &object(kind, &change), None);
    assert_eq!(errors.len(), 1, "{change}: {errors:?}");
    for fragment in fragments {
        assert!(errors[0].contains(fragment), "{change}: {:?} lacks {fragment:?}", errors[0]);
    }
}

const NHC: &str = "NodeHealthCheck";

#[test]
fn ordinary_policies_are_accepted() {
    for change in [
        json!({}),
        json!({ "minHealthy": 0 }),
        json!({ "minHealthy": "2" }),
        json!({ "minHealthy": null, "maxUnhealthy": "49%" }),
        json!({ "selector": { "matchLabels": null, "matchExpressions": [{ "key": "node-role.kubernetes.io/worker", "operator": "Exists" }] } }),
        json!({ "selector": { "matchLabels": null, "matchExpressions": [{ "key": "zone", "operator": "NotIn", "values": ["a", ""] }] } }),
        json!({ "healthyDelay": "-1s" }),
        json!({ "stormCooldownDuration": "1.5h" }),
        json!({ "unhealthyConditions": [{ "type": "Ready", "status": "False", "duration": "1\u{b5}s" }] }),
        json!({ "remediationTemplate": null, "escalatingRemediations": [step(5, "60s", "ATemplate"), step(0, "1h0m0s", "BTemplate"), step(-1, "2m", "CTemplate")] }),
        json!({ "remediationTemplate": template("MachineDeletionRemediationTemplate") }),
    ] {
        accepted(NHC, change);
    }
}

#[test]
fn contradicting_policies_are_refused_naming_field_value_and_remedy() {
    let maximum = |kind: &str| json!({ "minHealthy": null, "maxUnhealthy": 1, "remediationTemplate": template(kind) });
    let expression = |operator: &str, values: Value| json!({ "selector": { "matchLabels": null, "matchExpressions": [{ "key": "zone", "operator": operator, "values": values }] } });
    let cases: Vec<(Value, &[&str])> = vec![
        (
            json!({ "maxUnhealthy": 2 }),
            &["minHealthy and maxUnhealthy cannot be specified at the same time", "51%", "2", "remove"],
        ),
        (json!({ "minHealthy": null }), &["one of minHealthy and maxUnhealthy should be specified"]),
        (json!({ "minHealthy": -1 }), &["spec.minHealthy", "minHealthy must not be negative", "-1"]),
        (
            json!({ "minHealthy": null, "maxUnhealthy": -3 }),
            &["spec.maxUnhealthy", "maxUnhealthy must not be negative", "-3"],
        ),
        (
            maximum("machinedeletionremediationTemplate"),
            &["maxUnhealthy cannot be used with MachineDeletionRemediationTemplate"],
        ),
        (
            json!({ "minHealthy": null, "maxUnhealthy": 1, "remediationTemplate": null, "escalatingRemediations": [step(0, "60s", "MachineDeletionRemediationTemplate")] }),
            &["maxUnhealthy cannot be used with MachineDeletionRemediationTemplate"],
        ),
        (json!({ "selector": null }), &["selector is mandatory"]),
        (json!({ "selector": { "matchLabels": null } }), &["selector is mandatory"]),
        (expression("In", json!([])), &["values must not be empty", "In", "zone"]),
        (expression("Exists", json!(["a"])), &["values must be empty", "Exists", "zone"]),
        (expression("Near", json!(["a"])), &["operator must be", "Near"]),
        (expression("In", json!(["-a"])), &["label values", "-a"]),
        (json!({ "selector": { "matchLabels": { "pool": null, "a b": "c" } } }), &["label keys"]),
        (json!({ "selector": { "matchLabels": { "pool": "a b" } } }), &["label values"]),
        (json!({ "unhealthyConditions": [] }), &["unhealthyConditions must not be empty"]),
        (
            json!({ "remediationTemplate": null }),
            &["one of remediationTemplate and escalatingRemediations must be specified"],
        ),
        (
            json!({ "escalatingRemediations": [step(0, "60s", "ATemplate")] }),
            &["remediationTemplate and escalatingRemediations cannot be specified at the same time"],
        ),
        (
            json!({ "remediationTemplate": { "kind": "SelfNodeRemediation" } }),
            &["spec.remediationTemplate", "SelfNodeRemediation;", "followed by Template"],
        ),
        (json!({ "remediationTemplate": { "kind": "Template" } }), &["is Template;"]),
        (json!({ "remediationTemplate": { "kind": null } }), &["is missing"]),
        (
            json!({ "remediationTemplate": null, "escalatingRemediations": [step(42, "60s", "ATemplate"), step(1, "60s", "BTemplate"), step(42, "60s", "CTemplate")] }),
            &["order 42 is used more than once"],
        ),
        (
            json!({ "remediationTemplate": null, "escalatingRemediations": [step(0, "42s", "ATemplate")] }),
            &["timeout must be at least 60s", "42s"],
        ),
    ];
    for (change, fragments) in cases {
        refused(NHC, change, fragments);
    }
}

#[test]
fn a_policy_without_spec_is_refused() {
    let errors = check(NHC, &json!({ "metadata": { "name": "a" } }), None);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("one of minHealthy and maxUnhealthy should be specified"), "{errors:?}");
}

#[test]
fn every_failing_rule_is_reported_at_once() {
    let change = json!({ "minHealthy": null, "selector": null, "remediationTemplate": null });
    assert_eq!(check(NHC, &object(NHC, &change), None).len(), 3);
}

#[test]
fn target_and_templates_cannot_change_while_remediating() {
    // Given a policy with a running remediation
    let mut old = object(NHC, &json!({}));
    let remediation = json!({ "resource": { "name": "r" }, "started": "2026-01-01T00:00:00Z" });
    old["status"] = json!({ "unhealthyNodes": [{ "name": "worker-0", "remediations": [remediation] }] });

    // When target or template change, then it is refused
    for (field, change) in [
        ("selector", json!({ "selector": { "matchLabels": { "pool": "b" } } })),
        ("remediationTemplate", json!({ "remediationTemplate": { "name": "u" } })),
        ("escalatingRemediations", json!({ "escalatingRemediations": [step(0, "60s", "ATemplate")] })),
    ] {
        let mut new = old.clone();
        merge(&mut new["spec"], &change);
        let errors = check(NHC, &new, Some(&old));
        let expected = format!("changing {field} is prohibited due to running remediation");
        assert!(errors.iter().any(|error| error.contains(&expected)), "{errors:?}");
    }

    // And everything else may change
    for change in [json!({ "minHealthy": 1 }), json!({ "pauseRequests": ["upgrade"] }), json!({ "healthyDelay": "5m" })]
    {
        let mut new = old.clone();
        merge(&mut new["spec"], &change);
        assert_eq!(check(NHC, &new, Some(&old)), Vec::<String>::new());
    }

    // And without a remediation the target may change, though the node is unhealthy
    old["status"] = json!({ "unhealthyNodes": [{ "name": "worker-0" }] });
    let mut new = old.clone();
    merge(&mut new["spec"], &json!({ "selector": { "matchLabels": { "pool": "b" } } }));
    assert_eq!(check(NHC, &new, Some(&old)), Vec::<String>::new());
}

#[test]
fn a_policy_that_was_stored_without_a_selector_can_still_be_paused() {
    // Given policies from before there were rules
    for selector in [json!({}), json!({ "matchLabels": {} }), Value::Null] {
        let mut old = object(NHC, &json!({ "selector": null }));
        if !selector.is_null() {
            old["spec"]["selector"] = selector;
        }
        // When something else changes, then it is accepted
        let mut new = old.clone();
        merge(&mut new["spec"], &json!({ "pauseRequests": ["upgrade"], "minHealthy": 1 }));
        assert_eq!(check(NHC, &new, Some(&old)), Vec::<String>::new(), "{old}");
        // And a new one like it is refused, as is a change to another empty one
        assert!(check(NHC, &new, None).iter().any(|error| error.contains("selector is mandatory")), "{new}");
        let mut other = old.clone();
        other["spec"]["selector"] = json!({ "matchExpressions": [] });
        assert!(check(NHC, &other, Some(&old)).iter().any(|error| error.contains("selector is mandatory")), "{other}");
    }
    // And one with a selector must not lose it
    let old = object(NHC, &json!({}));
    let new = object(NHC, &json!({ "selector": { "matchLabels": null } }));
    assert!(check(NHC, &new, Some(&old)).iter().any(|error| error.contains("selector is mandatory")));
}

#[test]
fn the_agents_configuration_keeps_its_minimums() {
    let kind = "SelfNodeRemediationConfig";
    accepted(kind, json!({}));
    accepted(kind, json!({ "peerDialTimeout": "10ms", "isSoftwareRebootEnabled": false, "minPeersForRemediation": 0 }));
    for (field, go, least, less) in [
        ("apiCheckInterval", "ApiCheckInterval", "1s", "999ms"),
        ("apiServerTimeout", "ApiServerTimeout", "10ms", "9ms"),
        ("peerApiServerTimeout", "PeerApiServerTimeout", "10ms", "1us"),
        ("peerUpdateInterval", "PeerUpdateInterval", "10s", "9.9s"),
        ("peerDialTimeout", "PeerDialTimeout", "10ms", "0s"),
        ("peerRequestTimeout", "PeerRequestTimeout", "10ms", "9ms"),
    ] {
        refused(kind, json!({ field: less }), &[go, least, less]);
    }
    for (toleration, fragment) in [
        (json!({ "operator": "Near" }), "Near"),
        (json!({ "operator": "Exists", "value": "a" }), "must be empty"),
        (json!({ "effect": "NoWay" }), "NoWay"),
    ] {
        refused(kind, json!({ "customDsTolerations": [{ "key": "ok" }, toleration] }), &[fragment]);
    }
    for (requirement, fragment) in [
        (json!({ "key": "", "operator": "Exists" }), "key of a node selector requirement"),
        (json!({ "key": "a", "operator": "Near" }), "Near"),
        (json!({ "key": "a", "operator": "In" }), "must not be empty"),
        (json!({ "key": "a", "operator": "Exists", "values": ["b"] }), "must be empty"),
        (json!({ "key": "a", "operator": "Gt", "values": ["b"] }), "exactly one integer"),
        (json!({ "key": "a", "operator": "Lt", "values": ["1", "2"] }), "exactly one integer"),
    ] {
        refused(kind, json!({ "customDsNodeSelectorRequirements": [requirement] }), &[fragment]);
    }
    accepted(kind, json!({ "customDsNodeSelectorRequirements": [{ "key": "a", "operator": "Gt", "values": ["-1"] }] }));
}

#[test]
fn the_agents_configuration_has_one_name() {
    let kind = "SelfNodeRemediationConfig";
    let other = json!({ "metadata": { "name": "other" }, "spec": {} });
    let errors = check(kind, &other, None);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("self-node-remediation-config"), "{errors:?}");
}

#[test]
fn fence_agents_need_parameters_that_tell_nodes_apart() {
    let kind = "FenceAgentsRemediation";
    accepted(kind, json!({}));
    accepted(kind, json!({ "nodeparameters": null, "sharedparameters": { "--ip": "{{.NodeName}}.bmc" } }));
    accepted(kind, json!({ "nodeparameters": null, "sharedSecretName": "s" }));
    refused(kind, json!({ "nodeparameters": null, "sharedparameters": null }), &["mandatory parameters are missing"]);
    refused(kind, json!({ "nodeparameters": null }), &["same device for every node"]);
    refused(kind, json!({ "nodeparameters": null, "nodeSecretNames": { "a": "b" } }), &["same device for every node"]);
    refused(kind, json!({ "sharedparameters": { "--action": "diag" } }), &["--action must be reboot or off"]);
}

#[test]
fn b2_1_counts_and_time_limits_of_fence_agents_are_bounded() {
    let kind = "FenceAgentsRemediation";
    for (count, timeout) in [(1, "1s"), (100, "30m"), (5, "1m30s")] {
        accepted(kind, json!({ "retrycount": count, "timeout": timeout }));
    }
    for count in [-1, 0, 101] {
        refused(kind, json!({ "retrycount": count }), &["retrycount must be 1 to 100"]);
    }
    for timeout in ["0s", "999ms", "31m"] {
        refused(kind, json!({ "timeout": timeout }), &["timeout must be 1s to 30m"]);
    }
}

#[test]
fn fa_08_only_one_placeholder_is_known() {
    let kind = "FenceAgentsRemediation";
    for text in ["{{.NodeName}}", "a-{{ .NodeName}}.{{- .NodeName -}}", "plain } { text"] {
        accepted(kind, json!({ "sharedparameters": { "--ip": text } }));
    }
    for text in ["{{.Secret}}", "{{.NodeName", "{{.NodeName}}{{if x}}"] {
        refused(kind, json!({ "sharedparameters": { "--ip": text } }), &["only the placeholder {{.NodeName}}"]);
    }
}

#[test]
fn a_remediator_has_one_source() {
    accepted("Remediator", json!({}));
    refused("Remediator", json!({ "source": { "file": "/a.wasm" } }), &["exactly one of"]);
    refused("Remediator", json!({ "source": { "builtin": null } }), &["exactly one of"]);
    let signed = json!({ "publicKeys": ["-----BEGIN PUBLIC KEY-----"] });
    refused("Remediator", json!({ "signature": signed }), &["signature needs source.oci"]);
    let oci = json!({ "builtin": null, "oci": { "reference": "registry.example/fence:1" } });
    accepted("Remediator", json!({ "source": oci, "signature": signed }));
}

#[test]
fn every_rule_found_its_place() {
    fn count(value: &Value) -> usize {
        let here = value["x-kubernetes-validations"].as_array().map_or(0, Vec::len);
        let fields = value["properties"].as_object().map_or(0, |fields| fields.values().map(count).sum());
        let items = value.get("items").map_or(0, count);
        here + fields + items
    }
    let definitions = [
        palisade_api::NodeHealthCheck::DEFINITION,
        palisade_api::SelfNodeRemediationConfig::DEFINITION,
        palisade_api::FenceAgentsRemediation::DEFINITION,
        palisade_api::FenceAgentsRemediationTemplate::DEFINITION,
        palisade_api::Remediator::DEFINITION,
    ];
    for definition in definitions {
        let crd = all_crds().into_iter().find(|crd| crd.spec.names.kind == definition.kind).unwrap();
        let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
        assert_eq!(count(&serde_json::to_value(schema).unwrap()), definition.rules.len(), "{}", definition.kind);
    }
}

#[test]
fn stock_samples_are_accepted() {
    for mut sample in fixtures::samples() {
        sample.as_object_mut().unwrap().remove("status");
        // As the API server does it: a null where none is allowed is no value.
        sample.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let kind = sample["kind"].as_str().unwrap().to_owned();
        assert_eq!(check(&kind, &sample, None), Vec::<String>::new(), "{kind}");
    }
}
