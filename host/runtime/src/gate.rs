//! The gate: the last check of every effect before it is committed, on what the controller holds, not on what the
//! guest said. Pure, so that the same function explains, simulates and decides.

use std::collections::BTreeMap;

use crate::capability::{Capability, Granted};
use crate::effect::{Effect, OWN_TAINT_PREFIXES, OwnTaint, StagedEffect};
use crate::proof::{Proof, ProofAuthority};
use crate::report::{Refusal, RefusalReason};

/// Longest key of an effect. Keys are stored in the status of the remediation.
pub const KEY_LIMIT: usize = 128;

/// So many persons a question can want at most.
const PERSONS: u32 = 8;

/// What the gate compares the effects with.
#[derive(Debug, Clone, Copy)]
pub struct GateContext<'a> {
    /// UID of the remediation whose call staged the effects.
    pub remediation_uid: &'a str,
    /// Its node.
    pub node: &'a str,
    /// What the remediator may use.
    pub granted: &'a Granted,
    /// The controller's authority.
    pub authority: &'a ProofAuthority,
    /// The proof the controller holds now.
    pub proof: Option<&'a Proof>,
    /// Effects committed before, by key.
    pub ledger: &'a BTreeMap<String, Effect>,
}

/// Lets all effects of a call through, or none: a call is a transaction.
pub fn gate(effects: Vec<StagedEffect>, context: &GateContext<'_>) -> Result<Vec<StagedEffect>, Refusal> {
    let mut seen: BTreeMap<&str, &Effect> = BTreeMap::new();
    for staged in &effects {
        let StagedEffect { key, effect } = staged;
        check(key, effect, context.granted, context.ledger)
            .and_then(|()| match seen.insert(key, effect) {
                Some(earlier) if earlier != effect => Err(taken(key)),
                _ => Ok(()),
            })
            .and_then(|()| proven(effect, context))
            .map_err(|reason| Refusal { key: key.clone(), effect: effect.summary(), reason })?;
    }
    Ok(effects)
}

fn proven(effect: &Effect, context: &GateContext<'_>) -> Result<(), RefusalReason> {
    let Effect::Release { proof: named, .. } = effect else { return Ok(()) };
    let refused = |why: &str| Err(RefusalReason::Refused(why.to_owned()));
    let Some(held) = context.proof else { return refused("the controller holds no proof that the boot ended") };
    if !context.authority.made(held) {
        return refused("the proof was not made by this controller");
    }
    if held.claim().remediation_uid != context.remediation_uid || held.claim().node != context.node {
        return refused("the proof is for another remediation or node");
    }
    if held.id() != *named {
        return refused("the release names another proof than the one held now");
    }
    Ok(())
}

/// The checks that need no proof; the host functions run them already while the guest runs, so that it hears of it.
pub(crate) fn check(
    key: &str,
    effect: &Effect,
    granted: &Granted,
    ledger: &BTreeMap<String, Effect>,
) -> Result<(), RefusalReason> {
    let capability = effect.capability();
    if !granted.allows(capability) {
        return Err(not_granted(capability));
    }
    if key.is_empty() || key.len() > KEY_LIMIT || key.chars().any(char::is_control) {
        return Err(RefusalReason::Refused(format!("an effect key has 1 to {KEY_LIMIT} printable characters")));
    }
    if let Effect::TaintOwn { taint } | Effect::UntaintOwn { taint } = effect {
        own(taint)?;
    }
    bounds(effect)?;
    match ledger.get(key) {
        Some(earlier) if earlier != effect && !effect.changeable() => Err(taken(key)),
        _ => Ok(()),
    }
}

pub(crate) fn not_granted(capability: Capability) -> RefusalReason {
    RefusalReason::PermissionDenied(format!(
        "capability {capability} is not granted to this remediator; grant it in the Remediator object"
    ))
}

pub(crate) fn taken(key: &str) -> RefusalReason {
    RefusalReason::Refused(format!("key {key:?} already names another effect of this remediation"))
}

/// What the host stores or hands on has bounds of its own.
fn bounds(effect: &Effect) -> Result<(), RefusalReason> {
    let refused = |why: String| Err(RefusalReason::Refused(why));
    match effect {
        Effect::DeleteMachine { uid } if uid.is_empty() || uid.len() > 64 => {
            refused(format!("{uid:.64?} is not the UID of a machine; use the one that machines.get shows"))
        }
        Effect::Ask { persons, .. } if !(1..=PERSONS).contains(persons) => {
            refused(format!("persons is {persons}; it must be 1 to {PERSONS}"))
        }
        Effect::Ask { expires_millis: Some(millis), .. } if *millis < 1_000 => {
            refused(format!("expires-after is {millis} ms; it must be at least 1000, or none"))
        }
        Effect::RunJob { name } if name.is_empty() || name.len() > 63 => {
            refused(format!("{name:.64?} is not the name of a job; it has 1 to 63 characters"))
        }
        _ => Ok(()),
    }
}

fn own(taint: &OwnTaint) -> Result<(), RefusalReason> {
    let name = OWN_TAINT_PREFIXES.iter().find_map(|prefix| taint.key.strip_prefix(prefix));
    let word = |text: &str| text.len() <= 63 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    match name {
        Some(name) if !name.is_empty() && word(name) && word(&taint.value) => Ok(()),
        _ => Err(RefusalReason::Refused(format!(
            "taint key {:?} is not ours; keys begin with {} and name and value have at most 63 letters, digits, '-', '_' or '.'",
            taint.key,
            OWN_TAINT_PREFIXES.join(" or ")
        ))),
    }
}
