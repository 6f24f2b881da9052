//! What a remediator is shown of the world outside of the node: machine, power, people, jobs.
//!
//! Each answer may be a refusal, with the reason that the remediator hears. What was not looked at because the
//! remediator does not ask for the capability is refused as unavailable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::RefusalReason;

/// An answer, or why there is none.
pub type Answered<T> = Result<T, RefusalReason>;

/// Everything outside of the node, as one picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outside {
    /// The node's machine, verified to be the node's.
    pub machine: Answered<MachineView>,
    /// Why the machine may not be deleted now.
    pub deletable: Answered<()>,
    /// What came in the place of a deleted machine.
    pub replacement: Answered<ReplacementView>,
    /// The management device.
    pub power: Answered<PowerView>,
    /// People's answers.
    pub approval: Answered<ApprovalView>,
    /// Jobs.
    pub jobs: Answered<JobsView>,
}

impl Default for Outside {
    fn default() -> Self {
        Self {
            machine: not_looked_at("machines"),
            deletable: not_looked_at("machines"),
            replacement: not_looked_at("machines"),
            power: not_looked_at("power"),
            approval: not_looked_at("approval"),
            jobs: not_looked_at("jobs"),
        }
    }
}

fn not_looked_at<T>(what: &str) -> Answered<T> {
    Err(RefusalReason::Unavailable(format!("{what} was not looked at for this call")))
}

/// The machine behind the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineView {
    /// Its API.
    pub api: MachineApi,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Provider id, empty when it has none.
    pub provider_id: String,
    /// Phase, empty when it reports none.
    pub phase: String,
    /// It is being deleted.
    pub deleting: bool,
    /// Age of the object.
    pub age_millis: u64,
    /// It belongs to the control plane.
    pub control_plane: bool,
    /// Its controller.
    pub owner: Option<OwnerView>,
}

/// Which API manages a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MachineApi {
    /// `machine.openshift.io`.
    #[default]
    Openshift,
    /// `cluster.x-k8s.io`.
    ClusterApi,
}

/// The controller of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerView {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What came in the place of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplacementView {
    /// What became of the machine itself.
    pub fate: MachineFate,
    /// Machines that the owner wants.
    pub wanted: Option<u32>,
    /// Younger ones whose node is Ready.
    pub ready: u32,
    /// So many are needed.
    pub needed: u32,
    /// What is missing, for people.
    pub waiting_for: String,
}

/// What became of a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MachineFate {
    /// Its deletion was not asked for.
    #[default]
    Kept,
    /// It is going.
    Deleting,
    /// It is gone.
    Gone,
}

/// The management device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PowerView {
    /// State at the last reading.
    pub state: PowerState,
    /// Age of the reading.
    pub age_millis: Option<u64>,
    /// The newest wish.
    pub action: Option<PowerAction>,
    /// How far it came.
    pub progress: PowerProgress,
    /// Attempts for it.
    pub attempts: u32,
    /// What the device said last, without secrets.
    pub detail: String,
}

/// State of a machine's power.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerState {
    /// The device could not say.
    #[default]
    Unknown,
    /// It may run.
    On,
    /// It was read back as off.
    Off,
}

/// A wish about power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerAction {
    /// Off.
    Off,
    /// On.
    On,
}

/// How far a wish about power came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerProgress {
    /// Nothing was begun.
    #[default]
    Waiting,
    /// Under way.
    Running,
    /// Done and read back.
    Done,
    /// Failed for good.
    Failed,
    /// Failed for good, the last attempt by its time limit.
    TimedOut,
}

/// People's answers to both questions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// To "may this be done?".
    pub action: AnswerView,
    /// To "is it isolated?".
    pub isolation: AnswerView,
}

impl ApprovalView {
    /// The answer to one of them.
    pub fn answer(&self, question: Question) -> &AnswerView {
        match question {
            Question::ApproveAction => &self.action,
            Question::ConfirmIsolated => &self.isolation,
        }
    }
}

/// What people are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Question {
    /// May this be done to the node?
    ApproveAction,
    /// Is it isolated?
    ConfirmIsolated,
}

/// An answer so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerView {
    /// State.
    pub state: AnswerState,
    /// Who answered.
    pub persons: Vec<PersonView>,
    /// So many more have to say yes.
    pub missing: u32,
    /// Time until it expires.
    pub left_millis: Option<u64>,
    /// The boot it is about.
    pub boot_id: String,
}

/// State of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerState {
    /// Not asked.
    #[default]
    NotAsked,
    /// Too few answered.
    Pending,
    /// Yes.
    Given,
    /// No.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// About a boot that does not run any more.
    Stale,
    /// The node is healthy, or nobody waits any more.
    Withdrawn,
}

/// Who answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PersonView {
    /// As the API server authenticated it.
    pub name: String,
    /// In their words.
    pub reason: String,
    /// How long ago.
    pub age_millis: u64,
}

/// Jobs of this remediation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobsView {
    /// By the name on the administrator's list; a name that is not here is not on it.
    pub listed: BTreeMap<String, Answered<JobView>>,
}

impl JobsView {
    /// The job of this name.
    pub fn named(&self, name: &str) -> Answered<&JobView> {
        if let Some(answer) = self.listed.get(name) {
            answer.as_ref().map_err(Clone::clone)
        } else {
            let known: Vec<&str> = self.listed.keys().map(String::as_str).take(8).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(RefusalReason::NotFound(format!("no job {name:?} is on the administrator's list ({known})")))
        }
    }
}

/// A job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// State.
    pub state: JobState,
    /// Exit code, once it ended by itself.
    pub exit_code: Option<i32>,
    /// How long ago it ended, or began.
    pub age_millis: Option<u64>,
    /// End of its output.
    pub output: String,
    /// Why it waits or failed.
    pub detail: String,
    /// Its success is declared to be evidence.
    pub is_evidence: bool,
}

/// State of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Not asked for.
    #[default]
    NotRun,
    /// Made, not begun.
    Pending,
    /// Under way.
    Running,
    /// Ended with 0.
    Succeeded,
    /// Failed.
    Failed,
}
