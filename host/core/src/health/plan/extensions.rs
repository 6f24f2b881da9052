//! The optional rules of a policy: budget, correlated failures, veto, attempts, dry run. Without their fields and
//! annotations nothing here has any effect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use palisade_api::keys::palisade as keys;
use palisade_api::node_health_check::{BudgetStatus, NodeAttempts};
use palisade_api::reasons::{event, extension, phase};

use super::gates::{Candidate, Snapshot};
use super::index::Index;
use super::planner::Planner;
use super::skip::{Held, Scope, SkipReason};
use super::{Action, Outlook};
use crate::health::attempts::{self, Sighting};
use crate::health::budget::{Place, Tally};
use crate::health::classify::{self, Class};
use crate::health::condition::Verdict;
use crate::health::ladder::Step;
use crate::health::maintenance::AGAIN;
use crate::health::veto::{self, Standing};
use crate::health::view::NodeView;

/// Lines of `status.wouldDo`.
const SHOWN: usize = 100;

/// What a policy remembers for these rules.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory<'a> {
    /// Its annotation `palisade.dev/veto`.
    pub veto: Option<&'a str>,
    /// The attempts of its status.
    pub attempts: &'a [NodeAttempts],
    /// When it last started a remediation, as its status says.
    pub last_started: Option<Timestamp>,
}

/// Something that is to be said once while it is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about; two notes about the same are one.
    pub about: String,
    /// Whether somebody should look.
    pub warn: bool,
    /// Reason of the event.
    pub reason: &'static str,
    /// The text.
    pub message: String,
    /// The node, if it is about one.
    pub node: Option<String>,
}

/// A condition of the policy that only these rules have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Type.
    pub type_: &'static str,
    /// True or False.
    pub active: bool,
    /// Reason.
    pub reason: &'static str,
    /// Message.
    pub message: String,
}

/// What these rules say in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// For the status; absent without a budget.
    pub budget: Option<BudgetStatus>,
    /// For the status.
    pub attempts: Vec<NodeAttempts>,
    /// What dryRun keeps from happening.
    pub would_do: Vec<String>,
    /// For events.
    pub notes: Vec<Note>,
    /// For conditions; other conditions of these types are stale.
    pub flags: Vec<Flag>,
}

/// What is counted while a plan is made.
#[derive(Debug, Default)]
pub struct Ledger<'a> {
    /// Of the budget.
    pub tally: Tally<'a>,
    /// When a remediation was last started, before this plan.
    last_started: Option<Timestamp>,
    /// Nodes that ask for a further attempt.
    asking: BTreeSet<&'a str>,
}

impl<'a> Ledger<'a> {
    /// Counts, and puts those that ask for something in order: whoever is being remediated goes on, then whoever has
    /// been unhealthy for longest.
    pub(super) fn open(planner: &Planner<'a>, wishes: &mut [(&'a NodeView, usize)]) -> Self {
        let (outlook, index) = (planner.outlook, planner.index);
        let asking = wishes.iter().map(|(node, _)| node.name.as_str()).filter(|node| !continues(index, node)).collect();
        let Some(budget) = &outlook.policy.spec.budget else {
            return Self { asking, ..Self::default() };
        };
        wishes.sort_by_key(|(node, _)| {
            let since = match outlook.judgement.verdicts.get(&node.name) {
                Some(Verdict::Matching { lasted, .. }) => std::cmp::Reverse(*lasted),
                _ => std::cmp::Reverse(std::time::Duration::ZERO),
            };
            (!continues(index, &node.name), since, &node.name)
        });
        let given_up: BTreeSet<&str> = planner
            .plan
            .skips
            .iter()
            .filter(|skip| skip.reason == SkipReason::NoTemplateLeft)
            .map(|skip| skip.node.as_str())
            .collect();
        let mut places: BTreeMap<&'a str, Place<'a>> = BTreeMap::new();
        for remediation in outlook.remediations {
            let node = index.node(&remediation.node);
            let stuck = budget
                .stuck_after
                .is_some_and(|after| super::remaining(remediation.created, after.to_std(), outlook.now).is_none());
            let counts = (node.is_some() || remediation.owned) && !given_up.contains(remediation.node.as_str());
            if counts && !stuck {
                places.insert(&remediation.node, place(outlook, &remediation.node, node));
            }
        }
        let created = outlook.remediations.iter().filter(|r| r.owned).map(|r| r.created).max();
        // A clock that was ahead once must not stop everything.
        let last_started = created.max(outlook.policy.memory.last_started).map(|at| at.min(outlook.now));
        let tally = Tally::new(budget, outlook.nodes, places.into_values().collect(), last_started);
        Self { tally, last_started, asking }
    }

    pub(super) fn started(&mut self, outlook: &'a Outlook<'a>, node: &'a NodeView) {
        if outlook.policy.spec.budget.is_some() {
            self.tally.take(place(outlook, &node.name, Some(node)), outlook.now);
        }
    }
}

