//! What the cluster around the policies says: an upgrade, another machine health check, a topology.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::DynamicObject;
use palisade_api::reasons::reason;
use palisade_core::health::Hold;
use serde_json::Value;

use super::World;
use super::kinds::KindError;

/// Kinds whose every change may concern every policy: group and version, kind, definition.
pub(super) const FACTS: [(&str, &str, &str); 3] = [
    ("config.openshift.io/v1", "ClusterVersion", "clusterversions.config.openshift.io"),
    ("config.openshift.io/v1", "Infrastructure", "infrastructures.config.openshift.io"),
    ("machine.openshift.io/v1beta1", "MachineHealthCheck", "machinehealthchecks.machine.openshift.io"),
];

/// Control planes of OpenShift whose nodes may be remediated. With two nodes (`DualReplica`) the cluster fences itself.
const TOPOLOGIES: [&str; 4] = ["HighlyAvailable", "SingleReplica", "HighlyAvailableArbiter", "External"];

/// A definition that has just appeared is served a moment later.
const NOT_YET_SERVED: Duration = Duration::from_secs(1);

/// What holds for every policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// This is OpenShift.
    pub openshift: bool,
    /// What is being upgraded.
    pub upgrade: Option<String>,
    /// Why no policy is acted on.
    pub hold: Option<Hold>,
    /// Nodes with a condition `Terminating` belong to somebody else.
    pub spare_terminating: bool,
    /// When to look again.
    pub again_in: Option<Duration>,
}

/// Reads the facts from watches, which are started when their kinds appear.
pub(super) async fn look(world: &World) -> Result<Facts, KindError> {
    let mut facts = Facts { openshift: world.definitions.has_group("config.openshift.io"), ..Facts::default() };
    for (api_version, kind, definition) in FACTS {
        if !world.definitions.has(definition) {
            continue;
        }
        let objects = match world.kinds.get(api_version, kind).await {
            Ok(kind) => kind.all(),
            Err(KindError::Unknown { .. }) => {
                facts.again_in = Some(NOT_YET_SERVED);
                continue;
            }
            Err(error) => return Err(error),
        };
        let objects: Vec<&DynamicObject> = objects.iter().map(AsRef::as_ref).collect();
        match kind {
            "ClusterVersion" => facts.upgrade = upgrade(&objects),
            "Infrastructure" => facts.hold = topology(&objects),
            _ => {
                let (conflict, spare) = machine_health_checks(&objects);
                facts.hold = conflict.or(facts.hold);
                facts.spare_terminating = spare;
            }
        }
    }
    Ok(facts)
}

fn upgrade(versions: &[&DynamicObject]) -> Option<String> {
    versions.iter().find_map(|version| {
        let conditions = version.data.pointer("/status/conditions")?.as_array()?;
        let progressing = conditions.iter().find(|condition| condition["type"] == "Progressing")?;
        let message = progressing["message"].as_str().unwrap_or_default();
        (progressing["status"] == "True").then(|| {
            let message: String = message.chars().take(200).collect();
            format!("ClusterVersion {} is Progressing ({message})", version.name_any())
        })
    })
}

fn topology(infrastructures: &[&DynamicObject]) -> Option<Hold> {
    let cluster = infrastructures.iter().find(|object| object.name_any() == "cluster")?;
    let topology = cluster.data.pointer("/status/controlPlaneTopology")?.as_str()?;
    (!topology.is_empty() && !TOPOLOGIES.contains(&topology)).then(|| Hold {
        reason: reason::UNSUPPORTED_TOPOLOGY,
        message: format!(
            "the control plane topology of this cluster is {topology}, but NodeHealthChecks work only with {}; delete the policy",
            TOPOLOGIES.join(", ")
        ),
    })
}

/// Two detectors over the same machines would fight. The one that handles terminating instances is no conflict, but
/// nodes that it is about are left to it.
fn machine_health_checks(checks: &[&DynamicObject]) -> (Option<Hold>, bool) {
    let handles_termination = |check: &DynamicObject| {
        let types = check.data.pointer("/spec/unhealthyConditions").and_then(Value::as_array);
        types.is_some_and(|types| matches!(types.as_slice(), [only] if only["type"] == "Terminating"))
    };
    match checks {
        [] => (None, false),
        [only] if handles_termination(only) => (None, true),
        _ => {
            let custom = checks.iter().find(|check| !handles_termination(check)).or(checks.first());
            let name = custom.map(|check| format!("{}/{}", check.namespace().unwrap_or_default(), check.name_any()));
            let message = format!(
                "MachineHealthCheck {} also remediates nodes; delete it to have NodeHealthChecks acted on",
                name.unwrap_or_default()
            );
            (Some(Hold { reason: reason::CONFLICTING_MHC, message }), true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, data: Value) -> DynamicObject {
        let mut object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "x/v1", "kind": "X", "metadata": { "name": name, "namespace": "openshift-machine-api" },
        }))
        .unwrap();
        object.data = data;
        object
    }

    fn check(name: &str, types: &[&str]) -> DynamicObject {
        let conditions: Vec<Value> = types.iter().map(|type_| json!({ "type": type_, "status": "True" })).collect();
        object(name, json!({ "spec": { "unhealthyConditions": conditions } }))
    }

    #[test]
    fn only_the_termination_handler_is_no_conflict() {
        let (termination, custom) = (check("termination", &["Terminating"]), check("custom", &["Ready"]));
        let both = check("both", &["Terminating", "Ready"]);
        assert_eq!(machine_health_checks(&[]), (None, false));
        assert_eq!(machine_health_checks(&[&termination]), (None, true));
        for conflict in [vec![&custom], vec![&termination, &custom], vec![&both], vec![&termination, &termination]] {
            let hold = machine_health_checks(&conflict).0.unwrap();
            assert_eq!(hold.reason, "ConflictingMachineHealthCheckDetected");
        }
        let hold = machine_health_checks(&[&termination, &custom]).0.unwrap();
        assert!(hold.message.contains("MachineHealthCheck openshift-machine-api/custom"), "{}", hold.message);
    }

    #[test]
    fn a_cluster_version_that_progresses_is_an_upgrade() {
        let version = |status: &str| {
            let conditions = json!([{ "type": "Available", "status": "True" }, { "type": "Progressing", "status": status, "message": "Working towards 4.22" }]);
            object("version", json!({ "status": { "conditions": conditions } }))
        };
        assert_eq!(upgrade(&[&version("False")]), None);
        assert!(upgrade(&[&version("True")]).unwrap().contains("Working towards 4.22"));
        assert_eq!(upgrade(&[&object("version", json!({}))]), None);
    }

    #[test]
    fn only_some_topologies_are_served() {
        let infrastructure =
            |topology: &str| object("cluster", json!({ "status": { "controlPlaneTopology": topology } }));
        for served in ["HighlyAvailable", "SingleReplica", "HighlyAvailableArbiter", "External", ""] {
            assert_eq!(topology(&[&infrastructure(served)]), None, "{served}");
        }
        assert!(topology(&[&infrastructure("DualReplica")]).unwrap().message.contains("DualReplica"));
    }
}
