//! What a certificate says, recomputed: by itself, and against the remediation that carries it. Pure.
//!
//! Bounds and majorities come from the functions of the core that the controller used.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use palisade_api::certificate::CertifiedTerms;
use palisade_api::{FencingCertificate, GoDuration, Grade, ProofKind};
use palisade_core::fencing::proof::{self, grade_of};
use palisade_core::fencing::prover::quorum;
use palisade_core::fencing::record::{BootId, Claims, JURY_LIMIT, Terms, Watchdog};
use palisade_core::fencing::timing::{CLOCK_RATE_DENOMINATOR, margin};

use super::{Check, Outcome};
use crate::explain::Remediation;

mod carrier;

/// Times in the API are whole seconds, cut.
const CUT: i64 = 1;
/// So far this machine's clock may be behind the controller's.
const AHEAD: i64 = 60;

/// All checks that need no cluster.
pub fn of(certificate: &FencingCertificate, carrier: Option<&Remediation>, now: Timestamp) -> Vec<Check> {
    let mut list = List::default();
    boots(&mut list, certificate);
    let terms = terms(certificate);
    match certificate.proof {
        ProofKind::LeaseExpired => {
            bounds(&mut list, certificate);
            expired(&mut list, certificate, terms.as_ref());
        }
        ProofKind::AgentAcknowledged => {
            bounds(&mut list, certificate);
            acknowledged(&mut list, certificate, terms.as_ref());
        }
        ProofKind::BootChanged => list.beyond(
            "evidence",
            format!("that Node or lease named that boot then is the word of {}", certificate.observer),
        ),
        ProofKind::PoweredOff | ProofKind::MachineGone | ProofKind::HumanConfirmed => outside(&mut list, certificate),
    }
    times(&mut list, certificate, now);
    match carrier {
        Some(carrier) => carrier::compare(&mut list, certificate, carrier),
        None => list.beyond(
            "remediation",
            "the certificate came alone: whether node, intent and times are those of a remediation is not known"
                .to_owned(),
        ),
    }
    list.0
}

/// There is no certificate.
pub fn none(carrier: Option<&Remediation>) -> Check {
    let waits = carrier.and_then(|one| one.progress.as_ref()?.fencing.as_ref()?.waiting_for.clone());
    let contradicted =
        carrier.and_then(|one| one.progress.as_ref()).is_some_and(|progress| !progress.contradicted.is_empty());
    let what = if contradicted {
        "it was withdrawn: the old boot showed life after its end".to_owned()
    } else {
        format!("there is none{}", waits.map(|waits| format!("; it waits for {waits}")).unwrap_or_default())
    };
    let outcome = if contradicted { Outcome::Wrong } else { Outcome::Unknown };
    Check { name: "certificate", outcome, needed: true, what }
}

/// The checks so far.
#[derive(Debug, Default)]
pub struct List(Vec<Check>);

impl List {
    /// It is so, or it is not.
    pub fn judge(&mut self, name: &'static str, holds: bool, what: String) {
        let outcome = if holds { Outcome::Ok } else { Outcome::Wrong };
        self.0.push(Check { name, outcome, needed: true, what });
    }

    /// The argument rests on it, and it is not there.
    pub fn missing(&mut self, name: &'static str, what: String) {
        self.0.push(Check { name, outcome: Outcome::Unknown, needed: true, what });
    }

    /// No certificate can show it.
    pub fn beyond(&mut self, name: &'static str, what: String) {
        self.0.push(Check { name, outcome: Outcome::Unknown, needed: false, what });
    }

    /// The checks.
    pub fn into_checks(self) -> Vec<Check> {
        self.0
    }
}

