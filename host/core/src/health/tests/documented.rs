//! The table of what holds a remediation back, made by the rules themselves: each in a situation of its own, in its own
//! words, in the order in which they are asked.

use palisade_api::keys::palisade as annotations;
use palisade_api::node_health_check::{AttemptLimit, Budget, CorrelatedFailures, NodeAttempts};

use super::*;
use crate::documented;

/// The node of which the table speaks.
const NODE: &str = "worker-1";

struct Row {
    rule: &'static str,
    given: fn(&mut Scene),
    field: &'static str,
}

/// In the order of [`GATES`]; what follows them is decided before they are asked.
const ROWS: &[Row] = &[
    Row {
        rule: "disabled",
        field: "templates, spec",
        given: |scene| {
            let message = "template palisade-system/foo of kind FooTemplate does not exist".to_owned();
            scene.hold = Some(Hold { reason: palisade_api::reasons::reason::TEMPLATE_NOT_FOUND, message });
        },
    },
    Row {
        rule: "upgrade",
        field: "ClusterVersion, MachineConfig (OpenShift)",
        given: |scene| {
            scene.surroundings.upgrade = Some("ClusterVersion version is Progressing".to_owned());
        },
    },
    Row {
        rule: "paused",
        field: "`pauseRequests`, `palisade pause`",
        given: |scene| {
            scene.spec.pause_requests = vec!["new switches".to_owned()];
        },
    },
    Row {
        rule: "threshold",
        field: "`minHealthy`, `maxUnhealthy`",
        given: |scene| {
            scene.spec.min_healthy = Some("90%".into());
        },
    },
    Row {
        rule: "storm",
        field: "`stormCooldownDuration`",
        given: |scene| {
            scene.spec.storm_cooldown_duration = Some(GoDuration::from_secs(600));
            scene.storm.active = true;
        },
    },
    Row {
        rule: "correlatedFailure",
        field: "`correlatedFailures`",
        given: |scene| {
            let rule = CorrelatedFailures::default();
            for node in &mut scene.nodes {
                let zone = if ["worker-1", "worker-2", "worker-3"].contains(&node.name.as_str()) { "a" } else { "b" };
                node.labels.insert(cluster::ZONE.to_owned(), zone.to_owned());
            }
            for at in [1, 2] {
                scene.nodes[at] = NodeView { labels: scene.nodes[at].labels.clone(), ..sick(&scene.nodes[at].name) };
            }
            scene.surroundings.failures = classify(&scene.nodes, &rule, now());
            scene.spec.correlated_failures = Some(rule);
        },
    },
    Row {
        rule: "excluded",
        field: "label of the node",
        given: |scene| {
            scene.nodes[0].labels.insert(keys::EXCLUDE.to_owned(), "true".to_owned());
        },
    },
    Row {
        rule: "veto",
        field: "annotation of node or policy, `palisade veto`",
        given: |scene| {
            let veto = "owner=ann; until=2023-11-15T08:00:00Z; reason=new disk";
            scene.nodes[0].annotations.insert(annotations::VETO.to_owned(), veto.to_owned());
        },
    },
    Row {
        rule: "maintenance",
        field: "conditions of the node, `maintenanceSignals`",
        given: |scene| {
            scene.nodes[0].conditions.push(condition("MaintenanceInProgress", "True", ago(60)));
        },
    },
    Row {
        rule: "quarantine",
        field: "`attempts`",
        given: |scene| {
            scene.spec.attempts =
                Some(AttemptLimit { max: 1, window: GoDuration::from_secs(86_400), quarantine_for: None });
            let started = vec![k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(ago(3_600))];
            scene.attempts = vec![NodeAttempts { node: NODE.to_owned(), started, ..NodeAttempts::default() }];
        },
    },
    Row {
        rule: "machine",
        field: "Metal3 templates",
        given: |scene| {
            scene.spec.remediation_template = Some(reference("Metal3RemediationTemplate", "reboot"));
        },
    },
    Row {
        rule: "controlPlane",
        field: "role of the node",
        given: |scene| {
            scene.nodes[0].labels.insert(cluster::CONTROL_PLANE_ROLE.to_owned(), String::new());
            let key = running("Bar", "master-0", 60).key;
            scene.surroundings.control_plane.push(Elsewhere { node: "master-0".to_owned(), key });
        },
    },
    Row {
        rule: "controlPlaneGuard",
        field: "`etcd`",
        given: |scene| {
            let refused = Refusal {
                why:
                    "2 of 3 members of etcd are healthy (m1, m2; not m0), and without this one the quorum would be lost"
                        .to_owned(),
                unblock: "it is remediated when m0 is healthy again".to_owned(),
            };
            scene
                .surroundings
                .guards
                .insert(NODE.to_owned(), GuardAnswer { refused: Some(refused), counted: String::new() });
        },
    },
    Row {
        rule: "budget",
        field: "`budget`",
        given: |scene| {
            scene.spec.budget = Some(Budget { max_concurrent: Some(1.into()), ..Budget::default() });
            scene.nodes.push(sick("worker-9"));
            let mut other = running("Foo", "worker-9", 50);
            other.template = Some("foo".to_owned());
            scene.remediations.push(other);
        },
    },
    Row {
        rule: "lease",
        field: "lease of the node",
        given: |scene| {
            let lease = NodeLease {
                holder: "node-maintenance".to_owned(),
                renewed: Some(ago(20)),
                duration: Some(Duration::from_mins(10)),
                ..NodeLease::default()
            };
            scene.surroundings.leases.insert(lease_name(NODE), lease);
        },
    },
];

