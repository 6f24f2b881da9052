//! Counterexamples in words.

use std::fmt;

use crate::action::Action;
use crate::world::{Foul, Service, World};

impl fmt::Display for Foul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunningTwice { node, boot, proof } => {
                write!(f, "a pod was released by {proof} while boot {boot} of n{node} runs it")
            }
            Self::FalseProof { node, boot, proof } => {
                write!(f, "{proof} says that boot {boot} of n{node} ended; it runs")
            }
            Self::RebootedInOutage { node, why } => write!(f, "n{node} ends itself without cause ({why})"),
            Self::OutlivedItsBound { node, boot } => write!(f, "fenced boot {boot} of n{node} outlives its bound"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |on: bool, yes: &'static str, no: &'static str| if on { yes } else { no };
        match self {
            Self::Tick => f.write_str("> time passes"),
            Self::Brink => f.write_str("> time passes until just before the watchdog fires"),
            Self::Look(index, kind) => write!(f, "> for controller {index} somebody finds {kind}"),
            Self::Tell(index) => write!(f, "> controller {index} hears of it"),
            Self::Deliver => f.write_str("> the next message arrives"),
            Self::Hold => f.write_str("> the next message is held back"),
            Self::Late => f.write_str("> the next message arrives, its answer is held back"),
            Self::Duplicate => f.write_str("> the next message arrives, and a copy is held back"),
            Self::Arrive(index) => write!(f, "> message {index} that was held back arrives"),
            Self::GiveUp(index) => write!(f, "> controller {index} waits no longer for its write"),
            Self::Service(service) => f.write_str(match service {
                Service::Up => "> the API works again",
                Service::WritesFail => "> the API refuses writes",
                Service::Down => "> the API is down",
                Service::NodesCut => "> no node reaches the API",
            }),
            Self::Cut(node, cut) => write!(f, "> n{node} {} the API", verb(*cut, "loses", "reaches")),
            Self::Alone(_) => f.write_str("> n0 is isolated"),
            Self::CutController(index, cut) => {
                write!(f, "> controller {index} {} the API", verb(*cut, "loses", "reaches"))
            }
            Self::Deaf(node, deaf) => write!(f, "> the controllers {} n{node}", verb(*deaf, "lose", "reach")),
            Self::Forge => f.write_str("> another node writes an acknowledgement for n0"),
            Self::KillAgent => f.write_str("> the agent of n0 is killed"),
            Self::StartAgent => f.write_str("> the agent of n0 starts"),
            Self::RestartJuror(node) => write!(f, "> the agent of n{node} restarts"),
            Self::PauseAgent(paused) => write!(f, "> the agent of n0 is {}", verb(*paused, "stopped", "continued")),
            Self::PauseController(index, paused) => {
                write!(f, "> controller {index} is {}", verb(*paused, "stopped", "continued"))
            }
            Self::RestartController(index) => write!(f, "> controller {index} restarts"),
            Self::Begin(index) => write!(f, "> controller {index} begins a fencing"),
            Self::LetGo(index) => write!(f, "> controller {index} lets go of the intent"),
            Self::Fail => f.write_str("> the machine fails"),
            Self::Boot => f.write_str("> the machine boots"),
            Self::Publish => f.write_str("> the kubelet publishes its boot"),
            Self::StartPods => f.write_str("> the kubelet starts what is bound to it"),
            Self::RecreateNode => f.write_str("> the Node is made again"),
            Self::DeleteLease => f.write_str("> the lease is deleted"),
            Self::Retime(check) => write!(f, "> n0 is configured: check every {check} ms"),
            Self::Rejury(count) => write!(f, "> the roster of n0 shows {count} peers"),
            Self::DiskFull(full) => write!(f, "> the host file can {} be written", verb(*full, "not", "again")),
            Self::Wake => f.write_str("> n1 wakes n0"),
            Self::Jump => f.write_str("> n0 lost time"),
            Self::Release(index) => write!(f, "> controller {index} releases"),
            Self::CheckRelease(index) => write!(f, "> controller {index} reads for its release, and is stopped"),
            Self::CarryOut(index) => write!(f, "> controller {index} carries its release out"),
        }
    }
}

impl World {
    /// One line about everything that matters.
    pub fn line(&self) -> String {
        let node = &self.nodes[0];
        let mut parts = vec![match node.boot {
            0 => "n0 off".to_owned(),
            boot => format!("n0 runs b{boot}"),
        }];
        if let Some(process) = &node.process {
            let left = process.permit.map(|until| until.0 as f64 / 1000.0 - self.now as f64 / 1000.0);
            parts.push(match (process.stopped, left) {
                (true, _) => "feeds no more".to_owned(),
                (false, Some(left)) => format!("L in {left:.1}s"),
                (false, None) => "no right to live".to_owned(),
            });
        }
        if let Some(device) = &node.device {
            parts.push(format!("fed {:.1}s ago", (self.now as f64 - device.fed.0 as f64) / 1000.0));
        }
        match self.view(0) {
            None => parts.push("no lease".to_owned()),
            Some(view) => {
                if let Some(record) = &view.record {
                    let claim = if record.terms.claims.self_fences { ", claims" } else { "" };
                    let acknowledged = if record.acknowledged.is_some() { ", acknowledged" } else { "" };
                    let (boot, length) = (&record.boot_id, record.terms.time_to_live_millis);
                    parts.push(format!("lease #{} {boot} T {length}{claim}{acknowledged}", record.sequence));
                }
                if let Some(intent) = &view.intent {
                    parts.push(format!("intent for {}", intent.boot_id));
                }
            }
        }
        for (index, state) in self.controllers.iter().enumerate() {
            let Some(prover) = &state.prover else { continue };
            let deadline = prover
                .deadline()
                .map_or(String::new(), |at| format!(", D in {:.1}s", at.0 as f64 / 1000.0 - self.now as f64 / 1000.0));
            let promised = prover.promised().map_or(String::new(), |(have, need)| format!(", {have}/{need} promises"));
            let proof = prover.proof().map_or(String::new(), |proof| format!(", proven {}", proof.kind));
            parts.push(format!("c{index}{promised}{deadline}{proof}"));
        }
        if !self.held.is_empty() {
            parts.push(format!("{} held back", self.held.len()));
        }
        if let Some(foul) = &self.foul {
            parts.push(format!("FOUL: {foul}"));
        }
        parts.join("; ")
    }
}
