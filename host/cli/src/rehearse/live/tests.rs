//! The past as events tell it.

use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn event(reason: &str, component: &str, first: i64, last: i64) -> Event {
    serde_json::from_value(json!({
        "metadata": { "name": "e" }, "involvedObject": { "kind": "Node", "name": "n1" }, "reason": reason,
        "source": { "component": component },
        "firstTimestamp": at(first).to_string(), "lastTimestamp": at(last).to_string(),
    }))
    .unwrap()
}

#[test]
fn an_event_tells_when_a_node_stopped_being_ready_and_who_says_so() {
    let told = |event: &Event| {
        readiness(event, at(100)).into_iter().map(|(at, _, _, status)| (at.as_second(), status)).collect::<Vec<_>>()
    };
    assert_eq!(told(&event("NodeNotReady", "node-controller", 200, 200)), [(200, "Unknown".to_owned())]);
    assert_eq!(told(&event("NodeNotReady", "kubelet", 200, 300)), [(200, "False".into()), (300, "False".into())]);
    // Only the second time lies in what is played.
    assert_eq!(told(&event("NodeReady", "kubelet", 50, 300)), [(300, "True".to_owned())]);
    assert!(told(&event("Starting", "kubelet", 200, 200)).is_empty());
}

#[test]
fn before_its_first_change_a_node_was_the_opposite() {
    let node = |name: &str, status: &str| NodeView {
        name: name.to_owned(),
        conditions: vec![palisade_core::health::NodeCondition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            since: Some(at(500)),
        }]
        .into(),
        ..NodeView::default()
    };
    let told = |name: &str, second, status: &str| (at(second), name.to_owned(), "Ready".to_owned(), status.to_owned());
    let changes = [told("came-back", 300, "True"), told("left", 400, "Unknown")];
    let nodes = vec![node("came-back", "True"), node("left", "Unknown"), node("quiet", "True")];
    let was: Vec<_> = as_they_were(nodes, &changes, at(100))
        .iter()
        .map(|node| (node.conditions[0].status.clone(), node.conditions[0].since.unwrap().as_second()))
        .collect();
    assert_eq!(was, [("Unknown".to_owned(), 100), ("True".to_owned(), 100), ("True".to_owned(), 500)]);
}

#[test]
fn what_is_set_has_to_be_there_and_well_formed() {
    let nodes = [NodeView { name: "w:1".to_owned(), ..NodeView::default() }];
    let nodes = [nodes[0].clone(), NodeView { name: "w1".to_owned(), ..NodeView::default() }];
    let (when, ..) = one("w1:Ready=Unknown@10m", &nodes, at(0)).unwrap();
    assert_eq!(when, at(600));
    for (text, why) in [
        ("w1", "write NODE:TYPE=STATUS"),
        ("w2:Ready=Unknown", "there is no node \"w2\""),
        ("w1:Ready=unknown", "is none of True, False, Unknown"),
        ("w1:Ready=True@10", "lacks a unit"),
    ] {
        let said = format!("{:#}", one(text, &nodes, at(0)).unwrap_err());
        assert!(said.contains(why), "{said}");
    }
}
