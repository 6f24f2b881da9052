//! Nodes that cannot be fenced, nodes that nobody looks after, a controller that does not act. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use palisade_api::reasons::phase;
use palisade_core::fencing::record::AgentRecord;
use palisade_core::health::Selector;

use super::look::{Agent, Seen};
use super::{Finding, Weight};
use crate::explain::{length, ready};

/// A leader renews every few seconds; after a minute nobody acts.
const LEADERLESS: i64 = 60;

/// All of them.
pub fn find(seen: &Seen) -> Vec<Finding> {
    let mut found = leader(seen);
    found.extend(policies(seen));
    if let Some(agents) = &seen.agents {
        for node in &seen.nodes {
            let agent = agents.iter().find(|agent| agent.node == node.name_any());
            found.extend(of_node(seen, node, agent));
        }
    }
    found
}

fn finding(check: &'static str, weight: Weight, about: String, what: String, remedy: &str) -> Finding {
    Finding { check, weight, about, what, remedy: remedy.to_owned(), fix: None }
}

fn age(seen: &Seen, at: Timestamp) -> i64 {
    seen.now.as_second() - at.as_second()
}

fn leader(seen: &Seen) -> Vec<Finding> {
    if seen.agents.is_none() {
        return Vec::new();
    }
    let silent = seen.leader.map(|at| age(seen, at));
    if silent.is_some_and(|silent| silent <= LEADERLESS) {
        return Vec::new();
    }
    let what = match silent {
        Some(silent) => format!("its lease was renewed {} ago: nobody acts", length(silent.unsigned_abs())),
        None => "no controller holds the leader's lease: either none runs, or one without --leader-elect".to_owned(),
    };
    let weight = if silent.is_some() { Weight::Trouble } else { Weight::Note };
    vec![finding("no-leader", weight, "controller".to_owned(), what, "kubectl get pods --namespace palisade-system")]
}

fn policies(seen: &Seen) -> Vec<Finding> {
    let Some(policies) = &seen.policies else { return Vec::new() };
    let mut found = Vec::new();
    for policy in policies {
        let status = policy.status.clone().unwrap_or_default();
        if status.phase.as_deref() == Some(phase::DISABLED) {
            let why = status.reason.unwrap_or_default();
            let about = format!("NodeHealthCheck {}", policy.name_any());
            found.push(finding("policy-disabled", Weight::Trouble, about, why, "correct what the reason names"));
        }
    }
    let selectors: Vec<(String, Selector)> = policies
        .iter()
        .filter_map(|policy| Some((policy.name_any(), Selector::new(policy.spec.selector.as_ref()).ok()?)))
        .collect();
    let mut nobodys = Vec::new();
    for node in &seen.nodes {
        let by = selectors.iter().filter(|(_, selector)| selector.matches(node.labels()));
        let by: Vec<&str> = by.map(|(policy, _)| policy.as_str()).collect();
        match by.len() {
            0 => nobodys.push(node.name_any()),
            1 => {}
            _ => found.push(finding(
                "several-policies",
                Weight::Note,
                format!("node {}", node.name_any()),
                format!("several policies select it: {}", by.join(", ")),
                "the first that finds it unhealthy acts, the others wait for its lease; make the selectors disjoint",
            )),
        }
    }
    if !nobodys.is_empty() {
        found.push(finding(
            "no-policy",
            Weight::Note,
            format!("{} nodes", nobodys.len()),
            format!("no NodeHealthCheck selects {}", first(&nobodys)),
            "nothing remediates them; that is right only if it is meant so",
        ));
    }
    found
}

fn first(names: &[String]) -> String {
    let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown} and {} more", names.len() - 5) } else { shown }
}

