//! Leases of nodes in a plan.

use super::*;

fn lease(holder: &str, age: i64, seconds: u64) -> NodeLease {
    NodeLease {
        holder: holder.to_owned(),
        renewed: Some(ago(age)),
        duration: Some(Duration::from_secs(seconds)),
        ..NodeLease::default()
    }
}

fn one_sick() -> Scene {
    Scene::new(classic(), [ok("a"), sick("b"), ok("c")])
}

fn with_lease(mut scene: Scene, node: &str, lease: NodeLease) -> Scene {
    scene.surroundings.leases.insert(lease_name(node), lease);
    scene
}

#[test]
fn a_lease_of_somebody_else_holds_one_node_back_and_no_other() {
    // Given two sick nodes, one of which is under maintenance by somebody else
    let mut scene = Scene::new(classic(), [sick("a"), sick("b"), ok("c"), ok("d"), ok("e")]);
    scene = with_lease(scene, "a", lease("node-maintenance", 20, 60));
    // Then the other is remediated
    let plan = scene.pass();
    assert_eq!(plan.actions, [create("b", 0)]);
    let left = Duration::from_secs(40);
    assert_eq!(skipped(&plan), [("a", &SkipReason::LeaseHeld { holder: "node-maintenance".to_owned(), left })]);
    // And it is looked at again when the lease is over
    assert_eq!(plan.again_in, Some(Duration::from_secs(41)));
    assert_eq!(plan.unhealthy.len(), 2, "it is listed all the same");
    // When it is over, the node is taken over
    scene = with_lease(scene, "a", lease("node-maintenance", 61, 60));
    assert_eq!(scene.plan().actions, [create("a", 0), create("b", 0)]);
}

#[test]
fn a_far_expiry_is_looked_at_once_a_minute_and_does_not_hide_an_earlier_time() {
    let scene = with_lease(one_sick(), "b", lease("x", 0, 9_000));
    assert_eq!(scene.plan().again_in, Some(Duration::from_mins(1)));
    // A node that is about to be sick in 8 s is not forgotten over it.
    let mut scene = Scene::new(classic(), [node("a", "Unknown", 2), sick("b"), ok("c"), ok("d"), ok("e")]);
    scene = with_lease(scene, "b", lease("x", 0, 9_000));
    assert_eq!(scene.plan().again_in, just_after(8));
}

#[test]
fn a_lease_that_nobody_holds_is_free_for_a_sick_node_and_left_alone_on_a_healthy_one() {
    let scene = with_lease(one_sick(), "b", lease("", 0, 60));
    assert_eq!(scene.plan().actions, [create("b", 0)]);
    let scene = with_lease(one_sick(), "a", lease("", 0, 60));
    assert_eq!(scene.plan().actions, [create("b", 0)]);
}

#[test]
fn our_lease_is_renewed_in_time_while_a_remediation_runs() {
    let held = |age| {
        let scene = one_sick().with(running("Foo", "b", 500));
        with_lease(scene, "b", lease("NodeHealthCheck-nhc", age, 660))
    };
    // Fresh: it is looked at when half of what is wanted is left.
    let plan = held(0).plan();
    assert_eq!((plan.actions.len(), plan.again_in), (0, just_after(360)));
    let renew = Action::RenewLease { node: "b".to_owned(), duration: Duration::from_mins(10) };
    assert_eq!(held(400).plan().actions, [renew]);
    // One that somebody took over is theirs, and the remediation goes on without it.
    let scene = with_lease(one_sick().with(running("Foo", "b", 500)), "b", lease("x", 400, 660));
    assert_eq!(scene.plan().actions, []);
}

#[test]
fn our_lease_is_released_when_the_remediation_is_gone_and_not_before() {
    let lease_of = |scene| with_lease(scene, "b", lease("NodeHealthCheck-nhc", 10, 660));
    let healthy = || Scene::new(classic(), [ok("a"), ok("b"), ok("c")]);
    // While it cleans up
    let mut ending = running("Foo", "b", 60);
    ending.terminating = true;
    assert_eq!(lease_of(healthy().with(ending)).plan().actions, []);
    // When it is gone
    let release = Action::ReleaseLease { lease: "node-b".to_owned() };
    assert_eq!(lease_of(healthy()).plan().actions, std::slice::from_ref(&release));
    // And when the node is gone
    assert_eq!(lease_of(Scene::new(classic(), [ok("a")])).plan().actions, [release]);
    // But not while the node is sick: the next remediation needs it.
    let mut scene = lease_of(one_sick());
    scene.spec.pause_requests.push("x".to_owned());
    assert_eq!(scene.plan().actions, []);
    // Nor that of somebody else
    assert_eq!(with_lease(healthy(), "b", lease("x", 10, 660)).plan().actions, []);
}

#[test]
fn a_step_asks_for_its_own_time() {
    let steps = steps(&ladder());
    assert_eq!(
        steps.iter().map(Step::lease_duration).collect::<Vec<_>>(),
        [Duration::from_mins(1), Duration::from_mins(5)]
    );
    assert_eq!(super::steps(&classic())[0].lease_duration(), CLASSIC);
}
