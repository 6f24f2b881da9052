//! Random histories against the one promise.

use proptest::prelude::*;

use std::time::Duration;

use super::super::*;
use super::bench::{World, boot, terms};
use crate::fencing::proof::ProofKind;

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Read,
    Marked,
    Store,
    LoseAnswer,
    Renew,
    ClearIntent,
    NodeBoots,
    LeaseBoots,
    Acknowledge,
    Promise(usize, u64, Option<u64>),
    RoundEnded,
    Heartbeat,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..9_000).prop_map(Step::Pass),
        6 => Just(Step::Read),
        4 => Just(Step::Marked),
        4 => Just(Step::Store),
        1 => Just(Step::LoseAnswer),
        1 => Just(Step::Renew),
        1 => Just(Step::ClearIntent),
        1 => Just(Step::NodeBoots),
        1 => Just(Step::LeaseBoots),
        1 => Just(Step::Acknowledge),
        6 => (0usize..3, 0u64..3_000, proptest::option::of(0u64..30_000)).prop_map(|(j, d, a)| Step::Promise(j, d, a)),
        2 => Just(Step::RoundEnded),
        1 => Just(Step::Heartbeat),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, a proof by time comes only when the last possible extension of the node's life is `D` ago,
    /// the intent is in the lease, and a majority promised for it.
    #[test]
    fn no_history_leads_to_an_early_proof(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new(terms());
        let mut last_extension = world.now;
        let mut last_no_api = Mono(0);
        let mut promised = std::collections::BTreeMap::<String, std::collections::BTreeSet<usize>>::new();
        for step in steps {
            match step {
                Step::Pass(millis) => world.pass(millis),
                Step::Read => world.read(),
                Step::Marked => world.on(Event::Marked),
                Step::Store if world.pending_write().is_some() && world.prover.intent().is_none() => {
                    let outcome = world.store();
                    world.asked_write = None;
                    world.on(Event::IntentWritten(outcome));
                }
                Step::LoseAnswer if world.pending_write().is_some() && world.prover.intent().is_none() => {
                    world.store();
                    world.asked_write = None;
                    world.on(Event::IntentWritten(WriteOutcome::Unknown { why: "lost".into() }));
                }
                Step::Renew => {
                    let free = world.lease.as_ref().is_some_and(|lease| lease.intent.as_ref()
                        .is_none_or(|intent| intent.boot_id != lease.record.as_ref().unwrap().boot_id));
                    if free {
                        last_extension = world.now;
                        world.change_record(|record| record.sequence += 1);
                    }
                }
                Step::ClearIntent => world.change_lease(|lease| lease.intent = None),
                Step::NodeBoots => world.node_boot = Some(boot(&format!("b{}", world.now.0))),
                Step::LeaseBoots => {
                    let boot = world.node_boot.clone().unwrap();
                    // A new boot writes its first record; a boot that an intent names writes none.
                    if world.lease.as_ref().unwrap().record.as_ref().unwrap().boot_id != boot {
                        last_extension = world.now;
                        world.change_record(|record| {
                            record.boot_id = boot;
                            record.sequence = 1;
                        });
                    }
                }
                Step::Acknowledge => if let Some(intent) = world.prover.intent().cloned() {
                    world.change_record(|record| if record.boot_id == intent.boot_id {
                        record.acknowledged = Some(intent.uid);
                    });
                },
                Step::Promise(juror, delay, age) => if let Some(intent) = world.prover.intent().cloned() {
                    let asked = world.now - Duration::from_millis(delay);
                    world.promise(["n2", "n3", "n4"][juror], asked, age);
                    promised.entry(intent.uid).or_default().insert(juror);
                    if let Some(age) = age {
                        last_no_api = last_no_api.max(world.now - Duration::from_millis(age));
                    }
                },
                Step::RoundEnded => world.on(Event::RoundEnded),
                Step::Heartbeat => world.heartbeat = (format!("h{}", world.now.0), world.now),
                Step::Restart => {
                    world.prover = Prover::new(world.prover.settings.clone(), world.now);
                    world.asked_write = None;
                    if let Some(lease) = &mut world.lease {
                        lease.first_seen = world.now;
                        lease.intent_first_seen = lease.intent.as_ref().map(|_| world.now);
                    }
                }
                Step::Store | Step::LoseAnswer => {}
            }
            let proven = world.effects.drain(..).find_map(|effect| match effect {
                Effect::Proven(proof) => Some(*proof),
                other => { if let Effect::WriteIntent(write) = other { world.asked_write = Some(*write); } None }
            });
            if let Some(proof) = proven && proof.kind == ProofKind::LeaseExpired {
                let lease = world.lease.as_ref().unwrap();
                prop_assert_eq!(lease.intent.as_ref().map(|intent| &intent.uid), Some(&proof.intent_uid));
                prop_assert_eq!(world.node_boot.as_ref(), Some(&proof.boot));
                let bound = terms().life_bound();
                prop_assert!(world.now >= last_extension + bound, "a renewal is too young");
                prop_assert!(promised.get(&proof.intent_uid).is_some_and(|by| by.len() >= 2), "no majority");
                prop_assert!(world.now + Duration::from_millis(400) >= last_no_api + bound, "a NoApi is too young");
            }
        }
    }
}
