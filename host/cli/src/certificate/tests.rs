use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

/// T 72 s, Wd 10 s: 72 + 20 + (0.92 + 0.5) = 93.42 s.
fn expired() -> Value {
    json!({
        "proof": "LeaseExpired", "grade": "Certain", "node": "n1", "bootId": "b1", "leaseUid": "l1", "intentUid": "i1",
        "timeToLive": "1m12s", "watchdogTimeout": "10s", "margin": "1.42s",
        "terms": { "resetBound": "20s", "watchdogResets": true, "jury": ["n2", "n3", "n4"], "minPeers": 1,
            "selfFences": true, "mayExempt": false },
        "countedFor": "1m33.5s", "waited": "50.2s",
        "jurors": [{ "node": "n2" }, { "node": "n4", "noApiAge": "2m" }], "juryQuorum": 2, "observer": "c",
        "intentAt": "2026-05-01T11:00:00Z", "provenAt": "2026-05-01T11:00:50Z", "explanation": "its time was over",
    })
}

fn acknowledged() -> Value {
    let mut text = expired();
    text["proof"] = json!("AgentAcknowledged");
    // 2 x 10 s + 0.2 s + 0.5 s
    text["countedFor"] = json!("20.7s");
    text["waited"] = json!("20.7s");
    text["provenAt"] = json!("2026-05-01T11:00:21Z");
    text
}

fn carried(certificate: &Value) -> Value {
    let proven = certificate["provenAt"].clone();
    json!({
        "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediation",
        "metadata": { "name": "n1", "namespace": "palisade-system", "creationTimestamp": "2026-05-01T10:59:50Z" },
        "status": { "palisade": { "node": "n1", "step": 3, "certificate": certificate,
            "fencing": { "bootId": "b1", "intentUid": "i1", "leaseUid": "l1" },
            "timeline": [
                { "stage": "Marked", "at": "2026-05-01T10:59:59Z" }, { "stage": "Intended", "at": "2026-05-01T11:00:00Z" },
                { "stage": "Proven", "at": proven }, { "stage": "Released", "at": "2026-05-01T11:00:52Z" }] } },
    })
}

fn verdict(value: &Value) -> (Verdict, Vec<Check>) {
    let claims = input::parse(&value.to_string(), "f").unwrap();
    let judged = judge(&claims[0], now(), Vec::new());
    (judged.verdict, judged.checks)
}

fn wrong(value: &Value) -> Vec<&'static str> {
    let (_, checks) = verdict(value);
    checks.iter().filter(|check| check.outcome == Outcome::Wrong).map(|check| check.name).collect()
}

fn with(mut value: Value, path: &str, to: Value) -> Value {
    *value.pointer_mut(path).unwrap() = to;
    value
}

fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().unwrap().remove(field).unwrap();
    value
}

#[test]
fn what_a_controller_writes_holds_alone_and_in_its_remediation() {
    for certificate in [expired(), acknowledged()] {
        for value in [certificate.clone(), carried(&certificate)] {
            let (verdict, checks) = verdict(&value);
            assert_eq!(verdict, Verdict::Holds, "{checks:#?}");
        }
    }
    let mut changed = acknowledged();
    changed["proof"] = json!("BootChanged");
    changed["newBootId"] = json!("b2");
    assert_eq!(verdict(&carried(&changed)).0, Verdict::Holds);
    let mut person = acknowledged();
    person["proof"] = json!("HumanConfirmed");
    assert_eq!(verdict(&carried(&person)).0, Verdict::Holds);
    assert_eq!(verdict(&without(person, "explanation")).0, Verdict::NotEnough);
}

#[test]
fn the_numbers_are_those_of_the_core() {
    let (_, checks) = verdict(&expired());
    let wait = checks.iter().find(|check| check.name == "wait").unwrap();
    assert_eq!(wait.what, "counted for 1m33.5s of timeToLive 1m12s + reset 20s + margin 1.42s = 1m33.42s");
}

