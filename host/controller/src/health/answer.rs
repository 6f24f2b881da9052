//! The status that answers: for every tracked node its verdict, since when, what blocks, what happens next and when.
//!
//! Only what changed is written, so nothing here changes from second to second: times are instants, not what is left of
//! them, and an instant that moved by less than a second and a half did not move.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use palisade_api::node_health_check::{NodeHealthCheckSpec, Remediation, UnhealthyNode};
use palisade_core::health::{Judgement, Plan, Scope, SkipReason, Verdict, steps};

/// So many nodes get an answer, by name; with more, the status would grow towards what one object may hold, and nobody
/// reads so many. Counters and metrics tell about all of them.
const ANSWERED: usize = 500;
/// Conditions have whole seconds, and so has the status.
const SAME: Duration = Duration::from_millis(1_500);

/// Completes the entries of a status that is about to be written.
pub(super) fn complete(
    nodes: &mut [UnhealthyNode],
    before: &[UnhealthyNode],
    spec: &NodeHealthCheckSpec,
    plan: &Plan,
    judgement: &Judgement,
    now: Timestamp,
) {
    let before: BTreeMap<&str, &UnhealthyNode> = before.iter().map(|node| (node.name.as_str(), node)).collect();
    let mut skips: BTreeMap<&str, &SkipReason> = BTreeMap::new();
    for skip in &plan.skips {
        skips.entry(skip.node.as_str()).or_insert(&skip.reason);
    }
    for node in nodes.iter_mut().take(ANSWERED) {
        let known = before.get(node.name.as_str()).copied();
        let verdict = judgement.verdicts.get(&node.name);
        let skip = skips.get(node.name.as_str()).copied();
        let (word, since) = describe(verdict, node, known, now);
        node.verdict = Some(word);
        node.since = since.map(|since| settled(since, known.and_then(|known| known.since.as_ref())));
        node.blocked_by = skip.map(|reason| reason.rule().to_owned());
        // What stops the whole policy is its own reason; once is enough.
        node.blocked_because = skip.filter(|reason| reason.scope() == Scope::Node).map(SkipReason::lasting);
        let (next, at) = next(node, verdict, skip, spec, now);
        node.next = Some(next);
        node.next_at = at.map(|at| settled(at, known.and_then(|known| known.next_at.as_ref())));
    }
}

/// The verdict in words, and since when it is so.
fn describe(
    verdict: Option<&Verdict>,
    node: &UnhealthyNode,
    known: Option<&UnhealthyNode>,
    now: Timestamp,
) -> (String, Option<Timestamp>) {
    let unchanged = |word: &str| {
        let same = known.filter(|known| known.verdict.as_deref() == Some(word));
        Some(same.and_then(|known| known.since.as_ref()).map_or(now, |since| since.0))
    };
    match verdict {
        Some(Verdict::Matching { type_, status, lasted }) => {
            (format!("Unhealthy: {type_}={status}"), Some(earlier(now, *lasted)))
        }
        Some(Verdict::SoonMatching { type_, status, .. }) => {
            let word = format!("Suspect: {type_}={status}");
            let since = unchanged(&word);
            (word, since)
        }
        Some(Verdict::NotMatching) => {
            let since = node.conditions_healthy_timestamp.as_ref().map(|since| since.0);
            ("Healthy".to_owned(), since.or_else(|| unchanged("Healthy")))
        }
        None => ("NotSelected".to_owned(), unchanged("NotSelected")),
    }
}

/// What happens next if nothing else does, and when.
fn next(
    node: &UnhealthyNode,
    verdict: Option<&Verdict>,
    skip: Option<&SkipReason>,
    spec: &NodeHealthCheckSpec,
    now: Timestamp,
) -> (String, Option<Timestamp>) {
    if let Some(reason) = skip {
        let again = reason.again_in().map(|pause| later(now, pause));
        return match reason {
            SkipReason::NoTemplateLeft => ("nothing: look at the node".to_owned(), None),
            SkipReason::Storm { .. } => ("a remediation, when the cooldown is over".to_owned(), again),
            SkipReason::LeaseHeld { .. } => ("a remediation, when the lease is free".to_owned(), again),
            SkipReason::Held(held) => (format!("a remediation: {}", held.unblock), None),
            _ => ("a remediation, when nothing blocks any more".to_owned(), None),
        };
    }
    match verdict {
        Some(Verdict::Matching { .. }) => match node.remediations.iter().rfind(|one| one.timed_out.is_none()) {
            Some(running) => running_next(running, spec),
            None => ("a remediation".to_owned(), None),
        },
        Some(Verdict::SoonMatching { again_in, .. }) => {
            ("it counts as unhealthy, unless it recovers".to_owned(), Some(later(now, *again_in)))
        }
        Some(Verdict::NotMatching) if node.healthy_delayed == Some(true) => {
            let delay = spec.healthy_delay.unwrap_or_default();
            let since = node.conditions_healthy_timestamp.as_ref().map(|since| since.0);
            if delay.is_negative() {
                ("it is released, when somebody confirms that it is healthy".to_owned(), None)
            } else {
                (
                    "it is released, when healthyDelay is over".to_owned(),
                    since.map(|since| later(since, delay.to_std())),
                )
            }
        }
        Some(Verdict::NotMatching) => ("it is released, when its remediations have cleaned up".to_owned(), None),
        None => ("it is forgotten, when its remediations have cleaned up".to_owned(), None),
    }
}

