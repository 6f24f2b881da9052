//! The rules, removed one at a time. Each mutant changes what surrounds the core (the messages, reads, files and clocks
//! that reach it), never the core: production code has no switch that could turn a rule off.

/// One removed rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    IntentBeforeMarks,
    ChangedBootForces,
    GhostBoot,
    EitherDirection,
    PromisesFarApart,
    AbstainByOwnBounds,
    ShrinkLate,
    ForgetSentJuries,
    RelayGoesBack,
    AnyIntentUid,
    ClaimInFirstWrite,
    OneWatchdogTimeout,
    AcknowledgeUnstored,
    ReleaseWithoutVersion,
    NoApiOutsideTheLock,
    NoApiMeansReadsFail,
    SilenceOverLeaderChange,
    OneTickShort,
    TodaysTimeToLive,
    ForgetRightToLive,
}

/// What is known about a mutant.
pub struct Row {
    pub mutant: Mutant,
    /// Line of the review.
    pub line: &'static str,
    pub name: &'static str,
    /// The rule that is removed.
    pub removes: &'static str,
    /// The configuration that catches it.
    pub config: &'static str,
}

const fn row(mutant: Mutant, line: &'static str, name: &'static str, config: &'static str, removes: &'static str) -> Row {
    Row { mutant, line, name, removes, config }
}

/// All of them.
pub const ALL: &[Row] = &[
    row(Mutant::IntentBeforeMarks, "1a", "intent-before-marks", "boots", "mark before the intent"),
    row(Mutant::EitherDirection, "3", "either-direction", "boots", "both sources name the boot before its intent"),
    row(Mutant::AnyIntentUid, "10", "any-intent-uid", "two-controllers", "the lease still carries this very intent"),
    row(Mutant::ClaimInFirstWrite, "11", "claim-in-first-write", "first-claim", "claim only after the watchdog is armed"),
    row(Mutant::OneWatchdogTimeout, "12", "one-watchdog-timeout", "cut", "2 Wd, because dying with the device open feeds"),
    row(Mutant::TodaysTimeToLive, "23", "todays-time-to-live", "retime", "D rests on the intent's copy of T"),
];
