//! Their configuration of the agents: what its values mean here. And templates that cannot stay where they are. Pure.

use palisade_api::GoDuration;
use palisade_api::SelfNodeRemediationConfig;
use palisade_api::keys::{fence_agents, self_node};
use palisade_api::self_node_remediation_config::SelfNodeRemediationConfigSpec;
use palisade_controller::rollout;
use serde_json::Value;

use super::look::{Object, Seen};
use super::{Item, Section};

/// All findings.
pub fn find(seen: &Seen) -> Vec<Item> {
    let configs: Vec<&Object> = seen
        .objects
        .iter()
        .filter(|object| object.group == self_node::GROUP && object.kind == "SelfNodeRemediationConfig")
        .collect();
    let here = configs.iter().any(|object| object.namespace == seen.namespace && object.name == self_node::CONFIG_NAME);
    let mut found = Vec::new();
    for object in &configs {
        if object.name != self_node::CONFIG_NAME {
            let what = format!("only one named {} counts, with theirs and with Palisade", self_node::CONFIG_NAME);
            found.push(Item::new(Section::Know, "config-ignored", object.title(), what));
            continue;
        }
        if object.namespace != seen.namespace {
            let what = format!("Palisade reads the one in {} only", seen.namespace);
            let remedy = if here {
                format!("there is one in {}; see that it says what you want", seen.namespace)
            } else {
                "copy its spec, or the agents get the defaults (deploy/migration.md)".to_owned()
            };
            found.push(Item::new(Section::Changes, "config-moves", object.title(), what).remedy(remedy));
        }
        found.extend(values(object));
    }
    found.extend(secrets(seen));
    found
}

fn values(object: &Object) -> Vec<Item> {
    let Ok(config) = serde_json::from_value::<SelfNodeRemediationConfig>(object.value.clone()) else {
        let what = "Palisade cannot read it".to_owned();
        return vec![
            Item::new(Section::Blocks, "config-unreadable", object.title(), what).remedy("correct what is refused"),
        ];
    };
    let spec = config.spec;
    let (problems, warnings) = rollout::judge(&spec);
    let mut found: Vec<Item> = problems
        .into_iter()
        .map(|problem| {
            Item::new(
                Section::Blocks,
                "config-invalid",
                object.title(),
                format!("{problem}; no agent would be started with it"),
            )
        })
        .collect();
    found.extend(
        warnings.into_iter().map(|warning| Item::new(Section::Changes, "config-value", object.title(), warning)),
    );
    found
        .extend(means(&spec).into_iter().map(|what| Item::new(Section::Changes, "config-value", object.title(), what)));
    let live = GoDuration::from(rollout::right_to_live(&spec));
    let what = format!(
        "with these values a node may live {live} after its last confirmed renewal; only then, and after twice its \
         watchdog's timeout, does silence prove its end"
    );
    found.push(Item::new(Section::Know, "config-bound", object.title(), what));
    found
}

/// Values that do something else here than with the stock agents.
fn means(spec: &SelfNodeRemediationConfigSpec) -> Vec<String> {
    let usual = SelfNodeRemediationConfigSpec::default();
    let mut said = Vec::new();
    if let Some(floor) = spec.safe_time_to_assume_node_rebooted_seconds {
        said.push(format!(
            "safeTimeToAssumeNodeRebootedSeconds is {floor}: here it is a floor, it can make the wait longer and never shorter; \
             what is waited for is a proof"
        ));
    }
    if spec.watchdog_file_path != usual.watchdog_file_path {
        said.push(format!(
            "watchdogFilePath is {}: the agents open that device and no other; without it a node counts as not capable, unless \
             isSoftwareRebootEnabled allows a reboot by software",
            spec.watchdog_file_path
        ));
    }
    if spec.min_peers_for_remediation != usual.min_peers_for_remediation {
        said.push(format!(
            "minPeersForRemediation is {}: the stock agents never read it; here it counts, with fewer peers a node does not end \
             itself on isolation alone",
            spec.min_peers_for_remediation
        ));
    }
    if let Some(url) = spec.endpoint_health_check_url.as_deref().filter(|url| !url.is_empty()) {
        said.push(format!(
            "endpointHealthCheckUrl is {url}: it is asked only with controlPlanePolicy Diagnose; left out, control-plane nodes \
             end themselves like all others"
        ));
    }
    if spec.is_software_reboot_enabled {
        said.push(
            "isSoftwareRebootEnabled is true: on a node without watchdog the proof is of the grade Assumed, and does not count \
             with requireProof: certain"
                .to_owned(),
        );
    }
    said
}

/// Fence agents' templates name Secrets of their own namespace, and the controller reads those of its own only.
fn secrets(seen: &Seen) -> Vec<Item> {
    let templates = seen.objects.iter().filter(|object| {
        object.group == fence_agents::GROUP && object.kind.ends_with("Template") && object.namespace != seen.namespace
    });
    let mut found = Vec::new();
    for template in templates {
        let spec = template.value.pointer("/spec/template/spec");
        let shared = spec.and_then(|spec| spec["sharedSecretName"].as_str());
        let of_nodes = spec.and_then(|spec| spec["nodeSecretNames"].as_object()).into_iter().flatten();
        let names: std::collections::BTreeSet<&str> =
            shared.into_iter().chain(of_nodes.filter_map(|(_, name)| Value::as_str(name))).collect();
        if !names.is_empty() {
            let what = format!(
                "it takes credentials from Secrets of {} ({}), and Palisade reads Secrets in {} only",
                template.namespace,
                names.into_iter().collect::<Vec<_>>().join(", "),
                seen.namespace
            );
            found.push(Item::new(Section::Changes, "secrets", template.title(), what).remedy(format!(
                "copy template and Secrets to {} and let policies name the copy, or give the controller the right to read them",
                seen.namespace
            )));
        }
    }
    found
}
