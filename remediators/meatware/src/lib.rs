//! People end the boot: one approves that the node may be fenced, then somebody (two persons, if so configured) goes and
//! confirms that it is isolated. Only the second is evidence; only with it, or with any other proof, workloads are
//! released.

use std::time::Duration;

use palisade_remediator::approval::{self, Answer, AnswerState, Question};
use palisade_remediator::fencing::{self, Method, Stage};
use palisade_remediator::flow;
use palisade_remediator::report::{self, ConditionStatus};
use palisade_remediator::workloads::{self, ReleaseMethod};
use palisade_remediator::{Failure, Outcome, Remediation, Remediator};

/// The remediator.
#[derive(Debug)]
pub struct Meatware;

const APPROVE: &str = "A person is asked: may the node be fenced? Its stateful pods are then marked for deletion, which \
                       cannot be taken back, and its agent, if it has one, ends the boot. Nothing is released by that.";
const CONFIRM: &str = "A person is asked: is the node isolated? Look whether it is powered off, or cut off from every \
                       network and every disk, and stays so. Its workloads start elsewhere at once.";

impl Remediator for Meatware {
    fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
        let remains = workloads::remaining();
        if remediation.deleting {
            return flow::restore(&remains);
        }
        if remains.released.is_some() && remains.gone() {
            return Ok(Outcome::succeeded("released"));
        }
        if remediation.timed_out && remains.released.is_none() {
            return Ok(Outcome::failed("timed-out", "its owner gave up waiting before people had answered"));
        }
        let wishes = Wishes::read(&remediation.parameters);
        let progress = fencing::progress();
        if progress.stage == Stage::Contradicted {
            return Ok(Outcome::failed("contradicted", progress.waiting_for));
        }
        if let Some(proof) = fencing::proof() {
            flow::release(&proof, ReleaseMethod::ResourceDeletion)?;
            return Ok(Outcome::working("releasing"));
        }
        if remains.released.is_some() {
            return Ok(Outcome::working("releasing"));
        }
        let approved = approval::answer(Question::ApproveAction)?;
        if approved.state == AnswerState::NotAsked {
            approval::ask("ask/action", Question::ApproveAction, APPROVE, wishes.approvals, wishes.expires())?;
        }
        if approved.state != AnswerState::Given {
            return waits("approval", &approved);
        }
        // From here on pods may be marked, and the boot may be ended by its own agent too.
        fencing::request("fence", Method::External)?;
        if progress.stage < Stage::Intended {
            return Ok(Outcome::working("marking"));
        }
        let confirmed = approval::answer(Question::ConfirmIsolated)?;
        if confirmed.state == AnswerState::NotAsked {
            approval::ask("ask/isolation", Question::ConfirmIsolated, CONFIRM, wishes.confirmations, wishes.expires())?;
        }
        if confirmed.state == AnswerState::Given {
            return Ok(Outcome::working("waiting-for-proof").within(Duration::from_secs(1)));
        }
        waits("confirmation", &confirmed)
    }
}

/// Tells who is waited for, or that nobody is any more.
fn waits(what: &str, answer: &Answer) -> Result<Outcome, Failure> {
    let why = match answer.state {
        AnswerState::Denied => {
            let by = answer.persons.first().map_or("somebody", |person| &person.name);
            let why = answer.persons.first().map_or("", |person| &person.reason);
            return ended("rejected-by-person", format!("{by} said no to the {what}: {why}"));
        }
        AnswerState::Expired => return ended("expired-without-answer", format!("nobody gave the {what} in time")),
        AnswerState::Stale => {
            return ended("cannot-apply-to-this-boot", format!("the {what} was about boot {}", answer.boot_id));
        }
        AnswerState::Withdrawn => return ended("withdrawn", format!("nobody waits for the {what} any more")),
        AnswerState::NotAsked | AnswerState::Pending | AnswerState::Given => {
            format!("{} more to give the {what}; status.palisade.questions says how", answer.missing.max(1))
        }
    };
    report::condition("WaitsForPerson", ConditionStatus::True, "Pending", &why)?;
    let outcome = Outcome::working(format!("waiting-for-{what}"));
    Ok(match answer.left {
        Some(left) => outcome.within(Duration::from_millis(left.max(100))),
        None => outcome,
    })
}

fn ended(step: &str, why: String) -> Result<Outcome, Failure> {
    report::condition("WaitsForPerson", ConditionStatus::False, "Ended", &why)?;
    Ok(Outcome::failed(step, why))
}

/// The parameters, as the schema has let them through.
struct Wishes {
    approvals: u32,
    confirmations: u32,
    expires_after_seconds: Option<u64>,
}

impl Wishes {
    fn read(parameters: &str) -> Self {
        let number = |key: &str| -> Option<u64> {
            let rest = parameters.split_once(&format!("\"{key}\":"))?.1.trim_start();
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        };
        let persons = |key| number(key).and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
        Self {
            approvals: persons("approvals"),
            confirmations: persons("confirmations"),
            expires_after_seconds: number("expiresAfterSeconds"),
        }
    }

    fn expires(&self) -> Option<Duration> {
        self.expires_after_seconds.map(Duration::from_secs)
    }
}

palisade_remediator::remediator! {
    name: "meatware",
    remediator: Meatware,
    capabilities: [approval, fencing, workloads],
    parameters: r#"{"type":"object","additionalProperties":false,"properties":{"approvals":{"type":"integer","minimum":1,"maximum":8},"confirmations":{"type":"integer","minimum":1,"maximum":8},"expiresAfterSeconds":{"type":"integer","minimum":1}}}"#,
}

#[cfg(test)]
mod tests;
