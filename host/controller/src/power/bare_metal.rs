//! A machine behind a `BareMetalHost`. Its operator switches it: an annotation of our own holds it off, and taking that
//! annotation away lets it be switched on again.
//!
//! What a controller knows of a host that it holds is kept on the host, beside the annotation: the next controller goes on
//! where this one died. A time of day says nothing there, so it is not one.
//!
//! What is decided is pure; requests are in [`hosts`](super::hosts).

use std::time::Duration;

use palisade_core::time::Mono;
use serde_json::{Map, Value, json};

use super::fault::Fault;

/// Annotations that hold a host off or ask for a reboot begin so.
pub const REBOOT: &str = "reboot.metal3.io";
/// The operator of hosts leaves these alone.
const UNMANAGED: [&str; 2] = ["baremetalhost.metal3.io/paused", "baremetalhost.metal3.io/detached"];
/// On a host whose machine could not be helped: Cluster API's provider does not choose it again.
pub const UNHEALTHY: (&str, &str) = ("capm3.metal3.io/unhealthy", "capm3/UnhealthyNode");
/// A host that read as off before it was held may be an old reading: it is believed after its operator had so much time
/// to look again. It looks within seconds of every change of the object, and every minute anyway.
pub const SETTLE: Duration = Duration::from_secs(75);
/// The wait for that is kept in steps of so many seconds; a controller that dies loses one of them.
const STEP: u64 = 15;
/// Kept of a host that read as on when it was held, or after that.
const SEEN_ON: &str = "on";

/// Our annotation: one for each remediation, so that holders do not take away each other's.
pub fn hold(remediation_uid: &str) -> String {
    format!("{REBOOT}/palisade-{remediation_uid}")
}

/// Beside it: what is known since it is there. `on`: it read as on in the very state that the hold was written into, or
/// later. A number: it was off in that state, and has been held for at least so many seconds.
pub fn mark(remediation_uid: &str) -> String {
    format!("palisade.dev/held-{remediation_uid}")
}

/// What holds a host off at once, without asking its operating system.
pub fn hard() -> Value {
    json!("{\"mode\":\"hard\"}")
}

/// The annotations that hold this host off. They are for the state in which it was read, and for no later one.
pub fn held(host: &Value, remediation_uid: &str) -> Value {
    let on = host.pointer("/status/poweredOn").and_then(Value::as_bool).unwrap_or_default();
    json!({ hold(remediation_uid): hard(), mark(remediation_uid): if on { SEEN_ON } else { "0" } })
}

/// What takes them away.
pub fn let_go(remediation_uid: &str) -> Value {
    json!({ hold(remediation_uid): null, mark(remediation_uid): null })
}

/// What was seen of a host since it is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Since when this process knows that our annotation is stored, and for how long it was there before that.
    pub held: Option<(Mono, Duration)>,
    /// It read as on after that.
    pub on: bool,
}

impl Seen {
    /// What a process sees that finds a held host, at `now`.
    fn found(host: &Value, remediation_uid: &str, now: Mono) -> Self {
        let kept = kept(host, remediation_uid);
        let seconds = kept.parse().unwrap_or_default();
        Self { held: Some((now, Duration::from_secs(seconds).min(SETTLE))), on: kept == SEEN_ON }
    }

    /// For how long it has been held at least, by what was seen.
    fn held_for(&self, now: Mono) -> Duration {
        self.held.map_or(Duration::ZERO, |(since, before)| before.saturating_add(now.since(since)))
    }

    /// What is worth keeping on the host and is not there yet.
    pub fn news(&self, host: &Value, remediation_uid: &str, now: Mono) -> Option<Value> {
        self.held?;
        let kept = kept(host, remediation_uid);
        let seconds = self.held_for(now).min(SETTLE).as_secs() / STEP * STEP;
        let new = if self.on {
            (kept != SEEN_ON).then(|| SEEN_ON.to_owned())
        } else {
            (seconds > kept.parse().unwrap_or_default()).then(|| seconds.to_string())
        };
        new.map(|new| json!({ mark(remediation_uid): new }))
    }
}

