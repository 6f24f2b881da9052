//! Signs of life of a boot whose end is, or is about to be, proven.

use super::{Beat, Fencing, SUSPICION, Snapshot};
use crate::time::Mono;

/// A sign of life of the boot.
pub(super) enum Life {
    None,
    /// Of the kubelet's lease, which names no boot.
    Suspect(String),
    /// Of something that names the boot.
    Certain(String),
}

pub(super) enum Verdict {
    Quiet,
    Wait,
    Alive(String),
}

impl Life {
    /// A suspicion becomes certain when no other boot is named in time.
    pub(super) fn judge(self, suspect: &mut Option<Mono>, now: Mono) -> Verdict {
        match self {
            Self::None => Verdict::Quiet,
            Self::Certain(sign) => Verdict::Alive(sign),
            Self::Suspect(sign) => {
                if now.since(*suspect.get_or_insert(now)) >= SUSPICION {
                    Verdict::Alive(sign)
                } else {
                    Verdict::Wait
                }
            }
        }
    }
}

/// Looks for a sign of life that is new in the given sense. The acknowledgement of the intent is none: it may travel
/// late.
pub(super) fn life(
    fencing: &Fencing,
    snapshot: &Snapshot,
    new_status: impl Fn(&Beat) -> bool,
    new_lease: impl Fn(&Beat) -> bool,
) -> Life {
    let (boot, uid) = (&fencing.intent.boot_id, &fencing.intent.uid);
    let record = snapshot.lease.as_ref().and_then(|lease| lease.record.as_ref());
    if let Some(record) = record
        && record.boot_id == *boot
        && record.sequence > fencing.baseline.sequence
        && record.acknowledged.as_ref() != Some(uid)
    {
        return Life::Certain(format!("the agent of boot {boot} wrote its lease (sequence {})", record.sequence));
    }
    let Some(node) = snapshot.node.as_ref().filter(|node| node.boot.as_ref() == Some(boot)) else { return Life::None };
    let Some(heartbeat) = &node.heartbeat else { return Life::None };
    let sign = |beat: &Beat| format!("the kubelet of boot {boot} gave a sign of life ({})", beat.token);
    if let Some(beat) = heartbeat.status.as_ref().filter(|beat| new_status(beat)) {
        return Life::Certain(sign(beat));
    }
    match heartbeat.lease.as_ref().filter(|beat| new_lease(beat)) {
        Some(beat) => Life::Suspect(sign(beat)),
        None => Life::None,
    }
}

pub(super) fn note_life(fencing: &mut Fencing, snapshot: &Snapshot) {
    if let Some(heartbeat) = snapshot.node.as_ref().and_then(|node| node.heartbeat.as_ref()) {
        fencing.baseline.status = heartbeat.status.as_ref().map(|beat| beat.token.clone());
        fencing.baseline.lease = heartbeat.lease.as_ref().map(|beat| beat.token.clone());
        fencing.kubelet_after_agent = heartbeat.after_agent;
    }
    if let Some(record) = snapshot.lease.as_ref().and_then(|lease| lease.record.as_ref())
        && record.boot_id == fencing.intent.boot_id
    {
        fencing.baseline.sequence = fencing.baseline.sequence.max(record.sequence);
    }
}

/// The kubelet's signs of life of the boot as one read showed them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Beats {
    status: Option<String>,
    lease: Option<String>,
}

impl Beats {
    pub(super) fn of(fencing: &Fencing, snapshot: &Snapshot) -> Self {
        let node = snapshot.node.as_ref().filter(|node| node.boot.as_ref() == Some(&fencing.intent.boot_id));
        let heartbeat = node.and_then(|node| node.heartbeat.as_ref());
        let token = |beat: Option<&Beat>| beat.map(|beat| beat.token.clone());
        Self {
            status: token(heartbeat.and_then(|heartbeat| heartbeat.status.as_ref())),
            lease: token(heartbeat.and_then(|heartbeat| heartbeat.lease.as_ref())),
        }
    }

    pub(super) fn new_status(&self, beat: &Beat) -> bool {
        self.status.as_ref().is_some_and(|known| *known != beat.token)
    }

    pub(super) fn new_lease(&self, beat: &Beat) -> bool {
        self.lease.as_ref().is_some_and(|known| *known != beat.token)
    }

    /// What the first read did not show is known from a later one.
    pub(super) fn complete(&mut self, later: Self) {
        self.status = self.status.take().or(later.status);
        self.lease = self.lease.take().or(later.lease);
    }
}
