//! What holds a remediation back although the node is unhealthy: storms, upgrades, planned work, the control plane.

use super::*;
use palisade_api::node_health_check::MaintenanceSignals;
use palisade_api::reasons::phase;

fn stormy() -> NodeHealthCheckSpec {
    NodeHealthCheckSpec { storm_cooldown_duration: Some(GoDuration::from_secs(60)), ..classic() }
}

fn one_sick() -> Scene {
    Scene::new(classic(), [ok("a"), sick("b"), ok("c")])
}

fn rule(plan: &Plan) -> Vec<&'static str> {
    plan.skips.iter().map(|skip| skip.reason.rule()).collect()
}

#[test]
fn a_storm_holds_until_its_cooldown_is_over() {
    // Given five nodes, of which three are sick: too many
    let nodes = |sick_ones: usize| {
        ["a", "b", "c", "d", "e"]
            .into_iter()
            .enumerate()
            .map(move |(at, name)| if at < sick_ones { sick(name) } else { ok(name) })
    };
    let mut scene = Scene::new(stormy(), nodes(3));
    let plan = scene.pass();
    assert_eq!((plan.storm.active, plan.storm_change), (true, Some(StormChange::Started)));
    assert_eq!(rule(&plan), ["threshold"; 3]);
    // When one recovers, the cooldown holds the others back
    scene.nodes = nodes(2).collect();
    let plan = scene.pass();
    assert_eq!((plan.storm_change, plan.again_in), (Some(StormChange::Cooling), just_after(60)));
    assert_eq!((plan.actions.len(), rule(&plan)), (0, vec!["storm"; 2]));
    assert!(plan.reason.contains("StormActive"), "{}", plan.reason);
    // When the cooldown is over, they are remediated in the same pass
    let plan = scene.plan_at(now() + SignedDuration::from_secs(60));
    assert_eq!(plan.storm_change, Some(StormChange::Ended));
    assert_eq!(plan.actions, [create("a", 0), create("b", 0)]);
    // And when the field is removed meanwhile, at once
    scene.spec.storm_cooldown_duration = None;
    let plan = scene.plan();
    assert_eq!((plan.storm, plan.storm_change), (Storm::default(), Some(StormChange::Forgotten)));
    assert_eq!(plan.actions.len(), 2);
}

#[test]
fn a_storm_ends_when_every_node_recovers() {
    let mut scene = Scene::new(stormy(), ["a", "b", "c"].map(sick));
    assert!(scene.pass().storm.active);
    scene.nodes = ["a", "b", "c"].map(ok).into();
    assert_eq!(scene.pass().again_in, just_after(60));
    let plan = scene.plan_at(now() + SignedDuration::from_secs(61));
    assert_eq!((plan.storm, plan.storm_change), (Storm::default(), Some(StormChange::Ended)));
}

#[test]
fn during_a_storm_running_steps_time_out_and_recovered_nodes_are_released() {
    let mut ended = running("Foo", "c", 30);
    ended.node_uid = None;
    let mut scene = Scene::new(
        NodeHealthCheckSpec { storm_cooldown_duration: Some(GoDuration::from_secs(60)), ..ladder() },
        [sick("a"), sick("b"), ok("c")],
    )
    .with(running("Foo", "b", 61))
    .with(ended.clone());
    scene.storm.active = true;
    let plan = scene.plan();
    assert!(
        matches!(&plan.actions[..], [Action::GiveUp { node, .. }, last] if node == "b" && *last == delete(&ended, false))
    );
}

#[test]
fn an_upgrade_of_the_cluster_starts_nothing_and_counts_on() {
    let mut scene = one_sick();
    scene.surroundings.upgrade = Some("ClusterVersion version is Progressing".to_owned());
    let plan = scene.plan();
    assert_eq!((plan.actions.len(), rule(&plan)), (0, vec!["upgrade"]));
    assert_eq!((plan.observed, plan.healthy, plan.phase), (3, 2, phase::ENABLED));
    assert_eq!(plan.again_in, seconds(60));
    assert_eq!(plan.skips[0].reason.scope(), Scope::Policy);
    assert_eq!(plan.skips[0].reason.event(), Some(("RemediationSkipped", false)));
}

#[test]
fn on_openshift_a_sick_node_that_gets_another_configuration_is_an_upgrade_of_its_pool() {
    let mut scene = one_sick();
    let annotate = |scene: &mut Scene, at: usize, has: &str, wants: &str| {
        let pairs = [("currentConfig", has), ("desiredConfig", wants)];
        let pairs = pairs.map(|(key, value)| (format!("machineconfiguration.openshift.io/{key}"), value.to_owned()));
        scene.nodes[at].annotations.extend(pairs);
    };
    annotate(&mut scene, 1, "one", "two");
    assert_eq!(scene.plan().actions, [create("b", 0)], "only OpenShift means that by it");
    scene.surroundings.openshift = true;
    assert_eq!(rule(&scene.plan()), ["upgrade"]);
    annotate(&mut scene, 1, "two", "two");
    annotate(&mut scene, 0, "one", "two");
    assert_eq!(scene.plan().actions, [create("b", 0)], "a healthy node may be upgraded meanwhile");
}

