use serde_json::json;

use super::*;

const DIGEST: &str = "registry.example/power@sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn entry(annotations: &serde_json::Value, pod: &serde_json::Value) -> CronJob {
    serde_json::from_value(json!({
        "metadata": { "namespace": "palisade-system", "name": "power-cut", "annotations": annotations },
        "spec": {
            "schedule": "@yearly", "suspend": true,
            "jobTemplate": { "spec": { "backoffLimit": 6, "parallelism": 3, "template": { "spec": pod } } },
        },
    }))
    .unwrap()
}

fn pod() -> serde_json::Value {
    json!({ "restartPolicy": "OnFailure", "containers": [{ "name": "main", "image": DIGEST, "command": ["cut"] }] })
}

fn about<'a>() -> For<'a> {
    For {
        uid: "0f9c2b7e-1d2f-4a0b-9b1d-3f1c2a4d5e6f",
        kind: "CustomizedUserRemediation",
        api_version: "customized-user-remediation.medik8s.io/v1alpha1",
        namespace: "palisade-system",
        name: "n1",
        node: "n1",
        boot: "boot-1",
        intent: "intent-1",
    }
}

#[test]
fn b3_2_a_job_is_run_once_whatever_its_template_says() {
    let job = build(&entry(&json!({}), &pod()), &about()).unwrap();
    let spec = job.spec.unwrap();
    assert_eq!((spec.backoff_limit, spec.completions, spec.parallelism), (Some(0), Some(1), Some(1)));
    assert_eq!((spec.active_deadline_seconds, spec.ttl_seconds_after_finished), (Some(600), Some(3_600)));
    assert_eq!(spec.template.spec.unwrap().restart_policy.as_deref(), Some("Never"));
    assert_eq!(job.metadata.name.unwrap(), "power-cut-0f9c2b7e1d2f");
    assert_eq!(job.metadata.owner_references.unwrap()[0].uid, about().uid);
}

#[test]
fn cs_08_no_token_and_images_by_digest() {
    let made = build(&entry(&json!({}), &pod()), &about()).unwrap();
    let spec = made.spec.unwrap().template.spec.unwrap();
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!((spec.host_network, spec.host_pid, spec.volumes), (None, None, None));
    let tag = json!({ "containers": [{ "name": "main", "image": "registry.example/power:1" }] });
    assert!(check(&entry(&json!({}), &tag), "palisade-system").unwrap_err().contains("has no digest"));
}

#[test]
fn cs_09_values_come_in_the_environment_and_not_in_the_text() {
    let mut given = pod();
    given["containers"][0]["env"] =
        json!([{ "name": "PALISADE_NODE_NAME", "value": "other" }, { "name": "A", "value": "b" }]);
    let strange = For { node: "n1; rm -rf / $(date)", ..about() };
    let job = build(&entry(&json!({}), &given), &strange).unwrap();
    let container = job.spec.unwrap().template.spec.unwrap().containers.remove(0);
    assert_eq!(container.command.unwrap(), ["cut"]);
    let env: BTreeMap<String, String> =
        container.env.unwrap().into_iter().map(|env| (env.name, env.value.unwrap())).collect();
    assert_eq!(env["PALISADE_NODE_NAME"], "n1; rm -rf / $$(date)");
    assert_eq!((env["PALISADE_BOOT_ID"].as_str(), env["A"].as_str(), env.len()), ("boot-1", "b", 6));
}

#[test]
fn cs_12_it_runs_elsewhere_or_on_the_target_and_nowhere_by_chance() {
    let fields = |annotations: &serde_json::Value| {
        let spec = build(&entry(annotations, &pod()), &about()).unwrap().spec.unwrap().template.spec.unwrap();
        let affinity = spec.affinity.unwrap().node_affinity.unwrap();
        let mut terms = affinity.required_during_scheduling_ignored_during_execution.unwrap().node_selector_terms;
        let field = terms.remove(0).match_fields.unwrap().remove(0);
        (field.operator, field.values.unwrap(), spec.tolerations.is_some())
    };
    assert_eq!(fields(&json!({})), ("NotIn".to_owned(), vec!["n1".to_owned()], false));
    assert_eq!(fields(&json!({ RUN_ON: TARGET_NODE })), ("In".to_owned(), vec!["n1".to_owned()], true));
}

#[test]
fn an_entry_that_cannot_be_meant_is_refused_with_its_field() {
    let why = |annotations: serde_json::Value| check(&entry(&annotations, &pod()), "palisade-system").unwrap_err();
    assert!(why(json!({ EVIDENCE: "yes" })).contains("powered-off"));
    assert!(why(json!({ RUN_ON: "moon" })).contains("other-node or target-node"));
    assert!(why(json!({ RUN_ON: TARGET_NODE, EVIDENCE: POWERED_OFF })).contains("cannot prove"));
    let mut running = entry(&json!({}), &pod());
    running.spec.suspend = None;
    assert!(check(&running, "palisade-system").unwrap_err().contains("spec.suspend"));
}

#[test]
fn b3_1_other_namespaces_use_it_only_if_they_are_named() {
    let good = |annotations: serde_json::Value| check(&entry(&annotations, &pod()), "team-a").is_ok();
    assert!(!good(json!({})) && !good(json!({ NAMESPACES: "team-b" })));
    assert!(good(json!({ NAMESPACES: "team-b, team-a" })) && good(json!({ NAMESPACES: "*" })));
    let elsewhere = For { namespace: "team-a", ..about() };
    assert_eq!(build(&entry(&json!({}), &pod()), &elsewhere).unwrap().metadata.owner_references, None);
}
