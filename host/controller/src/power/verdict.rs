//! What the end of an agent's run means. Pure.
//!
//! An exit code alone is no evidence that a machine is off: only a reading is, and a reading needs code and text to say
//! the same.

use super::fault::{Fault, Reading};
use super::hidden::Redactor;
use super::process::{End, Ended};

/// Code of action `status` for a machine that is off.
const STATUS_OFF: i32 = 2;

/// Words by which agents tell that the device answered and said no.
const REFUSED: [&str; 13] = [
    "certificate verify failed",
    "unauthorized",
    "authentication",
    "not authorized",
    "access denied",
    "permission denied",
    "correct privileges",
    "insufficient privilege",
    "invalid user",
    "login failed",
    "rakp 2",
    "hmac is invalid",
    "set login password",
];
/// Words by which they tell that it did not answer.
const UNREACHABLE: [&str; 11] = [
    "timed out",
    "timeout",
    "unreachable",
    "connection refused",
    "no route to host",
    "unable to connect",
    "connection lost",
    "name or service not known",
    "temporary failure in name resolution",
    "failed to establish",
    "max retries exceeded",
];

/// What the device says about its machine, by a run of action `status`.
pub fn reading(ended: &Ended, subject: &str, redactor: &Redactor) -> Result<Reading, Fault> {
    let words = || ended.stdout.split(|character: char| !character.is_ascii_alphanumeric());
    let says = |word: &str| words().any(|found| found.eq_ignore_ascii_case(word));
    match ended.end {
        End::Code(0) if says("on") && !says("off") => Ok(Reading::On),
        End::Code(STATUS_OFF) if says("off") && !says("on") => Ok(Reading::Off),
        End::Code(0 | STATUS_OFF) => {
            let said = redactor.last_line(&ended.stdout);
            Err(Fault::Failed(format!("{subject} says neither ON nor OFF clearly: {said:?}")))
        }
        _ => Err(fault(ended, subject, redactor)),
    }
}

/// Whether a run of action `off` or `on` did what it should, by its own account.
pub fn switched(ended: &Ended, subject: &str, redactor: &Redactor) -> Result<(), Fault> {
    match ended.end {
        End::Code(0) => Ok(()),
        _ => Err(fault(ended, subject, redactor)),
    }
}

fn fault(ended: &Ended, subject: &str, redactor: &Redactor) -> Fault {
    let said = match redactor.last_line(&ended.stderr) {
        line if line.is_empty() => redactor.last_line(&ended.stdout),
        line => line,
    };
    let all = format!("{}\n{}", ended.stderr, ended.stdout).to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| all.contains(word));
    match ended.end {
        End::TimedOut => Fault::TimedOut(format!("{subject} was ended by its time limit (spec.timeout)")),
        End::Signal => Fault::Failed(format!("{subject} was killed by somebody else")),
        End::Code(_) if any(&REFUSED) => {
            Fault::Refused(format!("{subject}: the device refuses: {said}; check credentials and certificates"))
        }
        End::Code(_) if any(&UNREACHABLE) => {
            Fault::Unreachable(format!("{subject}: the device cannot be reached: {said}; check address and network"))
        }
        End::Code(code) => Fault::Failed(format!("{subject} ended with {code}: {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(end: End, stdout: &str, stderr: &str) -> Ended {
        Ended { end, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    fn read(end: End, stdout: &str, stderr: &str) -> Result<Reading, Fault> {
        reading(&ended(end, stdout, stderr), "fence_x status", &Redactor::new(["hunter22"]))
    }

    #[test]
    fn b2_8_code_and_text_must_say_the_same() {
        assert_eq!(read(End::Code(0), "Status: ON\n", ""), Ok(Reading::On));
        assert_eq!(read(End::Code(2), "Status: OFF\n", ""), Ok(Reading::Off));
        for (code, text) in
            [(0, "Status: OFF"), (2, "Status: ON"), (2, ""), (0, "done"), (2, "on or off"), (2, "offline")]
        {
            assert!(matches!(read(End::Code(code), text, ""), Err(Fault::Failed(_))), "{code} {text}");
        }
        assert!(matches!(read(End::Code(1), "Status: OFF", ""), Err(Fault::Failed(_))));
    }

    #[test]
    fn b2_3_the_end_by_the_limit_is_timed_out_and_not_failed() {
        assert!(matches!(read(End::TimedOut, "Status: OFF\n", ""), Err(Fault::TimedOut(_))));
        assert!(matches!(read(End::Signal, "Status: OFF\n", ""), Err(Fault::Failed(_))));
    }

    #[test]
    fn fa_32_unreachable_and_refused_are_told_apart() {
        let unreachable = read(End::Code(1), "", "ERROR: Connection timed out\n\n");
        assert!(matches!(&unreachable, Err(Fault::Unreachable(why)) if why.contains("Connection timed out")));
        let refused = read(End::Code(1), "", "Error: 401 Unauthorized for hunter22\n");
        let Err(Fault::Refused(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("for ***") && !why.contains("hunter22"), "{why}");
    }

    #[test]
    fn a_switch_is_believed_only_as_far_as_its_code() {
        let redactor = Redactor::default();
        assert_eq!(switched(&ended(End::Code(0), "", ""), "fence_x off", &redactor), Ok(()));
        assert!(switched(&ended(End::Code(1), "Success", ""), "fence_x off", &redactor).is_err());
    }
}
