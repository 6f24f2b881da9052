//! What a controller sees: its consistent reads, and what it noted by watch.

use std::time::Duration;

use palisade_core::fencing::prover::{Heartbeat, LeaseRead, NodeRead, Snapshot};
use palisade_core::fencing::sightings::Sightings;
use palisade_core::fencing::timing::SCHEDULING_MARGIN;
use palisade_core::time::{Mono, millis};

use crate::env::{Env, boot_id, name};
use crate::mutants::Mutant;
use crate::world::{Message, World};

impl Env {
    /// A consistent read of Node and lease.
    pub fn snapshot(&self, world: &mut World, controller: usize) -> Option<Snapshot> {
        let now = Mono(world.now);
        // One controller stores at most one intent over one version: never used twice.
        let fresh_uid = world.api.leases[0].as_ref().map_or_else(String::new, |lease| {
            (crate::canon::UID + 10 * lease.version.0 + controller as u64).to_string()
        });
        let node = &world.api.node;
        let subject = &world.nodes[0];
        let after_agent = (self.config.watchdog.is_none()).then(|| subject.kubelet_at.since(subject.renewed_at));
        let mut node = NodeRead {
            uid: node.uid.to_string(),
            boot: (node.boot != 0).then(|| boot_id(node.boot)),
            heartbeat: Some(Heartbeat { status: None, lease: None, after_agent }),
        };
        let stored = world.api.leases[0].clone();
        let fenced = world.controllers[controller].prover.as_ref()?.intent().cloned();
        let sightings = &mut world.controller(controller).sightings;
        let mut lease = stored.map(|stored| {
            let uid = stored.uid.to_string();
            let version = stored.version.to_string();
            let first_seen = sightings.see(&name(0), &uid, &version, now);
            let intent_first_seen =
                stored.view.intent.as_ref().map(|intent| sightings.intent(&name(0), &uid, &intent.uid, now));
            LeaseRead {
                first_seen,
                uid,
                version,
                record: stored.view.record,
                unverified: None,
                intent: stored.view.intent,
                intent_first_seen,
            }
        });
        self.distort(world, &mut node, lease.as_mut(), fenced.as_ref());
        let begun = if self.is(Mutant::ShortOfD) { now + Duration::from_millis(2 * self.config.tick) } else { now };
        Some(Snapshot { begun, node: Some(node), lease, fresh_uid })
    }

    /// What the mutants make of a read.
    fn distort(
        &self,
        world: &World,
        node: &mut NodeRead,
        lease: Option<&mut LeaseRead>,
        fenced: Option<&palisade_core::fencing::record::FenceIntent>,
    ) {
        let Some(lease) = lease else { return };
        if self.is(Mutant::AnyIntentUid) && fenced.is_some() {
            lease.intent = fenced.cloned();
        }
        if self.is(Mutant::WatchCache)
            && let Some(fenced) = fenced
        {
            // As it was when the intent was stored.
            lease.intent = Some(fenced.clone());
            node.boot = Some(fenced.boot_id.clone());
            if let Some(record) = &mut lease.record {
                record.boot_id = fenced.boot_id.clone();
            }
        }
        if self.is(Mutant::AcknowledgedIsEnded)
            && lease.record.as_ref().is_some_and(|record| record.acknowledged.is_some())
        {
            lease.first_seen = Mono(0);
        }
        if self.is(Mutant::EmptyBootIsOther) && fenced.is_some() && node.boot.is_none() {
            node.boot = Some(boot_id(0));
        }
        if self.is(Mutant::SilenceOverLeaderChange) {
            lease.first_seen = Mono(0);
            lease.intent_first_seen = lease.intent_first_seen.map(|_| Mono(0));
        }
        let Some(record) = lease.record.as_mut().filter(|_| fenced.is_none() && lease.intent.is_none()) else { return };
        if self.is(Mutant::EitherDirection)
            && let Some(boot) = &node.boot
        {
            record.boot_id = boot.clone();
        }
        if self.is(Mutant::OneWatchdogTimeout)
            && let Some(watchdog) = &mut record.terms.watchdog
        {
            watchdog.timeout_millis /= 2;
        }
        if self.is(Mutant::TimeInSpiteOfExemption) {
            record.terms.claims.may_exempt = false;
        }
        if let Some(watchdog) = &mut record.terms.watchdog {
            // The device seems so much faster that the bound comes out without this part of the margin.
            let (time_to_live, timeout) = (record.terms.time_to_live_millis, watchdog.timeout_millis);
            let whole = time_to_live + 2 * timeout;
            let scheduling = millis(SCHEDULING_MARGIN);
            let part = match () {
                () if self.is(Mutant::IgnoreClockRates) => whole.saturating_sub(whole / 100),
                () if self.is(Mutant::IgnoreScheduling) => whole.saturating_sub(scheduling),
                () => whole,
            };
            watchdog.timeout_millis = part.saturating_sub(time_to_live) / 2;
        }
        if self.is(Mutant::TodaysTimeToLive) {
            record.terms.time_to_live_millis = millis(crate::config::tuning(world.nodes[0].check).time_to_live());
        }
    }

    /// Every controller that can see the lease has seen it: the earliest sight is the worst case for `D`.
    pub fn watch(world: &mut World) {
        let Some(lease) = world.api.leases[0].clone() else { return };
        for controller in 0..world.controllers.len() {
            let state = &world.controllers[controller];
            if state.paused || !world.controller_reads(state.cut) {
                continue;
            }
            let now = Mono(world.now);
            let (node, uid) = (name(0), lease.uid.to_string());
            let mut known = state.sightings.clone();
            let first = known.see(&node, &uid, &lease.version.to_string(), now);
            // Sights of older versions matter to nobody; they would only make states differ.
            let mut seen = Sightings::default();
            seen.see(&node, &uid, &lease.version.to_string(), first);
            let writing = world.net.iter().chain(world.held.iter().map(|(_, message)| message)).filter_map(|message| {
                match &**message {
                    Message::Intend { controller: sender, write } if *sender == controller => Some(&write.intent),
                    _ => None,
                }
            });
            for intent in lease.view.intent.iter().chain(writing) {
                let at = known.intent(&node, &uid, &intent.uid, now);
                seen.attempt(&node, &uid, &intent.uid, at);
            }
            if seen != state.sightings {
                world.controller(controller).sightings = seen;
            }
        }
    }
}
