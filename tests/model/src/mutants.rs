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
    ShortOfD,
    TodaysTimeToLive,
    ForgetRightToLive,
    JudgeTheLiveRoster,
    StaleReadDropsPromise,
    Unsigned,
    FenceOnJump,
    WatchCache,
    TrustTheGuest,
    TimeAlone,
    OtherUidIsOther,
    JudgeTheLivePolicy,
    TimeInSpiteOfExemption,
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

const fn row(
    mutant: Mutant,
    line: &'static str,
    name: &'static str,
    config: &'static str,
    removes: &'static str,
) -> Row {
    Row { mutant, line, name, removes, config }
}

/// All of them.
pub const ALL: &[Row] = &[
    row(
        Mutant::IntentBeforeMarks,
        "1",
        "intent-before-marks",
        "boots-wide",
        "marks before the intent (where P1 releases what is marked)",
    ),
    row(Mutant::ChangedBootForces, "1", "changed-boot-forces", "boots-wide", "P1 forces nothing"),
    row(
        Mutant::GhostBoot,
        "2",
        "ghost-boot",
        "boots-wide",
        "a kubelet publishes its boot before it starts pods (assumption)",
    ),
    row(
        Mutant::EitherDirection,
        "3",
        "either-direction",
        "boots-wide",
        "Node and lease both name the boot before its intent",
    ),
    row(Mutant::OtherUidIsOther, "4", "other-uid-is-other", "identity", "boots are compared, UIDs are not"),
    row(Mutant::PromisesFarApart, "5", "promises-far-apart", "far-apart", "a majority is asked within Wd + margin"),
    row(
        Mutant::AbstainByOwnBounds,
        "6",
        "abstain-by-own-bounds",
        "juror-restart",
        "a juror abstains by the asker's bounds",
    ),
    row(Mutant::ShrinkLate, "7", "shrink-late", "retime-wide", "a smaller T cuts L before it is sent"),
    row(
        Mutant::ForgetSentJuries,
        "8",
        "forget-sent-juries",
        "jury-in-flight",
        "juries sent and not confirmed survive a restart",
    ),
    row(Mutant::RelayGoesBack, "9", "relay-goes-back", "relay-wide", "a relay neither goes back nor changes the boot"),
    row(Mutant::AnyIntentUid, "10", "any-intent-uid", "leaders-wide", "the last read shows this very intent"),
    row(
        Mutant::ClaimInFirstWrite,
        "11",
        "claim-in-first-write",
        "first-claim",
        "the claim comes with the second write, after arming",
    ),
    row(Mutant::OneWatchdogTimeout, "12", "one-watchdog-timeout", "pause", "2 Wd: dying with the device open feeds it"),
    row(Mutant::AcknowledgeUnstored, "14", "acknowledge-unstored", "disk", "no acknowledgement without the host file"),
    row(
        Mutant::JudgeTheLiveRoster,
        "15",
        "judge-the-live-roster",
        "min-peers",
        "minPeers is judged on what is published",
    ),
    row(
        Mutant::JudgeTheLivePolicy,
        "15 (R4)",
        "judge-the-live-policy",
        "control-plane",
        "R4 is judged on what is published",
    ),
    row(
        Mutant::TimeInSpiteOfExemption,
        "R4",
        "time-in-spite-of-exemption",
        "control-plane",
        "P3 is not available for a boot that may exempt itself",
    ),
    row(
        Mutant::ReleaseWithoutVersion,
        "16",
        "release-without-version",
        "paused-release",
        "a release takes only the versions just read",
    ),
    row(
        Mutant::StaleReadDropsPromise,
        "18",
        "stale-read-drops-promise",
        "jurors",
        "only a read newer than a promise drops it",
    ),
    row(Mutant::NoApiOutsideTheLock, "18", "no-api-outside-the-lock", "late", "NoApi is recorded before it is sent"),
    row(Mutant::Unsigned, "19", "unsigned", "cut", "only content signed by the subject counts"),
    row(
        Mutant::NoApiMeansReadsFail,
        "20",
        "no-api-means-reads-fail",
        "calm",
        "NoApi: the own renewals fail, not the reads",
    ),
    row(Mutant::FenceOnJump, "21", "fence-on-jump", "calm", "lost time ends no boot"),
    row(
        Mutant::SilenceOverLeaderChange,
        "22",
        "silence-over-leader-change",
        "cut",
        "a new leader starts from its own first sight",
    ),
    row(Mutant::WatchCache, "22", "watch-cache", "boots-wide", "decisions rest on a consistent read"),
    row(Mutant::ShortOfD, "22", "short-of-d", "pause", "now >= D, not two ticks earlier"),
    row(Mutant::TrustTheGuest, "22", "trust-the-guest", "cut", "only the host makes proofs"),
    row(Mutant::TodaysTimeToLive, "23", "todays-time-to-live", "retime", "D rests on the intent's copy of T"),
    row(Mutant::ForgetRightToLive, "24", "forget-right-to-live", "agent-restart", "a restarted agent inherits L"),
    row(
        Mutant::TimeAlone,
        "medik8s",
        "medik8s-zone-cut",
        "zone-cut",
        "promises: time alone decides; a zone loses the API",
    ),
    row(
        Mutant::TimeAlone,
        "medik8s",
        "medik8s-majority-cut",
        "majority-cut",
        "promises: time alone decides; a majority loses the API",
    ),
];

/// Lines of the review that the model cannot express, and the test of each.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("12 (kernel: open and close ping)", "cargo xtask vm: a kill at the worst moment"),
    (
        "13",
        "palisade-agent devices::reset line_13_sysrq_comes_first_because_an_orderly_reboot_may_stop_the_watchdog; core agent::tests::ends line_13_all_reset_steps_together_take_less_than_the_watchdog",
    ),
    ("17", "palisade-controller workloads::classify line_17_replica_sets_and_bare_pods_wait_for_the_proof"),
    ("19 (signatures)", "palisade-rpc tests/identity.rs; the model has the mutant without them"),
];