fn kept<'a>(host: &'a Value, remediation_uid: &str) -> &'a str {
    let annotations = host.pointer("/metadata/annotations").and_then(|all| all.get(mark(remediation_uid)));
    annotations.and_then(Value::as_str).unwrap_or_default()
}

/// What a host shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// It runs, or may run.
    On,
    /// It is off, and we hold it off.
    HeldOff,
    /// It reads as off, and nobody knows since when.
    Unsettled,
    /// It is off, and we do not hold it.
    Off,
}

/// What a host shows, as it was read at `now`; remembers what was seen.
pub fn judge(host: &Value, remediation_uid: &str, seen: &mut Seen, now: Mono) -> Result<Shows, Fault> {
    let named = name(host);
    if let Some(key) = UNMANAGED.iter().find(|key| annotations(host).contains_key(**key)) {
        return Err(Fault::Refused(format!(
            "BareMetalHost {named} carries {key}: its operator does not look at it, so what it shows proves nothing; \
             remove the annotation"
        )));
    }
    let Some(powered) = host.pointer("/status/poweredOn").and_then(Value::as_bool) else {
        return Err(Fault::Failed(format!(
            "BareMetalHost {named} has no status.poweredOn; its operator has not looked yet"
        )));
    };
    if !is_held(host, &hold(remediation_uid)) {
        *seen = Seen::default();
        return Ok(if powered { Shows::On } else { Shows::Off });
    }
    if seen.held.is_none() {
        *seen = Seen::found(host, remediation_uid, now);
    }
    if powered {
        seen.on = true;
        return Ok(Shows::On);
    }
    let error = host.pointer("/status/errorType").and_then(Value::as_str).unwrap_or_default();
    if !error.is_empty() {
        return Err(Fault::Failed(format!(
            "BareMetalHost {named} reads as off, and has the error {error:?}: {}; nothing is believed of it until that is \
             repaired",
            host.pointer("/status/errorMessage").and_then(Value::as_str).unwrap_or_default()
        )));
    }
    if seen.on || seen.held_for(now) >= SETTLE {
        return Ok(Shows::HeldOff);
    }
    Ok(Shows::Unsettled)
}

/// Whether it may be held off: a host that its user keeps off is not ours to switch on again.
pub fn may_hold(host: &Value, hold: &str) -> Result<(), Fault> {
    if is_held(host, hold) || wanted(host) {
        return Ok(());
    }
    Err(Fault::Invalid(format!(
        "BareMetalHost {} is kept off by its user (spec.online is false); it is not touched, and nothing is released for \
         it: set spec.online, or confirm its isolation by hand",
        name(host)
    )))
}

/// Why it stays off although we do not hold it.
pub fn kept_off(host: &Value, hold: &str) -> Option<Fault> {
    if !wanted(host) {
        return Some(Fault::Refused(format!(
            "BareMetalHost {} is kept off by its user (spec.online is false); it is left so",
            name(host)
        )));
    }
    let other = annotations(host).into_iter().find(|(key, _)| key.starts_with(&format!("{REBOOT}/")) && key != hold);
    other.map(|(key, _)| {
        Fault::Refused(format!("BareMetalHost {} is held off by somebody else ({key}); it is left so", name(host)))
    })
}

/// Whether a host belongs to the machine object of this kind, namespace and name.
pub fn belongs(host: &Value, kind: &str, namespace: &str, machine: &str) -> Result<(), Fault> {
    let consumer = |part: &str| host.pointer(&format!("/spec/consumerRef/{part}")).and_then(Value::as_str);
    let place = consumer("namespace").unwrap_or(namespace);
    if consumer("kind") == Some(kind) && consumer("name") == Some(machine) && place == namespace {
        return Ok(());
    }
    Err(Fault::Invalid(format!(
        "BareMetalHost {} says in spec.consumerRef that it belongs to {} {}/{}, not to {kind} {namespace}/{machine}; \
         another machine's host is not switched off",
        name(host),
        consumer("kind").unwrap_or("nobody"),
        consumer("namespace").unwrap_or_default(),
        consumer("name").unwrap_or_default()
    )))
}