#[test]
fn a_node_that_somebody_works_on_is_left_to_them() {
    for type_ in ["MaintenanceInProgress", "DrainInProgress", "Drained"] {
        for (status, held) in [("True", true), ("False", false), ("Unknown", false)] {
            let mut scene = one_sick();
            scene.nodes[1].conditions.push(condition(type_, status, ago(9_000)));
            let plan = scene.plan();
            assert_eq!(plan.actions.is_empty(), held, "{type_}={status}");
            if held {
                assert_eq!((rule(&plan), plan.again_in), (vec!["maintenance"], seconds(60)));
                assert!(plan.reason.contains(type_), "{}", plan.reason);
            }
        }
    }
    // What is only planned is no reason yet.
    let mut scene = one_sick();
    scene.nodes[1].conditions.push(condition("MaintenancePlanned", "True", ago(9_000)));
    assert_eq!(scene.plan().actions, [create("b", 0)]);
}

#[test]
fn a_shutdown_that_takes_too_long_is_a_failure() {
    let mut scene = one_sick();
    scene.nodes[1].conditions.push(condition("GracefulNodeShutdownInProgress", "True", ago(60)));
    assert_eq!(rule(&scene.plan()), ["maintenance"]);
    scene.nodes[1].conditions[1].since = Some(ago(901));
    assert_eq!(scene.plan().actions, [create("b", 0)]);
}

#[test]
fn other_signals_of_planned_work_are_a_matter_of_configuration() {
    let mut scene = one_sick();
    scene.nodes[1].conditions.push(condition("example.com/Patching", "True", ago(60)));
    (scene.nodes[1].unschedulable, scene.nodes[1].kubelet_version) = (true, "v1.36.1".to_owned());
    scene.surroundings.kubelet_versions = ["v1.36.1".to_owned(), "v1.37.0".to_owned()].into();
    assert_eq!(scene.plan().actions, [create("b", 0)]);
    let signals = |conditions: &[&str], skew| {
        let node_conditions = conditions.iter().map(|&type_| type_.to_owned()).collect();
        Some(MaintenanceSignals { node_conditions, cordon_and_version_skew: skew })
    };
    scene.spec.maintenance_signals = signals(&["example.com/Patching"], None);
    assert_eq!(rule(&scene.plan()), ["maintenance"]);
    scene.spec.maintenance_signals = signals(&[], Some(true));
    assert!(scene.plan().reason.contains("v1.36.1, v1.37.0"), "{}", scene.plan().reason);
    // Without a difference, or without the cordon, it is a failure.
    scene.surroundings.kubelet_versions.pop_first();
    assert_eq!(scene.plan().actions, [create("b", 0)]);
    scene.surroundings.kubelet_versions.insert("v1.36.1".to_owned());
    scene.nodes[1].unschedulable = false;
    assert_eq!(scene.plan().actions, [create("b", 0)]);
}

#[test]
fn a_control_plane_node_waits_for_one_of_another_policy() {
    let mut scene = Scene::new(classic(), [ok("a"), control_plane(sick("b")), ok("c")]);
    let key = running("Bar", "m0", 60).key;
    scene.surroundings.control_plane.push(Elsewhere { node: "m0".to_owned(), key: key.clone() });
    let plan = scene.plan();
    assert_eq!(skipped(&plan), [("b", &SkipReason::ControlPlaneBusy(format!("m0 ({key})")))]);
    assert_eq!(plan.again_in, seconds(60));
    // Workers do not.
    scene.nodes[1].labels.clear();
    assert_eq!(scene.plan().actions, [create("b", 0)]);
}

#[test]
fn the_ladder_of_a_control_plane_node_goes_on_although_its_first_step_is_there() {
    let mut first = running("Foo", "b", 61);
    (first.control_plane, first.timed_out) = (true, true);
    let plan = Scene::new(ladder(), [ok("a"), control_plane(sick("b")), ok("c")]).with(first).plan();
    assert_eq!(plan.actions, [create("b", 1)]);
}

#[test]
fn a_guard_that_refuses_is_quoted() {
    let mut scene = Scene::new(classic(), [ok("a"), control_plane(sick("b")), ok("c")]);
    let refused = Refusal { why: "2 of 3 members are healthy".to_owned(), unblock: "a third must be".to_owned() };
    let answer = GuardAnswer { refused: Some(refused), counted: String::new() };
    scene.surroundings.guards.insert("b".to_owned(), answer);
    let plan = scene.plan();
    assert_eq!(rule(&plan), ["controlPlaneGuard"]);
    assert_eq!(plan.reason, "node b is not remediated: 2 of 3 members are healthy; a third must be");
    scene.surroundings.guards.insert("b".to_owned(), GuardAnswer::default());
    assert_eq!(scene.plan().actions, [create("b", 0)]);
}

