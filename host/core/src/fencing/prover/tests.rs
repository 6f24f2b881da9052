//! The lines of the review that concern the controller, one test each, and a search over random histories.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fencing::proof::{Grade, ProofKind};
use crate::fencing::record::{AgentRecord, Claims, Terms, Watchdog};

const T: u64 = 10_000;
const WD: u64 = 5_000;

fn boot(name: &str) -> BootId {
    BootId::new(name).unwrap()
}

fn terms() -> Terms {
    Terms {
        time_to_live_millis: T,
        watchdog: Some(Watchdog { identity: "iTCO".into(), timeout_millis: WD, resets: true }),
        reset_steps_millis: 3_000,
        jury: vec!["n2".into(), "n3".into(), "n4".into()],
        min_peers: 1,
        claims: Claims { self_fences: true, may_exempt: false },
    }
}

/// A world of one node, one lease and one prover, driven by hand.
struct World {
    prover: Prover,
    now: Mono,
    node_boot: Option<BootId>,
    heartbeat: (String, Mono),
    after_agent: Option<Duration>,
    lease: Option<LeaseRead>,
    version: u64,
    uids: u64,
    effects: Vec<Effect>,
    asked_write: Option<WriteIntent>,
}

impl World {
    fn new(terms: Terms) -> Self {
        Self::with(
            terms,
            Settings { node: "n1".into(), owner: "snr-1".into(), require: Grade::Assumed, floor: Duration::ZERO },
        )
    }

    fn with(terms: Terms, settings: Settings) -> Self {
        let now = Mono(1_000_000);
        let record = AgentRecord {
            node: "n1".into(),
            boot_id: boot("b1"),
            sequence: 7,
            address: "127.0.1.1:1".into(),
            terms,
            generation: 1,
            acknowledged: None,
            disarmed: false,
        };
        Self {
            prover: Prover::new(settings, now),
            now,
            node_boot: Some(boot("b1")),
            heartbeat: ("h1".into(), now),
            after_agent: Some(Duration::ZERO),
            lease: Some(LeaseRead {
                uid: "lease".into(),
                version: "1".into(),
                record: Some(record),
                unverified: None,
                intent: None,
                first_seen: now,
                intent_first_seen: None,
            }),
            version: 1,
            uids: 0,
            effects: vec![],
            asked_write: None,
        }
    }

    fn on(&mut self, event: Event) {
        let effects = self.prover.on(event, self.now);
        self.effects.extend(effects);
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.on(Event::Tick);
    }

    fn snapshot(&mut self) -> Snapshot {
        self.uids += 1;
        Snapshot {
            begun: self.now,
            node: Some(NodeRead {
                uid: "node".into(),
                boot: self.node_boot.clone(),
                heartbeat: Some(Heartbeat {
                    token: self.heartbeat.0.clone(),
                    first_seen: self.heartbeat.1,
                    after_agent: self.after_agent,
                }),
            }),
            lease: self.lease.clone(),
            fresh_uid: format!("intent-{}", self.uids),
        }
    }

    fn read(&mut self) {
        let snapshot = self.snapshot();
        self.on(Event::Read(Box::new(snapshot)));
    }

    /// Changes the lease: a new version, first seen now.
    fn change_lease(&mut self, change: impl FnOnce(&mut LeaseRead)) {
        self.version += 1;
        let (version, now) = (self.version, self.now);
        let lease = self.lease.as_mut().unwrap();
        change(lease);
        lease.version = version.to_string();
        lease.first_seen = now;
    }

    fn change_record(&mut self, change: impl FnOnce(&mut AgentRecord)) {
        self.change_lease(|lease| change(lease.record.as_mut().unwrap()));
    }

    /// The API's side of a compare-and-swap.
    fn store(&mut self) -> WriteOutcome {
        let Some(write) = self.pending_write() else { panic!("no write was asked for") };
        let lease = self.lease.clone().unwrap();
        if lease.version != write.lease_version || lease.uid != write.lease_uid {
            return WriteOutcome::Conflict;
        }
        self.change_lease(|lease| {
            lease.intent = Some(write.intent);
            lease.intent_first_seen = Some(write.counted_from);
        });
        WriteOutcome::Stored
    }

