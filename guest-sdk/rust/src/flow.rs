//! What all remediators that fence have in common: restore when the node is healthy, give up when told so, ask for
//! fencing, wait for the proof. A remediator adds what it does with the proof.

use std::time::Duration;

use crate::fencing::{self, Method, Proof, Stage};
use crate::workloads::{self, ReleaseMethod, Remains, Restoration};
use crate::{Failure, Outcome, Refusal, Remediation};

/// How far the common part came.
#[derive(Debug)]
pub enum Flow {
    /// It is the whole answer of this call.
    Answer(Outcome),
    /// The boot has ended; the workloads are to be released.
    Proven(Proof, Remains),
    /// The workloads were released by an earlier call and are gone.
    Released(Remains),
}

/// The common part of a call.
pub fn fence(remediation: &Remediation) -> Result<Flow, Failure> {
    let remains = workloads::remaining();
    if remediation.deleting {
        return restore(&remains).map(Flow::Answer);
    }
    if remains.released.is_some() && remains.gone() {
        return Ok(Flow::Released(remains));
    }
    if remediation.timed_out && remains.released.is_none() {
        let reason = "its owner gave up waiting before the workloads were released";
        return Ok(Flow::Answer(Outcome::failed("timed-out", reason)));
    }
    let progress = fencing::progress();
    if progress.stage == Stage::Contradicted {
        // The boot that was proven dead showed a sign of life. Nothing may follow from that proof.
        return Ok(Flow::Answer(Outcome::failed("contradicted", progress.waiting_for)));
    }
    if let Some(proof) = fencing::proof() {
        return Ok(Flow::Proven(proof, remains));
    }
    if remains.released.is_some() {
        // The node may be back with a new boot already; that one is not ours to end.
        return Ok(Flow::Answer(Outcome::working("releasing")));
    }
    fencing::request("fence", Method::SelfFence)?;
    let answer = Outcome::working("waiting-for-proof");
    // A bound that is known is worth a look as soon as it has passed.
    let answer = match progress.due {
        Some(due) => answer.within(Duration::from_millis(due.max(100))),
        None => answer,
    };
    Ok(Flow::Answer(answer))
}

/// Releases the workloads. The key holds what it is about, so that a later proof is another effect.
pub fn release(proof: &Proof, how: ReleaseMethod) -> Result<(), Refusal> {
    let name = match how {
        ReleaseMethod::ResourceDeletion => "resource-deletion",
        ReleaseMethod::OutOfServiceTaint => "out-of-service-taint",
    };
    workloads::release(&format!("release/{name}/{}", proof.id()), proof, how)
}

/// Puts everything back, and says so once nothing of ours is left.
pub fn restore(remains: &Remains) -> Result<Outcome, Failure> {
    if !remains.held {
        return Ok(Outcome::succeeded("restored"));
    }
    workloads::restore("restore", Restoration::Everything)?;
    Ok(Outcome::working("restoring"))
}
