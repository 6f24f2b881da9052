use palisade_api::GoDuration;
use palisade_api::node_health_check::{CauseBudget, TopologyBudget};

use super::*;

const ZONE: &str = "topology.kubernetes.io/zone";
const UNKNOWN: Option<(&str, &str)> = Some(("Ready", "Unknown"));
const FALSE: Option<(&str, &str)> = Some(("Ready", "False"));

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// `name@zone`, or a name alone.
fn nodes(names: &[&str]) -> Vec<NodeView> {
    let node = |text: &&str| {
        let (name, zone) = text.split_once('@').map_or((*text, None), |(name, zone)| (name, Some(zone)));
        let labels = zone.map(|zone| (ZONE.to_owned(), zone.to_owned())).into_iter().collect();
        NodeView { name: name.to_owned(), labels, ..NodeView::default() }
    };
    names.iter().map(node).collect()
}

fn place<'a>(nodes: &'a [NodeView], name: &str, cause: Option<(&'a str, &'a str)>) -> Place<'a> {
    let node = nodes.iter().find(|node| node.name == name).unwrap();
    Place { name: &node.name, node: Some(node), cause }
}

fn refused(tally: &Tally<'_>, budget: &Budget, candidate: &Place<'_>) -> String {
    tally.refusal(budget, candidate, at(1_000)).map(|full| full.why).unwrap_or_default()
}

#[test]
fn amounts_are_rounded_down_to_at_least_one() {
    for (amount, nodes, expected) in [
        (IntOrString::from(3), 10, 3),
        ("3".into(), 10, 3),
        ("20%".into(), 10, 2),
        ("20%".into(), 9, 1),
        ("20%".into(), 3, 1),
        ("100%".into(), 7, 7),
        ("1%".into(), 0, 1),
        // Validation keeps these out; if something else let them in, one node still gets through and no more.
        (0.into(), 10, 1),
        ((-4).into(), 10, 1),
        ("0%".into(), 10, 1),
        ("many".into(), 10, 1),
        ("900%".into(), 10, 10),
    ] {
        assert_eq!(places(&amount, nodes), expected, "{amount} of {nodes}");
    }
}

#[test]
fn the_places_in_all_are_taken_by_name() {
    let nodes = nodes(&["a", "b", "c", "d"]);
    let budget = Budget { max_concurrent: Some("50%".into()), ..Budget::default() };
    let mut tally = Tally::new(&budget, &nodes, vec![place(&nodes, "c", UNKNOWN)], None);
    assert_eq!(tally.refusal(&budget, &place(&nodes, "a", UNKNOWN), at(0)), None);
    tally.take(place(&nodes, "a", UNKNOWN), at(0));
    let why = refused(&tally, &budget, &place(&nodes, "b", FALSE));
    assert_eq!(why, "2 of 2 places are taken by a, c (maxConcurrent is 50% of 4 selected nodes)");
    // Who has a place keeps it.
    assert_eq!(refused(&tally, &budget, &place(&nodes, "c", UNKNOWN)), "");
    let status = tally.status(&budget, &["b"]);
    assert_eq!((status.used, status.limit, status.waiting, status.next), (2, Some(2), 1, vec!["b".to_owned()]));
}

#[test]
fn a_full_zone_does_not_keep_another_waiting_and_no_zone_is_a_zone() {
    let nodes = nodes(&["a1@a", "a2@a", "b1@b", "x", "y"]);
    let limit = TopologyBudget { key: ZONE.to_owned(), max_concurrent: 1.into() };
    let budget = Budget { per_topology: vec![limit], ..Budget::default() };
    let tally = Tally::new(&budget, &nodes, vec![place(&nodes, "a1", UNKNOWN), place(&nodes, "x", UNKNOWN)], None);
    assert_eq!(
        refused(&tally, &budget, &place(&nodes, "a2", UNKNOWN)),
        "1 of 1 places are taken by a1 (perTopology is 1 of 2 selected nodes with topology.kubernetes.io/zone=a)"
    );
    assert_eq!(refused(&tally, &budget, &place(&nodes, "b1", UNKNOWN)), "");
    assert!(refused(&tally, &budget, &place(&nodes, "y", UNKNOWN)).contains("without label"));
    // One that is not selected any more counts in all, but in no zone.
    let gone = Place { name: "gone", node: None, cause: None };
    let tally = Tally::new(&budget, &nodes, vec![gone], None);
    assert_eq!(refused(&tally, &budget, &place(&nodes, "y", UNKNOWN)), "");
    assert_eq!(tally.status(&budget, &[]).used, 1);
}

#[test]
fn a_cause_has_its_own_limit_and_a_recovered_node_does_not_count_in_it() {
    let nodes = nodes(&["a", "b", "c"]);
    let limit = CauseBudget { type_: "Ready".to_owned(), status: "Unknown".to_owned(), max_concurrent: 1.into() };
    let budget = Budget { per_cause: vec![limit], ..Budget::default() };
    let tally = Tally::new(&budget, &nodes, vec![place(&nodes, "a", UNKNOWN)], None);
    assert!(refused(&tally, &budget, &place(&nodes, "b", UNKNOWN)).contains("for Ready=Unknown"));
    assert_eq!(refused(&tally, &budget, &place(&nodes, "b", FALSE)), "");
    let tally = Tally::new(&budget, &nodes, vec![place(&nodes, "a", None)], None);
    assert_eq!(refused(&tally, &budget, &place(&nodes, "b", UNKNOWN)), "");
}

#[test]
fn remediations_are_paced() {
    let nodes = nodes(&["a", "b"]);
    let budget = Budget { min_interval: Some(GoDuration::from_secs(60)), ..Budget::default() };
    let mut tally = Tally::new(&budget, &nodes, Vec::new(), None);
    assert_eq!(tally.refusal(&budget, &place(&nodes, "a", UNKNOWN), at(1_000)), None);
    tally.take(place(&nodes, "a", UNKNOWN), at(1_000));
    let full = tally.refusal(&budget, &place(&nodes, "b", UNKNOWN), at(1_040)).unwrap();
    assert_eq!(full.why, "minInterval is 1m0s, and a remediation was last started at 1970-01-01T00:16:40Z");
    assert_eq!(full.unblock, "the next one may start at 1970-01-01T00:17:40Z");
    assert_eq!(full.again_in, Some(Duration::from_secs(21)));
    assert_eq!(tally.refusal(&budget, &place(&nodes, "b", UNKNOWN), at(1_060)), None);
}

#[test]
fn many_names_are_not_many_lines() {
    let names: Vec<String> = (0..9).map(|index| format!("n{index}")).collect();
    let nodes = nodes(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let budget = Budget { max_concurrent: Some(8.into()), ..Budget::default() };
    let places = nodes[..8].iter().map(|node| Place { name: &node.name, node: Some(node), cause: UNKNOWN }).collect();
    let tally = Tally::new(&budget, &nodes, places, None);
    assert!(refused(&tally, &budget, &place(&nodes, "n8", UNKNOWN)).contains("n0, n1, n2, n3, n4 and 3 more"));
}
