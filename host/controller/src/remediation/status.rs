//! Changes of the status: conditions, phase, timeline, certificate. Pure.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use palisade_api::certificate::{CertifiedTerms, FencingCertificate, Grade, Juror, ProofKind};
use palisade_api::progress::{FencingProgress, Progress, TimelineEntry};
use palisade_api::reasons::{condition, phase, reason};
use palisade_api::{GoDuration, Stage};
use palisade_core::fencing::proof::{self, Proof};
use palisade_core::fencing::record::{BootId, FenceIntent, Terms};
use palisade_core::fencing::timing;
use palisade_core::time::Mono;

use super::kind::Status;
use super::spent;
use crate::clock;
use crate::fence::FenceState;

/// So much of a timeline is kept.
const TIMELINE: usize = 64;

/// State of a remediation as the conditions Processing and Succeeded show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Under way.
    Started,
    /// Done, for this reason in one word.
    Finished(&'a str),
    /// It cannot be done, for this reason in one word.
    Stopped(&'a str),
}

/// Sets Processing and Succeeded, which always go together.
pub fn stand(status: &mut Status, standing: Standing<'_>, message: &str) {
    let (processing, succeeded, why) = match standing {
        Standing::Started => ("True", "Unknown", reason::STARTED),
        Standing::Finished(why) => ("False", "True", why),
        Standing::Stopped(why) => ("False", "False", why),
    };
    set(&mut status.conditions, condition::PROCESSING, processing, why, message);
    set(&mut status.conditions, condition::SUCCEEDED, succeeded, why, message);
}

/// Sets one condition; its transition time moves only with its status.
pub fn set(conditions: &mut Vec<Condition>, kind: &str, value: &str, why: &str, message: &str) {
    let message: String = message.chars().take(1_024).collect();
    match conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(condition) => {
            if condition.status != value {
                condition.last_transition_time = seconds(&clock::wall());
                value.clone_into(&mut condition.status);
            }
            why.clone_into(&mut condition.reason);
            condition.message = message;
        }
        None => conditions.push(Condition {
            type_: kind.to_owned(),
            status: value.to_owned(),
            reason: why.to_owned(),
            message,
            last_transition_time: seconds(&clock::wall()),
            observed_generation: None,
        }),
    }
}

/// Removes a condition.
pub fn unset(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.type_ != kind);
}

/// Whether Succeeded has this value.
pub fn succeeded(status: &Status, value: &str) -> bool {
    status.conditions.iter().any(|known| known.type_ == condition::SUCCEEDED && known.status == value)
}

/// Whether the phase is one of ours.
pub fn phase_is_known(status: &Status) -> bool {
    status.phase.as_deref().is_none_or(|text| {
        [phase::PRE_REBOOT_COMPLETED, phase::REBOOT_COMPLETED, phase::FENCING_COMPLETED].contains(&text)
    })
}

/// Whether the workloads were released.
pub fn is_completed(status: &Status) -> bool {
    status.phase.as_deref() == Some(phase::FENCING_COMPLETED)
}

/// Whether the component said that it cannot be done. After a contradiction it may be called again all the same: a new
/// boot settles it.
pub fn gave_up(status: &Status) -> bool {
    status.palisade.as_ref().is_some_and(|progress| {
        progress.contradicted.is_empty() && progress.timeline.iter().any(|entry| entry.stage == Stage::Failed)
    })
}

/// Adds a step to the timeline unless the same one (about the same thing) is the newest of its stage.
pub fn happened(progress: &mut Progress, stage: Stage, at: &Time, about: &str, detail: &str) {
    let known = progress
        .timeline
        .iter()
        .rev()
        .find(|entry| entry.stage == stage)
        .is_some_and(|entry| entry.detail.as_deref().unwrap_or_default().contains(about));
    if known {
        return;
    }
    let detail: String = detail.chars().take(512).collect();
    progress.timeline.push(TimelineEntry { stage, at: seconds(at), detail: (!detail.is_empty()).then_some(detail) });
    if progress.timeline.len() > TIMELINE {
        progress.timeline.remove(0);
    }
}

/// Remembers that the boot was seen alive after its end; whether that is news. What is told about it may be cut or
/// fall out of the timeline, this does not.
pub fn contradict(progress: &mut Progress, intent: &str) -> bool {
    let news = !contradicted(progress, intent);
    if news {
        progress.contradicted.push(intent.to_owned());
        if progress.certificate.as_ref().is_some_and(|known| known.intent_uid.as_deref() == Some(intent)) {
            progress.certificate = None;
        }
    }
    news
}

/// Whether the boot of this intent was seen alive after its end.
pub fn contradicted(progress: &Progress, intent: &str) -> bool {
    progress.contradicted.iter().any(|known| known == intent)
}