/// The terms in the core's words; none if the certificate was written before it carried them.
pub fn terms(certificate: &FencingCertificate) -> Option<Terms> {
    let CertifiedTerms { reset_bound, watchdog_resets, jury, min_peers, self_fences, may_exempt } =
        certificate.terms.clone()?;
    let watchdog = certificate.watchdog_timeout.map(|timeout| Watchdog {
        identity: String::new(),
        timeout_millis: millis(timeout),
        resets: watchdog_resets == Some(true),
    });
    Some(Terms {
        time_to_live_millis: millis(certificate.time_to_live?),
        watchdog,
        reset_steps_millis: millis(reset_bound),
        jury,
        min_peers,
        claims: Claims { self_fences, may_exempt },
    })
}

/// `2 Wd`, or what stands in its place; an older certificate says it only of a watchdog.
fn reset_bound(certificate: &FencingCertificate) -> Option<Duration> {
    let written = certificate.terms.as_ref().map(|terms| terms.reset_bound.to_std());
    written.or_else(|| Some(certificate.watchdog_timeout?.to_std() * 2))
}

fn boots(list: &mut List, certificate: &FencingCertificate) {
    let ended = BootId::new(certificate.boot_id.clone());
    if ended.is_none() || certificate.node.trim().is_empty() || certificate.observer.trim().is_empty() {
        list.judge(
            "named",
            false,
            format!(
                "node {:?}, bootId {:?} and observer {:?} must not be empty",
                certificate.node, certificate.boot_id, certificate.observer
            ),
        );
    }
    match (certificate.proof, certificate.new_boot_id.clone()) {
        (ProofKind::BootChanged, Some(new)) => {
            let differs = BootId::new(new.clone()).is_some_and(|new| Some(new) != ended);
            list.judge("boots", differs, format!("boot {} ended, {new:?} followed", certificate.boot_id));
        }
        (ProofKind::BootChanged, None) => {
            list.judge(
                "boots",
                false,
                "newBootId is missing: a changed boot is proven by the one that followed".to_owned(),
            );
        }
        (kind, Some(new)) => {
            list.judge(
                "boots",
                false,
                format!("newBootId {new:?} does not belong to a proof of kind {kind}, but to BootChanged"),
            );
        }
        (_, None) => {}
    }
}

/// That margin and reset bound are what the terms give.
fn bounds(list: &mut List, certificate: &FencingCertificate) {
    if let (Some(timeout), Some(terms)) = (certificate.watchdog_timeout, &certificate.terms) {
        let twice = timeout.to_std() * 2;
        list.judge(
            "reset",
            twice == terms.reset_bound.to_std(),
            format!("2 x watchdogTimeout {timeout} = {}, resetBound is {}", say(twice), terms.reset_bound),
        );
    }
    let (Some(life), Some(written)) = (certificate.time_to_live, certificate.margin) else {
        return list.missing("margin", "timeToLive and margin are not in the certificate".to_owned());
    };
    let Some(reset) = reset_bound(certificate) else {
        return list.missing(
            "margin",
            "no watchdog, and the limits of the reset by software (terms.resetBound) are not in the certificate"
                .to_owned(),
        );
    };
    let computed = margin(life.to_std() + reset);
    list.judge(
        "margin",
        computed == written.to_std(),
        format!("of timeToLive {life} + reset {} it is {}, written is {written}", say(reset), say(computed)),
    );
}

