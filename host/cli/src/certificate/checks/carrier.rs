//! A certificate against the remediation that carries it.

use palisade_api::{FencingCertificate, ProofKind, Stage};

use super::List;
use crate::explain::Remediation;

/// Two stamps of one moment: cut to seconds, and taken one after the other.
const SAME: i64 = 3;

pub fn compare(list: &mut List, certificate: &FencingCertificate, carrier: &Remediation) {
    list.judge(
        "node",
        certificate.node == carrier.node,
        format!(
            "the certificate is about {}, {} {} about {}",
            certificate.node,
            carrier.kind,
            carrier.path(),
            carrier.node
        ),
    );
    let Some(progress) = &carrier.progress else { return };
    let intent = certificate.intent_uid.as_deref();
    if intent.is_some_and(|intent| progress.contradicted.iter().any(|known| known == intent)) {
        list.judge("contradicted", false, "the boot showed life after this intent's end".to_owned());
    }
    if let Some(fencing) = &progress.fencing {
        let boot = fencing.boot_id.as_deref();
        let goes_on = certificate.proof == ProofKind::BootChanged && boot == certificate.new_boot_id.as_deref();
        let same = fencing.intent_uid.as_deref() == intent
            && fencing.lease_uid == certificate.lease_uid
            && boot == Some(certificate.boot_id.as_str());
        let word = |text: Option<&str>| text.unwrap_or("none").to_owned();
        if fencing.intent_uid.is_none() && boot.is_none() {
            list.beyond(
                "intent",
                "the remediation has begun a new look at the node and names no intent at the moment".to_owned(),
            );
        } else {
            list.judge(
                "intent",
                same || goes_on,
                format!(
                    "certificate: intent {}, lease {}, boot {}; remediation: {}, {}, {}",
                    word(intent),
                    word(certificate.lease_uid.as_deref()),
                    certificate.boot_id,
                    word(fencing.intent_uid.as_deref()),
                    word(fencing.lease_uid.as_deref()),
                    word(boot)
                ),
            );
        }
    } else {
        list.beyond("intent", "the remediation records no intent (any more)".to_owned());
    }
    let proven = certificate.proven_at.0.as_second();
    if let Some(created) = carrier.created {
        list.judge(
            "created",
            created.as_second() <= proven,
            format!("the remediation was created {created}, before the proof"),
        );
    }
    let of = |stage: Stage| {
        progress.timeline.iter().filter(move |entry| entry.stage == stage).map(|entry| entry.at.0.as_second())
    };
    let Some(nearest) = of(Stage::Proven).map(|at| at - proven).min_by_key(|off| off.abs()) else {
        return list.beyond("timeline", "the timeline does not tell of the proof".to_owned());
    };
    list.judge("timeline", nearest.abs() <= SAME, format!("it tells of a proof {nearest} s from provenAt"));
    if certificate.proof == ProofKind::BootChanged {
        return;
    }
    match of(Stage::Marked).min() {
        Some(marked) => {
            list.judge("marked", marked <= proven, format!("pods were marked {} s before the proof", proven - marked));
        }
        None => list.beyond("marked", "the timeline does not tell when the pods were marked".to_owned()),
    }
    if of(Stage::Proven).count() == 1
        && let Some(released) = of(Stage::Released).min()
    {
        list.judge(
            "released",
            released + 1 >= proven,
            format!("the workload was released {} s after the proof", released - proven),
        );
    }
}
