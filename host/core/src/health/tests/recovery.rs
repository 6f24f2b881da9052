use super::*;
use palisade_api::reasons::phase;

fn recovered(spec: NodeHealthCheckSpec, remediation: RemediationView) -> Scene {
    Scene::new(spec, [ok("a"), ok("b"), ok("c")]).with(remediation)
}

fn delayed(seconds: i64) -> NodeHealthCheckSpec {
    NodeHealthCheckSpec { healthy_delay: Some(GoDuration::from_secs(seconds)), ..classic() }
}

#[test]
fn a_healthy_node_loses_its_remediation_and_counts_once_that_is_gone() {
    // Given a node that is healthy again
    let remediation = running("Foo", "b", 60);
    let mut scene = recovered(classic(), remediation.clone());
    // Then its remediation is deleted, and it does not count yet
    let plan = scene.pass();
    assert_eq!(plan.actions, [delete(&remediation, false)]);
    assert_eq!((plan.healthy, plan.phase), (2, phase::REMEDIATING));
    assert_eq!(plan.unhealthy[0].conditions_healthy_timestamp.as_ref().map(|time| time.0), Some(now()));
    assert_eq!(plan.unhealthy[0].healthy_delayed, None);
    // When it cleans up, then nothing is asked again
    scene.remediations[0].terminating = true;
    assert_eq!(scene.pass().actions, []);
    // When it is gone, then the node counts
    scene.remediations.clear();
    let plan = scene.pass();
    assert_eq!((plan.healthy, plan.unhealthy.len(), plan.phase), (3, 0, phase::ENABLED));
}

#[test]
fn every_remediation_of_a_ladder_goes_together() {
    let (first, second) = (running("Foo", "b", 90), running("Bar", "b", 20));
    let plan = recovered(ladder(), first.clone()).with(second.clone()).plan();
    assert_eq!(plan.actions, [delete(&first, false), delete(&second, false)]);
}

#[test]
fn somebody_elses_remediation_of_a_healthy_node_stays() {
    let mut foreign = running("Foo", "b", 60);
    foreign.owned = false;
    let plan = recovered(classic(), foreign).plan();
    assert_eq!((plan.actions.len(), plan.healthy), (0, 3));
}

#[test]
fn the_healthy_delay_is_noted_waited_for_and_then_over() {
    let mut scene = recovered(delayed(30), running("Foo", "b", 60));
    let key = scene.remediations[0].key.clone();
    // When the node is healthy for the first time
    let plan = scene.pass();
    assert_eq!(plan.actions, [Action::StartHealthyDelay { remediation: key }]);
    assert_eq!(plan.again_in, just_after(30));
    assert_eq!(plan.unhealthy[0].healthy_delayed, Some(true));
    // When the delay runs
    scene.remediations[0].healthy_since = Some(ago(10));
    let plan = scene.pass();
    assert_eq!((plan.actions.len(), plan.again_in), (0, just_after(20)));
    // When it is over
    scene.remediations[0].healthy_since = Some(ago(31));
    assert_eq!(scene.pass().actions, [delete(&scene.remediations[0], false)]);
}

#[test]
fn a_node_that_is_sick_again_begins_its_delay_anew() {
    let mut remediation = running("Foo", "b", 60);
    remediation.healthy_since = Some(ago(5));
    let scene = Scene::new(delayed(30), [ok("a"), sick("b"), ok("c")]).with(remediation.clone());
    let plan = scene.plan();
    assert_eq!(plan.actions, [Action::ClearHealthyDelay { remediation: remediation.key }]);
    assert_eq!(plan.unhealthy[0].healthy_delayed, None);
    assert_eq!(plan.unhealthy[0].conditions_healthy_timestamp, None);
}

#[test]
fn a_negative_delay_lasts_until_a_person_confirms() {
    let mut remediation = running("Foo", "b", 60);
    remediation.flagged_old = true;
    let mut scene = recovered(delayed(-1), remediation);
    let plan = scene.pass();
    assert_eq!((plan.actions.len(), plan.again_in), (0, None));
    assert_eq!(plan.unhealthy[0].healthy_delayed, Some(true));
    // When somebody confirms
    scene.nodes[1].confirmed_healthy = true;
    assert_eq!(scene.pass().actions, [delete(&scene.remediations[0], false)]);
    // And when the remediation is gone, the confirmation has served
    scene.remediations.clear();
    assert_eq!(scene.pass().actions, [Action::ForgetConfirmation { node: "b".to_owned() }]);
}

#[test]
fn remediations_of_nodes_that_are_gone_are_deleted() {
    let orphan = running("Foo", "gone", 60);
    let mut scene = Scene::new(classic(), [ok("a")]).with(orphan.clone());
    let plan = scene.pass();
    assert_eq!(plan.actions, [delete(&orphan, true)]);
    assert_eq!(plan.unhealthy.len(), 1);
    scene.remediations.clear();
    assert_eq!(scene.pass().unhealthy, []);
}

#[test]
fn a_remediation_that_makes_the_node_vanish_may_finish() {
    let mut orphan = running("Foo", "gone", 60);
    (orphan.node_vanishes, orphan.succeeded) = (true, Some(false));
    let mut scene = Scene::new(classic(), [ok("a")]).with(orphan);
    let plan = scene.pass();
    assert_eq!((plan.actions.len(), plan.unhealthy.len()), (0, 1));
    scene.remediations[0].succeeded = Some(true);
    assert_eq!(scene.pass().actions, [delete(&scene.remediations[0], true)]);
}

#[test]
fn a_node_that_is_gone_without_remediation_is_forgotten() {
    // Given a sick node that is only listed, because too few are healthy
    let mut scene = Scene::new(classic(), [sick("a"), sick("b")]);
    assert_eq!(scene.pass().unhealthy.len(), 2);
    // When it is deleted
    scene.nodes.pop();
    // Then the list forgets it
    assert_eq!(scene.pass().unhealthy.len(), 1);
}
