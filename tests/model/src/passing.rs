//! Time passes.

use palisade_core::fencing::agent::Event;
use palisade_core::fencing::prover;
use palisade_core::fencing::record::LeaseView;
use palisade_core::time::Mono;

use crate::env::Env;
use crate::mutants::Mutant;
use crate::world::World;

impl Env {
    fn next_tick(&self, world: &World) -> u64 {
        (world.now / self.config.tick + 1) * self.config.tick
    }

    /// Time passes to the next tick.
    pub fn pass(&self, world: &mut World) {
        let target = self.next_tick(world);
        self.pass_until(world, target);
    }

    /// The last instant before the watchdog of node 0 fires, if that comes before the next tick: the worst moment for
    /// its agent to die, because the kernel then feeds once more.
    pub fn brink(&self, world: &World) -> Option<u64> {
        let subject = &world.nodes[0];
        let open = subject.process.as_ref().is_some_and(|process| process.open);
        let brink = self.fires_at(0, subject).filter(|_| open)?.saturating_sub(1);
        (brink > world.now && brink < self.next_tick(world)).then_some(brink)
    }

    /// Whatever is due on the way happens at its instant. Stops at a proof.
    pub fn pass_until(&self, world: &mut World, target: u64) {
        self.jurors(world);
        loop {
            let mut next = target;
            for index in 0..world.nodes.len() {
                let node = &world.nodes[index];
                let due =
                    [self.agent_deadline(world, index), self.fires_at(index, node), node.resets_at.map(|at| at.0)];
                next = due.into_iter().flatten().map(|at| at.max(world.now + 1)).fold(next, u64::min);
            }
            for state in world.controllers.iter().filter(|state| !state.paused && state.prover.is_some()) {
                next = next.min(state.due.0.max(world.now + 1));
            }
            world.now = next;
            self.feed(world);
            self.ends(world);
            for index in 0..world.nodes.len() {
                if self.agent_deadline(world, index).is_some_and(|at| at <= next) {
                    self.agent(world, index, Event::Tick);
                }
            }
            for index in 0..world.controllers.len() {
                let state = &world.controllers[index];
                if !state.paused && state.prover.is_some() && state.due.0 <= next {
                    self.prover(world, index, prover::Event::Tick);
                }
            }
            if Self::one_way(&world.budget) {
                // Nothing holds a message back, so it arrives at once, and not only at the next tick.
                Self::watch(world);
                self.settle(world);
            }
            if next >= target || world.foul.is_some() || self.pressing(world).is_some() {
                return;
            }
        }
    }

    /// Jurors without a whole agent renew their lease when they can, and look after their promises.
    fn jurors(&self, world: &mut World) {
        for index in 0..world.nodes.len() {
            let node = &world.nodes[index];
            let now: Mono = self.mono(index, world.now);
            if node.juror.is_none() || node.boot == 0 || node.paused {
                continue;
            }
            let (writable, readable) = (world.writable(node.cut), world.readable(node.cut));
            let view = world.view(0).cloned();
            let fleet = self.config.fleet;
            if let Some(juror) = &mut world.node(index).juror {
                if writable && !fleet {
                    juror.renewed(now);
                }
                let stale = self.is(Mutant::StaleReadDropsPromise);
                let view = view.filter(|_| !stale).or_else(|| Some(LeaseView::default()).filter(|_| stale));
                if (readable || stale) && juror.promised_nodes().contains("n0") {
                    juror.saw("n0", now + std::time::Duration::from_millis(u64::from(stale)), view.as_ref());
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)] // tests fail loudly
mod tests {
    use std::fmt::Write;

    use crate::action::Action;
    use crate::configs;
    use crate::env::Env;
    use crate::mutants::Mutant;
    use crate::world::World;

    /// The node is isolated, time passes up to the brink, the agent is killed, time passes.
    fn killed_at_the_brink(mutant: Option<Mutant>) -> (World, String) {
        let env = Env::new(configs::named("skew").expect("there is one"), mutant);
        let mut world = env.start();
        let mut story = String::new();
        let mut plan = vec![Action::Begin(0), Action::Alone(true)];
        for _ in 0..20 {
            let mut possible = Vec::new();
            env.actions(&world, &mut possible);
            let killed = world.nodes[0].process.is_none();
            let action = match plan.first() {
                Some(_) => plan.remove(0),
                None if !killed && possible.contains(&Action::Brink) => {
                    plan.push(Action::KillAgent);
                    Action::Brink
                }
                None => Action::Tick,
            };
            if !possible.contains(&action) {
                break;
            }
            world = env.after(&world, action).unwrap_or(world);
            let _ = writeln!(story, "{} {action}: {}", world.now, world.line());
        }
        (world, story)
    }

    #[test]
    fn killed_at_the_last_instant_the_node_lives_to_the_very_end_of_its_bound() {
        // Given an isolated node with a slow clock, whose agent is killed just before the watchdog fires
        // Then with the margins nothing is proven while it lives
        let (world, story) = killed_at_the_brink(None);
        assert!(world.foul.is_none() && world.released.is_some(), "{story}");
        // And without one of them that is just what happens.
        for mutant in [Mutant::IgnoreClockRates, Mutant::IgnoreScheduling] {
            let (world, story) = killed_at_the_brink(Some(mutant));
            assert!(world.foul.is_some(), "{mutant:?}\n{story}");
        }
    }
}
