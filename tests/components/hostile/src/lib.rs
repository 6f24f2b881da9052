//! Everything a remediator should not do, one attack per call. The strategy of the remediation names the attack, or its
//! parameter `attack`.
//!
//! Used by the hostile suites of runtime and controller: `hostile.wasm` is an ordinary component until it is called.

use palisade_remediator::report::{ConditionStatus, Level};
use palisade_remediator::scheduling::{OwnTaint, OwnTaintEffect};
use palisade_remediator::{
    Failure, Outcome, Remediation, Remediator, agent, approval, fencing, jobs, machines, power, report, scheduling,
    target, workloads,
};

#[cfg(target_arch = "wasm32")]
mod raw;
#[cfg(not(target_arch = "wasm32"))]
#[path = "raw_native.rs"]
mod raw;

/// The attacker.
#[derive(Debug)]
pub struct Hostile;

/// A megabyte and a half: more than one crossing may carry.
const HUGE: usize = 3 << 19;

impl Remediator for Hostile {
    fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
        let attack = match remediation.strategy.as_str() {
            "" => parameter(&remediation.parameters),
            strategy => strategy,
        };
        match attack {
            "behave" => {}
            // Time, memory, stack.
            "loop" => spin(),
            "allocate" => hoard(),
            "recurse" => return Ok(Outcome::working(deep(1).to_string())),
            "recurse-wide" => return Ok(Outcome::working(wide(1).to_string())),
            "call-host-for-ever" => loop {
                let _ = workloads::remaining();
            },
            "read-for-ever" => loop {
                let _ = target::get();
            },
            // Effects, then no answer.
            "panic-after-effects" => {
                ask()?;
                boom();
            }
            "error-after-effects" => {
                ask()?;
                return Err(Failure::Other("changed my mind".into()));
            }
            "loop-after-effects" => {
                ask()?;
                spin();
            }
            "bad-memory" => return Err(Failure::BadMemory("version 0".into())),
            // Proofs.
            "forge-proof" => raw::release_with(7),
            "forge-many-proofs" => (0..64).for_each(raw::release_with),
            "use-proof-after-drop" => raw::release_after_drop(),
            "keep-proof" => return Ok(Outcome::working("kept").remember(raw::take_handle().to_le_bytes().to_vec())),
            "use-kept-proof" => raw::release_with(kept(&remediation.memory)),
            "drop-proof-twice" => raw::drop_twice(),
            "collect-proofs" => loop {
                raw::take_handle();
            },
            // Size.
            "huge-string" => report::log(Level::Info, &"x".repeat(HUGE)),
            "alias-strings" => raw::alias(HUGE / 3),
            "huge-answer" => return Ok(Outcome::failed("failed", "x".repeat(HUGE))),
            "huge-memory" => return Ok(Outcome::working("greedy").remember(vec![1; 5_000])),
            "huge-step" => return Ok(Outcome::working("s".repeat(65))),
            "flood-log" => (0..500).for_each(|_| report::log(Level::Info, &"y".repeat(1_000))),
            "flood-effects" => {
                for n in 0..500 {
                    let _ = report::event(&format!("event-{n}"), false, "Flood", "again");
                }
            }
            "large-effects" => {
                for n in 0..32 {
                    let _ = report::event(&format!("event-{n}"), false, "Large", &"z".repeat(10_000));
                }
            }
            "escape-terminal" => {
                report::log(Level::Info, "\u{1b}[2J\u{7}all clear");
                return Ok(Outcome::failed("failed", "\u{1b}[31mred"));
            }
            // What is not its own.
            "reuse-key" => {
                scheduling::cordon("one")?;
                let _ = scheduling::uncordon("one");
            }
            "other-node" => other_node(),
            "outside" => return Ok(outside()),
            "agent" => return Ok(Outcome::working(format!("jury {}", agent::get().jury))),
            other => return Ok(Outcome::failed("unknown", format!("no attack {other:?}"))),
        }
        Ok(Outcome::working("attacked"))
    }
}

/// The text after `"attack":`, without a JSON parser.
fn parameter(parameters: &str) -> &str {
    let text = parameters.split_once("\"attack\"").map_or("", |(_, rest)| rest);
    text.split('"').nth(1).unwrap_or("behave")
}

fn ask() -> Result<(), Failure> {
    fencing::request("fence", fencing::Method::SelfFence)?;
    scheduling::cordon("cordon")?;
    workloads::restore("restore", workloads::Restoration::Everything)?;
    Ok(())
}

#[expect(clippy::panic, reason = "this is what it is for")]
fn boom() {
    panic!("boom with a message");
}

fn spin() {
    let mut n: u64 = 0;
    loop {
        n = core::hint::black_box(n).wrapping_add(1);
    }
}

fn hoard() {
    let mut heap: Vec<Vec<u8>> = Vec::new();
    loop {
        heap.push(vec![1; 64 << 10]);
        core::hint::black_box(&heap);
    }
}

/// Small frames: the host's bound on the machine stack ends it.
fn deep(n: u64) -> u64 {
    let again: fn(u64) -> u64 = core::hint::black_box(deep);
    again(n + 1) + n
}

/// Large frames: the guest's own stack in linear memory ends it.
fn wide(n: u64) -> u64 {
    let again: fn(u64) -> u64 = core::hint::black_box(wide);
    let here = core::hint::black_box([n; 512]);
    again(n + 1) + here[(n % 512) as usize]
}

fn kept(memory: &[u8]) -> u32 {
    memory.try_into().map_or(1, u32::from_le_bytes)
}

/// There is no way to name another node; these are the places where one could be smuggled in.
fn other_node() {
    let _ = fencing::request("worker-2", fencing::Method::SelfFence);
    let taint = |key: &str| OwnTaint { key: key.into(), value: String::new(), effect: OwnTaintEffect::NoSchedule };
    for key in ["node.kubernetes.io/out-of-service", "remediation.palisade.dev/../worker-2", "remediation.medik8s.io/"]
    {
        let _ = scheduling::set_taint(key, &taint(key));
    }
    let _ = report::condition("Node worker-2", ConditionStatus::True, "Fenced", "of another node");
}

/// Asks for everything outside of the node that is not its own, and hands back what it was told.
fn outside() -> Outcome {
    let confirm = approval::Question::ConfirmIsolated;
    let approve = approval::Question::ApproveAction;
    let tried = [
        machines::delete("machine", "of-another-node"),
        power::off("off"),
        approval::ask("early", confirm, "before anything was marked", 1, None),
        approval::ask("nobody", approve, "nobody has to answer", 0, None),
        jobs::run("job", "not-on-the-list"),
    ];
    let proofs = [machines::proof(), power::proof(), approval::proof()];
    let found = proofs.iter().filter(|proof| matches!(proof, Ok(Some(_)))).count();
    let told: Vec<String> = tried.iter().map(|tried| format!("{tried:?}")).collect();
    Outcome::failed(format!("{found} proofs"), told.join("\n"))
}

palisade_remediator::remediator! {
    name: "hostile",
    remediator: Hostile,
    capabilities: [target, agent, fencing, workloads, scheduling, machines, power, approval, jobs],
    parameters: r#"{"type":"object","properties":{"attack":{"type":"string"}}}"#,
}