/// Not gates: what became of earlier remediations of the node.
const BEFORE: &[Row] = &[
    Row {
        rule: "foreignRemediation",
        field: "remediations of the node",
        given: |scene| {
            let mut other = running("Foo", NODE, 50);
            other.owned = false;
            scene.remediations.push(other);
        },
    },
    Row {
        rule: "terminating",
        field: "remediations of the node",
        given: |scene| {
            let mut other = running("Foo", NODE, 50);
            other.terminating = true;
            scene.remediations.push(other);
        },
    },
    Row {
        rule: "noTemplateLeft",
        field: "`escalatingRemediations`",
        given: |scene| {
            scene.spec = NodeHealthCheckSpec { min_healthy: scene.spec.min_healthy.clone(), ..ladder() };
            for (kind, age) in [("Foo", 900), ("Bar", 600)] {
                let mut tried = running(kind, NODE, age);
                tried.timed_out = true;
                scene.remediations.push(tried);
            }
        },
    },
];

/// One sick worker among five.
fn scene() -> Scene {
    let others = ["worker-2", "worker-3", "worker-4", "worker-5"].map(ok);
    Scene::new(NodeHealthCheckSpec { min_healthy: Some(1.into()), ..classic() }, [sick(NODE)].into_iter().chain(others))
}

fn reason(given: &[&Row]) -> SkipReason {
    let mut scene = scene();
    for row in given {
        (row.given)(&mut scene);
    }
    let plan = scene.plan();
    let skip = plan.skips.iter().find(|skip| skip.node == NODE);
    skip.unwrap_or_else(|| panic!("{} holds nothing back: {plan:?}", given[0].rule)).reason.clone()
}

#[test]
fn what_holds_back_is_documented_as_the_rules_say_it() {
    assert_eq!(ROWS.len(), GATES.len(), "every gate has a row");
    for pair in ROWS.windows(2) {
        assert_eq!(reason(&[&pair[0], &pair[1]]).rule(), pair[0].rule, "asked before {}", pair[1].rule);
    }
    let rows: Vec<Vec<String>> = ROWS
        .iter()
        .chain(BEFORE)
        .enumerate()
        .map(|(at, row)| {
            let reason = reason(&[row]);
            assert_eq!(reason.rule(), row.rule);
            let order = if at < ROWS.len() { (at + 1).to_string() } else { "before".to_owned() };
            let scope = if reason.scope() == Scope::Policy { "policy" } else { "node" };
            let event = match reason.event() {
                Some((reason, true)) => format!("Warning {reason}"),
                Some((reason, false)) => format!("Normal {reason}"),
                None => "(condition Disabled, or nothing)".to_owned(),
            };
            vec![order, format!("`{}`", row.rule), scope.to_owned(), row.field.to_owned(), reason.lasting(), event]
        })
        .collect();
    let head = ["asked", "rule", "about the", "set by", "for example", "event"];
    documented::is("decisions.md", "rules", &documented::table(&head, &rows));
}
