//! A remediation from its first call to its last: the scenario plays the host, time is what the test says it is.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use super::{Effect, Played, Scenario};
use crate::Remediator;
use crate::agent::Reach;
use crate::fencing::{ProofKind, Stage};
use crate::scheduling::OwnTaintEffect;
use crate::target::{Node, NodeCondition};
use crate::workloads::{ReleaseMethod, Restoration};
use crate::{Taint, Verdict};

/// Longest memory, longest name of a step and longest key that the host takes, in bytes.
const LIMITS: (usize, usize, usize) = (4096, 64, 128);

impl Scenario {
    /// A fresh remediation of this node, which has been silent for a minute and has three pods.
    pub fn node(name: &str) -> Self {
        let mut scenario = Self::new();
        (scenario.remediation.node, scenario.remediation.name) = (name.into(), name.into());
        scenario.target = Some(Node {
            name: name.into(),
            boot_id: "boot-1".into(),
            provider_id: String::new(),
            unschedulable: false,
            conditions: vec![NodeCondition {
                kind: "Ready".into(),
                status: "Unknown".into(),
                reason: "NodeStatusUnknown".into(),
                age: 60_000,
            }],
            taints: Vec::new(),
            labels: Vec::new(),
        });
        scenario
    }

    /// The boot that is in trouble.
    #[must_use]
    pub fn boot(mut self, id: &str) -> Self {
        self.agent.boot_id = id.into();
        if let Some(node) = &mut self.target {
            node.boot_id = id.into();
        }
        if let Some(proof) = &mut self.proof {
            proof.boot_id = id.into();
        }
        self
    }

    /// Pods that a release removes.
    #[must_use]
    pub fn pods(mut self, count: u32) -> Self {
        self.remains.pods = count;
        self
    }

    /// Volume attachments of the node.
    #[must_use]
    pub fn volumes(mut self, count: u32) -> Self {
        self.remains.volume_attachments = count;
        self
    }

    /// How long nothing was heard of the node.
    #[must_use]
    pub fn silent_for(mut self, length: Duration) -> Self {
        for condition in self.target.iter_mut().flat_map(|node| &mut node.conditions) {
            condition.age = millis(length);
        }
        self
    }

    /// Strategy of the template.
    #[must_use]
    pub fn strategy(mut self, strategy: &str) -> Self {
        self.remediation.strategy = strategy.into();
        self
    }

    /// Parameters of the template, as JSON.
    #[must_use]
    pub fn parameters(mut self, json: &str) -> Self {
        self.remediation.parameters = json.into();
        self
    }

    /// Begins to play.
    pub fn start<R: Remediator>(self) -> Story<R> {
        Story { scenario: self, committed: BTreeMap::new(), elapsed: Duration::ZERO, calls: 0, remediator: PhantomData }
    }
}

/// A remediation under way. Effects of every call that answered take effect here, as they would in a cluster; what the
/// host would refuse for the life of the remediation (a key that comes to mean something else, too much memory) panics.
#[derive(Debug)]
pub struct Story<R> {
    /// The world; can be changed between calls.
    pub scenario: Scenario,
    committed: BTreeMap<String, Effect>,
    elapsed: Duration,
    calls: u32,
    remediator: PhantomData<R>,
}

impl<R: Remediator> Story<R> {
    /// The host calls.
    ///
    /// # Panics
    ///
    /// When the host would refuse what the answer says.
    pub fn call(&mut self) -> Played {
        let played = self.scenario.play::<R>();
        self.take(played)
    }

