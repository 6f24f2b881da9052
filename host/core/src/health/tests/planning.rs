use super::*;
use palisade_api::reasons::{phase, reason};

#[test]
fn one_of_three_is_sick() {
    // Given three nodes, of which one is sick
    let mut scene = Scene::new(classic(), [ok("a"), sick("b"), ok("c")]);
    // When it is looked at
    let plan = scene.pass();
    // Then it is remediated
    assert_eq!((plan.observed, plan.healthy, plan.needed), (3, 2, 2));
    assert_eq!(plan.actions, [create("b", 0)]);
    assert_eq!(plan.detected, ["b"]);
    // And when the remediation runs, nothing more happens
    scene = scene.with(running("Foo", "b", 1));
    let plan = scene.pass();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.detected, Vec::<String>::new());
    assert_eq!(plan.phase, phase::REMEDIATING);
    let recorded = &plan.unhealthy[0].remediations[0];
    assert_eq!(recorded.resource.uid.as_deref(), Some("uid-Foo-b"));
    assert_eq!(recorded.started.0, ago(1));
    assert_eq!(recorded.template_name.as_deref(), Some("foo"));
    assert_eq!(recorded.timed_out, None);
}

#[test]
fn four_of_seven_are_too_many() {
    let plan = Scene::new(classic(), ["a", "b", "c", "d"].map(sick).into_iter().chain(["e", "f", "g"].map(ok))).plan();
    assert_eq!((plan.observed, plan.healthy, plan.needed), (7, 3, 4));
    assert_eq!(plan.actions, []);
    assert_eq!(plan.unhealthy.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert!(plan.unhealthy.iter().all(|node| node.remediations.is_empty()));
    assert_eq!(plan.phase, phase::ENABLED);
    assert_eq!(skipped(&plan)[0], ("a", &SkipReason::BelowThreshold { healthy: 3, needed: 4, observed: 7 }));
    assert!(plan.reason.contains("only 3 of 7 selected nodes are healthy"), "{}", plan.reason);
}

#[test]
fn four_of_ten_are_remediated_together() {
    let sick_ones = ["a", "b", "c", "d"].map(sick);
    let plan = Scene::new(classic(), sick_ones.into_iter().chain(["e", "f", "g", "h", "i", "j"].map(ok))).plan();
    assert_eq!(plan.actions, ["a", "b", "c", "d"].map(|node| create(node, 0)));
}

#[test]
fn all_must_be_healthy_never_remediates() {
    for spec in [
        NodeHealthCheckSpec { min_healthy: Some("100%".into()), ..classic() },
        NodeHealthCheckSpec { min_healthy: None, max_unhealthy: Some(0.into()), ..classic() },
    ] {
        assert_eq!(Scene::new(spec, [ok("a"), sick("b"), ok("c")]).plan().actions, []);
    }
}

#[test]
fn more_allowed_than_there_are_nodes_remediates() {
    let spec = NodeHealthCheckSpec { min_healthy: None, max_unhealthy: Some(5.into()), ..classic() };
    assert_eq!(Scene::new(spec, [ok("a"), sick("b"), ok("c")]).plan().actions, [create("b", 0)]);
}

#[test]
fn a_recovered_node_does_not_count_until_its_remediation_is_gone() {
    // Given a healthy node whose remediation still cleans up, and another that is sick
    let mut ending = running("Foo", "a", 60);
    ending.terminating = true;
    let scene = Scene::new(classic(), [ok("a"), sick("b"), ok("c")]).with(ending);
    // Then too few are healthy
    let plan = scene.plan();
    assert_eq!(plan.healthy, 1);
    assert_eq!(plan.actions, []);
}

#[test]
fn a_node_about_to_be_sick_is_neither_healthy_nor_remediated() {
    let plan = Scene::new(classic(), [ok("a"), node("b", "Unknown", 3), ok("c")]).plan();
    assert_eq!((plan.healthy, plan.actions.len(), plan.unhealthy.len()), (2, 0, 0));
    assert_eq!(plan.again_in, just_after(7));
}

#[test]
fn a_node_that_changes_its_sickness_keeps_its_remediation() {
    // Given a node under remediation that turns from Unknown to False: the duration begins anew
    let mut scene = Scene::new(ladder(), [ok("a"), node("b", "False", 1), ok("c")]).with(running("Foo", "b", 600));
    scene.remembered = vec![UnhealthyNode { name: "b".to_owned(), ..UnhealthyNode::default() }];
    // Then nothing is deleted, and the ladder stands still although the step's time is over
    let plan = scene.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.unhealthy[0].remediations.len(), 1);
}