/// Each of these would have let a workload run twice.
#[test]
fn a_certificate_with_one_thing_changed_does_not_hold() {
    for (path, to, check) in [
        ("/countedFor", json!("1m33.41s"), "wait"),
        ("/timeToLive", json!("2m"), "wait"),
        ("/watchdogTimeout", json!("5s"), "reset"),
        ("/margin", json!("0.5s"), "margin"),
        ("/terms/jury", json!(["n2", "n3", "n4", "n5"]), "majority"),
        ("/terms/jury", json!(["n2", "n3", "n5"]), "jury"),
        ("/terms/jury", json!(["n1", "n2", "n4"]), "jury"),
        ("/terms/selfFences", json!(false), "claims"),
        ("/terms/mayExempt", json!(true), "claims"),
        ("/terms/minPeers", json!(4), "claims"),
        ("/terms/watchdogResets", json!(false), "grade"),
        ("/jurors", json!([{ "node": "n2" }]), "majority"),
        ("/jurors", json!([{ "node": "n2" }, { "node": "n2" }]), "jurors"),
        ("/jurors/1/noApiAge", json!("43s"), "noApi"),
        ("/juryQuorum", json!(1), "majority"),
        ("/waited", json!("90s"), "times"),
        ("/waited", json!("95s"), "waited"),
        ("/intentAt", json!("2026-05-01T11:01:00Z"), "times"),
        ("/provenAt", json!("2026-05-01T12:30:00Z"), "times"),
        ("/bootId", json!(" "), "named"),
    ] {
        let changed = with(expired(), path, to.clone());
        assert!(wrong(&changed).contains(&check), "{path} {to}: {:#?}", verdict(&changed).1);
        assert_eq!(verdict(&changed).0, Verdict::DoesNotHold);
    }
    assert_eq!(wrong(&with(acknowledged(), "/countedFor", json!("20.699s"))), ["waited", "wait"]);
    let same = with(acknowledged(), "/proof", json!("BootChanged"));
    assert_eq!(wrong(&same), ["boots"], "no boot that followed");
    let mut same = same;
    same["newBootId"] = json!("b1");
    assert_eq!(wrong(&same), ["boots"], "the same boot");
}

#[test]
fn a_certificate_of_another_remediation_does_not_hold() {
    let good = carried(&expired());
    for (path, to, check) in [
        ("/status/palisade/node", json!("n9"), "node"),
        ("/status/palisade/fencing/intentUid", json!("i2"), "intent"),
        ("/status/palisade/fencing/leaseUid", json!("l2"), "intent"),
        ("/metadata/creationTimestamp", json!("2026-05-01T11:10:00Z"), "created"),
        ("/status/palisade/timeline/0/at", json!("2026-05-01T11:10:00Z"), "marked"),
        ("/status/palisade/timeline/2/at", json!("2026-05-01T11:10:00Z"), "timeline"),
        ("/status/palisade/timeline/3/at", json!("2026-05-01T11:00:40Z"), "released"),
    ] {
        assert_eq!(wrong(&with(good.clone(), path, to)), [check], "{path}");
    }
    let mut contradicted = good;
    contradicted["status"]["palisade"]["contradicted"] = json!(["i1"]);
    assert_eq!(wrong(&contradicted), ["contradicted"]);
}

#[test]
fn what_is_not_in_it_is_said_and_not_guessed() {
    for field in ["terms", "countedFor", "waited", "intentAt", "timeToLive"] {
        let (verdict, checks) = verdict(&without(expired(), field));
        assert_eq!(verdict, Verdict::NotEnough, "{field}: {checks:#?}");
    }
    let older = without(without(expired(), "terms"), "countedFor");
    let (_, checks) = verdict(&older);
    let jury = checks.iter().find(|check| check.name == "jury").unwrap();
    assert!(jury.outcome == Outcome::Unknown && jury.what.contains("terms.jury"), "{jury:?}");
    // Without a watchdog it matters whether the agent ran at the end, and no certificate says that.
    let mut bare = without(expired(), "watchdogTimeout");
    bare["terms"]["watchdogResets"] = Value::Null;
    bare["grade"] = json!("Assumed");
    assert_eq!(verdict(&bare).0, Verdict::NotEnough);
}