fn place<'a>(outlook: &'a Outlook<'a>, name: &'a str, node: Option<&'a NodeView>) -> Place<'a> {
    let cause = match outlook.judgement.verdicts.get(name) {
        Some(Verdict::Matching { type_, status, .. }) => Some((type_.as_str(), status.as_str())),
        _ => None,
    };
    Place { name, node, cause }
}

/// Whether a start would be the next step of a remediation, not a new one. What was deleted by hand before its time ran
/// out is over.
fn continues(index: &Index<'_>, node: &str) -> bool {
    index.own(node).next().is_some()
        || index.entry(node).is_some_and(|entry| entry.remediations.iter().any(|known| known.timed_out.is_some()))
}

/// Nodes that fail together.
pub(super) fn correlated(snapshot: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    snapshot.outlook.policy.spec.correlated_failures.as_ref()?;
    let failure = snapshot.outlook.surroundings.failures.of(candidate.node)?;
    let left = classify::left(failure, snapshot.outlook.now);
    Some(SkipReason::Held(Held {
        rule: "correlatedFailure",
        why: failure.why.clone(),
        unblock: failure.unblock.clone(),
        scope: Scope::Policy,
        warn: true,
        again_in: Some(left.map_or(AGAIN, |left| (left + std::time::Duration::from_secs(1)).min(AGAIN))),
    }))
}

/// A person said no.
pub(super) fn vetoed(snapshot: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    let now = snapshot.outlook.now;
    let held = |text: &str, scope: Scope, whose: &str| {
        let (why, unblock, until) = match veto::standing(text, now) {
            Standing::Expired(_) => return None,
            Standing::InForce(veto) => {
                let left = veto::left(&veto, now);
                let unblock = match veto.until {
                    Some(until) => format!("it ends at {until}, or when annotation {} is removed", keys::VETO),
                    None => format!("it ends when annotation {} is removed", keys::VETO),
                };
                (format!("{whose} is vetoed by {veto}"), unblock, left)
            }
            Standing::Malformed(error) => (
                format!("{whose} has a veto that cannot be understood and is in force until it is: {error}"),
                format!("correct or remove annotation {}", keys::VETO),
                None,
            ),
        };
        let running = snapshot.index.own(&candidate.node.name).find(|remediation| !remediation.terminating);
        let unblock = match running {
            Some(running) => format!("{unblock}; {} was started before and goes on, delete it to stop it", running.key),
            None => unblock,
        };
        let again_in = until.map(|left| left + std::time::Duration::from_secs(1));
        Some(SkipReason::Held(Held { rule: "veto", why, unblock, scope, warn: false, again_in }))
    };
    let policy = snapshot.outlook.policy.memory.veto.and_then(|text| held(text, Scope::Policy, "the policy"));
    policy.or_else(|| candidate.node.annotations.get(keys::VETO).and_then(|text| held(text, Scope::Node, "the node")))
}

/// A node that was remediated too often.
pub(super) fn quarantined(snapshot: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    let limit = snapshot.outlook.policy.spec.attempts.as_ref()?;
    if continues(snapshot.index, &candidate.node.name) {
        return None;
    }
    let now = snapshot.outlook.now;
    let known = known(snapshot.outlook, &candidate.node.name);
    let sighting = sighting(snapshot.outlook, snapshot.index, snapshot.steps, &candidate.node.name, true);
    let next = attempts::next(limit, known, &sighting, now)?;
    let (why, unblock, until) = attempts::refusal(limit, &next)?;
    let left = until.map(|until| std::time::Duration::try_from(until.duration_since(now)).unwrap_or_default());
    let again_in = left.map(|left| left + std::time::Duration::from_secs(1));
    Some(SkipReason::Held(Held { rule: "quarantine", why, unblock, scope: Scope::Node, warn: true, again_in }))
}

/// No place is free.
pub(super) fn budget(snapshot: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    let budget = snapshot.outlook.policy.spec.budget.as_ref()?;
    if continues(snapshot.index, &candidate.node.name) {
        return None;
    }
    let place = place(snapshot.outlook, &candidate.node.name, Some(candidate.node));
    let full = snapshot.budget.refusal(budget, &place, snapshot.outlook.now)?;
    Some(SkipReason::Held(Held {
        rule: "budget",
        why: full.why,
        unblock: full.unblock,
        scope: Scope::Node,
        warn: false,
        again_in: full.again_in,
    }))
}

