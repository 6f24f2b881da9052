//! `palisade explain` in the middle of a case: what it must answer in which situation. The cases ask it as a user does,
//! with the program; here is the list of the situations, so that everybody sees how many there are.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::node::Node;
use crate::value::brief;
use crate::world::{SOON, World};

/// A situation, and what the answer must be.
#[derive(Debug)]
pub struct Situation {
    /// How cases call it.
    pub name: &'static str,
    /// The case that asks in this situation.
    pub case: &'static str,
    /// The rule that holds back, if one does.
    pub rule: Option<&'static str>,
    /// `held`, `busy` or `well`.
    pub state: &'static str,
    /// What the answer must contain.
    pub words: &'static [&'static str],
}

const fn held(name: &'static str, case: &'static str, rule: &'static str, words: &'static [&'static str]) -> Situation {
    Situation { name, case, rule: Some(rule), state: "held", words }
}

const fn free(
    name: &'static str,
    case: &'static str,
    state: &'static str,
    words: &'static [&'static str],
) -> Situation {
    Situation { name, case, rule: None, state, words }
}

/// All of them.
pub const SITUATIONS: &[Situation] = &[
    // A rule about the whole policy.
    held("too few healthy", "T02", "threshold", &["3 of 7 selected nodes are healthy", "minHealthy is 51%"]),
    held("storm", "S01", "threshold", &["StormActive"]),
    held("cooldown of a storm", "S03", "storm", &["StormCooldownActive"]),
    held("paused", "X01", "paused", &["maintenance of x"]),
    held("template missing", "EX05", "disabled", &["RemediationTemplateNotFound", "foo"]),
    held("template invalid", "X08", "disabled", &["RemediationTemplateInvalid", "spec.template"]),
    free("template unreadable", "X10", "busy", &["cannot list x10foos", "forbidden", "X10Bar"]),
    held("upgrade", "X04", "upgrade", &["the cluster is being upgraded"]),
    held("veto on the policy", "EX03", "veto", &["ann", "new switches", "it ends at"]),
    // One about the node.
    held("budget", "B01", "budget", &["1 of 1 places are taken", "maxConcurrent is 1"]),
    held("budget of a zone", "B02", "budget", &["perTopology is 1", "with topology.kubernetes.io/zone=x"]),
    held("budget of a cause", "EX01", "budget", &["perCause is 1", "Ready=Unknown"]),
    held("pacing", "EX02", "budget", &["minInterval is 1h", "the next one may start at"]),
    held("veto on the node", "EX04", "veto", &["ann", "new disk", "it ends at", "palisade.dev/veto"]),
    held("veto that cannot be understood", "B05", "veto", &["cannot be understood", "until friday"]),
    held("quarantine", "B06", "quarantine", &["palisade.dev/attempts-forgiven"]),
    held("excluded", "R07", "excluded", &["remediation.medik8s.io/exclude-from-remediation"]),
    held("maintenance", "EX06", "maintenance", &["MaintenanceInProgress", "no longer True"]),
    held("another control-plane node first", "P01", "controlPlane", &["control-plane"]),
    held("etcd cannot be asked", "B09", "controlPlaneGuard", &["etcd.guard is Required"]),
    held("lease of somebody else", "EX07", "lease", &["node-maintenance"]),
    held("remediation of somebody else", "R04", "foreignRemediation", &["belongs to somebody else"]),
    held("remediation that does not go", "EX08", "terminating", &["Foo"]),
    held("every template tried", "E05", "noTemplateLeft", &["look at the node"]),
    held("zone fails together", "B10", "correlatedFailure", &["topology.kubernetes.io/zone=x"]),
    held("the observer is cut off", "EX09", "correlatedFailure", &["silent"]),
    // No rule holds back, and the answer says what is going on.
    free("dry run", "B03", "busy", &["DryRun", "create Foo for node"]),
    free("not long enough yet", "EX10", "busy", &["Suspect: Ready=Unknown", "unless it recovers"]),
    free("healthy again, to be confirmed", "D08", "busy", &["when somebody confirms that it is healthy"]),
    free("a ladder runs", "E01", "busy", &["Foo brings it back, or else Bar takes over"]),
    free("nobody looks after it", "H07", "held", &["no NodeHealthCheck selects it"]),
    free("a juror has not promised", "C050", "busy", &["waitingFor", "promise"]),
    free("no agent", "C037", "busy", &["no agent lease"]),
    free("an agent that cannot end itself", "C038", "busy", &["cannot end itself"]),
    free("the detector gave up", "C067", "held", &["RemediationTimeoutByNHC"]),
    free("excluded, and remediated by hand", "C066", "held", &["RemediationSkipped"]),
    free("a node that does not exist", "C062", "held", &["does not exist"]),
    free("the configuration is missing", "C033", "held", &["ConfigurationNotFound"]),
    free("a sign of life after the end", "C079", "held", &["a sign of life after its end"]),
    free("people are asked", "HA-01", "held", &["somebody to answer ApproveAction"]),
];

