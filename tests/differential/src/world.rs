//! The host and everything outside of it, as the harness and the runtime meet them: the harness's own story applies what
//! is asked for, and this does what devices, people, jobs, machines and the node would do then.

use anyhow::{bail, ensure};
use palisade_remediator::agent::Reach;
use palisade_remediator::approval::{Answer, AnswerState, Person as Answerer, Question};
use palisade_remediator::fencing::{ProofKind, Stage};
use palisade_remediator::jobs::{JobResult, JobState};
use palisade_remediator::machines::{self, Fate, MachineApi, Owner, Replacement};
use palisade_remediator::power::{Action, PowerState, PowerStatus, Progress};
use palisade_remediator::testing::{Effect, Played, Scenario as World, Story};
use palisade_remediator::workloads::ReleaseMethod;
use palisade_remediator::{Failure, Outcome, Refusal, Remediation, Remediator, Verdict};

use crate::ending::{Ending, Notes, bare, reason_of_step};
use crate::scenario::{Agent, Device, Job, Machine, Person, Scenario};

/// No scenario needs more calls.
const CALLS: usize = 50;

/// The story is only told here; whoever answers sits elsewhere.
struct Elsewhere;

impl Remediator for Elsewhere {
    fn reconcile(_: Remediation) -> Result<Outcome, Failure> {
        Err(Failure::Other("it is called elsewhere".into()))
    }
}

/// How a call is made.
pub type Call<'a> = &'a mut dyn FnMut(&World) -> anyhow::Result<Played>;

/// Plays a scenario to its last trace.
pub fn play(scenario: &Scenario, call: Call<'_>) -> anyhow::Result<Ending> {
    let mut play =
        Play { scenario, story: begin(scenario).start::<Elsewhere>(), notes: Notes::default(), web: true, db: true };
    let (verdict, step) = play.run(call)?;
    let (verdict, reason) = match verdict {
        Verdict::Succeeded => ("Succeeded", "succeeded".to_owned()),
        _ => ("Failed", reason_of_step(&step)),
    };
    let left = play.traces();
    let (effects, told) = (play.notes.effects.clone(), play.notes.told());
    play.end(call)?;
    Ok(Ending {
        verdict: verdict.to_owned(),
        reason,
        effects,
        told,
        released: play.story.scenario.remains.released.as_ref().map_or_else(String::new, bare),
        left,
        afterwards: play.traces(),
    })
}

fn begin(scenario: &Scenario) -> World {
    let mut world = World::node("n1").boot("b1").pods(2).volumes(0).parameters(scenario.parameters);
    if scenario.agent == Agent::Absent {
        (world.agent.reach, world.agent.self_fences, world.agent.jury) = (Reach::Absent, false, 0);
        world.agent.boot_id.clear();
    }
    world.power = match scenario.device {
        Device::Absent => Err(Refusal::NotFound("no device is named for the node".into())),
        Device::KeptOff => Err(Refusal::Refused("spec.online of the host is false".into())),
        Device::Works | Device::Refuses | Device::Slow => Ok(PowerStatus {
            state: PowerState::On,
            age: None,
            action: None,
            progress: Progress::Waiting,
            attempts: 0,
            detail: String::new(),
        }),
    };
    if scenario.machine != Machine::Absent {
        let owner = Owner { kind: "MachineSet".into(), name: "set".into(), uid: "set-uid".into() };
        world.machine = Ok(machines::Machine {
            api: MachineApi::Openshift,
            namespace: "machines".into(),
            name: "m".into(),
            uid: "machine-uid".into(),
            provider_id: "aws:///zone/m".into(),
            phase: "Running".into(),
            deleting: false,
            age: 3_600_000,
            control_plane: false,
            owner: Some(owner).filter(|_| scenario.machine == Machine::Replaced),
        });
        world.replacement = Ok(replacement(Fate::Kept, ""));
        if scenario.machine == Machine::Alone {
            world.deletable = Err(Refusal::Refused("the machine has no controller".into()));
        }
    }
    if scenario.job != Job::Absent {
        let result = JobResult {
            state: JobState::NotRun,
            exit_code: None,
            age: None,
            output: String::new(),
            detail: String::new(),
            is_evidence: scenario.job == Job::Evidence,
        };
        world.jobs.push(("job".into(), result));
    }
    world
}