#[test]
fn metal3_needs_the_machine_of_cluster_api_beside_its_template() {
    let mut spec = classic();
    spec.remediation_template = Some(reference("Metal3RemediationTemplate", "reboot"));
    let mut scene = Scene::new(spec, [ok("a"), sick("b"), ok("c")]);
    assert_eq!(rule(&scene.plan()), ["machine"]);
    let annotate = |scene: &mut Scene, namespace: &str| {
        let pairs = [("machine", "m-b"), ("cluster-namespace", namespace)];
        let pairs = pairs.map(|(key, value)| (format!("cluster.x-k8s.io/{key}"), value.to_owned()));
        scene.nodes[1].annotations.extend(pairs);
    };
    annotate(&mut scene, "elsewhere");
    assert!(scene.plan().reason.contains("Machine elsewhere/m-b of the node is not in namespace rem"));
    annotate(&mut scene, "rem");
    assert_eq!(scene.plan().actions, [create("b", 0)]);
}

#[test]
fn terminating_nodes_are_spared_where_somebody_else_handles_them() {
    let mut scene = one_sick();
    scene.nodes[1].conditions.push(condition("Terminating", "True", ago(60)));
    assert_eq!(scene.plan().actions, [create("b", 0)]);
    scene.surroundings.spare_terminating = true;
    assert_eq!((scene.plan().actions.len(), scene.plan().unhealthy.len()), (0, 0));
}

#[test]
fn a_node_made_anew_under_its_old_name_is_another_node() {
    // Given a ladder that was climbed to its end for a node
    let mut first = running("Foo", "b", 400);
    let mut second = running("Bar", "b", 301);
    (first.timed_out, second.timed_out) = (true, true);
    let mut scene = Scene::new(ladder(), [ok("a"), sick("b"), ok("c")]).with(first.clone()).with(second.clone());
    assert_eq!(rule(&scene.pass()), ["noTemplateLeft"]);
    // When the node is deleted and made anew, and is sick again
    scene.nodes[1].uid = "another".to_owned();
    let plan = scene.pass();
    // Then what was made for the old one goes first
    assert_eq!(plan.actions, [delete(&first, true), delete(&second, true)]);
    assert_eq!(rule(&plan), ["terminating"]);
    // And the ladder begins anew
    scene.remediations.clear();
    let plan = scene.pass();
    assert_eq!(plan.actions, [create("b", 0)]);
    assert_eq!(plan.unhealthy[0].node_uid.as_deref(), Some("another"));
}

#[test]
fn a_remediation_that_makes_its_node_anew_may_finish_first() {
    let mut deletion = running("Foo", "b", 60);
    deletion.node_vanishes = true;
    let mut scene = Scene::new(classic(), [ok("a"), sick("b"), ok("c")]).with(deletion.clone());
    scene.nodes[1].uid = "another".to_owned();
    assert_eq!((scene.plan().actions.len(), rule(&scene.plan())), (0, vec!["terminating"]));
    scene.nodes[1] = NodeView { uid: "another".to_owned(), ..ok("b") };
    assert_eq!(scene.plan().actions, [], "nor is it ended because the new node is healthy");
    scene.remediations[0].succeeded = Some(true);
    assert_eq!(scene.plan().actions, [delete(&deletion, true)]);
}

#[test]
fn a_remediation_of_two_days_is_flagged_once() {
    let mut scene = one_sick().with(running("Foo", "b", 47 * 3_600));
    let plan = scene.pass();
    assert_eq!((plan.actions.len(), plan.again_in), (0, just_after(3_600)));
    scene.remediations[0].created = ago(48 * 3_600 + 1);
    let flag = Action::FlagOld { remediation: scene.remediations[0].key.clone(), node: "b".to_owned() };
    assert_eq!(scene.pass().actions, [flag]);
    scene.remediations[0].flagged_old = true;
    assert_eq!(scene.pass().actions, []);
}

#[test]
fn templates_of_one_name_in_two_namespaces_are_two_templates() {
    let mut elsewhere = running("Foo", "b", 60);
    elsewhere.key.namespace = "other".to_owned();
    elsewhere.owned = false;
    assert_eq!(one_sick().with(elsewhere).plan().actions, [create("b", 0)]);
}

#[test]
fn two_thousand_of_five_thousand_nodes_are_planned_without_walking_lists_for_each() {
    let name = |at: usize| format!("node-{at:04}");
    let mut spec = classic();
    spec.min_healthy = Some("50%".into());
    let nodes = (0..5_000).map(|at| if at % 5 < 2 { sick(&name(at)) } else { ok(&name(at)) });
    let mut scene = Scene::new(spec, nodes);
    for at in (0..5_000).filter(|at| at % 5 == 0) {
        scene.remediations.push(running("Foo", &name(at), 60));
        scene.surroundings.leases.insert(lease_name(&name(at)), NodeLease::default());
    }
    let started = std::time::Instant::now();
    assert_eq!(scene.pass().actions.len(), 1_000);
    assert_eq!(scene.pass().unhealthy.len(), 2_000);
    // A walk of every list for every node takes minutes in a debug build; two passes take a fraction of a second.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
