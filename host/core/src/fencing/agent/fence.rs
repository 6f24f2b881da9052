//! The end of a boot: store "fenced", stop feeding for good, acknowledge, reset; each step within its limit.

use std::time::Duration;

use super::life::NEVER_RESETS;
use super::types::{Effect, Fenced, Level, Peer, RequestId};
use super::{Agent, Kind, Then};
use crate::fencing::record::AgentRecord;
use crate::time::{Mono, millis};

/// Pause between attempts to publish the acknowledgement.
const ACK_RETRY: Duration = Duration::from_secs(1);
/// A reset that did not happen is tried again; the watchdog is the backstop meanwhile.
const RESET_AGAIN: Duration = Duration::from_secs(5);

/// This boot is ending.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Fence {
    pub(super) fenced: Fenced,
    /// The peer that told of the intent; it can carry the acknowledgement.
    told_by: Option<Peer>,
    /// "Fenced" is in the host file. Without that nothing is acknowledged: a restart would forget it.
    stored: bool,
    acknowledged: bool,
    stage: Stage,
    until: Mono,
    next_acknowledgement: Mono,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Storing,
    Acknowledging,
    Resetting,
}

impl Fence {
    fn wants_to_acknowledge(&self) -> bool {
        self.stored && !self.acknowledged && self.fenced.intent_uid.is_some()
    }
}

impl Agent {
    /// An intent for this boot exists. Beats everything.
    pub(super) fn fenced_by_intent(&mut self, now: Mono, uid: String, told_by: Option<Peer>) {
        match &mut self.fence {
            None => {
                let reason = match &told_by {
                    Some(peer) => format!("fence intent {uid} for this boot, told by {}", peer.node),
                    None => format!("fence intent {uid} for this boot"),
                };
                self.begin_fence(now, Fenced { reason, intent_uid: Some(uid) }, told_by);
            }
            Some(fence) if fence.fenced.intent_uid.is_none() => {
                // It ends for another reason already; now it can also say so.
                fence.fenced.intent_uid = Some(uid);
                fence.told_by = told_by;
                fence.stored = false;
                self.store(Then::Fenced);
            }
            Some(fence) => fence.told_by = fence.told_by.take().or(told_by),
        }
    }

    pub(super) fn fence(&mut self, now: Mono, reason: &str) {
        self.begin_fence(now, Fenced { reason: reason.to_owned(), intent_uid: None }, None);
    }

    fn begin_fence(&mut self, now: Mono, fenced: Fenced, told_by: Option<Peer>) {
        self.say(Level::Error, format!("this boot ends: {}", fenced.reason));
        self.fence = Some(Fence {
            fenced,
            told_by,
            stored: false,
            acknowledged: false,
            stage: Stage::Storing,
            until: now + self.steps().store,
            next_acknowledgement: now,
        });
        self.direct.inflight = None;
        self.asking.inflight = None;
        self.effects.push(Effect::StopFeeding);
        self.store(Then::Fenced);
    }

    /// The host file says that this boot is fenced: an earlier process began to end it.
    pub(super) fn resume_fence(&mut self, now: Mono, fenced: Fenced) {
        let acknowledge = if fenced.intent_uid.is_some() { self.steps().acknowledge } else { Duration::ZERO };
        self.say(Level::Error, format!("this boot is fenced already: {}", fenced.reason));
        self.fence = Some(Fence {
            fenced,
            told_by: None,
            stored: true,
            acknowledged: false,
            stage: Stage::Acknowledging,
            until: now + acknowledge,
            next_acknowledgement: now,
        });
        self.effects.push(Effect::StopFeeding);
    }

    pub(super) fn fence_stored(&mut self, now: Mono, stored: bool) {
        let can_acknowledge = self.can_end_this_boot();
        let steps = self.steps();
        let Some(fence) = &mut self.fence else { return };
        fence.stored |= stored;
        fence.next_acknowledgement = now;
        if fence.stage != Stage::Storing {
            return;
        }
        if fence.wants_to_acknowledge() && can_acknowledge {
            fence.stage = Stage::Acknowledging;
            fence.until = now + steps.acknowledge;
        } else {
            self.reset(now);
        }
    }

    /// When the fence has to be looked at again. What cannot be acknowledged is waited for by nobody.
    pub(super) fn fence_deadline(&self) -> Option<Mono> {
        let fence = self.fence.as_ref()?;
        let acknowledges = fence.wants_to_acknowledge() && self.can_end_this_boot();
        Some(if acknowledges { fence.until.min(fence.next_acknowledgement) } else { fence.until })
    }

    /// Whether anything here can end this boot. If not, an acknowledgement would be a lie. What was published does not
    /// count: only a device that is armed now.
    fn can_end_this_boot(&self) -> bool {
        self.resets_by_software() || self.device.as_ref().is_some_and(|device| device.resets)
    }

