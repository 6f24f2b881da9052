//! Worlds nobody thought of: strategies for proptest, and the rules that every remediator keeps in all of them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{Effect, Played, Scenario};
use crate::Remediator;
use crate::agent::Reach;
use crate::fencing::{Grade, ProofKind, Stage};
use crate::workloads::ReleaseMethod;

/// Any stage of fencing.
pub fn stages() -> impl Strategy<Value = Stage> {
    prop_oneof![
        Just(Stage::Idle),
        Just(Stage::Requested),
        Just(Stage::Marked),
        Just(Stage::Intended),
        Just(Stage::Promised),
        Just(Stage::Proven),
        Just(Stage::Contradicted),
    ]
}

/// Any kind of evidence.
pub fn proof_kinds() -> impl Strategy<Value = ProofKind> {
    prop_oneof![
        Just(ProofKind::BootChanged),
        Just(ProofKind::AgentAcknowledged),
        Just(ProofKind::LeaseExpired),
        Just(ProofKind::PoweredOff),
        Just(ProofKind::MachineGone),
        Just(ProofKind::HumanConfirmed),
    ]
}

/// Any world that a remediator can be shown, also those that no host would make.
pub fn worlds() -> impl Strategy<Value = Scenario> {
    let proof = option::of((proof_kinds(), any::<bool>(), any::<u32>()));
    let fencing = (stages(), option::of(any::<u32>()), proof);
    let released =
        option::of(prop_oneof![Just(ReleaseMethod::ResourceDeletion), Just(ReleaseMethod::OutOfServiceTaint)]);
    let remains = (0_u32..4, 0_u32..3, released, any::<bool>(), any::<bool>(), any::<bool>());
    let remediation = (any::<bool>(), any::<bool>(), any::<u32>(), vec(any::<u8>(), 0..16), any::<bool>());
    let reach = prop_oneof![Just(Reach::Direct), Just(Reach::Relayed), Just(Reach::Silent), Just(Reach::Absent)];
    (fencing, remains, remediation, reach, any::<bool>(), any::<u32>()).prop_map(
        |(fencing, remains, remediation, reach, exists, age)| {
            let mut world = Scenario::node("n1").boot("b1");
            let (stage, due, proof) = fencing;
            (world.fencing.stage, world.fencing.due) = (stage, due.map(u64::from));
            if let Some((kind, certain, age)) = proof {
                world = world.proven(kind);
                world.fencing.stage = stage;
                if let Some(proof) = &mut world.proof {
                    (proof.grade, proof.age) = (if certain { Grade::Certain } else { Grade::Assumed }, age.into());
                }
            }
            let (pods, volumes, released, out_of_service, held, supported) = remains;
            (world.remains.pods, world.remains.volume_attachments) = (pods, volumes);
            (world.remains.released, world.remains.out_of_service) = (released, out_of_service);
            (world.remains.held, world.remains.out_of_service_supported) = (held, supported);
            let (timed_out, deleting, life, memory, ready) = remediation;
            (world.remediation.timed_out, world.remediation.deleting) = (timed_out, deleting);
            (world.remediation.age, world.remediation.memory) = (life.into(), memory);
            world.agent.reach = reach;
            for condition in world.target.iter_mut().flat_map(|node| &mut node.conditions) {
                (condition.status, condition.age) = (if ready { "True" } else { "Unknown" }.into(), age.into());
            }
            if !exists {
                world.target = None;
            }
            world
        },
    )
}

/// Plays so many random worlds and checks the rules of [`rules`].
///
/// The worlds are the same in every run.
///
/// # Panics
///
/// When a rule is broken, with the smallest world that was found.
#[expect(clippy::panic, reason = "a test harness: failing is how it reports")]
pub fn keeps_the_promise<R: Remediator>(worlds_to_play: u32) {
    let config = Config { cases: worlds_to_play, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let result = runner.run(&worlds(), |world| {
        let played = world.play::<R>();
        let broken = rules(&world, &played);
        if broken.is_empty() && play_again::<R>(&world, &played) {
            return Ok(());
        }
        let why =
            if broken.is_empty() { "the same world twice gave two answers".to_owned() } else { broken.join("; ") };
        Err(TestCaseError::fail(why))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn play_again<R: Remediator>(world: &Scenario, played: &Played) -> bool {
    let again = world.play::<R>();
    format!("{:?}", (&again.answer, &again.effects)) == format!("{:?}", (&played.answer, &played.effects))
}

/// The rules that hold for every remediator in every world; what is broken, in words.
pub fn rules(world: &Scenario, played: &Played) -> Vec<&'static str> {
    let asks = |wanted: fn(&Effect) -> bool| played.effects.iter().any(|(_, effect)| wanted(effect));
    let fences = asks(|effect| matches!(effect, Effect::RequestFence(_)));
    let gives_free = asks(|effect| matches!(effect, Effect::Release(..)));
    let mut broken = Vec::new();
    let mut rule = |holds: bool, what| {
        if !holds {
            broken.push(what);
        }
    };
    let released = world.remains.released.is_some();
    rule(!gives_free || world.proof.is_some(), "it releases without a proof");
    rule(
        !gives_free || world.fencing.stage != Stage::Contradicted,
        "it releases although the boot showed a sign of life after its end",
    );
    rule(!fences || !world.remediation.deleting, "it fences for a remediation that is being deleted");
    rule(!fences || !world.remediation.timed_out, "it fences although its owner gave up waiting");
    rule(!fences || !released, "it fences after the release: that would end the boot that came after");
    rule(!gives_free || !world.remediation.timed_out || released, "it begins a release although its owner gave up");
    rule(!gives_free || !world.remediation.deleting, "it releases for a remediation that is being deleted");
    if let Ok(outcome) = &played.answer {
        rule(outcome.memory.len() <= 4096, "it wants to remember more than 4096 bytes");
        rule(
            outcome.step.len() <= 64 && !outcome.step.chars().any(char::is_control),
            "the name of its step is not at most 64 printable bytes",
        );
    }
    let printable = |key: &String| (1..=128).contains(&key.len()) && !key.chars().any(char::is_control);
    rule(played.effects.iter().all(|(key, _)| printable(key)), "a key of an effect is not 1 to 128 printable bytes");
    broken
}