/// Namespace and name of the host that an object's annotation names. Both count: elsewhere there may be one of that name.
pub fn reference(value: &str, owner: &str) -> Result<(String, String), Fault> {
    match value.split('/').collect::<Vec<_>>().as_slice() {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Ok(((*namespace).to_owned(), (*name).to_owned()))
        }
        _ => Err(Fault::Invalid(format!(
            "annotation metal3.io/BareMetalHost of {owner} is {value:?}; it must be NAMESPACE/NAME of its host"
        ))),
    }
}

/// Whether it carries this annotation.
pub fn is_held(host: &Value, hold: &str) -> bool {
    annotations(host).contains_key(hold)
}

fn wanted(host: &Value) -> bool {
    host.pointer("/spec/online").and_then(Value::as_bool).unwrap_or_default()
}

fn annotations(host: &Value) -> Map<String, Value> {
    host.pointer("/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn name(host: &Value) -> String {
    let part = |name: &str| host.pointer(&format!("/metadata/{name}")).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(powered: bool, held: bool) -> Value {
        let mut host = json!({
            "metadata": { "namespace": "metal", "name": "h1", "annotations": {} },
            "spec": { "online": true, "consumerRef": { "kind": "Metal3Machine", "namespace": "metal", "name": "m1" } },
            "status": { "poweredOn": powered },
        });
        if held {
            host["metadata"]["annotations"][hold("uid-1")] = hard();
        }
        host
    }

    fn shows(host: &Value, seen: &mut Seen, at: u64) -> Result<Shows, Fault> {
        judge(host, "uid-1", seen, Mono(at * 1_000))
    }

    #[test]
    fn m3_04_the_annotation_names_the_remediation_and_asks_for_a_hard_stop() {
        assert_eq!(hold("uid-1"), "reboot.metal3.io/palisade-uid-1");
        assert_eq!(hard().as_str().unwrap(), r#"{"mode":"hard"}"#);
    }

    #[test]
    fn m3_02_a_host_counts_as_off_only_once_it_was_seen_to_go_off_while_held() {
        let mut seen = Seen::default();
        assert_eq!(shows(&host(true, false), &mut seen, 0), Ok(Shows::On));
        assert_eq!(shows(&host(true, true), &mut seen, 1), Ok(Shows::On));
        assert_eq!(shows(&host(true, true), &mut seen, 60), Ok(Shows::On));
        assert_eq!(shows(&host(false, true), &mut seen, 61), Ok(Shows::HeldOff));
    }

    #[test]
    fn an_old_reading_is_not_believed_at_once() {
        let mut seen = Seen::default();
        assert_eq!(shows(&host(false, false), &mut seen, 0), Ok(Shows::Off));
        assert_eq!(shows(&host(false, true), &mut seen, 1), Ok(Shows::Unsettled));
        assert_eq!(shows(&host(false, true), &mut seen, 75), Ok(Shows::Unsettled));
        assert_eq!(shows(&host(false, true), &mut seen, 76), Ok(Shows::HeldOff));
        // Whoever takes our annotation away takes the certainty with it.
        assert_eq!(shows(&host(false, false), &mut seen, 77), Ok(Shows::Off));
        assert_eq!(shows(&host(false, true), &mut seen, 78), Ok(Shows::Unsettled));
    }

    /// What a controller writes is stored, and the next one begins with it.
    fn restarted(host: &mut Value, seen: &Seen, at: u64) -> Seen {
        if let Some(news) = seen.news(host, "uid-1", Mono(at * 1_000)) {
            annotate(host, &news);
        }
        Seen::default()
    }

    fn annotate(host: &mut Value, annotations: &Value) {
        for (key, value) in annotations.as_object().unwrap() {
            host["metadata"]["annotations"][key] = value.clone();
        }
    }

    #[test]
    fn a_controller_that_dies_after_the_hold_does_not_wait_for_what_was_seen() {
        // Given a host that reads as on in the state into which the hold is written.
        let mut held_host = host(true, false);
        let annotations = held(&held_host, "uid-1");
        annotate(&mut held_host, &annotations);
        // When it goes off while no controller runs, then the next one believes it at once.
        held_host["status"]["poweredOn"] = json!(false);
        assert_eq!(shows(&held_host, &mut Seen::default(), 1), Ok(Shows::HeldOff));
        // And whoever lets it go leaves nothing.
        assert_eq!(let_go("uid-1"), json!({ hold("uid-1"): null, mark("uid-1"): null }));
    }

    #[test]
    fn what_a_controller_saw_of_a_held_host_is_kept_for_the_next_one() {
        let mut host = host(false, false);
        let annotations = held(&host, "uid-1");
        annotate(&mut host, &annotations);
        let mut seen = Seen::default();
        assert_eq!(shows(&host, &mut seen, 0), Ok(Shows::Unsettled));
        host["status"]["poweredOn"] = json!(true);
        assert_eq!(shows(&host, &mut seen, 2), Ok(Shows::On));
        let mut seen = restarted(&mut host, &seen, 2);
        host["status"]["poweredOn"] = json!(false);
        assert_eq!(shows(&host, &mut seen, 0), Ok(Shows::HeldOff));
    }

    #[test]
    fn a_controller_that_dies_again_and_again_does_not_wait_for_ever_nor_less() {
        // Given a host that may be an old reading, and controllers that live for twenty seconds.
        let mut host = host(false, false);
        let annotations = held(&host, "uid-1");
        annotate(&mut host, &annotations);
        let mut lived = 0;
        let mut seen = Seen::default();
        // When they follow each other, each with a clock of its own.
        while shows(&host, &mut seen, 1_000) == Ok(Shows::Unsettled)
            && shows(&host, &mut seen, 1_020) == Ok(Shows::Unsettled)
        {
            lived += 20;
            assert!(lived < 200, "it never ends");
            seen = restarted(&mut host, &seen, 1_020);
        }
        // Then it is believed after they have seen it held for long enough, all together.
        assert!(lived + 20 >= 75, "after {lived} s");
        // One whom nobody asks writes nothing; one that somebody else let go begins anew.
        assert_eq!(Seen::default().news(&host, "uid-1", Mono(0)), None);
    }

    #[test]
    fn a_host_that_nobody_looks_at_proves_nothing() {
        for key in UNMANAGED {
            let mut host = host(false, true);
            host["metadata"]["annotations"][key] = json!("");
            assert!(matches!(shows(&host, &mut Seen::default(), 500), Err(Fault::Refused(why)) if why.contains(key)));
        }
        let mut host = host(false, true);
        host["status"] = json!({});
        assert!(shows(&host, &mut Seen::default(), 500).is_err());
        host["status"] = json!({ "poweredOn": false, "errorType": "power management error" });
        assert!(shows(&host, &mut Seen { held: Some((Mono(0), SETTLE)), on: true }, 500).is_err());
    }

    #[test]
    fn m3_06_a_host_that_its_user_keeps_off_is_not_touched() {
        let mut host = host(false, false);
        host["spec"]["online"] = json!(false);
        assert!(may_hold(&host, &hold("uid-1")).unwrap_err().is_final());
        assert!(matches!(kept_off(&host, &hold("uid-1")), Some(Fault::Refused(why)) if why.contains("its user")));
    }

    #[test]
    fn m3_05_another_holder_keeps_its_host_off() {
        let mut host = host(false, true);
        assert_eq!(kept_off(&host, &hold("uid-1")), None);
        host["metadata"]["annotations"]["reboot.metal3.io/other"] = hard();
        let why = kept_off(&host, &hold("uid-1")).unwrap().to_string();
        assert!(why.contains("reboot.metal3.io/other"), "{why}");
    }

    #[test]
    fn m3_25_only_the_machines_own_host_is_switched_off() {
        let host = host(true, false);
        assert_eq!(belongs(&host, "Metal3Machine", "metal", "m1"), Ok(()));
        for (kind, namespace, name) in
            [("Metal3Machine", "metal", "m2"), ("Metal3Machine", "other", "m1"), ("Machine", "metal", "m1")]
        {
            assert!(belongs(&host, kind, namespace, name).is_err_and(|why| why.is_final()));
        }
        assert_eq!(reference("metal/h1", "m1").unwrap(), ("metal".to_owned(), "h1".to_owned()));
        for bad in ["", "h1", "/h1", "metal/", "a/b/c"] {
            assert!(reference(bad, "m1").is_err(), "{bad}");
        }
    }
}