    fn pending_write(&self) -> Option<WriteIntent> {
        self.effects
            .iter()
            .rev()
            .find_map(|effect| match effect {
                Effect::WriteIntent(write) => Some((**write).clone()),
                _ => None,
            })
            .or_else(|| self.asked_write.clone())
    }

    /// Steps 1 to 3.
    fn intended(mut self) -> Self {
        self.on(Event::Tick);
        self.on(Event::Marked);
        self.read();
        let outcome = self.store();
        self.on(Event::IntentWritten(outcome));
        self
    }

    fn promise(&mut self, juror: &str, asked: Mono, no_api_age: Option<u64>) {
        let uid = self.prover.intent().unwrap().uid.clone();
        self.on(Event::PromiseAnswer {
            intent_uid: uid,
            juror: juror.into(),
            asked,
            answer: JurorAnswer::Promised { no_api_age: no_api_age.map(Duration::from_millis) },
        });
    }

    fn asked(&self) -> Vec<Vec<String>> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::AskPromises { jurors, .. } => Some(jurors.clone()),
                _ => None,
            })
            .collect()
    }

    /// Passes time in small steps with reads until a proof or a limit.
    fn run(&mut self, millis: u64) {
        for _ in 0..millis / 100 {
            self.pass(100);
            self.read();
        }
    }

    fn kind(&self) -> Option<ProofKind> {
        self.prover.proof().map(|proof| proof.kind)
    }
}

fn bound() -> u64 {
    u64::try_from(terms().life_bound().as_millis()).unwrap()
}

#[test]
fn the_whole_way_to_a_proof_by_time() {
    // Given a silent node; when marked, intended and promised by two of three;
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n4", world.now, None);
    assert!(world.prover.waiting_for().contains("2 of 3 jurors promised (n2, n4)"));
    // then nothing is proven before D,
    world.run(bound() - 100);
    assert_eq!(world.kind(), None);
    // and D proves it.
    world.run(200);
    let proof = world.prover.proof().unwrap();
    assert_eq!((proof.kind, proof.grade, proof.quorum), (ProofKind::LeaseExpired, Grade::Certain, 2));
    assert_eq!(proof.jurors.len(), 2);
}

#[test]
fn line_1_marks_come_before_the_read_and_the_intent() {
    let mut world = World::new(terms());
    world.on(Event::Tick);
    assert!(matches!(world.effects[0], Effect::Mark));
    // A read begun before the marks were stored decides nothing.
    let early = world.snapshot();
    world.now = world.now + Duration::from_millis(10);
    world.on(Event::Marked);
    world.on(Event::Read(Box::new(early)));
    assert!(world.pending_write().is_none());
    world.read();
    assert!(world.pending_write().is_some());
}

#[test]
fn line_1_a_new_boot_is_proof_but_forces_nothing() {
    let mut world = World::new(terms()).intended();
    world.node_boot = Some(boot("b2"));
    world.read();
    let proof = world.prover.proof().unwrap();
    assert_eq!((proof.kind, proof.new_boot.clone()), (ProofKind::BootChanged, Some(boot("b2"))));
    assert!(!proof.kind.forces());
}

#[test]
fn line_3_the_intent_needs_both_sources_to_name_one_boot() {
    for (node, lease) in [(Some("b2"), "b1"), (Some("b1"), "b2"), (None, "b1")] {
        let mut world = World::new(terms());
        world.node_boot = node.map(boot);
        world.change_record(|record| record.boot_id = boot(lease));
        world.on(Event::Tick);
        world.on(Event::Marked);
        world.read();
        assert!(world.pending_write().is_none(), "{node:?} {lease}");
        assert!(world.prover.refusal().is_some());
    }
}

#[test]
fn line_3_an_empty_boot_id_proves_nothing() {
    let mut world = World::new(terms()).intended();
    world.node_boot = None;
    world.read();
    assert_eq!(world.kind(), None);
}

#[test]
fn line_5_promises_far_apart_do_not_make_a_majority() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    // The second juror answers more than Wd + margin later.
    world.on(Event::RoundEnded);
    world.pass(WD + 1_000);
    world.promise("n3", world.now, None);
    assert!(!world.prover.quorum_reached());
    // The older one is asked again, and then it counts.
    assert!(world.asked().last().unwrap().contains(&"n2".to_owned()));
    world.promise("n2", world.now, None);
    assert!(world.prover.quorum_reached());
}

