//! Turns what the engine says about a failed call into a cause and a message that names the remedy.

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::journal::JournalInput;
use crate::manifest::Manifest;
use crate::report::{CallFailure, FailureCause};
use crate::state::{CallState, Stop, tidy};

/// Longest reason that a guest can put into a message.
pub(crate) const REASON_LIMIT: usize = 1_024;

/// Explains a failed call.
pub(crate) fn explain(manifest: &Manifest, state: &CallState, error: &wasmtime::Error) -> CallFailure {
    let cause = cause(state, error);
    let limits = &state.input.limits;
    let what = match cause {
        FailureCause::OutOfFuel => format!("it used up its {} units of fuel", limits.fuel),
        FailureCause::Deadline => format!("it ran longer than {} ms", limits.deadline_millis),
        FailureCause::Memory => format!("it wanted more than {} bytes of memory", limits.memory_bytes),
        FailureCause::Stack => "it recursed too deeply".into(),
        FailureCause::Excess if error.downcast_ref::<Stop>().is_none() => {
            format!("it moved more than {} bytes in one call", limits.crossing_bytes)
        }
        FailureCause::Trap => trap(state, error),
        _ => error.root_cause().to_string(),
    };
    let remedy = match cause {
        FailureCause::OutOfFuel | FailureCause::Deadline => "fix the loop, or raise the limit in its Remediator object",
        FailureCause::Memory | FailureCause::Excess => "use less, or raise the limit in its Remediator object",
        FailureCause::NotGranted => "grant the capability in its Remediator object",
        FailureCause::Host => "the call is tried again",
        _ => "report it to its author, or roll back to the version before",
    };
    message(manifest, &state.input, cause, &what, remedy)
}

/// A failure with a message for people.
pub(crate) fn message(
    manifest: &Manifest,
    input: &JournalInput,
    cause: FailureCause,
    what: &str,
    remedy: &str,
) -> CallFailure {
    let Manifest { name, version, .. } = manifest;
    let view = &input.remediation;
    let mut what = what.to_owned();
    tidy(&mut what, REASON_LIMIT);
    let message = format!(
        "remediator {name} {version} failed on {} {}/{}: {what}. Nothing it asked for was done. Remedy: {remedy}",
        view.kind, view.namespace, view.name
    );
    CallFailure { cause, message }
}

fn cause(state: &CallState, error: &wasmtime::Error) -> FailureCause {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::TooManyCalls(_) => FailureCause::Excess,
            Stop::NotGranted(_) => FailureCause::NotGranted,
        };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return FailureCause::Host;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => FailureCause::OutOfFuel,
        Some(Trap::Interrupt) => FailureCause::Deadline,
        Some(Trap::StackOverflow) => FailureCause::Stack,
        // A guest that gets no memory aborts; what it hits first depends on its language.
        _ if state.limiter.denied_memory => FailureCause::Memory,
        Some(_) => FailureCause::Trap,
        None => untyped(&error.root_cause().to_string()),
    }
}

/// Errors for which wasmtime has no public type. The hostile suite pins them, so a changed text shows there.
fn untyped(text: &str) -> FailureCause {
    if text.contains("hostcalls has been exhausted") || text.contains("store handle limit") {
        FailureCause::Excess
    } else if text.contains("handle index") || text.contains("handle") || text.contains("resource") {
        FailureCause::Handle
    } else {
        FailureCause::Trap
    }
}

fn trap(state: &CallState, error: &wasmtime::Error) -> String {
    let place = error
        .downcast_ref::<WasmBacktrace>()
        .and_then(|backtrace| backtrace.frames().iter().find_map(|frame| frame.func_name()).map(readable))
        .map(|name| format!(" in {name}"))
        .unwrap_or_default();
    // The SDK logs a panic's message before it traps.
    let words = state.log.last().map(|line| format!("; its last log line: {line}")).unwrap_or_default();
    format!("{}{place}{words}", error.root_cause())
}

/// `module::function` out of a symbol as Rust and C++ mangle it; anything else stays as it is.
fn readable(symbol: &str) -> String {
    let path = || {
        let mut rest = symbol.strip_prefix("_ZN")?.strip_suffix('E')?;
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (length, tail) = rest.split_at(digits);
            let (part, tail) = tail.split_at_checked(length.parse().ok()?)?;
            parts.push(part);
            rest = tail;
        }
        // The last part of a Rust symbol is a hash.
        let hash = parts.last().is_some_and(|part| part.len() == 17 && part.starts_with('h'));
        parts.truncate(parts.len() - usize::from(hash));
        Some(parts.join("::"))
    };
    path().unwrap_or_else(|| symbol.to_owned())
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn symbols_become_readable() {
        assert_eq!(readable("_ZN18remediator_hostile4deep17h6dc33304bab8602eE"), "remediator_hostile::deep");
        for other in ["reconcile", "_ZN9x", "_ZNE", "_ZN99999999999999999999xE", ""] {
            readable(other);
        }
    }
}