/// Takes over what a fencing session published.
pub fn take_over(status: &mut Status, fence: &FenceState, observer: &str) {
    let progress = status.palisade.get_or_insert_default();
    for step in &fence.happened {
        happened(progress, step.stage, &step.at, &step.about, &step.detail);
    }
    spent::fencing(progress, &fence.spans);
    let deadline = fence.deadline.map(clock::wall_at);
    let before = progress.fencing.take().and_then(|before| before.deadline);
    progress.fencing = Some(FencingProgress {
        waiting_for: (!fence.waiting_for.is_empty()).then(|| fence.waiting_for.clone()),
        boot_id: fence.boot.as_ref().map(ToString::to_string),
        lease_uid: fence.lease_uid.clone(),
        intent_uid: fence.intent_uid.clone(),
        promised: fence.promised.clone(),
        // Computed anew from another clock in every pass: it moves only if it really did.
        deadline: settle(before, deadline.clone()),
    });
    // Before this session has marked, what an earlier one marked still counts.
    if fence.tainted {
        progress.owned.marked_pods.clone_from(&fence.marked);
        own_taint(progress, &crate::taints::text(&crate::taints::own()));
    }
    if fence.intent_uid.is_some() {
        status.time_assumed_rebooted = settle(status.time_assumed_rebooted.take(), deadline);
        if status.phase.is_none() {
            status.phase = Some(phase::PRE_REBOOT_COMPLETED.to_owned());
        }
    }
    let progress = status.palisade.get_or_insert_default();
    match &fence.proof {
        Some(proof) if fence.contradiction.is_none() => {
            if progress.certificate.as_ref().is_none_or(|known| !certifies(known, proof)) {
                progress.certificate = Some(certificate(proof, observer));
            }
            if fence.usable && status.phase.as_deref() == Some(phase::PRE_REBOOT_COMPLETED) {
                status.phase = Some(phase::REBOOT_COMPLETED.to_owned());
            }
        }
        // A restarted controller proves again; what an earlier one certified stays on paper meanwhile. A contradiction
        // withdraws it.
        _ if fence.contradiction.is_some() => progress.certificate = None,
        _ => {}
    }
}

/// The instant published before, unless the new one is really later: it is never moved forward in time by rounding,
/// and never back.
fn settle(before: Option<Time>, now: Option<Time>) -> Option<Time> {
    match (before, now) {
        (Some(before), Some(now)) if now.0.as_second() > before.0.as_second() + 1 => Some(now),
        (Some(before), _) => Some(before),
        (None, now) => now,
    }
}

/// Records a taint as ours.
pub fn own_taint(progress: &mut Progress, taint: &str) {
    if !progress.owned.taints.iter().any(|known| known == taint) {
        progress.owned.taints.push(taint.to_owned());
    }
}

fn certifies(certificate: &FencingCertificate, proof: &Proof) -> bool {
    certificate.intent_uid.as_deref() == Some(proof.intent_uid.as_str())
        && certificate.boot_id == proof.boot.as_str()
        && certificate.proof == kind(proof.kind)
}

/// The proof behind a certificate of an earlier process, if it is one that forced something. Its times are this
/// process's: they are only told, and nothing is decided by them any more.
pub fn certified(certificate: &FencingCertificate, ids: (String, String), intent: &FenceIntent) -> Option<Proof> {
    let kind = match certificate.proof {
        ProofKind::BootChanged => return None,
        ProofKind::AgentAcknowledged => proof::ProofKind::AgentAcknowledged,
        ProofKind::LeaseExpired => proof::ProofKind::LeaseExpired,
        ProofKind::PoweredOff => proof::ProofKind::PoweredOff,
        ProofKind::MachineGone => proof::ProofKind::MachineGone,
        ProofKind::HumanConfirmed => proof::ProofKind::HumanConfirmed,
    };
    let now = clock::now();
    Some(Proof {
        kind,
        grade: match certificate.grade {
            Grade::Certain => proof::Grade::Certain,
            Grade::Assumed => proof::Grade::Assumed,
        },
        node: certificate.node.clone(),
        boot: intent.boot_id.clone(),
        new_boot: None,
        node_uid: ids.0,
        lease_uid: ids.1,
        intent_uid: intent.uid.clone(),
        terms: intent.terms.clone(),
        counted_from: now,
        intended: now,
        deadline: None,
        proven: now,
        jurors: vec![],
        quorum: 0,
        explanation: certificate.explanation.clone().unwrap_or_default(),
    })
}