#[test]
fn line_5_a_slow_answer_counts_from_when_it_was_asked() {
    let mut world = World::new(terms()).intended();
    let asked = world.now;
    world.promise("n2", asked, None);
    world.pass(WD + 1_000);
    world.promise("n3", asked, None);
    assert!(!world.prover.quorum_reached());
}

#[test]
fn a_repeated_name_in_the_jury_has_one_vote() {
    let mut doubled = terms();
    doubled.jury = vec!["n2".into(), "n2".into(), "n3".into(), "n4".into()];
    let mut world = World::new(doubled).intended();
    world.promise("n2", world.now, None);
    assert!(!world.prover.quorum_reached());
    world.promise("stranger", world.now, None);
    assert!(!world.prover.quorum_reached());
}

#[test]
fn line_10_an_intent_that_went_away_begins_again() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    // Somebody cleared it and the node renewed; the old D passes.
    world.change_lease(|lease| lease.intent = None);
    world.change_record(|record| record.sequence += 1);
    world.now = world.now + Duration::from_secs(60);
    world.read();
    assert_eq!(world.kind(), None);
    assert!(world.prover.intent().is_none());
}

#[test]
fn line_10_every_write_of_an_intent_has_a_fresh_uid() {
    let mut world = World::new(terms());
    world.on(Event::Tick);
    world.on(Event::Marked);
    world.read();
    let first = world.pending_write().unwrap().intent.uid;
    // The node renewed in between: conflict.
    world.change_record(|record| record.sequence += 1);
    let outcome = world.store();
    assert_eq!(outcome, WriteOutcome::Conflict);
    world.on(Event::IntentWritten(outcome));
    world.read();
    assert_ne!(world.pending_write().unwrap().intent.uid, first);
}

#[test]
fn line_11_a_node_that_did_not_claim_to_fence_itself_is_never_proven_by_time() {
    for claims in [Claims { self_fences: false, may_exempt: false }, Claims { self_fences: true, may_exempt: true }] {
        let mut world = World::new(Terms { claims, ..terms() }).intended();
        world.promise("n2", world.now, None);
        world.promise("n3", world.now, None);
        world.run(60_000);
        assert_eq!(world.kind(), None);
        assert!(world.prover.waiting_for().contains("what would unblock it"));
    }
}

#[test]
fn a_disarmed_node_is_never_proven_by_time() {
    let mut world = World::new(terms());
    world.change_record(|record| record.disarmed = true);
    let mut world = world.intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(60_000);
    assert_eq!(world.kind(), None);
}

#[test]
fn line_12_two_watchdog_timeouts_count() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(T + WD + 1_000);
    assert_eq!(world.kind(), None);
    world.run(WD + 1_000);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}

#[test]
fn line_12_an_acknowledgement_counts_two_watchdog_timeouts_after_its_first_sight() {
    let mut world = World::new(terms()).intended();
    let uid = world.prover.intent().unwrap().uid.clone();
    world.pass(1_000);
    world.change_record(|record| {
        record.sequence += 1;
        record.acknowledged = Some(uid);
    });
    world.run(2 * WD);
    assert_eq!(world.kind(), None);
    world.run(1_000);
    assert_eq!(world.kind(), Some(ProofKind::AgentAcknowledged));
}

#[test]
fn an_acknowledgement_of_another_intent_is_none() {
    let mut world = World::new(terms()).intended();
    world.change_record(|record| record.acknowledged = Some("intent-of-last-week".into()));
    world.run(2 * WD + 2_000);
    assert_eq!(world.kind(), None);
}

#[test]
fn line_17_and_16_nothing_is_proven_before_its_time_even_with_a_silent_past() {
    // A node silent since long: D is past when the majority promises, and the wait is about zero.
    let mut world = World::new(terms());
    world.now = world.now + Duration::from_mins(10);
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    let mut world = world.intended();
    world.read();
    assert_eq!(world.kind(), None, "no proof before the promises");
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.read();
    let proof = world.prover.proof().unwrap();
    assert_eq!((proof.kind, proof.waited()), (ProofKind::LeaseExpired, Duration::ZERO));
}

