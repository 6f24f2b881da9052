//! The policies, and for every node that one tracks why it is not remediated, or what comes next.

use palisade_explain::answer::{PolicyAnswer, of_policy, whole};
use serde::Serialize;

use crate::board::Seen;

/// So many nodes of a policy; its status answers for 500.
const NODES: usize = 100;

/// All policies.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policies {
    /// Whether this controller watches policies; one that only remediates does not.
    pub watched: bool,
    /// Those that can be read.
    #[serde(rename = "policies")]
    pub readable: Vec<Policy>,
    /// Why others cannot.
    pub unreadable: Vec<String>,
}

/// A policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// What it says of itself.
    #[serde(flatten)]
    pub answer: PolicyAnswer,
    /// Healthy nodes.
    pub healthy: Option<i64>,
    /// Selected nodes.
    pub observed: Option<i64>,
    /// What it says of each node that it tracks.
    pub tracked: Vec<Tracked>,
    /// How many it tracks in all.
    pub tracked_total: usize,
}

/// A node that a policy tracks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracked {
    /// The node.
    pub node: String,
    /// What the policy says.
    #[serde(flatten)]
    pub answer: PolicyAnswer,
}

/// By name.
pub fn policies(seen: &Seen) -> Policies {
    let policies = seen.readable().map(|policy| {
        let status = policy.status.as_ref();
        let all = status.map(|status| status.unhealthy_nodes.as_slice()).unwrap_or_default();
        let tracked = all.iter().take(NODES).filter_map(|one| {
            // What is said of the whole policy is said once.
            let answer = of_policy(policy, &one.name, None)?;
            Some(Tracked { node: one.name.clone(), answer: PolicyAnswer { in_force: Vec::new(), ..answer } })
        });
        Policy {
            answer: whole(policy),
            healthy: status.and_then(|status| status.healthy_nodes),
            observed: status.and_then(|status| status.observed_nodes),
            tracked: tracked.collect(),
            tracked_total: all.len(),
        }
    });
    Policies {
        watched: seen.policies.known(),
        readable: policies.collect(),
        unreadable: seen.policies.all().filter_map(|policy| policy.as_ref().err().cloned()).collect(),
    }
}