fn of_node(seen: &Seen, node: &Node, agent: Option<&Agent>) -> Vec<Finding> {
    let about = format!("node {}", node.name_any());
    let is_ready = ready(node).is_some_and(|(status, ..)| status == "True");
    let record = match agent.map(|agent| &agent.view) {
        Some(Ok(view)) => view.record.as_ref(),
        Some(Err(error)) => {
            let what = format!("its lease cannot be understood: {error}");
            let remedy = "its agent writes it anew when it restarts; look for who else writes it";
            return vec![finding("malformed-lease", Weight::Trouble, about, what, remedy)];
        }
        None => None,
    };
    let Some(record) = record else {
        let what = "no agent has ever reported from it: it can be proven dead only from outside".to_owned();
        let remedy = "kubectl get pods --all-namespaces -o wide | grep self-node-remediation-ds";
        return vec![finding("no-agent", Weight::Note, about, what, remedy)];
    };
    let renewed = agent.and_then(|agent| agent.renewed);
    running(seen, node, record, renewed.filter(|_| is_ready))
        .into_iter()
        .chain(capable(record))
        .map(|(check, weight, what, remedy)| finding(check, weight, about.clone(), what, remedy))
        .collect()
}

type Said = (&'static str, Weight, String, &'static str);

/// Of an agent on a node that is Ready: whether it runs, on this boot.
fn running(seen: &Seen, node: &Node, record: &AgentRecord, renewed: Option<Timestamp>) -> Vec<Said> {
    let Some(renewed) = renewed else { return Vec::new() };
    let silent = age(seen, renewed);
    let bound = i64::try_from(record.terms.life_bound().as_secs()).unwrap_or(i64::MAX);
    let boot = node.status.as_ref().and_then(|status| status.node_info.as_ref()).map(|info| info.boot_id.as_str());
    if record.disarmed {
        let what = "its agent ended in order and disarmed the watchdog: nothing guards this node".to_owned();
        return vec![("disarmed", Weight::Trouble, what, "start the agent on it again")];
    }
    if silent > bound {
        let what = format!(
            "the node is Ready, but its agent was last heard {} ago (its life is bounded by {bound} s)",
            length(silent.unsigned_abs())
        );
        return vec![("stale-agent", Weight::Trouble, what, "look at the log of its agent")];
    }
    if boot.is_some_and(|boot| !boot.is_empty() && boot != record.boot_id.as_str()) {
        let what = format!(
            "its kubelet reports boot {}, its agent boot {}",
            boot.unwrap_or_default(),
            record.boot_id.as_str()
        );
        return vec![(
            "boot-differs",
            Weight::Trouble,
            what,
            "one of them is cut off, or has not started since the last boot",
        )];
    }
    Vec::new()
}

/// Whether what the agent published can fence the node.
fn capable(record: &AgentRecord) -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    let terms = &record.terms;
    if !terms.claims.self_fences {
        let what = "its agent does not claim to fence itself: a lease that ran out proves nothing".to_owned();
        said.push((
            "not-capable",
            Weight::Trouble,
            what,
            "it needs a watchdog, or isSoftwareRebootEnabled; its log says what is missing",
        ));
    } else if terms.watchdog.is_none() {
        let what = "it has no watchdog: only software ends it, and a frozen kernel runs no software".to_owned();
        said.push(("no-watchdog", Weight::Note, what, "load a driver for its watchdog, or softdog"));
    }
    if terms.jury.len() < terms.min_peers as usize {
        let what = format!(
            "its jury has {} members, fewer than minPeersForRemediation = {}",
            terms.jury.len(),
            terms.min_peers
        );
        said.push((
            "small-jury",
            Weight::Note,
            what,
            "isolated, it waits for the end of its lease alone; start more agents",
        ));
    }
    if terms.claims.may_exempt {
        let what =
            "it may exempt itself by controlPlanePolicy: Diagnose: a lease that ran out proves nothing".to_owned();
        said.push((
            "may-exempt",
            Weight::Note,
            what,
            "another proof is needed: its own acknowledgement, or from outside",
        ));
    }
    said
}