#[test]
fn a_kubelet_heard_after_d_is_a_contradiction_and_not_a_proof() {
    // The agent fell silent long ago, the kubelet did not.
    let mut world = World::new(terms());
    world.now = world.now + Duration::from_mins(10);
    world.heartbeat = ("h2".into(), world.now - Duration::from_secs(1));
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    let mut world = world.intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.now = world.now + Duration::from_millis(1);
    world.read();
    assert_eq!(world.kind(), None);
    assert!(world.prover.contradiction().unwrap().contains("kubelet"));
}

#[test]
fn line_22_no_api_given_by_a_promising_juror_moves_d() {
    let mut world = World::new(terms());
    world.now = world.now + Duration::from_mins(10);
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    let mut world = world.intended();
    world.promise("n2", world.now, Some(1_000));
    world.promise("n3", world.now, None);
    world.run(bound() - 1_200);
    assert_eq!(world.kind(), None, "D counts from the last NoApi");
    world.run(400);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}

#[test]
fn line_22_the_decision_rests_on_a_read_begun_after_d() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    let early = world.snapshot();
    world.now = world.now + Duration::from_mins(1);
    world.on(Event::Read(Box::new(early)));
    assert_eq!(world.kind(), None);
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}

#[test]
fn line_23_the_intents_copies_count_not_todays_configuration() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    // A shorter T shows up in the lease (it cannot have been confirmed, but say it is there).
    world.change_record(|record| record.terms.time_to_live_millis = 1_000);
    world.run(bound() - 200);
    assert_eq!(world.kind(), None);
}

#[test]
fn line_23_d_counts_from_the_first_sight_of_the_base_and_not_from_the_write() {
    let mut world = World::new(terms());
    let seen = world.now;
    world.pass(5_000);
    let mut world = world.intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    assert_eq!(world.prover.deadline(), Some(seen + terms().life_bound()));
}

#[test]
fn a_second_remediation_attaches_to_the_same_intent() {
    let first = World::new(terms()).intended();
    let uid = first.prover.intent().unwrap().uid.clone();
    let mut second = World::new(terms());
    second.prover.settings.owner = "snr-2".into();
    second.lease = first.lease.clone();
    second.version = first.version;
    let second = second.intended();
    let intent = second.prover.intent().unwrap();
    assert_eq!((intent.uid.as_str(), intent.owners.len()), (uid.as_str(), 2));
}

#[test]
fn a_restarted_controller_takes_up_its_own_intent_without_writing() {
    let mut world = World::new(terms()).intended();
    world.effects.clear();
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    world.on(Event::Tick);
    world.on(Event::Marked);
    world.read();
    assert!(world.pending_write().is_none());
    assert!(world.prover.intent().is_some());
    assert_eq!(world.asked().len(), 1, "the promises are asked for again");
}

#[test]
fn a_restarted_controller_sees_that_the_boot_changed_meanwhile() {
    let mut world = World::new(terms()).intended();
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    world.node_boot = Some(boot("b2"));
    world.on(Event::Tick);
    world.on(Event::Marked);
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::BootChanged));
}

#[test]
fn an_intent_for_an_ended_boot_makes_room() {
    let mut world = World::new(terms()).intended();
    world.prover = Prover::new(Settings { owner: "snr-2".into(), ..world.prover.settings.clone() }, world.now);
    world.node_boot = Some(boot("b2"));
    world.change_record(|record| record.boot_id = boot("b2"));
    let world = world.intended();
    assert_eq!(world.prover.intent().unwrap().boot_id, boot("b2"));
}

#[test]
fn an_empty_jury_suffices_only_with_min_peers_zero() {
    for (min_peers, expected) in [(0, Some(ProofKind::LeaseExpired)), (1, None)] {
        let mut world = World::new(Terms { jury: vec![], min_peers, ..terms() }).intended();
        world.run(bound() + 200);
        assert_eq!(world.kind(), expected, "minPeers {min_peers}");
    }
}

#[test]
fn a_missing_majority_is_named_with_its_jurors() {
    let mut world = World::new(terms()).intended();
    let uid = world.prover.intent().unwrap().uid.clone();
    world.promise("n2", world.now, None);
    for juror in ["n3", "n4"] {
        world.on(Event::PromiseAnswer {
            intent_uid: uid.clone(),
            juror: juror.into(),
            asked: world.now,
            answer: JurorAnswer::Unreachable { why: "connection refused".into() },
        });
    }
    world.read();
    let text = world.prover.waiting_for();
    assert!(text.contains("n3: connection refused") && text.contains("promises of 2 jurors"), "{text}");
}