    /// Takes what a call of the same world came to elsewhere, for example in the component, as if it had been made here.
    ///
    /// # Panics
    ///
    /// When the host would refuse what the answer says.
    pub fn take(&mut self, played: Played) -> Played {
        self.calls += 1;
        if let Ok(outcome) = &played.answer {
            let (memory, step, key_length) = LIMITS;
            assert!(
                outcome.memory.len() <= memory,
                "the host takes {memory} bytes of memory, not {}",
                outcome.memory.len()
            );
            assert!(outcome.step.len() <= step, "the host takes {step} bytes of a step's name: {:?}", outcome.step);
            for (key, effect) in &played.effects {
                assert!(
                    (1..=key_length).contains(&key.len()),
                    "the host takes keys of 1 to {key_length} bytes: {key:?}"
                );
                self.commit(key, effect);
            }
            self.scenario.remediation.step.clone_from(&outcome.step);
            self.scenario.remediation.memory.clone_from(&outcome.memory);
        }
        played
    }

    fn commit(&mut self, key: &str, effect: &Effect) {
        let earlier = self.committed.insert(key.to_owned(), effect.clone());
        let changeable = matches!(effect, Effect::Condition(..));
        if let Some(earlier) = earlier.filter(|earlier| earlier != effect && !changeable) {
            #[expect(clippy::panic, reason = "a test harness: failing is how it reports")]
            {
                panic!("key {key:?} named {earlier:?} in an earlier call, now {effect:?}; the host refuses that");
            }
        }
        let world = &mut self.scenario;
        match effect {
            Effect::RequestFence(_) => {
                world.remains.held = true;
                if matches!(world.fencing.stage, Stage::Idle | Stage::Requested) {
                    world.fencing.stage = Stage::Intended;
                    // A node without agent is known by the boot that its kubelet names.
                    let named = world.target.as_ref().map(|node| node.boot_id.as_str()).unwrap_or_default();
                    let boot = if world.agent.boot_id.is_empty() { named } else { &world.agent.boot_id };
                    boot.clone_into(&mut world.fencing.boot_id);
                    world.fencing.waiting_for = "promises of the jury".into();
                }
            }
            Effect::Release(_, how) => {
                (world.remains.released, world.remains.held) = (Some(*how), true);
                world.remains.out_of_service |= *how == ReleaseMethod::OutOfServiceTaint;
            }
            Effect::Restore(Restoration::OutOfServiceTaint) => world.remains.out_of_service = false,
            Effect::Restore(Restoration::Everything) => {
                (world.remains.out_of_service, world.remains.held) = (false, false);
                world.ours.cordoned = false;
                world.ours.taints.clear();
            }
            Effect::Cordon => (world.ours.cordoned, world.remains.held) = (true, true),
            Effect::Uncordon => world.ours.cordoned = false,
            Effect::SetTaint(taint) => {
                world.ours.taints.retain(|known| known.key != taint.key);
                let effect = match taint.effect {
                    OwnTaintEffect::NoSchedule => "NoSchedule",
                    OwnTaintEffect::PreferNoSchedule => "PreferNoSchedule",
                };
                let (key, value) = (taint.key.clone(), taint.value.clone());
                world.ours.taints.push(Taint { key, value, effect: effect.into() });
                world.remains.held = true;
            }
            Effect::RemoveTaint(taint) => world.ours.taints.retain(|known| known.key != taint.key),
            // What tells people changes nothing that a remediator can see.
            _ => {}
        }
    }

    /// Time passes: everything gets older, what is due comes nearer.
    pub fn advance(&mut self, length: Duration) {
        let passed = millis(length);
        self.elapsed += length;
        let world = &mut self.scenario;
        world.remediation.age += passed;
        for condition in world.target.iter_mut().flat_map(|node| &mut node.conditions) {
            condition.age += passed;
        }
        for age in world.agent.last_renewal.iter_mut().chain(world.proof.iter_mut().map(|proof| &mut proof.age)) {
            *age += passed;
        }
        if let Some(due) = &mut world.fencing.due {
            *due = due.saturating_sub(passed);
        }
    }

