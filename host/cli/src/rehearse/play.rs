//! Virtual time over a [`Fleet`]: events come when they are due, and the policy looks when it would. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use palisade_api::GoDuration;
use palisade_api::reasons::phase;
use palisade_core::health::Plan;
use serde::Serialize;

use super::fleet::{Done, Fleet};

/// More looks than this are no rehearsal of anything real; with a node that changes every second for a day there are
/// 86,400.
const LOOKS: usize = 200_000;

/// What happens by itself, whatever the policy does.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The nodes.
    pub nodes: Vec<String>,
    /// Conditions and their status.
    pub conditions: BTreeMap<String, String>,
    /// Labels that are set, or removed.
    pub labels: BTreeMap<String, Option<String>>,
    /// Annotations that are set, or removed.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Cordoned or not.
    pub unschedulable: Option<bool>,
    /// The nodes are deleted.
    pub deleted: bool,
}

/// What a remediation brings about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effect {
    /// The node is healthy so long after the remediation was made; absent: it never is.
    pub heals_after: Option<Duration>,
    /// The remediation says so long after it was made that it failed.
    pub fails_after: Option<Duration>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// What, in one word: `changed`, `started`, `gaveUp`, `ended`, `held`, `phase`, `wouldDo`, `delayed`.
    pub what: &'static str,
    /// The node, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// More about it.
    pub detail: String,
}

/// How it stands at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Phase of the policy.
    pub phase: String,
    /// Healthy nodes.
    pub healthy: usize,
    /// Selected nodes.
    pub observed: usize,
    /// Nodes under remediation, and the kind of the newest.
    pub remediated: BTreeMap<String, String>,
    /// Nodes for which nothing is started: the rule that holds back.
    pub blocked: BTreeMap<String, String>,
}

/// A rehearsal.
#[derive(Debug)]
pub struct Play {
    fleet: Fleet,
    effect: Effect,
    due: BTreeMap<Timestamp, Vec<Due>>,
    next_look: Option<Timestamp>,
    would: Vec<String>,
    standing: Standing,
    /// What happened so far.
    pub journal: Vec<Happening>,
}

#[derive(Debug)]
enum Due {
    Change(Change),
    Heal { node: String, uid: String },
    Fail { node: String, uid: String },
}

impl Play {
    /// Begins.
    pub fn new(fleet: Fleet, effect: Effect) -> Self {
        Self {
            fleet,
            effect,
            due: BTreeMap::new(),
            next_look: None,
            would: Vec::new(),
            standing: Standing::default(),
            journal: Vec::new(),
        }
    }

    /// Something that will happen.
    pub fn schedule(&mut self, at: Timestamp, change: Change) {
        self.due.entry(at).or_default().push(Due::Change(change));
    }

    /// Plays to this instant, and says how it stands then.
    ///
    /// # Errors
    /// When the policy looks so often that this cannot be meant.
    pub fn until(&mut self, end: Timestamp) -> anyhow::Result<Standing> {
        for _ in 0..LOOKS {
            let event = self.due.keys().next().copied();
            let next = [event, self.next_look].into_iter().flatten().min().filter(|next| *next < end);
            let now = next.unwrap_or(end);
            while let Some(entry) = self.due.first_entry().filter(|entry| *entry.key() <= now) {
                for due in entry.remove() {
                    self.happens(due, now);
                }
            }
            self.look(now);
            if now == end {
                return Ok(self.standing.clone());
            }
        }
        bail!("the policy looked {LOOKS} times before {end}; play a shorter time")
    }

    fn tell(&mut self, at: Timestamp, what: &'static str, node: Option<&str>, detail: impl Into<String>) {
        self.journal.push(Happening { at, what, node: node.map(str::to_owned), detail: detail.into() });
    }

    fn happens(&mut self, due: Due, now: Timestamp) {
        match due {
            Due::Change(change) => {
                for node in &change.nodes {
                    self.change(node, &change, now);
                }
            }
            Due::Heal { node, uid } if self.fleet.exists(&uid) => {
                self.fleet.heal(&node, now);
                self.tell(now, "changed", Some(&node), "healthy again: its remediation worked");
            }
            Due::Fail { node, uid } if self.fleet.exists(&uid) => {
                self.fleet.fail(&uid);
                self.tell(now, "changed", Some(&node), "its remediation says that it failed");
            }
            // That remediation is gone, and with it what it would have done.
            Due::Heal { .. } | Due::Fail { .. } => {}
        }
    }

