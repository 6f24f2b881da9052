//! From a proof to what it allows.

use palisade_core::fencing::proof::{Proof, ProofKind};
use palisade_core::time::Mono;

use crate::env::{Env, boot_id, boot_number};
use crate::mutants::Mutant;
use crate::world::{Foul, Release, World};

/// How long a release may go on after its consistent read, by the controller's own clock.
const RELEASE_LIMIT: u64 = 1_000;

impl Env {
    pub fn proven(&self, world: &mut World, controller: usize, proof: &Proof) {
        let boot = boot_number(&proof.boot);
        if world.nodes[0].boot == boot {
            world.foul(Foul::FalseProof { node: 0, boot, proof: proof.kind });
        }
        let forces = proof.kind.forces() || self.is(Mutant::ChangedBootForces) || self.is(Mutant::IntentBeforeMarks);
        world.controller(controller).release = forces.then(|| Release {
            kind: proof.kind,
            intent_uid: proof.intent_uid.clone(),
            boot: proof.boot.clone(),
            checked: None,
        });
    }

    /// The consistent read before a release. Clears the release when it no longer holds.
    pub fn check_release(&self, world: &mut World, controller: usize) {
        let now = world.now;
        let Some(release) = world.controllers[controller].release.clone() else { return };
        let blind =
            [Mutant::AnyIntentUid, Mutant::TrustTheGuest, Mutant::WatchCache].into_iter().any(|one| self.is(one));
        let holds = blind
            || world
                .view(0)
                .and_then(|view| view.intent.as_ref())
                .is_some_and(|intent| intent.uid == release.intent_uid);
        let other_boot = world.api.node.boot != 0 && boot_id(world.api.node.boot) != release.boot;
        let other_record =
            world.view(0).and_then(|view| view.record.as_ref()).is_some_and(|record| record.boot_id != release.boot);
        let forced = [Mutant::ChangedBootForces, Mutant::IntentBeforeMarks, Mutant::WatchCache]
            .into_iter()
            .any(|one| self.is(one));
        let changed = (other_boot || other_record) && !forced;
        let versions = world.api.pods.iter().map(|pod| pod.version).collect();
        let state = world.controller(controller);
        state.release = (holds && !changed).then_some(Release { checked: Some((Mono(now), versions)), ..release });
    }

    /// Whether a checked release may still be carried out.
    pub fn may_release(&self, world: &World, controller: usize) -> bool {
        let state = &world.controllers[controller];
        let checked = state.release.as_ref().and_then(|release| release.checked.as_ref());
        checked.is_some_and(|(at, _)| self.is(Mutant::ReleaseWithoutVersion) || world.now <= at.0 + RELEASE_LIMIT)
    }

    /// Takes away by force what the proof allows.
    pub fn release(&self, world: &mut World, controller: usize) {
        let Some(release) = world.controllers[controller].release.clone() else { return };
        let Some((_, versions)) = release.checked else { return };
        for (index, version) in versions.iter().enumerate() {
            let pod = world.api.pods[index].clone();
            // The mutant of line 1 takes away only what was marked.
            let kept = self.is(Mutant::IntentBeforeMarks) && release.kind == ProofKind::BootChanged && !pod.marked;
            if kept || pod.gone || (pod.version != *version && !self.is(Mutant::ReleaseWithoutVersion)) {
                continue;
            }
            let subject = &world.nodes[0];
            if let Some(boot) = pod.running.filter(|boot| subject.boot == *boot) {
                world.foul(Foul::RunningTwice { node: 0, boot, proof: release.kind });
            }
            world.api().pods[index].gone = true;
        }
        world.released = Some(release.kind);
        world.controller(controller).release = None;
    }
}

/// Graceful deletion of the first class.
pub fn mark(world: &mut World) {
    for pod in &mut world.api().pods {
        if pod.first_class && !pod.marked {
            pod.marked = true;
            pod.version += 1;
        }
    }
}