    /// The host proves that the boot ended.
    ///
    /// # Panics
    ///
    /// When nobody asked for fencing: only what was asked for is proven. When the world names no boot: no host proves the
    /// end of nothing.
    pub fn prove(&mut self, kind: ProofKind) {
        assert!(self.fencing(), "nobody asked for fencing, so there is nothing to prove");
        let boot = self.scenario.fencing.boot_id.clone();
        assert!(!boot.is_empty(), "neither agent nor node names a boot, so there is none whose end can be proven");
        self.scenario = self.scenario.clone().proven(kind);
        self.scenario.fencing.waiting_for.clear();
        if let Some(proof) = &mut self.scenario.proof {
            proof.boot_id = boot;
        }
    }

    /// The boot that was proven dead shows a sign of life.
    pub fn contradict(&mut self, sign: &str) {
        self.scenario.fencing.stage = Stage::Contradicted;
        self.scenario.fencing.waiting_for = sign.into();
    }

    /// Pods and volumes have gone.
    pub fn workloads_are_gone(&mut self) {
        (self.scenario.remains.pods, self.scenario.remains.volume_attachments) = (0, 0);
    }

    /// The node is back with another boot.
    pub fn comes_back(&mut self, boot: &str) {
        let world = &mut self.scenario;
        (world.agent.boot_id, world.agent.reach) = (boot.into(), Reach::Direct);
        if let Some(node) = &mut world.target {
            node.boot_id = boot.into();
            for condition in node.conditions.iter_mut().filter(|condition| condition.kind == "Ready") {
                (condition.status, condition.age) = ("True".into(), 0);
            }
        }
    }

    /// The remediation's owner gives up waiting.
    pub fn time_out(&mut self) {
        self.scenario.remediation.timed_out = true;
    }

    /// The remediation is deleted. The host holds no proof from then on.
    pub fn delete(&mut self) {
        self.scenario.remediation.deleting = true;
        self.scenario.proof = None;
    }

    /// Whether fencing was asked for.
    pub fn fencing(&self) -> bool {
        self.scenario.fencing.stage != Stage::Idle
    }

    /// Whether the workloads were released.
    pub fn released(&self) -> bool {
        self.scenario.remains.released.is_some()
    }

    /// Everything committed so far, by key.
    pub fn committed(&self) -> &BTreeMap<String, Effect> {
        &self.committed
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Calls so far.
    pub fn calls(&self) -> u32 {
        self.calls
    }
}

impl Played {
    /// The answer was: done.
    pub fn succeeded(&self) -> bool {
        matches!(&self.answer, Ok(outcome) if outcome.verdict == Verdict::Succeeded)
    }

    /// The answer was: it cannot be done, for a reason that contains this.
    pub fn failed(&self, reason: &str) -> bool {
        matches!(&self.answer, Ok(outcome) if matches!(&outcome.verdict, Verdict::Failed(why) if why.contains(reason)))
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{self, Flow};
    use crate::{Failure, Outcome, Remediation};

    struct Waits;

    impl Remediator for Waits {
        fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
            match flow::fence(&remediation)? {
                Flow::Answer(outcome) => Ok(outcome),
                Flow::Proven(proof, _) => Ok(Outcome::succeeded(proof.boot_id())),
                Flow::Released(_) => Ok(Outcome::succeeded("released")),
            }
        }
    }

    /// Found by the differential suite: the host makes no proof without a boot, and the harness did.
    #[test]
    fn without_an_agent_the_boot_of_the_node_is_the_one_that_is_proven_dead() {
        let mut story = Scenario::node("n1").boot("b1").start::<Waits>();
        story.scenario.agent.boot_id.clear();
        story.call();
        story.prove(ProofKind::PoweredOff);
        assert_eq!(story.call().step(), "b1");
    }

    #[test]
    #[should_panic(expected = "none whose end can be proven")]
    fn where_nothing_names_a_boot_nothing_is_proven() {
        let mut story = Scenario::node("n1").boot("").start::<Waits>();
        story.call();
        story.prove(ProofKind::PoweredOff);
    }
}