#[test]
fn policy_certain_refuses_an_assumed_proof_and_says_so() {
    for watchdog in [None, Some(Watchdog { identity: "softdog".into(), timeout_millis: WD, resets: false })] {
        let mut world = World::new(Terms { watchdog, ..terms() });
        world.prover.settings.require = Grade::Certain;
        let mut world = world.intended();
        world.promise("n2", world.now, None);
        world.promise("n3", world.now, None);
        world.run(60_000);
        assert_eq!(world.kind(), None);
        assert!(world.prover.waiting_for().contains("policy requires Certain"));
        // Another proof stays open.
        world.node_boot = Some(boot("b2"));
        world.read();
        assert_eq!(world.kind(), Some(ProofKind::BootChanged));
    }
}

#[test]
fn without_a_watchdog_the_agent_must_have_lived_as_long_as_the_kubelet() {
    for (after, expected) in [
        (Some(Duration::from_millis(T)), Some(ProofKind::LeaseExpired)),
        (Some(Duration::from_millis(T + 1)), None),
        (None, None),
    ] {
        let mut world = World::new(Terms { watchdog: None, ..terms() });
        world.after_agent = after;
        let mut world = world.intended();
        world.promise("n2", world.now, None);
        world.promise("n3", world.now, None);
        world.run(60_000);
        assert_eq!(world.kind(), expected, "{after:?}");
        if let Some(proof) = world.prover.proof() {
            assert_eq!(proof.grade, Grade::Assumed);
        }
    }
}

#[test]
fn a_user_floor_lengthens_the_wait_and_never_shortens_it() {
    let mut world = World::new(terms());
    world.prover.settings.floor = Duration::from_mins(3);
    let mut world = world.intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(179_000);
    assert_eq!(world.kind(), None);
    world.run(1_500);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}

#[test]
fn life_after_the_proof_withdraws_it_until_another_boot_is_named() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(bound() + 200);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
    world.change_record(|record| record.sequence += 1);
    world.read();
    assert_eq!(world.kind(), None);
    assert!(world.prover.contradiction().is_some());
    world.run(60_000);
    assert_eq!(world.kind(), None, "it stays withdrawn");
    world.node_boot = Some(boot("b2"));
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::BootChanged));
}

#[test]
fn a_late_relay_of_the_acknowledgement_is_no_contradiction() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(bound() + 200);
    let uid = world.prover.proof().unwrap().intent_uid.clone();
    world.change_record(|record| {
        record.sequence += 1;
        record.acknowledged = Some(uid);
    });
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}

#[test]
fn a_node_that_came_back_after_the_proof_turns_it_into_p1() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(bound() + 200);
    world.node_boot = Some(boot("b2"));
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::BootChanged));
}

#[test]
fn evidence_from_outside_counts_only_after_the_last_mark() {
    let mut world = World::new(terms()).intended();
    let evidence = |observed| {
        Event::Evidence(Evidence {
            kind: ProofKind::PoweredOff,
            grade: Grade::Certain,
            boot: boot("b1"),
            observed,
            explanation: "read back as off".into(),
        })
    };
    world.on(evidence(world.now - Duration::from_secs(1)));
    world.read();
    assert_eq!(world.kind(), None);
    world.pass(100);
    world.on(evidence(world.now));
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::PoweredOff));
}

#[test]
fn a_lease_made_again_begins_again() {
    let mut world = World::new(terms()).intended();
    world.lease.as_mut().unwrap().uid = "another".into();
    world.read();
    assert!(world.prover.intent().is_none());
}

#[test]
fn a_write_with_an_unknown_end_is_settled_by_reading() {
    let mut world = World::new(terms());
    world.on(Event::Tick);
    world.on(Event::Marked);
    world.read();
    assert_eq!(world.store(), WriteOutcome::Stored);
    let uid = world.pending_write().unwrap().intent.uid;
    world.on(Event::IntentWritten(WriteOutcome::Unknown { why: "timeout".into() }));
    assert!(!matches!(world.effects.last(), Some(Effect::Read)), "a full store must not make us spin");
    world.read();
    assert_eq!(world.prover.intent().unwrap().uid, uid);
}

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
