//! What the host keeps during one call, the same for every version of the contract: the snapshot that reads answer from,
//! the effects staged so far, and the meters.

use std::collections::BTreeMap;

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};

use crate::capability::{Capability, Granted};
use crate::effect::{Effect, StagedEffect};
use crate::gate;
use crate::journal::{HostCall, JournalInput};
use crate::limits::Limits;
use crate::proof::ProofClaim;
use crate::report::{Refusal, RefusalReason};

/// Data of the store of one call.
pub(crate) struct CallState {
    pub(crate) input: JournalInput,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) staged: Vec<StagedEffect>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) log: Vec<String>,
    pub(crate) calls: Vec<HostCall>,
    staged_bytes: usize,
    log_bytes: usize,
}

/// What a guest holds a handle of: a copy of the claim. The right itself stays with the controller.
pub struct ProofHandle(pub(crate) ProofClaim);

/// Ends a call from within a host function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("it made more than {0} host calls")]
    TooManyCalls(u32),
    #[error("it used {0}, which is not granted to it")]
    NotGranted(Capability),
}

impl CallState {
    pub(crate) fn new(input: JournalInput) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(input.limits.host_calls as usize + 1);
        Self {
            limiter: Limiter::new(&input.limits),
            table,
            input,
            staged: Vec::new(),
            refusals: Vec::new(),
            log: Vec::new(),
            calls: Vec::new(),
            staged_bytes: 0,
            log_bytes: 0,
        }
    }

    /// Notes a host call; every host function begins with it.
    pub(crate) fn enter(&mut self, function: &str, note: impl Into<String>) -> Result<(), Stop> {
        if self.calls.len() >= self.input.limits.host_calls as usize {
            return Err(Stop::TooManyCalls(self.input.limits.host_calls));
        }
        let mut note = note.into();
        cut(&mut note, 128);
        self.calls.push(HostCall { function: function.to_owned(), note });
        Ok(())
    }

    /// Enters a function that only reads, and that has no way to say "not granted" but to stop the call.
    pub(crate) fn reads(&mut self, capability: Capability, function: &str) -> Result<(), Stop> {
        self.enter(function, "")?;
        if self.input.granted.allows(capability) { Ok(()) } else { Err(Stop::NotGranted(capability)) }
    }

    /// Stages an effect, or refuses it.
    pub(crate) fn stage(
        &mut self,
        function: &str,
        key: String,
        effect: Effect,
    ) -> Result<Result<(), RefusalReason>, Stop> {
        self.stage_allowed(function, key, effect, Ok(()))
    }

    /// The same, unless what the snapshot shows already refuses it.
    pub(crate) fn stage_allowed(
        &mut self,
        function: &str,
        key: String,
        effect: Effect,
        allowed: Result<(), RefusalReason>,
    ) -> Result<Result<(), RefusalReason>, Stop> {
        self.enter(function, key.as_str())?;
        let answer = allowed.and_then(|()| self.admit(&key, &effect));
        match &answer {
            Ok(()) => self.keep(key, effect),
            Err(reason) => {
                let mut key = key;
                cut(&mut key, gate::KEY_LIMIT);
                let mut effect = effect.summary();
                cut(&mut effect, 256);
                self.refusals.push(Refusal { key, effect, reason: reason.clone() });
            }
        }
        Ok(answer)
    }

    fn admit(&mut self, key: &str, effect: &Effect) -> Result<(), RefusalReason> {
        let JournalInput { granted, ledger, limits, .. } = &self.input;
        gate::check(key, effect, granted, ledger)?;
        let earlier = self.staged.iter().find(|staged| staged.key == key);
        if let Some(earlier) = earlier {
            let may_change = earlier.effect.changeable() && effect.changeable();
            if earlier.effect != *effect && !may_change {
                return Err(gate::taken(key));
            }
        } else if self.staged.len() >= limits.effects {
            return Err(RefusalReason::Refused(format!("a call stages at most {} effects", limits.effects)));
        }
        // Counted also for a condition that replaces an earlier one: a bound, not an inventory.
        let size = key.len() + text_bytes(effect);
        if self.staged_bytes + size > limits.effect_bytes {
            let limit = limits.effect_bytes;
            return Err(RefusalReason::Refused(format!("the effects of a call have at most {limit} bytes of text")));
        }
        self.staged_bytes += size;
        Ok(())
    }

    fn keep(&mut self, key: String, effect: Effect) {
        match self.staged.iter_mut().find(|staged| staged.key == key) {
            Some(staged) => staged.effect = effect,
            None => self.staged.push(StagedEffect { key, effect }),
        }
    }

    /// Keeps a log line as long as there is room.
    pub(crate) fn log(&mut self, level: &str, mut message: String) -> Result<(), Stop> {
        self.enter("report.log", level)?;
        let room = self.input.limits.log_bytes.saturating_sub(self.log_bytes);
        if room == 0 || !self.input.granted.allows(Capability::Report) {
            return Ok(());
        }
        tidy(&mut message, room.min(2_048));
        self.log_bytes += message.len() + 1;
        self.log.push(format!("{level}: {message}"));
        Ok(())
    }
}