#[test]
fn excluded_nodes_are_left_alone_but_count() {
    let scene = Scene::new(classic(), [ok("a"), labelled(sick("b"), "true"), ok("c")]);
    let plan = scene.plan();
    assert_eq!((plan.actions.len(), plan.healthy), (0, 2));
    assert_eq!(skipped(&plan), [("b", &SkipReason::Excluded)]);
    assert_eq!(plan.unhealthy[0].name, "b");
    for value in ["false", "", "TRUE"] {
        let plan = Scene::new(classic(), [ok("a"), labelled(sick("b"), value), ok("c")]).plan();
        assert_eq!(plan.actions, [create("b", 0)], "{value:?}");
        assert_eq!(plan.invalid_labels.len(), usize::from(value.is_empty()));
    }
}

#[test]
fn paused_policies_start_nothing_and_count_on() {
    let spec = NodeHealthCheckSpec { pause_requests: vec!["upgrade".to_owned()], ..classic() };
    let ended = running("Foo", "a", 60);
    let plan = Scene::new(spec, [ok("a"), sick("b"), ok("c")]).with(ended.clone()).plan();
    // What recovered is released all the same
    assert_eq!(plan.actions, [delete(&ended, false)]);
    assert_eq!((plan.observed, plan.healthy, plan.phase), (3, 1, phase::PAUSED));
    assert!(plan.reason.contains("upgrade"));
    assert_eq!(skipped(&plan), [("b", &SkipReason::Paused(vec!["upgrade".to_owned()]))]);
}

#[test]
fn disabled_policies_start_nothing_but_release_what_recovered() {
    let ended = running("Foo", "a", 60);
    let mut scene = Scene::new(classic(), [ok("a"), sick("b"), ok("c")]).with(ended.clone());
    scene.hold = Some(Hold { reason: reason::TEMPLATE_NOT_FOUND, message: "no such template".to_owned() });
    let plan = scene.plan();
    assert_eq!(plan.actions, [delete(&ended, false)]);
    assert_eq!((plan.phase, plan.reason.as_str()), (phase::DISABLED, "RemediationTemplateNotFound: no such template"));
}

#[test]
fn a_threshold_that_makes_no_sense_disables_the_policy() {
    let plan = Scene::new(NodeHealthCheckSpec { min_healthy: None, ..classic() }, [sick("b")]).plan();
    assert_eq!(plan.disabled.as_ref().map(|hold| hold.reason), Some(reason::SPEC_INVALID));
    assert_eq!(plan.actions, []);
}

#[test]
fn somebody_elses_remediation_is_not_touched() {
    let mut foreign = running("Foo", "b", 60);
    foreign.owned = false;
    let plan = Scene::new(classic(), [ok("a"), sick("b"), ok("c")]).with(foreign).plan();
    assert_eq!(plan.actions, []);
    assert!(matches!(skipped(&plan)[..], [("b", SkipReason::Foreign(_))]));
    assert!(plan.unhealthy[0].remediations.is_empty());
}

#[test]
fn a_remediation_from_before_there_were_several_templates_counts_by_its_name() {
    let mut old = running("Foo", "b", 60);
    old.template = None;
    let plan = Scene::new(classic(), [ok("a"), sick("b"), ok("c")]).with(old).plan();
    assert_eq!(plan.actions, []);
}

#[test]
fn a_remediation_deleted_by_hand_is_made_again() {
    // Given a remediation that somebody deletes while the node is sick
    let mut scene = Scene::new(classic(), [ok("a"), sick("b"), ok("c")]).with(running("Foo", "b", 60));
    scene.pass();
    // When it still cleans up, the policy waits
    scene.remediations[0].terminating = true;
    assert!(matches!(skipped(&scene.pass())[..], [("b", SkipReason::Terminating(_))]));
    // When it is gone, there is a new one, and the status forgets the old
    scene.remediations.clear();
    let plan = scene.pass();
    assert_eq!(plan.actions, [create("b", 0)]);
    assert!(plan.unhealthy[0].remediations.is_empty());
}

#[test]
fn control_plane_nodes_are_remediated_one_at_a_time() {
    let nodes = || ["a", "b"].map(|name| control_plane(sick(name))).into_iter().chain(["c", "d", "e"].map(ok));
    // Given two sick control-plane nodes: only the first is remediated
    let plan = Scene::new(classic(), nodes()).plan();
    assert_eq!(plan.actions, [create("a", 0)]);
    assert_eq!(skipped(&plan), [("b", &SkipReason::ControlPlaneBusy("a".to_owned()))]);
    // And the second waits until the remediation of the first is gone, healthy or not
    let mut ending = running("Foo", "a", 60);
    (ending.control_plane, ending.terminating) = (true, true);
    let healthy_again = [control_plane(ok("a")), control_plane(sick("b")), ok("c"), ok("d"), ok("e")];
    assert_eq!(Scene::new(classic(), healthy_again.clone()).with(ending).plan().actions, []);
    assert_eq!(Scene::new(classic(), healthy_again).plan().actions, [create("b", 0)]);
}