fn known<'a>(outlook: &Outlook<'a>, node: &str) -> Option<&'a NodeAttempts> {
    outlook.policy.memory.attempts.iter().find(|known| known.node == node)
}

fn sighting<'a>(outlook: &Outlook<'_>, index: &Index<'_>, steps: &[Step], node: &'a str, asks: bool) -> Sighting<'a> {
    let selected = index.node(node);
    let first =
        |remediation: &&crate::health::view::RemediationView| steps.first().is_some_and(|step| step.made(remediation));
    Sighting {
        node,
        made: index.own(node).filter(first).map(|remediation| remediation.created).collect(),
        asks,
        selected: selected.is_some(),
        forgiven: selected
            .and_then(|node| node.annotations.get(keys::ATTEMPTS_FORGIVEN))
            .and_then(|text| attempts::forgiven(text, outlook.now).ok()),
    }
}

/// What is reported, and what a dry run leaves of the actions.
pub(super) fn conclude(planner: &mut Planner<'_>, ledger: &Ledger<'_>) {
    let mut extras = Extras::default();
    count_attempts(planner, ledger, &mut extras);
    look_at_vetoes(planner.outlook, &mut extras);
    report_failures(planner.outlook, &mut extras);
    if let Some(budget) = &planner.outlook.policy.spec.budget {
        let waiting: Vec<&str> = planner
            .plan
            .skips
            .iter()
            .filter(|skip| skip.reason.rule() == "budget")
            .map(|skip| skip.node.as_str())
            .collect();
        let tally = Tally { last_started: ledger.last_started, ..ledger.tally.clone() };
        extras.budget = Some(tally.status(budget, &waiting));
    }
    if planner.outlook.policy.spec.dry_run == Some(true) {
        rehearse(planner, &mut extras);
    }
    planner.plan.extras = extras;
}

fn count_attempts(planner: &mut Planner<'_>, ledger: &Ledger<'_>, extras: &mut Extras) {
    let outlook = planner.outlook;
    for node in outlook.nodes {
        if let Some(text) = node.annotations.get(keys::ATTEMPTS_FORGIVEN)
            && outlook.policy.spec.attempts.is_some()
            && let Err(message) = attempts::forgiven(text, outlook.now)
        {
            extras.note(format!("pardon {}", node.name), true, event::INVALID_ANNOTATION, Some(&node.name), message);
        }
    }
    let Some(limit) = &outlook.policy.spec.attempts else { return };
    let mut names: BTreeSet<&str> = outlook.policy.memory.attempts.iter().map(|known| known.node.as_str()).collect();
    names.extend(outlook.remediations.iter().filter(|r| r.owned).map(|r| r.node.as_str()));
    let mut all = Vec::new();
    for name in names {
        let asks = ledger.asking.contains(name);
        let sighting = sighting(outlook, planner.index, &planner.steps, name, asks);
        let before = known(outlook, name);
        let Some(next) = attempts::next(limit, before, &sighting, outlook.now) else { continue };
        if let Some((why, unblock, until)) = attempts::refusal(limit, &next) {
            let message = format!("node {name} is {why}; {unblock}");
            extras.note(format!("quarantine {name}"), true, event::QUARANTINED, Some(name), message);
            if let Some(left) = until.and_then(|until| until.duration_since(outlook.now).try_into().ok()) {
                planner.again_in(left);
            }
        }
        all.push(next);
    }
    extras.attempts = attempts::bounded(all);
    let quarantined: Vec<&str> =
        extras.attempts.iter().filter(|known| known.quarantined.is_some()).map(|known| known.node.as_str()).collect();
    let message = match quarantined.as_slice() {
        [] => "no node is quarantined".to_owned(),
        names => format!("{} quarantined: {}", names.len(), shortened(names)),
    };
    let (active, reason) = (!quarantined.is_empty(), extension::ATTEMPTS);
    extras.flags.push(Flag { type_: extension::NODES_QUARANTINED, active, reason, message });
}