fn text_bytes(effect: &Effect) -> usize {
    match effect {
        Effect::Condition { kind, reason, message, .. } => kind.len() + reason.len() + message.len(),
        Effect::Event { reason, message, .. } => reason.len() + message.len(),
        Effect::TaintOwn { taint } | Effect::UntaintOwn { taint } => taint.key.len() + taint.value.len(),
        Effect::Release { proof, .. } => proof.as_str().len(),
        Effect::DeleteMachine { uid } => uid.len(),
        Effect::Ask { message, .. } => message.len(),
        Effect::RunJob { name } => name.len(),
        Effect::RequestFence { .. }
        | Effect::Restore { .. }
        | Effect::Cordon
        | Effect::Uncordon
        | Effect::PowerOff
        | Effect::PowerOn => 0,
    }
}

/// Shortens text to at most `limit` bytes, at a character boundary.
pub(crate) fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
}

/// Text of a guest that people will read, on a terminal too: short, and without control characters.
pub(crate) fn tidy(text: &mut String, limit: usize) {
    cut(text, limit);
    if text.chars().any(|c| c.is_control() && c != '\n') {
        *text = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    }
}

/// The store's limits; remembers that memory was denied, because the guest only sees a failed allocation and aborts.
pub(crate) struct Limiter {
    limits: StoreLimits,
    pub(crate) denied_memory: bool,
}

impl Limiter {
    fn new(limits: &Limits) -> Self {
        let limits = StoreLimitsBuilder::new()
            .memory_size(limits.memory_bytes)
            .memories(limits.memories)
            .tables(limits.tables)
            .table_elements(limits.table_elements)
            .instances(limits.instances)
            .build();
        Self { limits, denied_memory: false }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = self.limits.memory_growing(current, desired, maximum)?;
        self.denied_memory |= !allowed;
        Ok(allowed)
    }
    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = self.limits.table_growing(current, desired, maximum)?;
        self.denied_memory |= !allowed;
        Ok(allowed)
    }
    fn instances(&self) -> usize {
        self.limits.instances()
    }
    fn tables(&self) -> usize {
        self.limits.tables()
    }
    fn memories(&self) -> usize {
        self.limits.memories()
    }
}

/// What a call sees: limits and grants are already the effective ones.
pub(crate) fn journal_input(
    input: &crate::report::CallInput,
    limits: Limits,
    granted: Granted,
) -> (JournalInput, Option<Refusal>) {
    let (proof, refusal) = usable_proof(input);
    let crate::report::CallInput { remediation, snapshot, ledger, .. } = input;
    let ledger: BTreeMap<String, Effect> = ledger.clone();
    let (remediation, snapshot) = (remediation.clone(), snapshot.clone());
    (JournalInput { remediation, snapshot, proof, ledger, limits, granted }, refusal)
}

/// A proof of something else must not even be seen: the guest could not tell.
fn usable_proof(input: &crate::report::CallInput) -> (Option<ProofClaim>, Option<Refusal>) {
    let Some(claim) = input.proof.as_ref().map(crate::proof::Proof::claim) else { return (None, None) };
    let fenced = &input.snapshot.fencing.boot_id;
    let fits = claim.remediation_uid == input.remediation.uid
        && claim.node == input.remediation.node
        && (fenced.is_empty() || *fenced == claim.boot_id);
    if fits {
        return (Some(claim.clone()), None);
    }
    let why = "the proof handed to the call is for another remediation, node or boot".to_owned();
    let reason = RefusalReason::Refused(why);
    (None, Some(Refusal { key: String::new(), effect: "show the proof".into(), reason }))
}