/// The certificate of a proof.
pub fn certificate(proof: &Proof, observer: &str) -> FencingCertificate {
    let bound = proof.terms.time_to_live() + proof.terms.reset_bound();
    FencingCertificate {
        proof: kind(proof.kind),
        grade: match proof.grade {
            proof::Grade::Certain => Grade::Certain,
            proof::Grade::Assumed => Grade::Assumed,
        },
        node: proof.node.clone(),
        boot_id: proof.boot.to_string(),
        new_boot_id: proof.new_boot.as_ref().map(ToString::to_string),
        lease_uid: Some(proof.lease_uid.clone()),
        intent_uid: Some(proof.intent_uid.clone()),
        time_to_live: Some(proof.terms.time_to_live().into()),
        watchdog_timeout: proof
            .terms
            .watchdog
            .as_ref()
            .map(|watchdog| GoDuration::from_millis(i64::try_from(watchdog.timeout_millis).unwrap_or(i64::MAX))),
        margin: Some(timing::margin(bound).into()),
        terms: Some(certified_terms(&proof.terms)),
        counted_for: Some(proof.proven.since(proof.counted_from).into()),
        waited: Some(proof.waited().into()),
        jurors: proof
            .jurors
            .iter()
            .map(|juror| Juror { node: juror.node.clone(), no_api_age: juror.no_api_age.map(Into::into) })
            .collect(),
        jury_quorum: Some(u32::try_from(proof.quorum).unwrap_or(u32::MAX)),
        observer: observer.to_owned(),
        intent_at: Some(at(proof.intended)),
        proven_at: at(proof.proven),
        explanation: Some(proof.explanation.clone()),
    }
}

fn certified_terms(terms: &Terms) -> CertifiedTerms {
    let jury: BTreeSet<&String> = terms.jury.iter().collect();
    CertifiedTerms {
        reset_bound: terms.reset_bound().into(),
        watchdog_resets: terms.watchdog.as_ref().map(|watchdog| watchdog.resets),
        jury: jury.into_iter().cloned().collect(),
        min_peers: terms.min_peers,
        self_fences: terms.claims.self_fences,
        may_exempt: terms.claims.may_exempt,
    }
}

/// The proof that another boot runs now, from the intent that named the old one: what is left to say when the node came
/// back while no session looked.
pub fn boot_changed(
    target: &str,
    ids: (String, String),
    intent: &FenceIntent,
    new_boot: &BootId,
    intended: Option<&Time>,
) -> Proof {
    let now = clock::now();
    let ago = intended.map_or(0, |at| clock::wall().0.as_millisecond().saturating_sub(at.0.as_millisecond()));
    let intended = now - std::time::Duration::from_millis(u64::try_from(ago).unwrap_or(0));
    Proof {
        kind: proof::ProofKind::BootChanged,
        grade: proof::Grade::Certain,
        node: target.to_owned(),
        boot: intent.boot_id.clone(),
        new_boot: Some(new_boot.clone()),
        node_uid: ids.0,
        lease_uid: ids.1,
        intent_uid: intent.uid.clone(),
        terms: intent.terms.clone(),
        counted_from: intended,
        intended,
        deadline: None,
        proven: now,
        jurors: vec![],
        quorum: 0,
        explanation: format!(
            "the Node named boot {} when the intent was written and names {new_boot} when the remediation ends; nothing is forced",
            intent.boot_id
        ),
    }
}

fn at(instant: Mono) -> Time {
    let ago = clock::now().since(instant);
    let now = clock::wall().0;
    seconds(&Time(now.checked_sub(ago).unwrap_or(now)))
}

/// What the API keeps of a time: whole seconds. Compared with what is stored, so it must be cut the same way.
fn seconds(time: &Time) -> Time {
    Time(jiff::Timestamp::from_second(time.0.as_second()).unwrap_or(time.0))
}