fn look_at_vetoes(outlook: &Outlook<'_>, extras: &mut Extras) {
    let mut look = |text: &str, about: String, whose: &str, node: Option<&str>| match veto::standing(text, outlook.now)
    {
        Standing::InForce(veto) => {
            let until = veto.until.map_or_else(|| "until it is removed".to_owned(), |until| format!("until {until}"));
            Some((true, extension::VETOED_BY_PERSON, format!("{whose} is vetoed by {veto} {until}")))
        }
        Standing::Expired(veto) => {
            let message = format!("the veto of {whose} by {veto} is over; remove annotation {}", keys::VETO);
            extras.note(format!("{about} over"), false, event::VETO_EXPIRED, node, message.clone());
            Some((false, extension::VETO_OVER, message))
        }
        Standing::Malformed(error) => {
            let message = format!(
                "annotation {} of {whose} cannot be understood and is in force until it is: {error}",
                keys::VETO
            );
            extras.note(about, true, event::INVALID_ANNOTATION, node, message.clone());
            Some((true, extension::VETO_MALFORMED, message))
        }
    };
    let policy = outlook.policy.memory.veto.and_then(|text| look(text, "veto".to_owned(), "the policy", None));
    for node in outlook.nodes {
        if let Some(text) = node.annotations.get(keys::VETO) {
            let name = node.name.as_str();
            look(text, format!("veto {name}"), &format!("node {name}"), Some(name));
        }
    }
    if let Some((active, reason, message)) = policy {
        extras.flags.push(Flag { type_: extension::VETOED, active, reason, message });
    }
}

fn report_failures(outlook: &Outlook<'_>, extras: &mut Extras) {
    if outlook.policy.spec.correlated_failures.is_none() {
        return;
    }
    let failures = &outlook.surroundings.failures;
    let (active, reason, message) = match failures.first() {
        Some(failure) => {
            let reason = match failure.class {
                Class::Observer => extension::OBSERVER,
                Class::ControlPlane => extension::CONTROL_PLANE,
                Class::Group => extension::GROUP,
            };
            (true, reason, format!("{}; {}", failure.why, failure.unblock))
        }
        None => (false, extension::INDEPENDENT, "nodes that fail do so by themselves".to_owned()),
    };
    extras.flags.push(Flag { type_: extension::CORRELATED, active, reason, message });
}

/// Turns actions into text.
fn rehearse(planner: &mut Planner<'_>, extras: &mut Extras) {
    let actions = std::mem::take(&mut planner.plan.actions);
    let lines: Vec<String> = actions.iter().filter_map(|action| would(action, &planner.steps)).collect();
    for line in lines.iter().take(SHOWN) {
        extras.note(format!("dry run {line}"), false, event::DRY_RUN, None, format!("dry run: would {line}"));
    }
    let message = match lines.as_slice() {
        [] => "dry run: nothing would be done".to_owned(),
        [first, rest @ ..] => {
            let mut message = format!("dry run: would {first}");
            if !rest.is_empty() {
                // Writing to a String cannot fail.
                let _ = write!(message, " and {} more, see status.wouldDo", rest.len());
            }
            message
        }
    };
    if planner.plan.phase == phase::ENABLED && !lines.is_empty() {
        planner.plan.reason.clone_from(&message);
    }
    extras.flags.push(Flag { type_: extension::DRY_RUN, active: true, reason: extension::DRY_RUN_SET, message });
    extras.would_do = lines.into_iter().take(SHOWN).collect();
}

/// Nothing for what only keeps others off.
fn would(action: &Action, steps: &[Step]) -> Option<String> {
    Some(match action {
        Action::Create { node, step } => {
            let step = steps.get(*step)?;
            format!("create {} for node {node} from template {}", step.kind, step.template)
        }
        Action::GiveUp { remediation, failed: true, .. } => format!("give up {remediation}, which failed"),
        Action::GiveUp { remediation, .. } => format!("give up {remediation}, which ran out of time"),
        Action::StartHealthyDelay { remediation } => format!("start the healthy delay of {remediation}"),
        Action::ClearHealthyDelay { remediation } => format!("end the healthy delay of {remediation}"),
        Action::FlagOld { remediation, .. } => format!("flag {remediation} as old"),
        Action::Delete { remediation, node, orphaned: true } => {
            format!("delete {remediation}, because node {node} is not selected any more")
        }
        Action::Delete { remediation, node, .. } => format!("delete {remediation}, because node {node} is healthy"),
        Action::ForgetConfirmation { node } => format!("remove the confirmation of node {node}"),
        Action::RenewLease { .. } | Action::ReleaseLease { .. } => return None,
    })
}

fn shortened(names: &[&str]) -> String {
    let shown = names.iter().take(10).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 10 { format!("{shown} and {} more", names.len() - 10) } else { shown }
}

impl Extras {
    fn note(&mut self, about: String, warn: bool, reason: &'static str, node: Option<&str>, message: String) {
        self.notes.push(Note { about, warn, reason, message, node: node.map(str::to_owned) });
    }
}
