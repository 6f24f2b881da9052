use serde_json::json;

use super::*;

fn event(name: &str, second: i64, reason: &str, message: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": { "kind": "Node", "name": name }, "type": "Warning", "reason": reason,
        "message": message, "lastTimestamp": Timestamp::from_second(second).unwrap().to_string(),
    }))
    .unwrap()
}

fn snapshot() -> Snapshot {
    let metadata = serde_json::from_value(json!({ "name": "n1-x7", "namespace": "p",
        "annotations": { "remediation.medik8s.io/node-name": "n1" }, "creationTimestamp": "1970-01-01T00:00:10Z" }))
    .unwrap();
    let status =
        json!({ "palisade": { "node": "n1", "timeline": [{ "stage": "Marked", "at": "1970-01-01T00:00:12Z" }] } });
    let one = Remediation::new("SelfNodeRemediation", &metadata, status);
    Snapshot { remediations: vec![one], ..Snapshot::default() }
}

#[test]
fn events_are_told_after_what_the_remediations_recorded_oldest_first() {
    let all = snapshot();
    assert_eq!(subjects(&all, "n1"), BTreeSet::from(["n1".to_owned(), "n1-x7".to_owned()]));
    assert_eq!(subjects(&all, "p/n1-x7"), BTreeSet::from(["n1-x7".to_owned()]));
    let events = [event("n1", 20, "Later", "two"), event("n1", 11, "Earlier", "one")];
    let text = of(&all, &events, "n1").unwrap().text(Style::plain());
    let places =
        ["SelfNodeRemediation p/n1-x7", "Marked", "events", "Earlier", "Later"].map(|word| text.find(word).unwrap());
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn a_remediation_that_is_gone_is_told_by_its_events_and_one_that_never_was_is_an_error() {
    let none = Snapshot::default();
    let told = of(&none, &[event("n1", 20, "RemediationCreated", "done")], "n1").unwrap();
    assert_eq!((told.remediations.len(), told.events[0].reason.as_str()), (0, "RemediationCreated"));
    let error = of(&none, &[], "n1").unwrap_err().to_string();
    assert!(error.contains("no node and no remediation \"n1\""), "{error}");
}

#[test]
fn what_others_wrote_is_no_markup() {
    let page = of(&snapshot(), &[event("n1", 20, "X", "<script>alert('&')</script>")], "n1").unwrap().html();
    assert!(
        page.contains("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;") && !page.contains("<script"),
        "{page}"
    );
    assert!(page.contains("<caption>Timeline</caption>") && page.contains("Marked"), "{page}");
}
