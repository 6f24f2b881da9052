//! What objects look like when they are read and written back.

mod fixtures;

use std::path::Path;

use palisade_api::self_node_remediation_config::SelfNodeRemediationConfigSpec;
use palisade_api::{
    NodeHealthCheck, RemediationStrategy, SelfNodeRemediation, SelfNodeRemediationConfig, all_crds, to_yaml,
};
use serde_json::{Value, json};

#[test]
fn explicit_false_and_zero_survive() {
    let given = json!({ "isSoftwareRebootEnabled": false, "minPeersForRemediation": 0, "safeTimeToAssumeNodeRebootedSeconds": 0 });
    let spec: SelfNodeRemediationConfigSpec = serde_json::from_value(given).unwrap();
    let written = serde_json::to_value(&spec).unwrap();
    assert_eq!(written["isSoftwareRebootEnabled"], false);
    assert_eq!(written["minPeersForRemediation"], 0);
    assert_eq!(written["safeTimeToAssumeNodeRebootedSeconds"], 0);
    assert_eq!(written["peerUpdateInterval"], "15m0s");
}

#[test]
fn an_object_without_spec_has_the_defaults() {
    let config: SelfNodeRemediationConfig = serde_json::from_value(json!({ "metadata": { "name": "c" } })).unwrap();
    assert_eq!(config.spec, SelfNodeRemediationConfigSpec::default());
    let policy: NodeHealthCheck = serde_json::from_value(json!({ "metadata": { "name": "c" } })).unwrap();
    assert_eq!(policy.spec.unhealthy_conditions.len(), 2);
    let policy: NodeHealthCheck =
        serde_json::from_value(json!({ "metadata": {}, "spec": { "unhealthyConditions": [] } })).unwrap();
    assert!(policy.spec.unhealthy_conditions.is_empty(), "an explicit empty list is kept");
}

#[test]
fn defaults_of_the_types_are_the_defaults_of_the_schema() {
    let crds = all_crds();
    let schema = |kind: &str| -> Value {
        let crd = crds.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
        serde_json::to_value(schema).unwrap()
    };
    let config = kube::core::cel::apply_defaults(&schema("SelfNodeRemediationConfig"), &json!({ "metadata": {} }));
    let config: SelfNodeRemediationConfig = serde_json::from_value(config).unwrap();
    assert_eq!(config.spec, SelfNodeRemediationConfigSpec::default());
    let policy = kube::core::cel::apply_defaults(&schema("NodeHealthCheck"), &json!({ "metadata": {}, "spec": {} }));
    let policy: NodeHealthCheck = serde_json::from_value(policy).unwrap();
    assert_eq!(policy.spec, NodeHealthCheck::default().spec);
}

#[test]
fn a_strategy_of_an_older_version_decodes() {
    let old: SelfNodeRemediation =
        serde_json::from_value(json!({ "metadata": {}, "spec": { "remediationStrategy": "NodeDeletion" } })).unwrap();
    assert_eq!(old.spec.remediation_strategy, RemediationStrategy::Unknown("NodeDeletion".to_owned()));
    assert_eq!(serde_json::to_value(&old.spec).unwrap(), json!({ "remediationStrategy": "NodeDeletion" }));
}

#[test]
fn every_stock_sample_decodes_and_is_written_back_with_the_same_content() {
    let samples = fixtures::samples();
    assert_eq!(samples.len(), 11);
    for sample in samples {
        if sample["kind"] == "NodeHealthCheck" {
            let policy: NodeHealthCheck = serde_json::from_value(sample.clone()).unwrap();
            let written = serde_json::to_value(&policy).unwrap();
            assert_eq!(written["spec"]["selector"], sample["spec"]["selector"]);
            assert_eq!(written["spec"]["minHealthy"], "51%");
            assert_eq!(written["spec"]["remediationTemplate"], sample["spec"]["remediationTemplate"]);
        }
        if sample["kind"] == "FenceAgentsRemediation" {
            let far: palisade_api::FenceAgentsRemediation = serde_json::from_value(sample.clone()).unwrap();
            let mut written = serde_json::to_value(&far.spec).unwrap();
            assert_eq!(written["timeout"], "1m0s");
            written["timeout"] = "60s".into();
            assert_eq!(written, sample["spec"]);
        }
    }
}

#[test]
fn the_files_in_crds_are_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    for crd in all_crds() {
        let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        let text = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(text == to_yaml(&crd).unwrap(), "crds/{name} is not what the types say; run `cargo xtask crds`");
    }
}