    fn change(&mut self, node: &str, change: &Change, now: Timestamp) {
        let mut said = Vec::new();
        for (type_, status) in &change.conditions {
            self.fleet.report(node, type_, status, now);
            said.push(format!("{type_}={status}"));
        }
        self.fleet.change(node, now, |view| {
            for (key, value) in &change.labels {
                set(&mut view.labels, key, value.as_ref());
                said.push(format!("label {key}={}", value.as_deref().unwrap_or("(removed)")));
            }
            for (key, value) in &change.annotations {
                set(&mut view.annotations, key, value.as_ref());
                said.push(format!("annotation {key}={}", value.as_deref().unwrap_or("(removed)")));
            }
            if let Some(unschedulable) = change.unschedulable {
                view.unschedulable = unschedulable;
                said.push(if unschedulable { "cordoned".to_owned() } else { "not cordoned".to_owned() });
            }
        });
        if change.deleted {
            self.fleet.remove(node);
            said.push("deleted".to_owned());
        }
        self.tell(now, "changed", Some(node), said.join(", "));
    }

    fn look(&mut self, now: Timestamp) {
        let look = self.fleet.look(now);
        for done in look.done {
            self.done(done, now);
        }
        self.report(&look.plan, now);
        // A plan that wants to be made again at once still lets time pass.
        let pause = |after: Duration| SignedDuration::try_from(after.max(Duration::from_millis(1))).ok();
        self.next_look = look.plan.again_in.and_then(pause).and_then(|pause| now.checked_add(pause).ok());
    }

    fn done(&mut self, done: Done, now: Timestamp) {
        match done {
            Done::Made { uid, node, kind, template } => {
                self.tell(now, "started", Some(&node), format!("{kind} from template {template}"));
                let mut schedule = |after: Option<Duration>, due: Due| {
                    let at = after.and_then(|after| SignedDuration::try_from(after).ok());
                    if let Some(at) = at.and_then(|after| now.checked_add(after).ok()) {
                        self.due.entry(at).or_default().push(due);
                    }
                };
                schedule(self.effect.heals_after, Due::Heal { node: node.clone(), uid: uid.clone() });
                schedule(self.effect.fails_after, Due::Fail { node, uid });
            }
            Done::GivenUp { node, kind, failed } => {
                let why = if failed { "failed" } else { "ran out of time" };
                self.tell(now, "gaveUp", Some(&node), format!("{kind} {why}"));
            }
            Done::Ended { node, kind } => self.tell(now, "ended", Some(&node), format!("{kind} is deleted")),
            Done::Delayed { node } => {
                self.tell(now, "delayed", Some(&node), "it looks healthy, and counts as unhealthy for healthyDelay");
            }
        }
    }

    fn report(&mut self, plan: &Plan, now: Timestamp) {
        if plan.phase != self.standing.phase {
            // The first one is no news unless it is a bad one.
            if !self.journal.is_empty() || plan.phase != phase::ENABLED {
                self.tell(now, "phase", None, format!("{}: {}", plan.phase, plan.reason));
            }
        }
        let mut blocked = BTreeMap::new();
        for skip in &plan.skips {
            let rule = skip.reason.rule().to_owned();
            if self.standing.blocked.get(&skip.node) != Some(&rule) {
                self.tell(now, "held", Some(&skip.node), format!("{rule}: {}", skip.reason.lasting()));
            }
            blocked.insert(skip.node.clone(), rule);
        }
        if plan.extras.would_do != self.would {
            self.would.clone_from(&plan.extras.would_do);
            for line in self.would.clone() {
                self.tell(now, "wouldDo", None, line);
            }
        }
        self.standing = Standing {
            phase: plan.phase.to_owned(),
            healthy: plan.healthy,
            observed: plan.observed,
            remediated: self.fleet.remediated(),
            blocked,
        };
    }
}

/// The instant so long after `begin`.
///
/// # Errors
/// For a length that leads back, or out of every calendar.
pub fn later(begin: Timestamp, length: GoDuration) -> anyhow::Result<Timestamp> {
    ensure!(!length.is_negative(), "{length} lies before the begin; times count from 0s");
    begin.checked_add(SignedDuration::try_from(length.to_std())?).with_context(|| format!("{length} is too long"))
}

fn set(map: &mut BTreeMap<String, String>, key: &str, value: Option<&String>) {
    match value {
        Some(value) => map.insert(key.to_owned(), value.clone()),
        None => map.remove(key),
    };
}
