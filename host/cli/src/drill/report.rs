//! What will be done, and what was: for people and for programs. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use palisade_api::progress::Stage;
use palisade_explain::history::{History, Told, told};
use serde::Serialize;

use super::guard::{Verdict, is_over, stays, title};
use super::play::Outcome;
use super::scene::Scene;
use crate::explain::{Style, foreign};

/// What would be done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The node.
    pub node: String,
    /// Template that the remediation is made from.
    pub template: String,
    /// Seconds within which the end of the boot has to be proven, from the intent on; what its agent published.
    pub bound_seconds: Option<u64>,
    /// Pods that will have to move.
    pub moves: Vec<String>,
    /// What else will happen.
    pub notes: Vec<String>,
    /// Why it is refused.
    pub refused: Vec<String>,
}

fn bound(scene: &Scene) -> Option<u64> {
    let record = scene.agent()?.view.as_ref().ok()?.record.as_ref()?;
    Some(record.terms.life_bound().as_secs() + 1)
}

fn moving(scene: &Scene) -> impl Iterator<Item = &Pod> {
    scene.pods.iter().filter(|pod| !stays(pod) && !is_over(pod))
}

impl Plan {
    /// Of a scene that was judged.
    pub fn new(scene: &Scene, verdict: &Verdict) -> Self {
        Self {
            node: scene.node.clone(),
            template: scene.template.title(),
            bound_seconds: bound(scene),
            moves: moving(scene).map(title).collect(),
            notes: verdict.notes.clone(),
            refused: verdict.refused.clone(),
        }
    }

    /// For people.
    pub fn text(&self, style: Style) -> String {
        let mut lines = vec![style.bold(&format!("drill of node {}", foreign(&self.node)))];
        if self.refused.is_empty() {
            lines.push(format!(
                "  makes a remediation from {}, waits until the node is back, deletes it",
                foreign(&self.template)
            ));
            if let Some(bound) = self.bound_seconds {
                lines.push(format!("  the end of its boot has to be proven within {bound} s of the intent"));
            }
            let moves = if self.moves.is_empty() { "nothing".to_owned() } else { self.moves.join(", ") };
            lines.push(format!("  will move: {}", foreign(&moves)));
        }
        lines.extend(self.notes.iter().map(|note| format!("  {}: {}", style.busy("note"), foreign(note))));
        lines.extend(self.refused.iter().map(|why| format!("  {}: {}", style.bad("refused"), foreign(why))));
        lines.push(String::new());
        lines.join("\n")
    }
}

/// What was done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `passed` or `failed`.
    pub verdict: &'static str,
    /// What went wrong, or was not as it should be.
    pub problems: Vec<String>,
    /// The node.
    pub node: String,
    /// The template.
    pub template: String,
    /// Who did it.
    pub by: String,
    /// When it began.
    pub began: Timestamp,
    /// When everything was cleaned up.
    pub ended: Timestamp,
    /// Seconds within which the end of the boot had to be proven, from the intent on.
    pub bound_seconds: Option<u64>,
    /// Seconds in which it was.
    pub proof_seconds: Option<i64>,
    /// Seconds from the beginning until the workload was released.
    pub release_seconds: Option<i64>,
    /// Seconds from the beginning until the node was Ready with another boot.
    pub back_seconds: Option<i64>,
    /// Boots before and after.
    pub boots: (String, String),
    /// What was on the node, and where it is now.
    pub pods: Vec<Moved>,
    /// The remediation's own account, with the certificate.
    pub remediation: Told,
}

/// Where a pod went.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// It, as `namespace/name`.
    pub pod: String,
    /// Who took its place, on which node; empty for nobody.
    pub now: Vec<String>,
}

