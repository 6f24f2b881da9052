//! What a session publishes about itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use palisade_api::Stage;
use palisade_api::progress::MarkedPod;
use palisade_core::fencing::proof::Proof;
use palisade_core::fencing::record::BootId;
use palisade_core::time::Mono;
use palisade_runtime::FenceStage;

/// Where the fencing of one remediation stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FenceState {
    /// Stage, in the words of the remediators.
    pub stage: FenceStage,
    /// The boot to end.
    pub boot: Option<BootId>,
    /// UID of the agent lease.
    pub lease_uid: Option<String>,
    /// UID of the stored intent.
    pub intent_uid: Option<String>,
    /// What is missing, for people.
    pub waiting_for: String,
    /// `D`.
    pub deadline: Option<Mono>,
    /// Jurors that promised, and how many have to.
    pub promised: Vec<String>,
    /// How many have to.
    pub quorum: usize,
    /// The proof.
    pub proof: Option<Proof>,
    /// The proof may be handed out: always, except that P1 waits until the new boot is up and confirms.
    pub usable: bool,
    /// Life after the end.
    pub contradiction: Option<String>,
    /// Pods marked before the intent.
    pub marked: Vec<MarkedPod>,
    /// The own taint is on the node.
    pub tainted: bool,
    /// Steps reached, for the timeline.
    pub happened: Vec<Happened>,
    /// When they were reached, on the clock of decisions.
    pub spans: Spans,
}

/// When a session reached what, first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spans {
    /// It began.
    pub began: Option<Mono>,
    /// The marks were stored.
    pub marked: Option<Mono>,
    /// The intent was known to be stored.
    pub intended: Option<Mono>,
    /// Enough jurors had promised.
    pub promised: Option<Mono>,
    /// The proof was made.
    pub proven: Option<Mono>,
}

impl FenceState {
    /// The proof, if it may be used now.
    pub fn usable_proof(&self) -> Option<&Proof> {
        self.proof.as_ref().filter(|_| self.usable && self.contradiction.is_none())
    }

    /// Withdraws what may be used by force, because the boot was seen alive. That it was followed by another boot
    /// stays true.
    pub fn contradict(&mut self, what: &str) {
        if self.proof.as_ref().is_some_and(|proof| !proof.kind.forces()) {
            return;
        }
        self.contradiction.get_or_insert_with(|| what.to_owned());
        self.stage = FenceStage::Contradicted;
        self.usable = false;
    }
}

/// A step that was reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// Which.
    pub stage: Stage,
    /// When.
    pub at: Time,
    /// What it is about (boot or intent), so that a restarted controller does not tell it twice.
    pub about: String,
    /// For people.
    pub detail: String,
}
