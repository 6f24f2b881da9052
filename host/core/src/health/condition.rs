//! From node conditions to verdicts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use palisade_api::node_health_check::UnhealthyCondition;

use super::outage::{SETTLE, calm_since};
use super::view::{NodeCondition, NodeView};

/// What the conditions of a node say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// At least one unhealthy condition has lasted long enough.
    Matching {
        /// Type of the condition.
        type_: String,
        /// Its status.
        status: String,
        /// For how long.
        lasted: Duration,
    },
    /// None has, but at least one is on the way.
    SoonMatching {
        /// Type of the condition that is next.
        type_: String,
        /// Its status.
        status: String,
        /// When to look again.
        again_in: Duration,
    },
    /// Healthy as far as conditions tell.
    NotMatching,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matching { type_, status, lasted } => {
                write!(f, "unhealthy: condition {type_} is {status} for {}s", lasted.as_secs())
            }
            Self::SoonMatching { type_, status, again_in } => {
                write!(f, "unhealthy in {}s: condition {type_} is {status}", again_in.as_secs())
            }
            Self::NotMatching => f.write_str("healthy"),
        }
    }
}

/// Added to every wait: a duration is over only when it is exceeded.
const ROUNDING: Duration = Duration::from_millis(1);

/// Looks at every unhealthy condition: one that has not lasted long enough does not hide another that has.
pub fn evaluate(reported: &[NodeCondition], unhealthy: &[UnhealthyCondition], now: Timestamp) -> Verdict {
    evaluate_since(reported, unhealthy, None, now)
}

/// The same after an outage that ended at `calm` for most nodes.
fn evaluate_since(
    reported: &[NodeCondition],
    unhealthy: &[UnhealthyCondition],
    calm: Option<Timestamp>,
    now: Timestamp,
) -> Verdict {
    // A node has a handful; of two of one type the last counts.
    let of_type = |type_: &str| reported.iter().rev().find(|condition| condition.type_ == type_);
    let mut soonest: Option<(Duration, &UnhealthyCondition)> = None;
    for wanted in unhealthy {
        let Some(condition) = of_type(&wanted.type_).filter(|condition| condition.status == wanted.status) else {
            continue;
        };
        // A condition without a stamp has been so since before anybody looked.
        let since = condition.since.unwrap_or(Timestamp::UNIX_EPOCH);
        let after_outage = calm.filter(|calm| condition.status == "Unknown" && *calm > since);
        let since = after_outage.unwrap_or(since);
        let lasted = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let needed = wanted.duration.to_std().max(after_outage.map_or(Duration::ZERO, |_| SETTLE));
        if now > since && lasted > needed {
            return Verdict::Matching { type_: wanted.type_.clone(), status: wanted.status.clone(), lasted };
        }
        // A stamp in the future, from a node whose clock is ahead, must not make the wait longer than the duration.
        let again_in = needed.saturating_sub(lasted) + ROUNDING;
        if soonest.is_none_or(|(shortest, _)| again_in < shortest) {
            soonest = Some((again_in, wanted));
        }
    }
    match soonest {
        Some((again_in, wanted)) => {
            Verdict::SoonMatching { type_: wanted.type_.clone(), status: wanted.status.clone(), again_in }
        }
        None => Verdict::NotMatching,
    }
}

/// One verdict per selected node, by name, so that every pass looks at nodes in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// Verdicts.
    pub verdicts: BTreeMap<String, Verdict>,
    /// When to judge again if nothing happens.
    pub again_in: Option<Duration>,
}

/// Judges the selected nodes.
pub fn judge(nodes: &[NodeView], unhealthy: &[UnhealthyCondition], now: Timestamp) -> Judgement {
    let calm = calm_since(nodes);
    let verdict = |node: &NodeView| evaluate_since(&node.conditions, unhealthy, calm, now);
    let verdicts: BTreeMap<String, Verdict> = nodes.iter().map(|node| (node.name.clone(), verdict(node))).collect();
    let again_in = verdicts
        .values()
        .filter_map(|verdict| match verdict {
            Verdict::SoonMatching { again_in, .. } => Some(*again_in),
            _ => None,
        })
        .min();
    Judgement { verdicts, again_in }
}

impl Judgement {
    /// Leaves nodes with a condition `Terminating`, whatever its status, to the handler that sets it.
    pub fn spare_terminating(&mut self, nodes: &[NodeView]) {
        for node in nodes.iter().filter(|node| node.condition("Terminating").is_some()) {
            if let Some(verdict @ Verdict::Matching { .. }) = self.verdicts.get_mut(&node.name) {
                *verdict = Verdict::NotMatching;
            }
        }
    }
}