/// P3.
fn expired(list: &mut List, certificate: &FencingCertificate, terms: Option<&Terms>) {
    jury(list, certificate, terms);
    let Some(terms) = terms else {
        list.missing(
            "claims",
            "what the agent claimed (terms) is not in the certificate; an older controller wrote it".to_owned(),
        );
        return list.missing("wait", "the bound cannot be computed without the terms".to_owned());
    };
    let Claims { self_fences, may_exempt } = terms.claims;
    list.judge(
        "claims",
        self_fences && !may_exempt && terms.jury.len() >= terms.min_peers as usize,
        format!(
            "selfFences {self_fences} has to be true, mayExempt {may_exempt} false, and the jury of {} at least minPeers {}",
            terms.jury.len(),
            terms.min_peers
        ),
    );
    if terms.watchdog.is_none() {
        list.missing(
            "agent",
            "there was no watchdog: whether the agent outlived the kubelet is not in the certificate".to_owned(),
        );
    }
    grade(list, certificate, terms, true);
    let bound = terms.life_bound();
    let sum = format!(
        "timeToLive {} + reset {} + margin {} = {}",
        say(terms.time_to_live()),
        say(terms.reset_bound()),
        say(bound.saturating_sub(terms.time_to_live() + terms.reset_bound())),
        say(bound)
    );
    let waited = waited(list, certificate);
    match certificate.counted_for {
        Some(counted) => list.judge("wait", counted.to_std() >= bound, format!("counted for {counted} of {sum}")),
        None => list.missing("wait", format!("countedFor is not in the certificate; needed is {sum}")),
    }
    // A juror that had said NoApi may have kept the node alive from then on. When it promised is not written, but it was
    // after the intent; its clock may run fast by the allowed rate.
    let ages = certificate.jurors.iter().filter_map(|juror| Some((juror, juror.no_api_age?)));
    if let (Some((juror, age)), Some(waited)) = (ages.min_by_key(|(_, age)| *age), waited) {
        let before = age.to_std().saturating_sub(age.to_std() / CLOCK_RATE_DENOMINATOR);
        list.judge(
            "noApi",
            waited + before >= bound,
            format!(
                "{} had said NoApi {age} before its promise; with the {} since the intent that has to reach {}",
                juror.node,
                say(waited),
                say(bound)
            ),
        );
    }
}

fn jury(list: &mut List, certificate: &FencingCertificate, terms: Option<&Terms>) {
    let promised: Vec<&str> = certificate.jurors.iter().map(|juror| juror.node.as_str()).collect();
    let distinct: BTreeSet<&str> = promised.iter().copied().collect();
    let names = if promised.is_empty() { "nobody".to_owned() } else { promised.join(", ") };
    list.judge(
        "jurors",
        distinct.len() == promised.len() && !distinct.contains(certificate.node.as_str()),
        format!("{names} promised: each once, and not the node itself"),
    );
    let written = certificate.jury_quorum.map(|quorum| quorum as usize);
    let Some(terms) = terms else {
        list.missing(
            "jury",
            format!(
                "the members of the jury (terms.jury) are not in the certificate: {} promised, {} were needed",
                distinct.len(),
                written.map_or_else(|| "?".to_owned(), |written| written.to_string())
            ),
        );
        if written.is_some_and(|written| distinct.len() < written) {
            list.judge("majority", false, "fewer promised than juryQuorum says".to_owned());
        }
        return;
    };
    let members: BTreeSet<&str> = terms.jury.iter().map(String::as_str).collect();
    let strangers: Vec<&str> = distinct.difference(&members).copied().collect();
    list.judge(
        "jury",
        strangers.is_empty()
            && members.len() == terms.jury.len()
            && members.len() <= JURY_LIMIT
            && !members.contains(certificate.node.as_str()),
        if strangers.is_empty() {
            format!(
                "{} members ({}), at most {JURY_LIMIT}, each once, without the node itself",
                members.len(),
                terms.jury.join(", ")
            )
        } else {
            format!("not in the jury: {}", strangers.join(", "))
        },
    );
    let needed = quorum(members.len());
    let enough = if members.is_empty() { terms.min_peers == 0 } else { distinct.len() >= needed };
    list.judge(
        "majority",
        enough && written == Some(needed),
        format!(
            "{} of {} promised, a majority is {needed}, juryQuorum says {}",
            distinct.len(),
            members.len(),
            written.map_or_else(|| "nothing".to_owned(), |written| written.to_string())
        ),
    );
}

