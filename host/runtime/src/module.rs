//! A loaded remediator, and one call of it.

use std::sync::Arc;
use std::time::Instant;

use crate::capability::Granted;
use crate::contract::{Answer, Linked};
use crate::failure::{self, REASON_LIMIT};
use crate::host::Shared;
use crate::journal::{Journal, JournalInput, JournalRecord, ReplayError};
use crate::limits::{Limits, MEMORY_LIMIT};
use crate::manifest::Manifest;
use crate::report::{CallFailure, CallInput, CallReport, FailureCause, Outcome, Refusal};
use crate::state::{CallState, journal_input, tidy};

/// Longest name of a step.
const STEP_LIMIT: usize = 64;

/// A compiled, linked and tried remediator. Cheap to share; calls may run at the same time.
pub struct Module {
    shared: Arc<Shared>,
    manifest: Manifest,
    digest: String,
    linked: Linked,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("manifest", &self.manifest).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// What ran, before it is made a report.
struct Run {
    answer: Result<Done, CallFailure>,
    state: CallState,
    fuel: u64,
}

struct Done {
    outcome: Outcome,
    step: String,
    memory: Vec<u8>,
}

impl Module {
    pub(crate) fn new(shared: Arc<Shared>, manifest: Manifest, digest: String, linked: Linked) -> Self {
        Self { shared, manifest, digest, linked }
    }

    /// What the component says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// `sha256:…` of the file.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Calls `reconcile` in a fresh instance, on this thread, for at most [`Limits::deadline_millis`]. Limits above the
    /// engine's ceiling are lowered to it. Grants that the manifest does not ask for are ignored.
    pub fn call(&self, input: &CallInput, limits: &Limits, granted: &Granted) -> CallReport {
        let started = Instant::now();
        let limits = limits.within(&self.shared.ceiling);
        let granted = granted.and(&self.manifest.capabilities.iter().copied().collect());
        let (seen, refusal) = journal_input(input, limits, granted);
        let (record, failure) = self.record(&seen, refusal);
        let journal =
            Journal { digest: self.digest.clone(), contract: self.manifest.contract.clone(), input: seen, record };
        let record = &journal.record;
        let outcome = match (&record.outcome, failure) {
            (_, Some(failure)) => Err(failure),
            (Ok(outcome), None) => Ok(outcome.clone()),
            // `record` gives a failure exactly when the outcome is an error; this keeps the match total.
            (Err(cause), None) => Err(CallFailure { cause: *cause, message: format!("{cause:?}") }),
        };
        CallReport {
            outcome,
            step: record.step.clone(),
            memory: record.memory.clone(),
            effects: record.effects.clone(),
            refusals: record.refusals.clone(),
            log: record.log.clone(),
            fuel: record.fuel,
            took: started.elapsed(),
            journal,
        }
    }

    /// Runs a journalled call again and compares everything: calls, answer, effects, log, memory and fuel.
    pub fn replay(&self, journal: &Journal) -> Result<(), ReplayError> {
        if journal.digest != self.digest {
            return Err(ReplayError::OtherModule { journal: journal.digest.clone(), module: self.digest.clone() });
        }
        // A refusal from outside the guest (a proof of something else) is part of the input here.
        let outside = journal.record.refusals.iter().find(|refusal| refusal.key.is_empty()).cloned();
        let (record, _) = self.record(&journal.input, outside);
        let fields = journal.record.differences(&record);
        if fields.is_empty() { Ok(()) } else { Err(ReplayError::Differs { fields }) }
    }

    fn record(&self, input: &JournalInput, refusal: Option<Refusal>) -> (JournalRecord, Option<CallFailure>) {
        let (step, memory) = (input.remediation.step.clone(), input.remediation.memory.clone());
        let run = match self.run(input) {
            Ok(run) => run,
            Err(failed) => return (JournalRecord::nothing(step, memory, failed.cause), Some(failed)),
        };
        let Run { answer, state, fuel } = run;
        let refusals = refusal.into_iter().chain(state.refusals).collect();
        let (outcome, step, memory, effects, failure) = match answer {
            Ok(Done { outcome, step, memory }) => (Ok(outcome), step, memory, state.staged, None),
            // A call without an answer changes nothing, whatever it staged before.
            Err(failed) => (Err(failed.cause), step, memory, Vec::new(), Some(failed)),
        };
        let record =
            JournalRecord { calls: state.calls, outcome, step, memory, effects, refusals, log: state.log, fuel };
        (record, failure)
    }

    fn run(&self, input: &JournalInput) -> Result<Run, CallFailure> {
        let given = input.limits.fuel;
        let crowded = |error: wasmtime::Error| {
            let remedy = "the call is tried again";
            failure::message(&self.manifest, input, FailureCause::Host, &format!("{error:#}"), remedy)
        };
        // Declared before the store, so that the store's instance is gone when the place is free.
        let _place = self.shared.place(&input.limits).map_err(crowded)?;
        let mut store = self.shared.store(input.clone()).map_err(crowded)?;
        let answer = {
            let _ticking = self.shared.ticker.during_call();
            self.linked.reconcile(&mut store, input)
        };
        let left = store.get_fuel().unwrap_or(0);
        let state = store.into_data();
        let answer = match answer {
            Err(error) => Err(failure::explain(&self.manifest, &state, &error)),
            Ok(answer) => self.checked(input, answer),
        };
        Ok(Run { answer, state, fuel: given.saturating_sub(left) })
    }

    fn checked(&self, input: &JournalInput, answer: Answer) -> Result<Done, CallFailure> {
        let author = "report it to its author, or roll back to the version before";
        let fail = |cause, what: &str| Err(failure::message(&self.manifest, input, cause, what, author));
        match answer {
            Answer::BadMemory(why) => {
                let what = format!("it cannot read its memory of an earlier call: {why}");
                let remedy = "none needed, it starts again with empty memory";
                Err(failure::message(&self.manifest, input, FailureCause::BadMemory, &what, remedy))
            }
            Answer::Error(why) => fail(FailureCause::Error, &why),
            Answer::Done { memory, .. } if memory.len() > MEMORY_LIMIT => {
                let what = format!("it wants to remember {} bytes, the limit is {MEMORY_LIMIT}", memory.len());
                fail(FailureCause::Contract, &what)
            }
            Answer::Done { step, .. } if step.len() > STEP_LIMIT || step.chars().any(char::is_control) => {
                fail(FailureCause::Contract, "the name of its step is not at most 64 printable bytes")
            }
            Answer::Done { mut outcome, step, memory } => {
                if let Outcome::Failed { reason } = &mut outcome {
                    tidy(reason, REASON_LIMIT);
                }
                Ok(Done { outcome, step, memory })
            }
        }
    }
}

impl JournalRecord {
    /// A call that never began.
    fn nothing(step: String, memory: Vec<u8>, cause: FailureCause) -> Self {
        Self {
            calls: Vec::new(),
            outcome: Err(cause),
            step,
            memory,
            effects: Vec::new(),
            refusals: Vec::new(),
            log: Vec::new(),
            fuel: 0,
        }
    }
}
