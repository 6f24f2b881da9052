//! Steps 2 and 3: both sources name the boot, and the intent for it goes into the lease.

use std::borrow::Cow;

use super::promises::Promises;
use super::{
    Baseline, Beat, Effect, Fencing, Heartbeat, LeaseRead, NodeRead, Prover, RETRY, Snapshot, Stage, WriteIntent,
    WriteOutcome, ask,
};
use crate::fencing::record::{AgentRecord, BootId, Claims, FenceIntent, Terms};
use crate::time::Mono;

/// A read that names a boot on both sides.
struct Readable<'a> {
    node: &'a NodeRead,
    node_boot: &'a BootId,
    lease: &'a LeaseRead,
    record: Cow<'a, AgentRecord>,
}

impl Prover {
    /// Marks again only when both sources name one boot, and one whose end is not proven already. Where an own intent
    /// shows that its boot has ended, nothing has to be marked: P1 forces nothing.
    pub(super) fn look(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<Effect> {
        self.due = now + self.patience;
        let Some(Readable { node_boot, lease, record, .. }) = self.readable(snapshot) else {
            return vec![];
        };
        let one_boot = *node_boot == record.boot_id;
        let followed = lease.intent.as_ref().is_some_and(|intent| {
            intent.owners.contains(&self.settings.owner)
                && self.superseded.as_ref() != Some(&intent.boot_id)
                && !(one_boot && intent.boot_id == *node_boot)
        });
        if !one_boot || followed {
            return self.intend(snapshot, now);
        }
        if self.superseded.as_ref() == Some(node_boot) {
            return self.begin_again("the boot that both name has ended already", now);
        }
        self.stage = Stage::Marking;
        self.due = now + RETRY;
        vec![Effect::Mark]
    }

    /// Steps 2 and 3.
    pub(super) fn intend(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<Effect> {
        self.due = now + RETRY;
        let Some(Readable { node, node_boot, lease, record }) = self.readable(snapshot) else { return vec![] };

        if let Some(intent) = &lease.intent {
            let ours = intent.owners.contains(&self.settings.owner);
            if intent.boot_id == *node_boot && intent.boot_id == record.boot_id {
                let mut intent = intent.clone();
                if ours {
                    return self.fence(intent, lease, node, lease.intent_first_seen.unwrap_or(now), now);
                }
                // A second remediation attaches: same intent, same terms, one more owner.
                intent.owners.push(self.settings.owner.clone());
                return self.write(intent, lease, node, lease.intent_first_seen.unwrap_or(now), now);
            }
            if ours && (intent.boot_id == *node_boot || intent.boot_id == record.boot_id) {
                // Both named that boot when the intent was written, and now one of them names another: P1 (after a
                // restart of this controller, or before the other source caught up).
                return self.boot_changed_before_attach(intent.clone(), node, lease, now);
            }
            if intent.boot_id == *node_boot || intent.boot_id == record.boot_id {
                return self.begin_again(
                    &format!(
                        "the stored intent is for boot {}, the node names {node_boot}, the agent lease {}",
                        intent.boot_id, record.boot_id
                    ),
                    now,
                );
            }
            if ours && self.superseded.as_ref() != Some(&intent.boot_id) {
                // The same, once both sources caught up: what runs now is not what this remediation is about.
                return self.boot_changed_before_attach(intent.clone(), node, lease, now);
            }
            // Both sources name a later boot: the stored intent guards nothing any more and makes room.
        }
        if *node_boot != record.boot_id {
            return self.begin_again(
                &format!("the node names boot {node_boot}, its agent lease names {}", record.boot_id),
                now,
            );
        }
        let terms = in_force(&record);
        let intent = FenceIntent {
            uid: snapshot.fresh_uid.clone(),
            boot_id: record.boot_id.clone(),
            terms,
            based_on_sequence: record.sequence,
            owners: vec![self.settings.owner.clone()],
        };
        self.write(intent, lease, node, lease.first_seen, now)
    }

    /// Node and lease with a boot each, or the reason why not.
    fn readable<'a>(&mut self, snapshot: &'a Snapshot) -> Option<Readable<'a>> {
        let other = "an agent that publishes its lease on this node, or a proof from outside: power off, machine gone, a person";
        let Some(node) = &snapshot.node else {
            self.refuse("no boot can be fenced", "the Node object does not exist", "the Node object comes back");
            return None;
        };
        let Some(node_boot) = &node.boot else {
            self.refuse("no boot can be fenced", "the Node reports no boot id", "the kubelet reports one");
            return None;
        };
        let Some(lease) = &snapshot.lease else {
            self.refuse("no intent can be stored", "the node has no agent lease", other);
            return None;
        };
        let record = match &lease.record {
            Some(record) => Some(Cow::Borrowed(record)),
            None if self.external && lease.unverified.is_none() => Some(Cow::Owned(nobody(node_boot))),
            None => None,
        };
        let Some(record) = record else {
            let why = lease.unverified.as_deref().unwrap_or("the agent lease carries no record");
            self.refuse("no intent can be stored", why, other);
            return None;
        };
        Some(Readable { node, node_boot, lease, record })
    }

