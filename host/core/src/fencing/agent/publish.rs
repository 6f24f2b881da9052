//! What the lease is to say: the terms that follow from configuration, peers and means.

use std::time::Duration;

use super::fence::reset_steps_millis;
use super::types::{Peer, Settings};
use super::{Agent, jury};
use crate::fencing::record::{AgentRecord, Claims, Terms};
use crate::time::{Mono, millis};

impl Agent {
    /// The terms this agent wants to publish now.
    pub(super) fn desired_terms(&self, now: Mono) -> Terms {
        let jury = if self.identity { jury::choose(&self.me.node, &self.roster) } else { Vec::new() };
        // On the way to "disarmed" the device counts no more, for nobody.
        let watchdog = self.device.clone().filter(|_| self.stopping.is_none());
        let means = self.settings.software_reboot || watchdog.as_ref().is_some_and(|watchdog| watchdog.resets);
        let ready = self.contacted && (!self.settings.watchdog || self.watchdog.settled());
        let enough_peers = u32::try_from(jury.len()).unwrap_or(u32::MAX) >= self.settings.min_peers;
        // A claim made after `L` would end the node at once, where it only has to be renewed first.
        let alive = self.life.until().is_some_and(|until| now < until);
        let self_fences = self.identity && alive && ready && means && enough_peers && self.stopping.is_none();
        let timeout = watchdog.as_ref().map(|watchdog| Duration::from_millis(watchdog.timeout_millis));
        Terms {
            time_to_live_millis: millis(self.settings.tuning.time_to_live()),
            watchdog,
            reset_steps_millis: reset_steps_millis(self.settings.software_reboot, self.settings.steps.within(timeout)),
            jury,
            min_peers: self.settings.min_peers,
            claims: Claims { self_fences, may_exempt: self.settings.diagnose },
        }
    }

    /// The next record, entered into the life as "may be in force".
    pub(super) fn next_record(&mut self, now: Mono) -> AgentRecord {
        self.sequence.0 += 1;
        self.sequence_known = true;
        let terms = self.desired_terms(now);
        self.life.sending(now, self.sequence.0, &terms);
        AgentRecord {
            node: self.me.node.clone(),
            boot_id: self.me.boot_id.clone(),
            sequence: self.sequence.0,
            address: self.me.address.clone(),
            terms,
            generation: self.settings.generation,
            acknowledged: None,
            disarmed: self.stopping.is_some(),
        }
    }

    pub(super) fn roster_changed(&mut self, now: Mono, roster: Vec<Peer>) {
        for peer in &roster {
            self.addresses.insert(peer.node.clone(), peer.clone());
        }
        self.roster = roster;
        self.publish_if_changed(now);
    }

    pub(super) fn settings_changed(&mut self, now: Mono, settings: Settings) {
        self.settings = settings;
        self.update_reset_times();
        self.publish_if_changed(now);
    }

    /// Terms differ from the published ones: renew at once instead of at the next interval.
    pub(super) fn publish_if_changed(&mut self, now: Mono) {
        let desired = self.desired_terms(now);
        if self.life.confirmed().is_some_and(|confirmed| confirmed.terms != desired) {
            self.direct.hurry(now);
        }
    }
}
