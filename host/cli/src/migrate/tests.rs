//! Given a cluster with their operators, what is said of it; each situation alone, beside one in which nothing is wrong.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::CustomResourceExt;
use palisade_api::{NodeHealthCheck, SelfNodeRemediation};
use serde_json::{Value, json};

use super::look::{Object, Seen};
use super::{Item, Section, State, Style, judge, operators, text};

fn now() -> Timestamp {
    "2026-01-31T18:00:00Z".parse().unwrap()
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn object(value: Value) -> Object {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    Object {
        group: text("/apiVersion").split('/').next().unwrap().to_owned(),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        value,
    }
}

fn policy(spec: &Value) -> Object {
    let mut whole = json!({
        "selector": { "matchLabels": { "role": "worker" } }, "minHealthy": "51%",
        "remediationTemplate": { "apiVersion": "self-node-remediation.medik8s.io/v1alpha1",
            "kind": "SelfNodeRemediationTemplate", "name": "auto", "namespace": "operators" },
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    object(json!({ "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
        "metadata": { "name": "workers" }, "spec": whole }))
}

fn template() -> Object {
    object(json!({ "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediationTemplate",
        "metadata": { "name": "auto", "namespace": "operators" }, "spec": { "template": { "spec": {} } } }))
}

fn remediation(status: &Value, metadata: &Value) -> Object {
    let mut whole = json!({ "name": "n1-abcde", "namespace": "operators",
        "annotations": { "remediation.medik8s.io/node-name": "n1" },
        "finalizers": ["self-node-remediation.medik8s.io/snr-finalizer"] });
    for (key, value) in metadata.as_object().unwrap() {
        whole[key] = value.clone();
    }
    object(json!({ "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediation",
        "metadata": whole, "spec": {}, "status": status }))
}

fn config(namespace: &str, spec: &Value) -> Object {
    object(json!({ "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediationConfig",
        "metadata": { "name": "self-node-remediation-config", "namespace": namespace }, "spec": spec }))
}

fn node(metadata: &Value, taints: &Value) -> Node {
    let mut whole = json!({ "name": "n1" });
    for (key, value) in metadata.as_object().unwrap() {
        whole[key] = value.clone();
    }
    typed(json!({ "metadata": whole, "spec": { "taints": taints } }))
}

/// Their operators are stopped, one policy is there with its template.
fn calm() -> Seen {
    Seen {
        now: now(),
        namespace: "palisade-system".to_owned(),
        nodes: vec![node(&json!({}), &json!([]))],
        definitions: vec![NodeHealthCheck::crd(), SelfNodeRemediation::crd()],
        objects: vec![policy(&json!({})), template()],
        ..Seen::default()
    }
}

fn lease(holder: &str, renewed: i64) -> k8s_openapi::api::coordination::v1::Lease {
    let time = (now() - SignedDuration::from_secs(renewed)).to_string();
    typed(json!({ "metadata": { "name": "node-n1", "namespace": "medik8s-leases" },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 660, "renewTime": time } }))
}

fn deployment(name: &str, labels: &Value, replicas: i64) -> k8s_openapi::api::apps::v1::Deployment {
    typed(json!({ "metadata": { "name": name, "namespace": "operators", "labels": labels },
        "spec": { "replicas": replicas, "selector": {}, "template": {} } }))
}

/// The findings beside those that the calm cluster has anyway.
fn of(seen: &Seen) -> Vec<Item> {
    let report = judge(seen);
    let usual = judge(&calm());
    let known: Vec<Item> = usual.blocks.into_iter().chain(usual.changes).chain(usual.know).collect();
    let all = report.blocks.into_iter().chain(report.changes).chain(report.know);
    all.filter(|item| !known.contains(item)).collect()
}

/// The one finding there is, by section and check; its words are returned.
fn only(seen: &Seen, section: Section, check: &str) -> String {
    let found = of(seen);
    let [one] = found.as_slice() else { panic!("not one finding: {found:#?}") };
    assert_eq!((one.section, one.check), (section, check), "{one:#?}");
    format!("{}: {} | {}", one.about, one.what, one.remedy)
}

fn with(change: impl FnOnce(&mut Seen)) -> Seen {
    let mut seen = calm();
    change(&mut seen);
    seen
}

#[test]
fn where_their_operators_are_gone_nothing_stands_in_the_way() {
    let report = judge(&calm());
    assert_eq!(report.state, State::Well, "{report:#?}");
    assert!(report.blocks.is_empty());
    assert!(text(&report, Style::of_stdout()).contains("nothing stands in the way"));
}

#[test]
fn an_operator_that_runs_blocks_and_one_that_is_stopped_does_not() {
    let of_theirs = |replicas| {
        with(|seen| seen.deployments.push(deployment("node-healthcheck-controller-manager", &json!({}), replicas)))
    };
    let said = only(&of_theirs(2), Section::Blocks, "operator-runs");
    assert!(
        said.contains("kubectl --namespace operators scale deployment node-healthcheck-controller-manager"),
        "{said}"
    );
    only(&of_theirs(0), Section::Know, "operator-stopped");
    let labels = json!({ "olm.owner": "self-node-remediation.v0.10.0" });
    let by_olm = with(|seen| seen.deployments.push(deployment("odd-name", &labels, 1)));
    assert!(only(&by_olm, Section::Blocks, "operator-runs").contains("Subscription"));
    let stays =
        with(|seen| seen.deployments.push(deployment("node-maintenance-operator-controller-manager", &json!({}), 1)));
    only(&stays, Section::Know, "operator-stays");
    assert!(operators::of(&deployment("palisade-controller", &json!({}), 1)).is_none());
    assert!(operators::of(&deployment("other-controller-manager", &json!({}), 1)).is_none());
}

#[test]
fn what_olm_would_start_again_blocks_and_its_copies_do_not() {
    let csv = |labels: Value| {
        object(json!({ "apiVersion": "operators.coreos.com/v1alpha1", "kind": "ClusterServiceVersion",
            "metadata": { "name": "node-healthcheck-operator.v0.9.0", "namespace": "a", "labels": labels } }))
    };
    let said = only(&with(|seen| seen.olm.push(csv(json!({})))), Section::Blocks, "olm");
    assert!(said.contains("kubectl delete --namespace a clusterserviceversion.operators.coreos.com"), "{said}");
    assert!(of(&with(|seen| seen.olm.push(csv(json!({ "olm.copiedFrom": "a" }))))).is_empty());
    let subscription = object(json!({ "apiVersion": "operators.coreos.com/v1alpha1", "kind": "Subscription",
        "metadata": { "name": "nhc", "namespace": "a" }, "spec": { "name": "node-healthcheck-operator" } }));
    only(&with(|seen| seen.olm.push(subscription)), Section::Blocks, "olm");
}

#[test]
fn agents_of_theirs_block_and_ours_do_not() {
    let set =
        |namespace: &str| typed(json!({ "metadata": { "name": "self-node-remediation-ds", "namespace": namespace } }));
    only(&with(|seen| seen.agents.push(set("operators"))), Section::Blocks, "agents-run");
    assert!(of(&with(|seen| seen.agents.push(set("palisade-system")))).is_empty());
}

#[test]
fn a_webhook_that_refuses_without_an_answer_blocks_if_it_is_about_what_is_taken_over() {
    let hooks = |group: &str, policy: Option<&str>| {
        let configuration: k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration =
            typed(json!({ "metadata": { "name": "theirs" }, "webhooks": [{ "name": "vnodehealthcheck.kb.io",
                "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": policy,
                "clientConfig": { "service": { "namespace": "operators", "name": "hook" } },
                "rules": [{ "apiGroups": [group], "apiVersions": ["v1alpha1"], "operations": ["CREATE"],
                    "resources": ["nodehealthchecks"] }] }] }));
        with(|seen| seen.webhooks.push(operators::webhook(&configuration)))
    };
    let said = only(&hooks("remediation.medik8s.io", None), Section::Blocks, "webhook");
    assert!(said.contains("nodehealthchecks.remediation.medik8s.io") && said.contains("operators/hook"), "{said}");
    assert!(said.contains("kubectl delete validatingwebhookconfiguration theirs"), "{said}");
    only(&hooks("remediation.medik8s.io", Some("Ignore")), Section::Know, "webhook-lenient");
    assert!(of(&hooks("nodemaintenance.medik8s.io", None)).is_empty());
}

#[test]
fn remediations_block_until_they_are_gone_each_with_what_to_do() {
    let of_theirs = |status: Value, metadata: Value| with(|seen| seen.objects.push(remediation(&status, &metadata)));
    let owned = json!({ "ownerReferences": [{ "kind": "NodeHealthCheck", "name": "workers" }] });
    let said = only(&of_theirs(json!({ "phase": "Pre-Reboot-Completed" }), owned), Section::Blocks, "remediation-runs");
    assert!(
        said.contains("node n1") && said.contains("snr-finalizer") && said.contains("until node n1 is healthy"),
        "{said}"
    );
    let done = json!({ "phase": "Fencing-Completed" });
    let said = only(&of_theirs(done.clone(), json!({})), Section::Blocks, "remediation-left");
    assert!(said.contains("kubectl delete --namespace operators selfnoderemediation."), "{said}");
    let failed = json!({ "conditions": [{ "type": "Succeeded", "status": "False" }] });
    only(&of_theirs(failed, json!({})), Section::Blocks, "remediation-left");
    let going = json!({ "deletionTimestamp": "2026-01-31T17:59:00Z" });
    only(&of_theirs(done, going), Section::Blocks, "remediation-ends");
    // What Palisade carries out is not theirs.
    assert!(of(&of_theirs(json!({ "palisade": {} }), json!({}))).is_empty());
}

#[test]
fn what_another_operator_remediates_goes_on() {
    let foreign = object(json!({ "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "Metal3Remediation",
        "metadata": { "name": "n1", "namespace": "metal3" } }));
    only(&with(|seen| seen.objects.push(foreign)), Section::Know, "remediation-elsewhere");
}

#[test]
fn a_node_lease_of_a_policy_blocks_until_it_has_run_out() {
    let held = |holder: &str, renewed| with(|seen| seen.node_leases.push(lease(holder, renewed)));
    let said = only(&held("NodeHealthCheck-workers", 60), Section::Blocks, "node-lease");
    assert!(said.contains("NodeHealthCheck-workers holds it until 2026-01-31T18:10:00Z"), "{said}");
    assert!(of(&held("NodeHealthCheck-workers", 700)).is_empty());
    only(&held("node-maintenance", 60), Section::Know, "node-lease-other");
    let leader = with(|seen| seen.leader_leases.push(lease("pod_uuid", 1)));
    only(&leader, Section::Blocks, "leader");
}

#[test]
fn a_taint_that_nobody_would_take_off_blocks() {
    let taint = |key: &str, value: &str| json!([{ "key": key, "value": value, "effect": "NoSchedule" }]);
    let tainted = |taints: &Value| with(|seen| seen.nodes = vec![node(&json!({}), taints)]);
    let theirs = taint("remediation.medik8s.io/self-node-remediation", "");
    let said = only(&tainted(&theirs), Section::Blocks, "taint");
    assert!(said.contains("kubectl taint node n1 remediation.medik8s.io/self-node-remediation:NoSchedule-"), "{said}");
    only(&tainted(&taint("medik8s.io/remediation", "self-node-remediation")), Section::Blocks, "taint");
    only(&tainted(&taint("node.kubernetes.io/out-of-service", "nodeshutdown")), Section::Know, "taint");
    assert!(of(&tainted(&taint("dedicated", "gpu"))).is_empty());
    // While a remediation is about the node, the taint is that one's affair.
    let both = with(|seen| {
        seen.nodes = vec![node(&json!({}), &theirs)];
        seen.objects.push(remediation(&json!({}), &json!({})));
    });
    only(&both, Section::Blocks, "remediation-runs");
}

#[test]
fn what_nodes_say_by_annotation_and_label_is_told() {
    let marked = |metadata: Value| with(|seen| seen.nodes = vec![node(&metadata, &json!([]))]);
    let annotated = |key: &str| marked(json!({ "annotations": { key: "x" } }));
    only(&annotated("is-reboot-capable.self-node-remediation.medik8s.io"), Section::Know, "capability");
    let said = only(&annotated("odd.medik8s.io/thing"), Section::Know, "annotation");
    assert!(said.contains("odd.medik8s.io/thing is on n1"), "{said}");
    let excluded = marked(json!({ "labels": { "remediation.medik8s.io/exclude-from-remediation": "true" } }));
    only(&excluded, Section::Know, "excluded");
}

#[test]
fn what_our_definition_refuses_is_named_by_object_field_and_value() {
    let of_policy = |spec: Value| with(|seen| seen.objects[0] = policy(&spec));
    let said = only(&of_policy(json!({ "unhealthyConditions": [] })), Section::Blocks, "refused");
    assert!(said.contains("NodeHealthCheck workers: spec.unhealthyConditions is [], which"), "{said}");
    assert!(said.contains("kubectl edit nodehealthcheck.remediation.medik8s.io workers"), "{said}");
    let both = of_policy(json!({ "maxUnhealthy": 1 }));
    only(&both, Section::Blocks, "refused");
    let unknown = of_policy(json!({ "someday": { "a": 1 } }));
    let said = only(&unknown, Section::Changes, "dropped");
    assert!(said.contains(r#"spec.someday is {"a":1}"#), "{said}");
}

#[test]
fn a_threshold_that_their_operator_chokes_on_acts_here() {
    let said =
        only(&with(|seen| seen.objects[0] = policy(&json!({ "minHealthy": "2" }))), Section::Changes, "threshold");
    assert!(said.contains("spec.minHealthy") && said.contains("number 2"), "{said}");
    let paused = with(|seen| seen.objects[0] = policy(&json!({ "pauseRequests": ["ann looks"] })));
    assert!(only(&paused, Section::Know, "paused").contains("ann looks"));
}

#[test]
fn a_template_of_a_kind_that_nothing_here_serves_stays_with_its_operator() {
    let reference = json!({ "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "Metal3RemediationTemplate",
        "name": "m3", "namespace": "metal3" });
    let theirs = object(json!({ "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
        "kind": "Metal3RemediationTemplate", "metadata": { "name": "m3", "namespace": "metal3" } }));
    let seen = with(|seen| {
        seen.objects[0] = policy(&json!({ "remediationTemplate": reference }));
        seen.objects.push(theirs);
    });
    assert!(only(&seen, Section::Know, "template-stays").contains("Metal3RemediationTemplate metal3/m3"));
    only(&with(|seen| seen.objects.truncate(1)), Section::Know, "template-missing");
}

#[test]
fn values_of_the_configuration_that_mean_something_else_are_explained() {
    let of_config = |namespace: &str, spec: Value| {
        let found = of(&with(|seen| seen.objects.push(config(namespace, &spec))));
        found.into_iter().map(|item| (item.section, item.check, item.what)).collect::<Vec<_>>()
    };
    let has = |found: &[(Section, &str, String)], section, check: &str, words: &str| {
        assert!(
            found.iter().any(|(s, c, what)| *s == section && *c == check && what.contains(words)),
            "{check} {words}: {found:#?}"
        );
    };
    let found = of_config(
        "operators",
        json!({ "safeTimeToAssumeNodeRebootedSeconds": 5, "watchdogFilePath": "/dev/watchdog1", "minPeersForRemediation": 3,
            "peerRequestTimeout": "1s", "endpointHealthCheckUrl": "https://x" }),
    );
    has(&found, Section::Changes, "config-moves", "palisade-system only");
    has(&found, Section::Changes, "config-value", "safeTimeToAssumeNodeRebootedSeconds is 5: here it is a floor");
    has(&found, Section::Changes, "config-value", "shortens nothing");
    has(&found, Section::Changes, "config-value", "watchdogFilePath is /dev/watchdog1");
    has(&found, Section::Changes, "config-value", "minPeersForRemediation is 3");
    has(&found, Section::Changes, "config-value", "peerRequestTimeout 1s");
    has(&found, Section::Changes, "config-value", "endpointHealthCheckUrl is https://x");
    let here = of_config("palisade-system", json!({ "isSoftwareRebootEnabled": false }));
    assert!(here.iter().all(|(_, check, _)| *check == "config-bound"), "{here:#?}");
    let invalid = of_config("operators", json!({ "apiCheckInterval": "10ms" }));
    has(&invalid, Section::Blocks, "config-invalid", "apiCheckInterval is 10ms");
    has(&invalid, Section::Blocks, "refused", "spec.apiCheckInterval is \"10ms\"");
}

#[test]
fn credentials_that_the_controller_may_not_read_are_named() {
    let template = object(json!({ "apiVersion": "fence-agents-remediation.medik8s.io/v1alpha1",
        "kind": "FenceAgentsRemediationTemplate", "metadata": { "name": "ipmi", "namespace": "operators" },
        "spec": { "template": { "spec": { "agent": "fence_ipmilan", "retrycount": 5, "retryinterval": "5s",
            "timeout": "60s", "sharedSecretName": "bmc", "sharedparameters": { "--ip": "192.0.2.1" } } } } }));
    assert!(only(&with(|seen| seen.objects.push(template)), Section::Changes, "secrets").contains("operators (bmc)"));
}

#[test]
fn another_detector_of_openshift_disables_every_policy() {
    let check = |group: &str, condition: &str| {
        let value = json!({ "apiVersion": format!("{group}/v1beta1"), "kind": "MachineHealthCheck",
            "metadata": { "name": "mhc", "namespace": "machines" },
            "spec": { "unhealthyConditions": [{ "type": condition }] } });
        with(|seen| seen.machine_health_checks.push(object(value)))
    };
    only(&check("machine.openshift.io", "Ready"), Section::Blocks, "machine-health-check");
    only(&check("machine.openshift.io", "Terminating"), Section::Know, "machine-health-check");
    let said = only(&check("cluster.x-k8s.io", "Ready"), Section::Know, "machine-health-check");
    assert!(said.contains("selects the same nodes"), "{said}");
}

#[test]
fn a_definition_that_is_stored_otherwise_or_is_going_blocks() {
    let of_definition = |change: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(NodeHealthCheck::crd()).unwrap();
        change(&mut value);
        with(|seen| seen.definitions[0] = typed(value))
    };
    let old = of_definition(&|value| {
        value["status"] = json!({ "storedVersions": ["v1alpha1", "v1beta9"], "conditions": [],
            "acceptedNames": { "kind": "", "plural": "" } });
    });
    assert!(only(&old, Section::Blocks, "stored-versions").contains("v1beta9"));
    let going = of_definition(&|value| value["metadata"]["deletionTimestamp"] = json!("2026-01-31T17:00:00Z"));
    only(&going, Section::Blocks, "definition-deleted");
    let differs = of_definition(&|value| {
        value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = json!("theirs");
    });
    assert!(only(&differs, Section::Changes, "definitions").contains("NodeHealthCheck"));
}

#[test]
fn the_binding_that_would_be_taken_from_them_is_named() {
    let seen = with(|seen| {
        seen.binding = Some(typed(json!({ "metadata": { "name": "node-healthcheck-operator-aggregation" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "x" },
            "subjects": [{ "kind": "ServiceAccount", "namespace": "operators", "name": "nhc" }] })));
    });
    assert!(only(&seen, Section::Changes, "rights-move").contains("operators/nhc"));
    let role = with(|seen| {
        seen.roles.push(typed(json!({ "metadata": { "name": "ext-bar" },
            "rules": [{ "apiGroups": ["bar.example"], "resources": ["bars"], "verbs": ["get"] }] })));
    });
    assert!(only(&role, Section::Know, "rights-shared").contains("bar.example"));
}

#[test]
fn what_could_not_be_seen_counts_as_standing_in_the_way() {
    let blind = with(|seen| seen.gaps.push("leases cannot be listed: forbidden".to_owned()));
    only(&blind, Section::Blocks, "not-seen");
    assert_eq!(judge(&blind).state, State::Held);
    assert!(text(&judge(&blind), Style::of_stdout()).contains("1 thing stands in the way"));
}