fn running_next(running: &Remediation, spec: &NodeHealthCheckSpec) -> (String, Option<Timestamp>) {
    let kind = running.resource.kind.as_deref().unwrap_or("the remediation");
    let steps = steps(spec);
    let its = steps.iter().position(|step| {
        Some(step.kind.as_str()) == running.resource.kind.as_deref()
            && running.template_name.as_ref().is_none_or(|name| *name == step.template)
    });
    let timeout = its.and_then(|index| steps[index].timeout);
    let Some(timeout) = timeout else { return (format!("{kind} brings it back"), None) };
    let at = Some(later(running.started.0, timeout));
    match its.and_then(|index| steps.get(index + 1)) {
        Some(then) => (format!("{kind} brings it back, or else {} takes over", then.kind), at),
        None => (format!("{kind} brings it back, or else every template was tried"), at),
    }
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(from: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    from.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// In whole seconds, and as it was if it is the same instant within what clocks can tell.
fn settled(instant: Timestamp, known: Option<&Time>) -> Time {
    if let Some(known) = known.filter(|known| instant.duration_since(known.0).unsigned_abs() <= SAME) {
        return known.clone();
    }
    Time(Timestamp::from_second(instant.as_second()).unwrap_or(instant))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;
    use palisade_core::health::Skip;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sick(seconds: u64) -> Verdict {
        let lasted = Duration::from_secs(seconds);
        Verdict::Matching { type_: "Ready".to_owned(), status: "Unknown".to_owned(), lasted }
    }

    fn judged(verdict: Verdict) -> Judgement {
        Judgement { verdicts: BTreeMap::from([("n1".to_owned(), verdict)]), ..Judgement::default() }
    }

    fn completed(
        before: &[UnhealthyNode],
        node: UnhealthyNode,
        plan: &Plan,
        verdict: Verdict,
        now: i64,
    ) -> UnhealthyNode {
        let spec = serde_json::json!({ "escalatingRemediations": [
            { "remediationTemplate": { "kind": "FooTemplate", "name": "foo" }, "order": 0, "timeout": "60s" },
            { "remediationTemplate": { "kind": "BarTemplate", "name": "bar" }, "order": 1, "timeout": "60s" },
        ] });
        let spec: NodeHealthCheckSpec = serde_json::from_value(spec).unwrap();
        let mut nodes = [node];
        complete(&mut nodes, before, &spec, plan, &judged(verdict), at(now));
        nodes[0].clone()
    }

    fn node() -> UnhealthyNode {
        UnhealthyNode { name: "n1".to_owned(), ..UnhealthyNode::default() }
    }

    #[test]
    fn a_blocked_node_says_by_what_and_what_would_help() {
        let reason = SkipReason::Excluded;
        let plan = Plan { skips: vec![Skip { node: "n1".to_owned(), reason }], ..Plan::default() };
        let said = completed(&[], node(), &plan, sick(40), 1_000);
        assert_eq!(said.verdict.as_deref(), Some("Unhealthy: Ready=Unknown"));
        assert_eq!(said.since, Some(Time(at(960))));
        assert_eq!(said.blocked_by.as_deref(), Some("excluded"));
        assert!(said.blocked_because.unwrap().contains("remove the label"));
        assert_eq!(said.next.as_deref(), Some("a remediation, when nothing blocks any more"));
    }

    #[test]
    fn a_running_step_says_who_comes_next_and_when() {
        let resource = ObjectReference { kind: Some("Foo".to_owned()), ..ObjectReference::default() };
        let started = Time(at(1_000));
        let running = Remediation { resource, started, timed_out: None, template_name: Some("foo".to_owned()) };
        let node = UnhealthyNode { remediations: vec![running], ..node() };
        let said = completed(&[], node, &Plan::default(), sick(40), 1_010);
        assert_eq!(said.blocked_by, None);
        assert_eq!(said.next.as_deref(), Some("Foo brings it back, or else Bar takes over"));
        assert_eq!(said.next_at, Some(Time(at(1_060))));
    }

    #[test]
    fn time_that_passes_is_no_change() {
        let first = completed(&[], node(), &Plan::default(), sick(40), 1_000);
        let second = completed(std::slice::from_ref(&first), node(), &Plan::default(), sick(51), 1_010);
        assert_eq!(first, second, "the stamp of a condition is rounded, so it may seem to move by a second");
        let relapse = completed(std::slice::from_ref(&first), node(), &Plan::default(), sick(3), 1_010);
        assert_eq!(relapse.since, Some(Time(at(1_007))));
    }
}