fn kind(kind: proof::ProofKind) -> ProofKind {
    match kind {
        proof::ProofKind::BootChanged => ProofKind::BootChanged,
        proof::ProofKind::AgentAcknowledged => ProofKind::AgentAcknowledged,
        proof::ProofKind::LeaseExpired => ProofKind::LeaseExpired,
        proof::ProofKind::PoweredOff => ProofKind::PoweredOff,
        proof::ProofKind::MachineGone => ProofKind::MachineGone,
        proof::ProofKind::HumanConfirmed => ProofKind::HumanConfirmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::Happened;
    use crate::fence::testing::proof;

    fn fence() -> FenceState {
        FenceState {
            boot: BootId::new("b1"),
            intent_uid: Some("intent".into()),
            deadline: Some(clock::now() + std::time::Duration::from_secs(20)),
            happened: vec![Happened {
                stage: Stage::Intended,
                at: clock::wall(),
                about: "intent".into(),
                detail: "intent intent for boot b1".into(),
            }],
            ..FenceState::default()
        }
    }

    #[test]
    fn phases_follow_the_fencing() {
        let mut status = Status::default();
        take_over(&mut status, &FenceState::default(), "c1");
        assert_eq!(status.phase, None);
        take_over(&mut status, &fence(), "c1");
        assert_eq!(status.phase.as_deref(), Some(phase::PRE_REBOOT_COMPLETED));
        assert!(status.time_assumed_rebooted.is_some());
        // A proof that may not be used yet (P1, the new boot is not up) does not complete the reboot.
        take_over(&mut status, &FenceState { proof: Some(proof("n1", "b1")), ..fence() }, "c1");
        assert_eq!(status.phase.as_deref(), Some(phase::PRE_REBOOT_COMPLETED));
        take_over(&mut status, &FenceState { proof: Some(proof("n1", "b1")), usable: true, ..fence() }, "c1");
        assert_eq!(status.phase.as_deref(), Some(phase::REBOOT_COMPLETED));
        assert_eq!(status.palisade.unwrap().certificate.unwrap().boot_id, "b1");
    }

    #[test]
    fn a_second_look_changes_nothing() {
        let mut status = Status::default();
        let state = FenceState { proof: Some(proof("n1", "b1")), usable: true, ..fence() };
        take_over(&mut status, &state, "c1");
        let before = status.clone();
        take_over(&mut status, &state, "c1");
        assert_eq!(before, status);
    }

    #[test]
    fn a_contradiction_is_remembered_by_its_intent_however_much_is_told_about_it() {
        let mut progress = Progress::default();
        assert!(contradict(&mut progress, "intent"));
        for number in 0..TIMELINE {
            happened(&mut progress, Stage::Intended, &clock::wall(), &format!("i{number}"), &format!("i{number}"));
        }
        assert!(contradicted(&progress, "intent") && !contradicted(&progress, "another"));
        assert!(!contradict(&mut progress, "intent"), "told once");
    }

    #[test]
    fn a_restart_does_not_forget_which_pods_were_marked() {
        let mut status = Status::default();
        let pod = palisade_api::progress::MarkedPod { namespace: "shop".into(), name: "db-0".into(), uid: "u".into() };
        take_over(&mut status, &FenceState { tainted: true, marked: vec![pod.clone()], ..fence() }, "c1");
        // The session of the next process has not marked anything yet.
        take_over(&mut status, &FenceState::default(), "c2");
        assert_eq!(status.palisade.clone().unwrap().owned.marked_pods, vec![pod]);
        // Once it has, its word counts.
        take_over(&mut status, &FenceState { tainted: true, ..fence() }, "c2");
        assert_eq!(status.palisade.unwrap().owned.marked_pods, vec![]);
    }

    #[test]
    fn a_contradiction_withdraws_the_certificate() {
        let mut status = Status::default();
        take_over(&mut status, &FenceState { proof: Some(proof("n1", "b1")), usable: true, ..fence() }, "c1");
        take_over(&mut status, &FenceState { contradiction: Some("heartbeat".into()), ..fence() }, "c1");
        assert_eq!(status.palisade.unwrap().certificate, None);
    }

    #[test]
    fn the_published_deadline_is_never_brought_forward() {
        let mut status = Status::default();
        take_over(&mut status, &fence(), "c1");
        let published = status.time_assumed_rebooted.clone();
        take_over(&mut status, &FenceState { deadline: Some(clock::now()), ..fence() }, "c1");
        assert_eq!(status.time_assumed_rebooted, published);
    }

    #[test]
    fn a_transition_time_moves_only_with_the_status() {
        let mut status = Status::default();
        stand(&mut status, Standing::Started, "");
        let old = Time(jiff::Timestamp::UNIX_EPOCH);
        for condition in &mut status.conditions {
            condition.last_transition_time = old.clone();
        }
        stand(&mut status, Standing::Started, "another message");
        assert!(status.conditions.iter().all(|condition| condition.last_transition_time == old));
        stand(&mut status, Standing::Finished(reason::FINISHED), "");
        assert!(status.conditions.iter().all(|condition| condition.last_transition_time != old));
        assert!(succeeded(&status, "True"));
    }

    #[test]
    fn what_cannot_be_done_stays_so_unless_a_new_boot_may_settle_it() {
        let mut status = Status::default();
        assert!(!gave_up(&status));
        happened(status.palisade.get_or_insert_default(), Stage::Failed, &clock::wall(), "no power", "no power");
        assert!(gave_up(&status));
        contradict(status.palisade.get_or_insert_default(), "intent");
        assert!(!gave_up(&status));
    }

    #[test]
    fn words_nobody_wrote_are_not_phases() {
        let status = Status { phase: Some("Garbage".into()), ..Status::default() };
        assert!(!phase_is_known(&status) && phase_is_known(&Status::default()));
    }
}