impl Node {
    /// `palisade explain` says of this node what it must say in this situation.
    pub async fn explained(&self, situation: &str) -> anyhow::Result<()> {
        self.world().explained(&self.name, situation).await
    }
}

impl World {
    /// The same of a node by name.
    pub async fn explained(&self, node: &str, situation: &str) -> anyhow::Result<()> {
        let situation = SITUATIONS
            .iter()
            .find(|one| one.name == situation)
            .with_context(|| format!("situation {situation:?} is not in the list"))?;
        let mut changes = self.eyes().changes();
        let deadline = tokio::time::Instant::now() + self.eyes().limit(SOON);
        loop {
            changes.borrow_and_update();
            let Err(why) = self.ask(node, situation).await else { break };
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                bail!("{}, in situation {:?}: {why:#}", "palisade explain", situation.name);
            }
        }
        self.told.borrow_mut().insert(situation.name);
        Ok(())
    }

    async fn ask(&self, node: &str, situation: &Situation) -> anyhow::Result<()> {
        let mut explain = tokio::process::Command::new(&self.plane.parts.palisade);
        explain.args(["explain", node, "--output", "json", "--kubeconfig"]).arg(&self.plane.kubeconfig);
        let output = tokio::time::timeout(Duration::from_mins(1), explain.kill_on_drop(true).output()).await??;
        let complaint = String::from_utf8_lossy(&output.stderr);
        let answer: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{}, no answer: {}", output.status, complaint.trim()))?;
        let code = match situation.state {
            "well" => 0,
            "busy" => 3,
            _ => 4,
        };
        let seen = brief(&answer);
        ensure!(
            answer["state"] == situation.state,
            "the state is {}, not {}: {seen}",
            answer["state"],
            situation.state
        );
        ensure!(output.status.code() == Some(code), "it ended with {}, not {code}", output.status);
        if let Some(rule) = situation.rule {
            let policies = answer["policies"].as_array().map(Vec::as_slice).unwrap_or_default();
            ensure!(policies.iter().any(|one| one["blockedBy"] == rule), "no policy names rule {rule}: {seen}");
            let summary = answer["summary"].as_str().unwrap_or_default();
            ensure!(summary.contains(&format!("held back by rule {rule}")), "the sentence is {summary:?}");
        }
        let text = answer.to_string();
        for word in situation.words {
            ensure!(text.contains(word), "it does not say {word:?}: {seen}");
        }
        Ok(())
    }

    /// Fails if this case did not ask in a situation in which it is said to ask.
    pub fn explained_all(&self, case: &str) -> anyhow::Result<()> {
        let told = self.told.borrow();
        let missing = SITUATIONS.iter().find(|one| one.case == case && !told.contains(one.name));
        match missing {
            Some(situation) => bail!("the case is said to explain {:?}, and never asked", situation.name),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_situation_has_a_name_of_its_own_and_a_case_that_exists() {
        let cases: BTreeSet<&str> = crate::cases::all().iter().map(|case| case.id).collect();
        let names: BTreeSet<&str> = SITUATIONS.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), SITUATIONS.len());
        for situation in SITUATIONS {
            assert!(cases.contains(situation.case), "{situation:?}");
        }
    }
}
