//! What the audit log shows about remediations and leaders.

use std::collections::{BTreeMap, BTreeSet};

use super::taking::LEASE;
use super::{Episode, FAILING, STEPS};
use crate::audit::{Entry, Query};
use crate::controller::NAMESPACE;
use crate::install::GROUP;

/// Who confirmed the lead, in order.
pub(super) fn leaders(log: &Query) -> Vec<String> {
    let writes = log.resource("coordination.k8s.io", "leases").writes().succeeded().filter(|entry| {
        entry.object_ref.namespace == NAMESPACE
            && (entry.object_ref.name == LEASE || entry.request_object["metadata"]["name"] == LEASE)
    });
    writes.entries().iter().map(|entry| entry.user_agent.clone()).collect()
}

/// Of every step exactly one remediation existed in every episode of a node, and none outside of them.
///
/// Objects are told apart by the uid that the API server gave them: in the answer to their creation, and in the
/// precondition of their deletion. The latter shows those whose creator was gone before the answer.
pub(super) fn no_step_twice(log: &Query, episodes: &[Episode]) -> anyhow::Result<String> {
    anyhow::ensure!(!episodes.is_empty(), "no node failed");
    let (mut refused, mut cut_off) = (0, 0);
    let mut by_agent: BTreeMap<String, usize> = BTreeMap::new();
    let writes = log.writes();
    for (kind, plural) in STEPS {
        let about = writes.resource(GROUP, plural);
        let tried = about.verb("create");
        refused += tried.filter(|entry| (400..500).contains(&entry.response_status.code)).count();
        cut_off += tried.filter(|entry| !(200..500).contains(&entry.response_status.code)).count();
        let created = tried.succeeded();
        for entry in created.entries() {
            let name = entry.user_agent.split_once('(').map_or(entry.user_agent.as_str(), |(_, name)| name);
            *by_agent.entry(name.trim_end_matches(')').to_owned()).or_default() += 1;
        }
        for episode in episodes {
            let its = |entry: &Entry| {
                target(entry) == episode.node && entry.received >= episode.from && entry.reached <= episode.until
            };
            let made = objects(&about.filter(its));
            anyhow::ensure!(
                made.len() == 1,
                "{} {kind} for one failure of {}: {made:?}\n{}",
                made.len(),
                episode.node,
                log.about_node(&episode.node).from(episode.from).until(episode.until).lines(40)
            );
        }
        let all = objects(&about).len();
        let failures = episodes.len();
        anyhow::ensure!(all == failures, "{all} {kind} in {failures} failures: some for a node that had recovered");
    }
    let shares: Vec<String> = by_agent.into_iter().map(|(agent, count)| format!("{count} by {agent}")).collect();
    Ok(format!(
        "{} failures of {FAILING} nodes, {} remediations, one for each step of each ({}; {cut_off} whose creator was \
         gone before the answer), {refused} creations refused by the API",
        episodes.len(),
        episodes.len() * STEPS.len(),
        shares.join(", ")
    ))
}

/// The objects that these requests show to have existed.
fn objects(requests: &Query) -> BTreeSet<String> {
    let uid = |entry: &Entry| {
        let place = match entry.verb.as_str() {
            "create" if entry.succeeded() => entry.response_object.pointer("/metadata/uid"),
            // One that was refused may mean an object of long ago.
            "delete" if !(400..500).contains(&entry.response_status.code) => {
                entry.request_object.pointer("/preconditions/uid")
            }
            _ => None,
        };
        place.and_then(serde_json::Value::as_str).map(str::to_owned)
    };
    requests.entries().iter().filter_map(uid).collect()
}

fn target(entry: &Entry) -> &str {
    let annotation = entry.request_object.pointer("/metadata/annotations/remediation.medik8s.io~1node-name");
    annotation.and_then(serde_json::Value::as_str).unwrap_or(&entry.object_ref.name)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn entry(second: i64, verb: &str, plural: &str, code: u16, uid: &str) -> Entry {
        let at = Timestamp::from_second(second).unwrap();
        let (request, response) = match verb {
            "create" => (Value::Null, json!({ "metadata": { "uid": uid } })),
            _ => (json!({ "preconditions": { "uid": uid } }), Value::Null),
        };
        serde_json::from_value(json!({
            "stage": "ResponseComplete", "requestURI": "/x", "verb": verb, "user": {}, "userAgent": "palisade (a)",
            "objectRef": { "apiGroup": GROUP, "resource": plural, "name": "n" },
            "responseStatus": { "code": code }, "requestObject": request, "responseObject": response,
            "requestReceivedTimestamp": at, "stageTimestamp": at,
        }))
        .unwrap()
    }

    fn judge(entries: Vec<Entry>) -> anyhow::Result<String> {
        let at = |second| Timestamp::from_second(second).unwrap();
        no_step_twice(&Query::new(entries), &[Episode { node: "n".to_owned(), from: at(10), until: at(20) }])
    }

    fn one_of_each() -> Vec<Entry> {
        vec![
            entry(11, "create", "foos", 201, "f"),
            entry(12, "create", "bars", 201, "b"),
            entry(13, "delete", "foos", 200, "f"),
            entry(13, "delete", "bars", 200, "b"),
        ]
    }

    #[test]
    fn one_object_for_each_step_is_right_however_often_it_was_tried() {
        let mut entries = one_of_each();
        entries.push(entry(12, "create", "bars", 409, ""));
        entries.push(entry(14, "delete", "bars", 409, "of before"));
        assert!(judge(entries).unwrap().contains("1 creations refused"));
    }

    #[test]
    fn a_creation_whose_answer_nobody_waited_for_counts() {
        let mut entries = one_of_each();
        entries[0] = entry(11, "create", "foos", 504, "");
        judge(entries.clone()).unwrap();
        entries.insert(2, entry(12, "create", "foos", 201, "f2"));
        entries.push(entry(15, "delete", "foos", 200, "f2"));
        assert!(judge(entries).unwrap_err().to_string().starts_with("2 Foo for one failure"));
    }

    #[test]
    fn a_second_object_a_missing_one_and_one_for_a_healthy_node_are_found() {
        let mut twice = one_of_each();
        twice.push(entry(15, "create", "bars", 201, "b2"));
        assert!(judge(twice).unwrap_err().to_string().starts_with("2 Bar for one failure"));
        let missing = one_of_each().into_iter().filter(|entry| entry.object_ref.resource != "foos").collect();
        assert!(judge(missing).unwrap_err().to_string().starts_with("0 Foo for one failure"));
        let mut late = one_of_each();
        late.push(entry(30, "create", "bars", 201, "b2"));
        assert!(judge(late).unwrap_err().to_string().contains("had recovered"));
    }
}
