use palisade_api::GoDuration;
use palisade_api::keys::cluster;

use super::super::view::NodeCondition;
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn node(name: &str, zone: &str, ready: &str, since: i64) -> NodeView {
    let mut node = NodeView {
        name: name.to_owned(),
        conditions: vec![NodeCondition { type_: "Ready".to_owned(), status: ready.to_owned(), since: Some(at(since)) }]
            .into(),
        ..NodeView::default()
    };
    if !zone.is_empty() {
        node.labels.insert(cluster::ZONE.to_owned(), zone.to_owned());
    }
    node
}

/// `a1 a2 …` of a zone: so many are down since second 100, 101 …
fn zone(name: &str, all: usize, down: usize, how: &str) -> Vec<NodeView> {
    let one = |index: usize| {
        let (ready, since) = if index < down { (how, 100 + index as i64) } else { ("True", 0) };
        node(&format!("{name}{index}"), name, ready, since)
    };
    (0..all).map(one).collect()
}

fn spec() -> CorrelatedFailures {
    CorrelatedFailures::default()
}

#[test]
fn one_node_is_one_node() {
    let nodes = [zone("a", 4, 1, "Unknown"), zone("b", 4, 0, "")].concat();
    assert_eq!(classify(&nodes, &spec(), at(200)), Failures { key: cluster::ZONE.to_owned(), ..Failures::default() });
}

#[test]
fn a_zone_that_fails_is_left_alone_and_the_others_are_not() {
    // Given three of five nodes of a zone and one of another
    let nodes = [zone("a", 5, 3, "Unknown"), zone("b", 5, 1, "False")].concat();
    let failures = classify(&nodes, &spec(), at(200));
    assert_eq!(failures.cluster, None);
    // Then the zone failed, counted in its reason
    let failure = failures.of(&nodes[0]).unwrap();
    assert_eq!((failure.class, failure.until), (Class::Group, None));
    assert!(failure.why.starts_with("3 of 5 nodes with topology.kubernetes.io/zone=a are not ready"), "{failure:?}");
    // And the other zone's node is on its own
    assert_eq!(failures.of(&nodes[5]), None);
    // Two of five are too few, and so are two of two
    assert_eq!(classify(&zone("a", 5, 2, "False"), &spec(), at(200)).groups.len(), 0);
    assert_eq!(classify(&zone("a", 2, 2, "False"), &spec(), at(200)).groups.len(), 0);
}

#[test]
fn the_hold_on_a_zone_ends_counted_from_the_node_that_made_it_a_failure() {
    let spec = CorrelatedFailures { hold_for: Some(GoDuration::from_secs(60)), ..spec() };
    // The third of five went at second 102
    let nodes = [zone("a", 5, 4, "Unknown"), zone("b", 6, 0, "")].concat();
    let failure = classify(&nodes, &spec, at(161)).groups.remove("a").unwrap();
    assert_eq!(failure.until, Some(at(162)));
    assert_eq!(left(&failure, at(161)), Some(Duration::from_secs(1)));
    assert!(failure.unblock.ends_with("or it is 1970-01-01T00:02:42Z"), "{failure:?}");
    assert_eq!(classify(&nodes, &spec, at(162)).groups.len(), 0);
}

#[test]
fn when_most_nodes_are_silent_the_observer_is_blind() {
    let nodes = [zone("a", 3, 3, "Unknown"), zone("b", 3, 1, "Unknown")].concat();
    let failures = classify(&nodes, &spec(), at(200));
    assert_eq!(failures.of(&nodes[5]).unwrap().class, Class::Observer);
    assert_eq!(failures.first().unwrap().why.split(' ').take(4).collect::<Vec<_>>().join(" "), "4 of all 6");
    // Exactly half is not most: then it is a zone.
    let half = [zone("a", 3, 3, "Unknown"), zone("b", 3, 0, "")].concat();
    assert_eq!(classify(&half, &spec(), at(200)).cluster, None);
    // Nodes that report that they are ill are heard.
    let ill = [zone("a", 3, 2, "False"), zone("b", 3, 2, "False")].concat();
    assert_eq!(classify(&ill, &spec(), at(200)).cluster, None);
    // One node alone, and a pair, are never an outage.
    assert_eq!(classify(&zone("a", 1, 1, "Unknown"), &spec(), at(200)).cluster, None);
    assert_eq!(classify(&zone("a", 2, 2, "Unknown"), &spec(), at(200)).cluster, None);
}

#[test]
fn when_most_of_the_control_plane_is_down_nobody_is_touched() {
    let mut nodes = [zone("a", 3, 2, "False"), zone("b", 8, 0, "")].concat();
    for node in &mut nodes[..3] {
        node.labels.insert(cluster::CONTROL_PLANE_ROLE.to_owned(), String::new());
    }
    let failures = classify(&nodes, &spec(), at(200));
    let failure = failures.of(&nodes[9]).unwrap();
    assert_eq!(failure.class, Class::ControlPlane);
    assert!(failure.why.contains("2 of 3 control-plane nodes are not ready (a0, a1)"), "{failure:?}");
    // One of three is an ordinary failure.
    nodes[1].conditions[0].status = "True".to_owned();
    assert_eq!(classify(&nodes, &spec(), at(200)).cluster, None);
}

#[test]
fn the_last_nodes_of_a_zone_that_comes_back_get_time() {
    // Given a zone of which three of four came back at second 300
    let mut nodes = [zone("a", 4, 1, "Unknown"), zone("b", 4, 0, "")].concat();
    for node in &mut nodes[1..4] {
        node.recovered = Some(at(300));
    }
    // Then the fourth waits for a while, and one that fails anew does not
    let failures = classify(&nodes, &spec(), at(310));
    assert_eq!(failures.of(&nodes[0]).unwrap().until, Some(at(330)));
    let mut anew = nodes[0].clone();
    anew.conditions[0].since = Some(at(305));
    assert_eq!(failures.of(&anew), None);
    assert_eq!(classify(&nodes, &spec(), at(330)).of(&nodes[0]), None);
}

#[test]
fn nodes_without_the_label_or_without_any_report_belong_to_nobody() {
    let mut nodes: Vec<NodeView> = (0..6).map(|index| node(&format!("n{index}"), "", "False", 100)).collect();
    nodes.extend(zone("b", 20, 0, ""));
    assert_eq!(classify(&nodes, &spec(), at(200)).groups.len(), 0);
    let mut silent = zone("a", 4, 4, "Unknown");
    for node in &mut silent {
        node.conditions.clear();
    }
    assert_eq!(classify(&silent, &spec(), at(200)).first(), None);
    assert_eq!(classify(&[], &spec(), at(200)).first(), None);
}

#[test]
fn nonsense_that_bypassed_validation_is_harmless() {
    let spec = CorrelatedFailures { threshold_percent: -5, min_nodes: -1, ..spec() };
    let nodes = [zone("a", 4, 1, "False"), zone("b", 4, 0, "")].concat();
    assert_eq!(classify(&nodes, &spec, at(200)).first(), None, "one node is never a common failure");
}
