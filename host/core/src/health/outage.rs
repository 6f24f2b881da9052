//! Silence of one node says nothing about it while most nodes are silent: then it is the way to the API that is broken.
//!
//! After such an outage the nodes come back one after the other, and the last ones must not be taken for dead by how
//! long they could not report. Their silence counts from the moment on which most of the others were back.

use std::time::Duration;

use jiff::Timestamp;

use super::view::NodeView;

/// Time that a node gets to report after a common outage, whatever the durations of the policy: kubelets report every
/// ten seconds, and back off while they cannot.
pub const SETTLE: Duration = Duration::from_secs(30);

/// Since when more than half of these nodes have been ready without a gap, as far as anybody saw a gap. `None`: since
/// before anybody looked, or they are not ready now and thresholds decide.
pub fn calm_since(nodes: &[NodeView]) -> Option<Timestamp> {
    let majority = nodes.len() / 2 + 1;
    let mut gaps: Vec<Option<Timestamp>> =
        nodes.iter().filter(|node| node.is_ready()).map(|node| node.recovered).collect();
    // The longest ready first; never seen otherwise counts as for ever.
    gaps.sort_unstable();
    gaps.into_iter().nth(majority - 1).flatten()
}

/// When a node recovered, if it did between two looks at it; otherwise what is known already.
pub fn recovered(before: Option<&NodeView>, now: &NodeView, at: Timestamp) -> Option<Timestamp> {
    let before = before?;
    let Some(ready) = now.ready().filter(|ready| ready.status == "True") else {
        return before.recovered;
    };
    // Another stamp means that it was not ready in between, even if nobody saw that.
    let same = before.ready().is_some_and(|then| then.status == "True" && then.since == ready.since);
    if same { before.recovered } else { Some(ready.since.map_or(at, |since| since.min(at))) }
}

#[cfg(test)]
mod tests {
    use super::super::view::NodeCondition;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn node(name: &str, status: &str, since: i64, recovered: Option<i64>) -> NodeView {
        let since = Some(at(since));
        NodeView {
            name: name.to_owned(),
            conditions: vec![NodeCondition { type_: "Ready".to_owned(), status: status.to_owned(), since }].into(),
            recovered: recovered.map(at),
            ..NodeView::default()
        }
    }

    #[test]
    fn a_single_silent_node_is_not_an_outage() {
        let nodes = [node("a", "True", 0, None), node("b", "True", 0, Some(50)), node("c", "True", 0, None)];
        assert_eq!(calm_since(&nodes), None);
    }

    #[test]
    fn the_cluster_is_calm_once_a_majority_is_back() {
        let nodes = [
            node("a", "True", 100, Some(100)),
            node("b", "True", 103, Some(103)),
            node("c", "True", 101, Some(101)),
            node("d", "Unknown", 80, None),
        ];
        assert_eq!(calm_since(&nodes), Some(at(103)));
    }

    #[test]
    fn while_most_are_silent_nothing_is_calm_and_the_threshold_decides() {
        let nodes = [node("a", "True", 100, Some(100)), node("b", "Unknown", 80, None), node("c", "Unknown", 80, None)];
        assert_eq!(calm_since(&nodes), None);
    }

    #[test]
    fn a_gap_is_seen_by_the_stamp_alone_and_a_clock_ahead_does_not_count() {
        let before = node("a", "True", 10, None);
        assert_eq!(recovered(Some(&before), &node("a", "True", 10, None), at(99)), None);
        assert_eq!(recovered(Some(&before), &node("a", "True", 90, None), at(99)), Some(at(90)));
        assert_eq!(recovered(Some(&before), &node("a", "True", 4_000, None), at(99)), Some(at(99)));
        assert_eq!(recovered(None, &node("a", "True", 90, None), at(99)), None, "nobody looked before");
    }
}