/// P2.
fn acknowledged(list: &mut List, certificate: &FencingCertificate, terms: Option<&Terms>) {
    for (name, value) in [("intentUid", &certificate.intent_uid), ("leaseUid", &certificate.lease_uid)] {
        if value.as_deref().is_none_or(str::is_empty) {
            list.missing("intent", format!("{name} is not in the certificate: an acknowledgement is for one intent"));
        }
    }
    match terms {
        Some(terms) => grade(list, certificate, terms, false),
        None => list.missing("grade", "whether the watchdog resets (terms) is not in the certificate".to_owned()),
    }
    waited(list, certificate);
    let Some(reset) = reset_bound(certificate) else { return };
    let bound = reset + margin(reset);
    // The acknowledgement came after the intent was stored: at least that long ago the intent was seen.
    match certificate.counted_for.or(certificate.waited) {
        Some(since) if since.to_std() >= bound || certificate.counted_for.is_some() => {
            list.judge(
                "wait",
                since.to_std() >= bound,
                format!(
                    "the proof came {since} after the intent; an acknowledged end takes reset {} + margin {} = {}",
                    say(reset),
                    say(margin(reset)),
                    say(bound)
                ),
            );
        }
        _ => list.missing(
            "wait",
            format!("since when the intent was known (countedFor) is not in the certificate; needed is {}", say(bound)),
        ),
    }
}

/// P4 to P6.
fn outside(list: &mut List, certificate: &FencingCertificate) {
    let said = certificate.explanation.as_deref().map_or("", str::trim);
    if said.is_empty() {
        return list.missing(
            "evidence",
            "explanation is empty: what was observed, or who confirmed it, is not in the certificate".to_owned(),
        );
    }
    list.beyond("evidence", format!("the word of {}, which cannot be asked again: {said}", certificate.observer));
}

/// The same, or not better with an acknowledgement: its record may name a weaker device than the intent.
fn grade(list: &mut List, certificate: &FencingCertificate, terms: &Terms, same: bool) {
    let computed = grade_of(terms);
    let written = match certificate.grade {
        Grade::Certain => proof::Grade::Certain,
        Grade::Assumed => proof::Grade::Assumed,
    };
    let resets = certificate.terms.as_ref().and_then(|terms| terms.watchdog_resets);
    let device = match (certificate.watchdog_timeout, resets) {
        (None, _) => "without a watchdog",
        (Some(_), Some(true)) => "with a watchdog that resets",
        (Some(_), _) => "with a watchdog that does not reset",
    };
    list.judge(
        "grade",
        if same { written == computed } else { written <= computed },
        format!("{device} it is {computed}, written is {written}"),
    );
}

/// How long the proof came after the intent, if what is said of it is consistent.
fn waited(list: &mut List, certificate: &FencingCertificate) -> Option<Duration> {
    let Some(waited) = certificate.waited else {
        list.missing("waited", "waited is not in the certificate".to_owned());
        return None;
    };
    if let Some(counted) = certificate.counted_for
        && counted < waited
    {
        list.judge("waited", false, format!("the time counted for {counted}, less than the {waited} since the intent"));
    }
    Some(waited.to_std())
}

fn times(list: &mut List, certificate: &FencingCertificate, now: Timestamp) {
    let proven = certificate.proven_at.0;
    let ahead = proven.as_second() - now.as_second();
    if ahead > AHEAD {
        list.judge("times", false, format!("provenAt {proven} lies {ahead} s in the future of this machine's clock"));
    }
    let Some(intent) = certificate.intent_at.as_ref().map(|at| at.0) else {
        return list.missing("times", "intentAt is not in the certificate".to_owned());
    };
    let between = proven.as_second() - intent.as_second();
    let waited = certificate.waited.map(|waited| waited.as_nanos() / 1_000_000_000);
    let agrees = waited.is_none_or(|waited| (waited - CUT..=waited + CUT).contains(&between));
    list.judge(
        "times",
        between >= 0 && agrees,
        format!(
            "intent {intent}, proof {proven}: {between} s between, waited {}",
            certificate.waited.map_or_else(|| "is not written".to_owned(), |waited| waited.to_string())
        ),
    );
}

fn millis(length: GoDuration) -> u64 {
    u64::try_from(length.to_std().as_millis()).unwrap_or(u64::MAX)
}

/// As the API prints it.
pub fn say(length: Duration) -> String {
    GoDuration::from(length).to_string()
}
