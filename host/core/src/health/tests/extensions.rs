use palisade_api::IntOrString;
use palisade_api::keys::palisade as annotations;
use palisade_api::node_health_check::{AttemptLimit, Budget, CorrelatedFailures, TopologyBudget};
use palisade_api::reasons::{event, extension};

use super::*;

/// All may be unhealthy.
fn lenient() -> NodeHealthCheckSpec {
    NodeHealthCheckSpec { min_healthy: Some(0.into()), ..classic() }
}

fn budget(amount: impl Into<IntOrString>) -> NodeHealthCheckSpec {
    let budget = Budget { max_concurrent: Some(amount.into()), ..Budget::default() };
    NodeHealthCheckSpec { budget: Some(budget), ..lenient() }
}

fn zoned(mut node: NodeView, zone: &str) -> NodeView {
    node.labels.insert(cluster::ZONE.to_owned(), zone.to_owned());
    node
}

fn vetoed(mut node: NodeView, text: &str) -> NodeView {
    node.annotations.insert(annotations::VETO.to_owned(), text.to_owned());
    node
}

fn rules(plan: &Plan) -> Vec<(&str, &str)> {
    plan.skips.iter().map(|skip| (skip.node.as_str(), skip.reason.rule())).collect()
}

fn created(plan: &Plan) -> Vec<&str> {
    plan.actions
        .iter()
        .filter_map(|action| match action {
            Action::Create { node, .. } => Some(node.as_str()),
            _ => None,
        })
        .collect()
}

fn flag<'a>(plan: &'a Plan, type_: &str) -> Option<(bool, &'a str)> {
    plan.extras.flags.iter().find(|flag| flag.type_ == type_).map(|flag| (flag.active, flag.reason))
}

#[test]
fn without_the_fields_nothing_is_different() {
    let plan = Scene::new(lenient(), [sick("a"), sick("b"), ok("c")]).plan();
    assert_eq!(created(&plan), ["a", "b"]);
    assert_eq!(plan.extras, Extras::default());
}

#[test]
fn a_budget_serves_whoever_waits_for_longest_first_and_everybody_in_the_end() {
    // Given three sick nodes, of which the last by name is sick for longest, and one place
    let nodes = [node("a", "Unknown", 60), node("b", "Unknown", 70), node("c", "Unknown", 80), ok("d")];
    let mut scene = Scene::new(budget(1), nodes);
    let plan = scene.pass();
    assert_eq!(created(&plan), ["c"]);
    assert_eq!(rules(&plan), [("b", "budget"), ("a", "budget")]);
    let SkipReason::Held(held) = &plan.skips[0].reason else { panic!("{:?}", plan.skips) };
    assert_eq!(held.why, "1 of 1 places are taken by c (maxConcurrent is 1 of 4 selected nodes)");
    let status = plan.extras.budget.clone().unwrap();
    assert_eq!((status.used, status.limit, status.waiting), (1, Some(1), 2));
    assert_eq!(status.next, ["b", "a"]);
    // While the remediation runs nothing starts, and what runs is not touched
    scene = scene.with(running("Foo", "c", 1));
    assert_eq!(scene.pass().actions, []);
    // Also while its node is healthy again but it still cleans up
    scene.nodes[2] = ok("c");
    scene.remediations[0].terminating = true;
    assert_eq!(created(&scene.pass()), Vec::<&str>::new());
    // When it is gone, the next one is served
    scene.remediations.clear();
    assert_eq!(created(&scene.pass()), ["b"]);
}

#[test]
fn a_budget_of_a_fifth_of_three_nodes_still_lets_one_through() {
    assert_eq!(created(&Scene::new(budget("20%"), [sick("a"), sick("b"), ok("c")]).plan()), ["a"]);
}

#[test]
fn a_full_zone_is_passed_over_by_the_others() {
    let limit = TopologyBudget { key: cluster::ZONE.to_owned(), max_concurrent: 1.into() };
    let spec = NodeHealthCheckSpec {
        budget: Some(Budget { max_concurrent: Some(3.into()), per_topology: vec![limit], ..Budget::default() }),
        ..lenient()
    };
    let nodes = [zoned(sick("a1"), "a"), zoned(sick("a2"), "a"), zoned(sick("b1"), "b"), sick("x"), sick("y")];
    let plan = Scene::new(spec, nodes).plan();
    assert_eq!(created(&plan), ["a1", "b1", "x"], "nodes without a zone share one");
    assert_eq!(rules(&plan), [("a2", "budget"), ("y", "budget")]);
}