fn replacement(fate: Fate, waiting_for: &str) -> Replacement {
    let ready = u32::from(waiting_for.is_empty());
    Replacement { fate, wanted: Some(1), ready, needed: 1, waiting_for: waiting_for.into() }
}

struct Play<'a> {
    scenario: &'a Scenario,
    story: Story<Elsewhere>,
    notes: Notes,
    web: bool,
    db: bool,
}

impl Play<'_> {
    fn call(&mut self, call: Call<'_>) -> anyhow::Result<(Verdict, String, Vec<Effect>)> {
        let played = call(&self.story.scenario)?;
        let played = self.story.take(played);
        let outcome = played.answer.map_err(|failure| anyhow::anyhow!("the call failed: {failure:?}"))?;
        for (key, effect) in &played.effects {
            self.notes.asked(key, effect);
        }
        let effects = played.effects.into_iter().map(|(_, effect)| effect).collect();
        Ok((outcome.verdict, outcome.step, effects))
    }

    fn run(&mut self, call: Call<'_>) -> anyhow::Result<(Verdict, String)> {
        let mut steps = Vec::new();
        for _ in 0..CALLS {
            let (verdict, step, effects) = self.call(call)?;
            if !matches!(verdict, Verdict::Working(_)) {
                return Ok((verdict, step));
            }
            steps.push(step);
            self.outside();
            self.asked_for(&effects);
            self.fencing();
            self.workloads();
        }
        bail!("no verdict after {CALLS} calls: {}", steps.join(", "))
    }

    /// The node is well again, and the remediation is deleted.
    fn end(&mut self, call: Call<'_>) -> anyhow::Result<()> {
        let released = self.story.scenario.remains.released.is_some();
        self.story.comes_back(if released { "b2" } else { "b1" });
        self.story.delete();
        for _ in 0..CALLS {
            let (verdict, step, effects) = self.call(call)?;
            let foreign = effects.iter().find(|effect| !matches!(effect, Effect::Restore(_) | Effect::Condition(..)));
            ensure!(foreign.is_none(), "it is deleted, and asks for {foreign:?}");
            match verdict {
                Verdict::Succeeded => return Ok(()),
                Verdict::Failed(why) => bail!("it could not be ended: {step}: {why}"),
                Verdict::Working(_) => {}
            }
        }
        bail!("it is not restored after {CALLS} calls")
    }

    /// What was begun in an earlier call is done now.
    fn outside(&mut self) {
        let (device, approve, job) = (self.scenario.device, self.scenario.approve, self.scenario.job);
        let world = &mut self.story.scenario;
        if let Ok(power) = &mut world.power
            && power.progress == Progress::Running
        {
            (power.attempts, power.age) = (1, Some(0));
            match (power.action, device) {
                (Some(Action::Off), Device::Slow) => {}
                (Some(Action::Off), Device::Refuses) => {
                    (power.progress, power.detail) = (Progress::Failed, "it does not answer".into());
                }
                (Some(Action::Off), _) => (power.state, power.progress) = (PowerState::Off, Progress::Done),
                (_, _) => (power.state, power.progress) = (PowerState::On, Progress::Done),
            }
        }
        for answer in [&mut world.approved, &mut world.confirmed].into_iter().flatten() {
            if answer.state == AnswerState::Pending {
                let person = Answerer { name: "admin".into(), reason: "looked at it".into(), age: 0 };
                (answer.persons, answer.missing) = (vec![person], 0);
                answer.state = if approve == Person::Denies { AnswerState::Denied } else { AnswerState::Given };
            }
        }
        for (_, result) in &mut world.jobs {
            if result.state == JobState::Pending {
                result.state = if job == Job::Fails { JobState::Failed } else { JobState::Succeeded };
            }
        }
        if let Ok(there) = &mut world.replacement {
            match (there.fate, there.waiting_for.as_str()) {
                (Fate::Deleting, _) => {
                    *there = replacement(Fate::Gone, "a Ready node");
                    world.target = None;
                }
                (Fate::Gone, waiting) if !waiting.is_empty() => *there = replacement(Fate::Gone, ""),
                _ => {}
            }
        }
    }

    /// What this call asked for is begun.
    fn asked_for(&mut self, effects: &[Effect]) {
        let world = &mut self.story.scenario;
        for effect in effects {
            match effect {
                Effect::PowerOff | Effect::PowerOn => {
                    let action = if *effect == Effect::PowerOff { Action::Off } else { Action::On };
                    if let Ok(power) = &mut world.power
                        && power.action != Some(action)
                    {
                        (power.action, power.progress) = (Some(action), Progress::Running);
                    }
                }
                Effect::Ask(question, _, persons, left) => {
                    let answer = Answer {
                        state: AnswerState::Pending,
                        missing: *persons,
                        left: *left,
                        boot_id: "b1".into(),
                        ..Answer::not_asked()
                    };
                    match question {
                        Question::ApproveAction => world.approved = Ok(answer),
                        Question::ConfirmIsolated => world.confirmed = Ok(answer),
                    }
                }
                Effect::RunJob(name) => {
                    for (_, result) in world.jobs.iter_mut().filter(|(known, _)| known == name) {
                        result.state = JobState::Pending;
                    }
                }
                Effect::DeleteMachine(_) => world.replacement = Ok(replacement(Fate::Deleting, "its end")),
                _ => {}
            }
        }
    }

    /// What the prover sees, and what the owner does.
    fn fencing(&mut self) {
        let world = &self.story.scenario;
        if world.fencing.stage != Stage::Intended {
            return;
        }
        let given =
            |answer: &Result<Answer, Refusal>| answer.as_ref().is_ok_and(|answer| answer.state == AnswerState::Given);
        let off = world.power.as_ref().is_ok_and(|power| power.state == PowerState::Off);
        let evidence = world.jobs.iter().any(|(_, job)| job.is_evidence && job.state == JobState::Succeeded);
        let ordered = world.power.as_ref().is_ok_and(|power| power.action == Some(Action::Off));
        if self.scenario.gives_up && (ordered || self.scenario.device == Device::Absent) {
            self.story.time_out();
        } else if self.scenario.agent == Agent::Acknowledges {
            self.story.prove(ProofKind::AgentAcknowledged);
        } else if self.scenario.agent == Agent::ComesBack {
            self.story.prove(ProofKind::BootChanged);
            self.story.comes_back("b2");
            // From a new boot nothing is taken by force: what counts is what was marked.
            self.story.scenario.remains.pods = 1;
        } else if off || evidence {
            self.story.prove(ProofKind::PoweredOff);
        } else if given(&world.confirmed) {
            self.story.prove(ProofKind::HumanConfirmed);
        }
    }

    /// Pods go once they were released: all of them, or those that the new boot's kubelet confirms.
    fn workloads(&mut self) {
        let world = &mut self.story.scenario;
        if world.remains.released.is_none() {
            return;
        }
        let kept = world.proof.as_ref().is_some_and(|proof| proof.kind == ProofKind::BootChanged)
            && world.remains.released == Some(ReleaseMethod::ResourceDeletion);
        (self.db, self.web) = (false, kept);
        self.story.workloads_are_gone();
    }

    fn traces(&self) -> Vec<String> {
        let remains = &self.story.scenario.remains;
        let all = [
            (remains.held, "mark"),
            (remains.out_of_service, "out of service"),
            (self.db, "pod db-0"),
            (self.web, "pod web"),
        ];
        all.into_iter().filter(|(there, _)| *there).map(|(_, what)| what.to_owned()).collect()
    }
}
