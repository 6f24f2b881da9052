//! After P1: the boot that followed is awaited, and fenced in its turn if it falls silent.

use std::time::Duration;

use palisade_core::fencing::prover::{Beat, Event, Prover};

use super::super::FenceState;
use super::super::read::{boot_of, is_ready};
use super::{Session, settings};
use crate::clock;

/// A new boot that is not ready after this time has fallen silent too, and is fenced in its turn.
const NEW_BOOT_GRACE: Duration = Duration::from_mins(1);

impl Session {
    /// P1 forces nothing: the new boot's kubelet confirms the marked pods, or, if it falls silent, it is fenced in its
    /// turn.
    pub(super) fn await_new_boot(&mut self) {
        self.note_new_boot_life();
        let Some(since) = self.boot_changed.filter(|_| self.prover.proof().is_some()) else { return };
        let Some(proof) = self.state.proof.clone() else { return };
        let node = self.last.as_ref().and_then(|read| read.node.as_ref());
        let back = node.is_some_and(|node| is_ready(node) && boot_of(node).is_some_and(|boot| boot != proof.boot));
        let wait = NEW_BOOT_GRACE.max(proof.terms.life_bound());
        if back {
            self.state.usable = true;
        } else if clock::now().since(since) > wait {
            tracing::warn!(
                node = self.wanted.target.node,
                "the new boot did not become ready: it is fenced in its turn"
            );
            self.boot_changed = None;
            self.state = FenceState { happened: std::mem::take(&mut self.state.happened), ..FenceState::default() };
            let next = Prover::after(settings(&self.wanted), proof.boot, clock::now());
            self.prover = next.externally(self.wanted.external);
            self.feed(Event::Tick);
        }
    }

    /// The silence of the new boot counts from its last sign of life.
    fn note_new_boot_life(&mut self) {
        if self.boot_changed.is_none() {
            self.new_boot_life = None;
            return;
        }
        let Some(snapshot) = self.last.as_ref().map(|read| &read.snapshot) else { return };
        let heartbeat = snapshot.node.as_ref().and_then(|node| node.heartbeat.as_ref());
        let token = |beat: Option<&Beat>| beat.map(|beat| beat.token.clone());
        let signs = (
            token(heartbeat.and_then(|heartbeat| heartbeat.status.as_ref())),
            token(heartbeat.and_then(|heartbeat| heartbeat.lease.as_ref())),
            snapshot.lease.as_ref().and_then(|lease| lease.record.as_ref()).map(|record| record.sequence),
        );
        if self.new_boot_life.as_ref() != Some(&signs) {
            self.new_boot_life = Some(signs);
            self.boot_changed = Some(clock::now());
        }
    }
}