#[test]
fn the_next_step_of_a_remediation_needs_no_further_place_and_a_spent_one_gives_it_back() {
    // Given one place, held by a node whose first step ran out of time
    let spec = NodeHealthCheckSpec { budget: budget(1).budget, min_healthy: Some(0.into()), ..ladder() };
    let mut first = running("Foo", "a", 100);
    first.timed_out = true;
    let mut scene = Scene::new(spec, [sick("a"), sick("b"), ok("c")]).with(first);
    assert_eq!(created(&scene.pass()), ["a"]);
    // When every step was tried
    let mut second = running("Bar", "a", 400);
    second.timed_out = true;
    scene = scene.with(second);
    // Then the other gets its turn
    assert_eq!(created(&scene.pass()), ["b"]);
}

#[test]
fn a_remediation_that_is_stuck_does_not_hold_its_place_for_ever() {
    let mut spec = budget(1);
    spec.budget.as_mut().unwrap().stuck_after = Some(GoDuration::from_secs(600));
    let scene = |age| Scene::new(spec.clone(), [sick("a"), sick("b"), ok("c")]).with(running("Foo", "a", age));
    assert_eq!(created(&scene(600).plan()), Vec::<&str>::new());
    assert_eq!(created(&scene(601).plan()), ["b"]);
}

#[test]
fn starts_are_paced_also_over_a_restart_and_a_deleted_remediation() {
    let mut spec = budget(5);
    spec.budget.as_mut().unwrap().min_interval = Some(GoDuration::from_secs(300));
    let mut scene = Scene::new(spec, [sick("a"), sick("b"), ok("c")]);
    let plan = scene.pass();
    assert_eq!((created(&plan), rules(&plan)), (vec!["a"], vec![("b", "budget")]));
    assert_eq!(plan.again_in, seconds(301));
    assert_eq!(scene.last_started, None, "what only might have been started is not recorded");
    // When it was made, that is remembered
    scene = scene.with(running("Foo", "a", 10));
    scene.pass();
    assert_eq!(scene.last_started, Some(ago(10)));
    // Even when somebody deletes it and the controller starts anew
    scene.remediations.clear();
    scene.nodes[0] = ok("a");
    let plan = scene.pass();
    assert_eq!((created(&plan), plan.again_in), (vec![], seconds(291)));
    // A clock that was ahead stops nobody for longer than the interval
    scene.last_started = Some(ago(-100_000));
    assert_eq!(scene.pass().again_in, seconds(301));
}

#[test]
fn a_zone_that_fails_is_left_alone() {
    let spec = NodeHealthCheckSpec { correlated_failures: Some(CorrelatedFailures::default()), ..lenient() };
    let in_a = ["a1", "a2", "a3"].map(|name| zoned(sick(name), "a"));
    let in_b = ["b1", "b2", "b3", "b4"].map(|name| zoned(ok(name), "b"));
    let mut nodes: Vec<NodeView> = in_a.into_iter().chain(in_b).collect();
    nodes[3] = zoned(sick("b1"), "b");
    nodes.extend(["c1", "c2"].map(|name| zoned(ok(name), "c")));
    let mut scene = Scene::new(spec, nodes);
    let spec = scene.spec.correlated_failures.clone().unwrap();
    scene.surroundings.failures = classify(&scene.nodes, &spec, now());
    let plan = scene.pass();
    assert_eq!(created(&plan), ["b1"]);
    assert_eq!(rules(&plan), ["a1", "a2", "a3"].map(|node| (node, "correlatedFailure")));
    assert_eq!(flag(&plan, extension::CORRELATED), Some((true, extension::GROUP)));
    assert_eq!(plan.again_in, seconds(60));
    // When two of them are back, and have been for a while
    for node in &mut scene.nodes[..2] {
        *node = zoned(ok(&node.name), "a");
    }
    scene.surroundings.failures = classify(&scene.nodes, &spec, now());
    let plan = scene.pass();
    assert_eq!(created(&plan), ["a3", "b1"]);
    assert_eq!(flag(&plan, extension::CORRELATED), Some((false, extension::INDEPENDENT)));
}