#[test]
fn lists_yaml_and_missing_certificates_are_understood() {
    let list = json!({ "kind": "List", "items": [carried(&expired()), carried(&acknowledged())] });
    assert_eq!(input::parse(&list.to_string(), "f").unwrap().len(), 2);
    let yaml = serde_yaml_ng::to_string(&carried(&expired())).unwrap();
    assert_eq!(input::parse(&yaml, "f").unwrap().len(), 1);
    let mut none = carried(&expired());
    none["status"]["palisade"].as_object_mut().unwrap().remove("certificate");
    none["status"]["palisade"]["fencing"]["waitingFor"] = json!("promises of n3");
    let (found, checks) = verdict(&none);
    assert!(found == Verdict::NotEnough && checks[0].what.contains("promises of n3"), "{checks:?}");
    let error = format!("{:#}", input::parse("a: 1", "x.yaml").unwrap_err());
    assert!(error.contains("x.yaml") && error.contains("status.palisade.certificate"), "{error}");
    let broken = with(expired(), "/timeToLive", json!("72"));
    let error = format!("{:#}", input::parse(&broken.to_string(), "x.yaml").unwrap_err());
    assert!(error.contains("x.yaml") && error.contains("72"), "{error}");
}

fn reality(boot: &str, ready: &str, sequence: u64, acknowledged: Option<&str>) -> reality::Reality {
    let node = json!({ "metadata": { "name": "n1", "uid": "u1" }, "status": { "nodeInfo": {
        "bootID": boot, "architecture": "", "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
        "kubeletVersion": "", "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": "" },
        "conditions": [{ "type": "Ready", "status": ready }] } });
    let terms = json!({ "timeToLiveMillis": 72_000, "watchdog": { "identity": "w", "timeoutMillis": 10_000, "resets": true },
        "resetStepsMillis": 7_000, "jury": ["n4", "n3", "n2"], "minPeers": 1,
        "claims": { "selfFences": true, "mayExempt": false } });
    let record = json!({ "node": "n1", "bootId": "b1", "sequence": sequence, "address": "a:1", "terms": terms,
        "generation": 1, "acknowledged": acknowledged, "disarmed": false });
    let intent = json!({ "uid": "i1", "bootId": "b1", "terms": terms, "basedOnSequence": 7, "owners": [] });
    let lease = json!({ "metadata": { "name": "n1", "uid": "l1", "annotations": {
        "palisade.dev/agent": record.to_string(), "palisade.dev/fence-intent": intent.to_string() } } });
    reality::Reality {
        node: Some(serde_json::from_value(node).unwrap()),
        lease: Some(serde_json::from_value(lease).unwrap()),
        gaps: Vec::new(),
    }
}

fn contradicts(reality: &reality::Reality, certificate: &Value) -> Vec<&'static str> {
    let claim = input::parse(&carried(certificate).to_string(), "f").unwrap().remove(0);
    let checks = reality::compare(reality, &claim, claim.certificate.as_ref().unwrap());
    assert!(checks.iter().any(|check| check.outcome != Outcome::Unknown), "{checks:#?}");
    checks.iter().filter(|check| check.outcome == Outcome::Wrong).map(|check| check.name).collect()
}

#[test]
fn reality_may_not_contradict_it() {
    let none: [&str; 0] = [];
    assert_eq!(contradicts(&reality("b1", "Unknown", 7, None), &expired()), none);
    assert_eq!(contradicts(&reality("b2", "True", 7, None), &expired()), none);
    assert_eq!(contradicts(&reality("b1", "Unknown", 8, Some("i1")), &acknowledged()), none);
    assert_eq!(contradicts(&reality("b1", "True", 7, None), &expired()), ["boot now"]);
    assert_eq!(contradicts(&reality("b1", "Unknown", 8, None), &expired()), ["agent now"]);
    assert_eq!(contradicts(&reality("b1", "Unknown", 7, None), &acknowledged()), ["agent now"]);
    let shorter = with(expired(), "/timeToLive", json!("1m"));
    assert_eq!(contradicts(&reality("b1", "Unknown", 7, None), &shorter), ["terms now"]);
    let mut changed = acknowledged();
    changed["proof"] = json!("BootChanged");
    changed["newBootId"] = json!("b2");
    assert_eq!(contradicts(&reality("b1", "False", 8, Some("i1")), &changed), ["boot now"]);
}