    /// It is allowed, or it was, and a claim that rests on it is still in force: others count on it.
    fn resets_by_software(&self) -> bool {
        self.settings.software_reboot || self.life.claims_by_software()
    }

    fn steps(&self) -> super::ResetSteps {
        let published = self.life.confirmed().and_then(|published| published.terms.watchdog.as_ref());
        let watchdog = self.watchdog.armed().or(self.device.as_ref()).or(published);
        self.settings.steps.within(watchdog.map(|watchdog| Duration::from_millis(watchdog.timeout_millis)))
    }

    pub(super) fn fence_step(&mut self, now: Mono) {
        let Some(fence) = &self.fence else { return };
        if now >= fence.until {
            self.reset(now);
        }
        let Some(fence) = &self.fence else { return };
        if fence.wants_to_acknowledge() && now >= fence.next_acknowledgement && self.can_end_this_boot() {
            self.acknowledge(now);
        }
    }

    /// Publishes that this boot obeys the intent and feeds nothing any more: directly, and through the peer that told.
    /// Goes on until it is stored or the boot has ended.
    fn acknowledge(&mut self, now: Mono) {
        let Some(fence) = &mut self.fence else { return };
        fence.next_acknowledgement = now + ACK_RETRY;
        let told_by = fence.told_by.clone();
        let Some(base) = self.lease.base() else {
            let id = self.remember(Kind::Read, None, Vec::new());
            self.direct.inflight = Some(id);
            self.effects.push(Effect::ReadLease { request: id });
            self.acknowledge_through(now, told_by);
            return;
        };
        if let Some(record) = self.acknowledging_record(now) {
            let id = self.remember(Kind::Write, Some(record.clone()), Vec::new());
            self.sent_now(id, now);
            self.direct.inflight = Some(id);
            self.effects.push(Effect::WriteLease { request: id, record, base });
        }
        self.acknowledge_through(now, told_by);
    }

    fn acknowledge_through(&mut self, now: Mono, peer: Option<Peer>) {
        let Some((peer, record)) = peer.zip(self.acknowledging_record(now)) else { return };
        let id = self.remember(Kind::Ask, Some(record.clone()), vec![peer.clone()]);
        self.sent_now(id, now);
        let bounds = self.life.bounds();
        self.effects.push(Effect::AskPeers { request: id, record, peers: vec![peer], bounds });
    }

    fn sent_now(&mut self, id: RequestId, now: Mono) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.sent = Some(now);
        }
    }

    /// The terms are those already published, but the means are those that end this boot now: the controller waits for
    /// them, and grades by them. A device that was published and disarmed since is not among them.
    fn acknowledging_record(&mut self, now: Mono) -> Option<AgentRecord> {
        let uid = self.fence.as_ref()?.fenced.intent_uid.clone()?;
        let published = self.life.confirmed().map(|published| published.terms.clone());
        let mut terms = published.unwrap_or_else(|| self.desired_terms(now));
        terms.watchdog.clone_from(&self.device);
        terms.reset_steps_millis = reset_steps_millis(self.resets_by_software(), self.steps());
        self.sequence.0 += 1;
        Some(AgentRecord {
            node: self.me.node.clone(),
            boot_id: self.me.boot_id.clone(),
            sequence: self.sequence.0,
            address: self.me.address.clone(),
            terms,
            generation: self.settings.generation,
            acknowledged: Some(uid),
            disarmed: false,
        })
    }

    /// The lease changed under the acknowledgement, or was only now read: try again at once.
    pub(super) fn acknowledge_soon(&mut self, now: Mono) {
        if let Some(fence) = &mut self.fence {
            fence.next_acknowledgement = now;
        }
    }

    pub(super) fn acknowledged(&mut self, now: Mono) {
        let Some(fence) = &mut self.fence else { return };
        if !fence.acknowledged {
            fence.acknowledged = true;
            self.say(Level::Warn, "the acknowledgement is published");
        }
        if self.fence.as_ref().is_some_and(|fence| fence.stage == Stage::Acknowledging) {
            self.reset(now);
        }
    }

    fn reset(&mut self, now: Mono) {
        let steps = self.steps();
        let software = self.resets_by_software();
        let watchdog = self.can_end_this_boot();
        let Some(fence) = &mut self.fence else { return };
        let again = fence.stage == Stage::Resetting;
        fence.stage = Stage::Resetting;
        fence.until = now + steps.sysrq + steps.reboot + RESET_AGAIN;
        if software {
            self.effects.push(Effect::Reset(steps));
        } else if !again && watchdog {
            self.say(Level::Error, "software reboot is disabled: the watchdog ends this boot");
        } else if !again {
            self.say(
                Level::Error,
                "software reboot is disabled and there is no watchdog: nothing here can end this boot",
            );
        }
    }
}

/// What is published of the software steps. Where they are disabled they end nothing.
pub(super) fn reset_steps_millis(enabled: bool, steps: super::ResetSteps) -> u64 {
    millis(if enabled { steps.total() } else { NEVER_RESETS })
}