#[test]
fn a_person_can_say_no_for_a_while() {
    let until = now() + SignedDuration::from_secs(30);
    let veto = format!("owner=ann; until={until}; reason=new disk");
    let plan = Scene::new(classic(), [vetoed(sick("a"), &veto), ok("b"), ok("c")]).plan();
    assert_eq!((created(&plan), rules(&plan)), (vec![], vec![("a", "veto")]));
    let text = plan.skips[0].reason.to_string();
    assert!(text.starts_with("the node is vetoed by ann (new disk); it ends at 2023-11-14T22:13:50Z"), "{text}");
    assert_eq!(plan.again_in, seconds(31));
    // When it is over, the node is remediated, and somebody may tidy up
    let over = format!("owner=ann; until={}; reason=new disk", now());
    let plan = Scene::new(classic(), [vetoed(sick("a"), &over), ok("b"), ok("c")]).plan();
    assert_eq!(created(&plan), ["a"]);
    assert_eq!((plan.extras.notes[0].reason, plan.extras.notes[0].warn), (event::VETO_EXPIRED, false));
}

#[test]
fn a_veto_that_cannot_be_understood_holds_and_is_said_even_of_a_healthy_node() {
    let plan = Scene::new(classic(), [vetoed(sick("a"), "until tomorrow"), vetoed(ok("b"), "yes"), ok("c")]).plan();
    assert_eq!(rules(&plan), [("a", "veto")]);
    assert!(plan.skips[0].reason.to_string().contains("correct or remove annotation palisade.dev/veto"));
    let notes: Vec<_> = plan.extras.notes.iter().map(|note| (note.node.as_deref(), note.reason, note.warn)).collect();
    assert_eq!(notes, [(Some("a"), event::INVALID_ANNOTATION, true), (Some("b"), event::INVALID_ANNOTATION, true)]);
}

#[test]
fn a_veto_of_the_policy_stops_what_is_new_and_says_what_goes_on() {
    let mut scene = Scene::new(ladder(), [sick("a"), ok("b"), ok("c")]).with(running("Foo", "a", 61));
    scene.veto = Some("owner=ann; until=never; reason=incident 7".to_owned());
    let plan = scene.plan();
    // The time of the first step is over, which is said; the second does not start.
    assert!(matches!(plan.actions.as_slice(), [Action::GiveUp { .. }]), "{:?}", plan.actions);
    let text = plan.skips[0].reason.to_string();
    assert!(text.contains("the policy is vetoed by ann (incident 7)"), "{text}");
    assert!(text.contains("Foo rem/a was started before and goes on, delete it to stop it"), "{text}");
    assert_eq!(flag(&plan, extension::VETOED), Some((true, extension::VETOED_BY_PERSON)));
    scene.veto = Some("nope".to_owned());
    assert_eq!(flag(&scene.plan(), extension::VETOED), Some((true, extension::VETO_MALFORMED)));
}

#[test]
fn a_node_that_fails_again_and_again_ends_in_quarantine() {
    let limit = AttemptLimit { max: 2, window: GoDuration::from_secs(3_600), quarantine_for: None };
    let mut scene =
        Scene::new(NodeHealthCheckSpec { attempts: Some(limit), ..classic() }, [sick("a"), ok("b"), ok("c")]);
    for seconds_ago in [900, 600] {
        // It is remediated,
        assert_eq!(created(&scene.pass()), ["a"]);
        scene = scene.with(running("Foo", "a", seconds_ago));
        scene.pass();
        // recovers, and everything about it is deleted; the controller remembers only the status.
        scene.remediations.clear();
        scene.nodes[0] = ok("a");
        assert!(scene.pass().unhealthy.is_empty());
        scene.nodes[0] = sick("a");
    }
    let plan = scene.pass();
    assert_eq!((created(&plan), rules(&plan)), (vec![], vec![("a", "quarantine")]));
    assert_eq!(flag(&plan, extension::NODES_QUARANTINED), Some((true, extension::ATTEMPTS)));
    assert_eq!(plan.extras.notes[0].reason, event::QUARANTINED);
    // Another pass says the same
    assert_eq!(scene.pass().extras.attempts, plan.extras.attempts);
    // When a person forgives it
    scene.nodes[0].annotations.insert(annotations::ATTEMPTS_FORGIVEN.to_owned(), now().to_string());
    let plan = scene.pass();
    assert_eq!(created(&plan), ["a"]);
    assert_eq!((plan.extras.attempts.len(), flag(&plan, extension::NODES_QUARANTINED).unwrap().0), (0, false));
}