impl Report {
    /// Of what happened.
    pub fn new(scene: &Scene, by: &str, outcome: &Outcome) -> Self {
        let progress = outcome.last.progress.clone().unwrap_or_default();
        let at =
            |stage| progress.timeline.iter().find(|entry| entry.stage == stage).map(|entry| entry.at.0.as_second());
        let began = outcome.began.as_second();
        let mut problems = outcome.problems.clone();
        let proof_seconds = at(Stage::Proven).zip(at(Stage::Intended)).map(|(proven, intended)| proven - intended);
        let bound_seconds = bound(scene);
        if progress.certificate.is_none() {
            problems.push("there is no certificate: nothing was proven".to_owned());
        }
        // Times are recorded in whole seconds, each end may be one off.
        if let (Some(took), Some(bound)) = (proof_seconds, bound_seconds)
            && took > i64::try_from(bound).unwrap_or(i64::MAX).saturating_add(1)
        {
            problems.push(format!("the proof took {took} s, longer than the bound of {bound} s"));
        }
        if at(Stage::Released).is_none() {
            problems.push("the workload was not released".to_owned());
        }
        if outcome.back.is_none() {
            problems.push("the node was not seen Ready with another boot".to_owned());
        }
        let pods = moved(scene, outcome);
        let replaced = |moved: &Moved| {
            let pod = scene.pods.iter().find(|pod| title(pod) == moved.pod);
            !moved.now.is_empty() || pod.is_none_or(|pod| pod.owner_references().is_empty())
        };
        problems.extend(
            pods.iter().filter(|one| !replaced(one)).map(|one| format!("nothing took the place of pod {}", one.pod)),
        );
        Self {
            verdict: if problems.is_empty() { "passed" } else { "failed" },
            problems,
            node: scene.node.clone(),
            template: scene.template.title(),
            by: by.to_owned(),
            began: outcome.began,
            ended: outcome.ended,
            bound_seconds,
            proof_seconds,
            release_seconds: at(Stage::Released).map(|released| released - began),
            back_seconds: outcome.back.map(|back| back.as_second() - began),
            boots: outcome.boots.clone(),
            pods,
            remediation: told(&outcome.last),
        }
    }

    /// Whether everything was as it should be.
    pub fn passed(&self) -> bool {
        self.problems.is_empty()
    }

    /// For people.
    pub fn text(&self, style: Style) -> String {
        let head = format!("drill of node {}: {}", foreign(&self.node), self.verdict);
        let mut lines = vec![if self.passed() { style.good(&head) } else { style.bad(&head) }];
        lines.extend(self.problems.iter().map(|problem| format!("  {}", foreign(problem))));
        lines.push(format!(
            "  by {} with {}, from {} to {}",
            foreign(&self.by),
            foreign(&self.template),
            self.began,
            self.ended
        ));
        let seconds = |value: Option<i64>| value.map_or_else(|| "never".to_owned(), |value| format!("{value} s"));
        let bound = self.bound_seconds.map_or_else(String::new, |bound| format!(" (bound {bound} s)"));
        lines.push(format!("  intent to proof      {}{bound}", seconds(self.proof_seconds)));
        lines.push(format!("  released after       {}", seconds(self.release_seconds)));
        lines.push(format!("  node back after      {}", seconds(self.back_seconds)));
        for moved in &self.pods {
            let now = if moved.now.is_empty() { "nothing took its place".to_owned() } else { moved.now.join(", ") };
            lines.push(format!("  {} -> {}", foreign(&moved.pod), foreign(&now)));
        }
        lines.push(String::new());
        let history = History {
            name: self.node.clone(),
            remediations: vec![self.remediation.clone()],
            events: Vec::new(),
            gaps: Vec::new(),
        };
        lines.join("\n") + &history.text(style)
    }
}

fn moved(scene: &Scene, outcome: &Outcome) -> Vec<Moved> {
    let before: Vec<Option<String>> = scene.pods.iter().map(ResourceExt::uid).collect();
    let mut all = Vec::new();
    for pod in moving(scene) {
        let owner = |pod: &Pod| pod.owner_references().first().map(|owner| owner.uid.clone());
        let mine = owner(pod);
        let is_heir = |other: &&Pod| {
            // A StatefulSet gives the name again; others only know whose it is.
            let same = other.namespace() == pod.namespace() && mine.is_some() && owner(other) == mine;
            // Whole seconds, on another clock.
            let since = outcome.began.as_second() - 2;
            let newer = other.creation_timestamp().is_some_and(|at| at.0.as_second() >= since);
            let newer = newer && !before.contains(&other.uid());
            same && newer && other.metadata.deletion_timestamp.is_none()
        };
        let now = outcome.pods.iter().filter(is_heir);
        let now = now.map(|other| {
            let node = other.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node yet");
            format!("{} on {node}", title(other))
        });
        all.push(Moved { pod: title(pod), now: now.collect() });
    }
    all
}