#[test]
fn the_ladder_is_climbed_by_order_time_and_failure() {
    // Given a policy with two steps, written in the wrong order
    let mut scene = Scene::new(ladder(), [ok("a"), sick("b"), ok("c")]);
    assert_eq!(scene.pass().actions, [create("b", 0)], "lowest order first");
    assert_eq!(steps(&scene.spec)[0].template, "foo");
    // When the first runs, then its rest is waited for
    scene = scene.with(running("Foo", "b", 20));
    let plan = scene.pass();
    assert_eq!((plan.actions.len(), plan.again_in), (0, just_after(40)));
    // When its time is over, then it is told and the second starts
    scene.remediations[0].created = ago(61);
    let give_up = |view: &RemediationView, tell, failed| Action::GiveUp {
        remediation: view.key.clone(),
        node: view.node.clone(),
        tell,
        failed,
    };
    let first = scene.remediations[0].clone();
    assert_eq!(scene.pass().actions, [give_up(&first, true, false), create("b", 1)]);
    // And when both are there, then the status has both
    scene.remediations[0].timed_out = true;
    scene = scene.with(running("Bar", "b", 1));
    let plan = scene.pass();
    assert_eq!(plan.actions, []);
    let recorded: Vec<bool> = plan.unhealthy[0].remediations.iter().map(|known| known.timed_out.is_some()).collect();
    assert_eq!(recorded, [true, false]);
    // When the second fails by its own account, then nothing is left, and no time is waited for
    scene.remediations[1].succeeded = Some(false);
    let second = scene.remediations[1].clone();
    let plan = scene.pass();
    assert_eq!(plan.actions, [give_up(&second, true, true)]);
    assert_eq!(skipped(&plan), [("b", &SkipReason::NoTemplateLeft)]);
    assert_eq!(plan.phase, phase::REMEDIATING);
    // And when somebody deletes what was given up, it is not tried again
    scene.remediations[1].timed_out = true;
    scene.pass();
    scene.remediations.clear();
    let plan = scene.pass();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.unhealthy[0].remediations.len(), 2);
    // But after the node was healthy once, it starts from the bottom
    scene.nodes[1] = ok("b");
    assert_eq!(scene.pass().unhealthy, []);
    scene.nodes[1] = sick("b");
    assert_eq!(scene.pass().actions, [create("b", 0)]);
}

#[test]
fn a_step_that_says_it_succeeded_is_given_up_without_being_told() {
    let mut done = running("Foo", "b", 61);
    done.succeeded = Some(true);
    let plan = Scene::new(ladder(), [ok("a"), sick("b"), ok("c")]).with(done).plan();
    assert!(matches!(plan.actions[0], Action::GiveUp { tell: false, failed: false, .. }));
}

#[test]
fn below_the_threshold_running_steps_time_out_but_no_new_one_starts() {
    let nodes = [sick("a"), sick("b"), ok("c")];
    let plan = Scene::new(ladder(), nodes).with(running("Foo", "b", 61)).plan();
    assert!(matches!(&plan.actions[..], [Action::GiveUp { node, .. }] if node == "b"));
    assert!(plan.skips.iter().all(|skip| matches!(skip.reason, SkipReason::BelowThreshold { .. })));
}

#[test]
fn a_classic_remediation_has_no_end() {
    let mut old = running("Foo", "b", 3_600 * 24 * 30);
    (old.succeeded, old.flagged_old) = (Some(false), true);
    let plan = Scene::new(classic(), [ok("a"), sick("b"), ok("c")]).with(old).plan();
    assert_eq!((plan.actions.len(), plan.again_in), (0, None));
}

#[test]
fn two_templates_of_one_kind_are_two_steps() {
    // Given a ladder whose steps differ only in the name of the template
    let mut spec = ladder();
    spec.escalating_remediations[0].remediation_template = reference("FooTemplate", "second");
    let mut first = running("Foo", "b", 61);
    first.timed_out = true;
    let mut scene = Scene::new(spec, [ok("a"), sick("b"), ok("c")]).with(first);
    assert_eq!(scene.pass().actions, [create("b", 1)]);
    // Then the second times out too
    let mut second = running("Foo", "b", 301);
    (second.template, second.key.uid) = (Some("second".to_owned()), "another".to_owned());
    scene = scene.with(second);
    let plan = scene.pass();
    assert!(matches!(&plan.actions[..], [Action::GiveUp { remediation, .. }] if remediation.uid == "another"));
    assert_eq!(plan.unhealthy[0].remediations.len(), 2);
}

#[test]
fn steps_made_in_the_same_second_are_listed_in_the_order_of_the_ladder() {
    let mut first = running("Foo", "b", 5);
    first.timed_out = true;
    // By name and kind, the second would come first.
    let second = running("Bar", "b", 5);
    let plan = Scene::new(ladder(), [ok("a"), sick("b"), ok("c")]).with(second).with(first).plan();
    let kinds: Vec<_> = plan.unhealthy[0].remediations.iter().map(|known| known.resource.kind.as_deref()).collect();
    assert_eq!(kinds, [Some("Foo"), Some("Bar")]);
}