#[test]
fn a_remediation_deleted_by_hand_does_not_lead_around_the_limits() {
    let limit = AttemptLimit { max: 1, window: GoDuration::from_secs(3_600), quarantine_for: None };
    let spec = NodeHealthCheckSpec { attempts: Some(limit), ..budget(1) };
    let mut scene = Scene::new(spec, [sick("a"), sick("b"), ok("c")]);
    assert_eq!(created(&scene.pass()), ["a"]);
    scene = scene.with(running("Foo", "a", 5));
    scene.pass();
    // When somebody deletes it while its node is still sick
    scene.remediations.clear();
    let plan = scene.pass();
    assert_eq!((created(&plan), rules(&plan)), (vec!["b"], vec![("a", "quarantine")]));
}

#[test]
fn a_step_of_an_escalation_is_no_further_attempt() {
    let limit = AttemptLimit { max: 1, window: GoDuration::from_secs(3_600), quarantine_for: None };
    let mut scene =
        Scene::new(NodeHealthCheckSpec { attempts: Some(limit), ..ladder() }, [sick("a"), ok("b"), ok("c")])
            .with(running("Foo", "a", 61));
    let plan = scene.pass();
    assert_eq!(created(&plan), ["a"], "the second step");
    assert_eq!(plan.extras.attempts[0].started.len(), 1);
    scene.remediations[0].timed_out = true;
    scene = scene.with(running("Bar", "a", 1));
    assert_eq!(scene.pass().extras.attempts[0].started.len(), 1);
}

#[test]
fn a_dry_run_decides_and_touches_nothing() {
    let spec = NodeHealthCheckSpec { dry_run: Some(true), ..budget(1) };
    // Given one sick node too many for the budget, and a remediation whose node recovered
    let orphaned = running("Foo", "gone", 5);
    let mut scene = Scene::new(spec, [sick("a"), sick("b"), ok("c")]).with(orphaned);
    scene.spec.budget = Some(Budget { max_concurrent: Some(2.into()), ..Budget::default() });
    let plan = scene.pass();
    assert_eq!(plan.actions, []);
    assert_eq!(
        plan.extras.would_do,
        ["create Foo for node a from template foo", "delete Foo rem/gone, because node gone is not selected any more"]
    );
    assert_eq!(rules(&plan), [("b", "budget")]);
    assert_eq!(flag(&plan, extension::DRY_RUN), Some((true, extension::DRY_RUN_SET)));
    assert!(plan.extras.notes.iter().any(|note| note.reason == event::DRY_RUN));
    // And nothing changes by looking again
    assert_eq!(scene.pass(), plan_without_news(plan));
}

fn plan_without_news(mut plan: Plan) -> Plan {
    plan.detected.clear();
    plan
}

#[test]
fn everything_failing_at_once_is_held_by_the_first_rule_that_says_so() {
    // Given a whole cluster that is silent, under every rule there is
    let spec = NodeHealthCheckSpec {
        correlated_failures: Some(CorrelatedFailures::default()),
        attempts: Some(AttemptLimit { max: 1, window: GoDuration::from_secs(60), quarantine_for: None }),
        dry_run: Some(true),
        ..budget("1%")
    };
    let nodes: Vec<NodeView> = (0..500).map(|index| sick(&format!("n{index:03}"))).collect();
    let mut scene = Scene::new(spec, nodes);
    let spec = scene.spec.correlated_failures.clone().unwrap();
    scene.surroundings.failures = classify(&scene.nodes, &spec, now());
    let plan = scene.plan();
    assert!(plan.actions.is_empty() && plan.extras.would_do.is_empty());
    assert!(plan.skips.iter().all(|skip| skip.reason.rule() == "correlatedFailure"));
    assert_eq!(flag(&plan, extension::CORRELATED), Some((true, extension::OBSERVER)));
    assert!(plan.extras.attempts.len() <= 1_000);
}

#[test]
fn nodes_that_run_nothing_but_etcd_go_one_at_a_time_too() {
    let etcd = |mut node: NodeView| {
        node.labels.insert(cluster::ETCD_ROLE.to_owned(), "true".to_owned());
        node
    };
    let nodes = [etcd(sick("a")), etcd(sick("b")), control_plane(sick("c")), sick("d")];
    let plan = Scene::new(lenient(), nodes).plan();
    assert_eq!(created(&plan), ["a", "d"]);
    assert_eq!(rules(&plan), [("b", "controlPlane"), ("c", "controlPlane")]);
}