    pub(super) fn fencing_on(
        intent: FenceIntent,
        lease: &LeaseRead,
        node: &NodeRead,
        counted_from: Mono,
        now: Mono,
    ) -> Fencing {
        Fencing {
            intent,
            lease_uid: lease.uid.clone(),
            node_uid: node.uid.clone(),
            counted_from,
            intended: now,
            promises: Promises::default(),
            acknowledged: None,
            asking: false,
            ask_again: now,
            evidence: None,
            baseline: Baseline {
                sequence: lease.record.as_ref().map_or(0, |record| record.sequence),
                status: beat(node, |heartbeat| heartbeat.status.as_ref()),
                lease: beat(node, |heartbeat| heartbeat.lease.as_ref()),
            },
            after_end: None,
            suspect: None,
            kubelet_after_agent: node.heartbeat.as_ref().and_then(|heartbeat| heartbeat.after_agent),
        }
    }

    fn write(&mut self, intent: FenceIntent, lease: &LeaseRead, node: &NodeRead, from: Mono, now: Mono) -> Vec<Effect> {
        self.refusal = None;
        let effect = WriteIntent {
            lease_uid: lease.uid.clone(),
            lease_version: lease.version.clone(),
            intent: intent.clone(),
            counted_from: from,
        };
        self.stage = Stage::Writing(Box::new(Self::fencing_on(intent, lease, node, from, now)));
        vec![Effect::WriteIntent(Box::new(effect))]
    }

    pub(super) fn written(&mut self, outcome: WriteOutcome, now: Mono) -> Vec<Effect> {
        let Stage::Writing(fencing) = &self.stage else { return vec![] };
        match outcome {
            WriteOutcome::Stored => {
                let mut fencing = fencing.clone();
                fencing.intended = now;
                self.enter(fencing, now)
            }
            // The lease moved on: read again at once.
            WriteOutcome::Conflict => {
                self.stage = Stage::Reading;
                self.due = now + RETRY;
                vec![Effect::Read]
            }
            // Nobody knows: a later read shows it. If the write did land, the lease carries its UID, whose base the
            // sightings remember. Not at once: where reads work and writes do not, that would spin.
            WriteOutcome::Unknown { why } => {
                self.refuse("the intent may not be stored", &why, "the API answers writes again");
                self.stage = Stage::Reading;
                self.due = now + RETRY;
                vec![]
            }
        }
    }

    fn fence(&mut self, intent: FenceIntent, lease: &LeaseRead, node: &NodeRead, from: Mono, now: Mono) -> Vec<Effect> {
        self.enter(Box::new(Self::fencing_on(intent, lease, node, from, now)), now)
    }

    /// Step 4 begins at once. The lease was read or written just now, so the next look comes with the last promise that was
    /// missing; only without anybody to ask there is nothing else to wait for.
    fn enter(&mut self, mut fencing: Box<Fencing>, now: Mono) -> Vec<Effect> {
        self.refusal = None;
        let jurors = fencing.promises.to_ask(&fencing.intent.terms, now);
        let effects = if jurors.is_empty() {
            vec![Effect::Read]
        } else {
            fencing.asking = true;
            vec![ask(&fencing.intent, jurors)]
        };
        self.stage = Stage::Fencing(fencing);
        self.due = now + RETRY;
        self.patience = RETRY;
        effects
    }
}

/// What stands for the record of a node without agent: it promises nothing, so that nothing follows from time.
fn nobody(boot: &BootId) -> AgentRecord {
    AgentRecord {
        node: String::new(),
        boot_id: boot.clone(),
        sequence: 0,
        address: String::new(),
        terms: Terms {
            time_to_live_millis: 0,
            watchdog: None,
            reset_steps_millis: 0,
            jury: Vec::new(),
            min_peers: 0,
            claims: Claims::default(),
        },
        generation: 0,
        acknowledged: None,
        disarmed: true,
    }
}

/// The terms of a record. Nothing guards a disarmed node, whatever was claimed before.
pub(super) fn in_force(record: &AgentRecord) -> Terms {
    let mut terms = record.terms.clone();
    if record.disarmed {
        terms.claims.self_fences = false;
        terms.watchdog = None;
    }
    terms
}

fn beat(node: &NodeRead, which: impl FnOnce(&Heartbeat) -> Option<&Beat>) -> Option<String> {
    node.heartbeat.as_ref().and_then(which).map(|beat| beat.token.clone())
}
