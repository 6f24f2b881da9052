//! A configuration: which machines, which faults, how many of them, and for how long.
//!
//! All features at once do not finish; each configuration names the features it explores, and is explored completely
//! within its horizon and its budget of faults.

use std::time::Duration;

use palisade_core::fencing::agent::{ResetSteps, Settings};
use palisade_core::fencing::juror::JurorTiming;
use palisade_core::fencing::timing::Tuning;

use crate::budget::Budget;

/// Whose path to the API may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cuts {
    /// Any node's and any controller's.
    All,
    /// Only that of node 0.
    Subject,
}

/// One configuration.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // what is switched on
pub struct Config {
    /// Short name.
    pub name: &'static str,
    /// What it explores, for people.
    pub about: &'static str,
    /// Small enough to be explored completely on every change. The others are for mutants, and for `--deep`.
    pub whole: bool,
    pub cuts: Cuts,
    /// These nodes have lost the API at the start.
    pub cut_at_start: &'static [usize],
    /// Peers that node 0 does not reach.
    pub unreachable: &'static [usize],
    /// Another jury is stored at the start, the answer is under way.
    pub jury_in_flight: bool,
    /// No node reaches the API from the start on.
    pub nodes_cut_at_start: bool,
    /// Juror 1 is the only one that restarts, juror 2 the only one that changes sides, from node 0 to the
    /// controllers.
    pub narrow: bool,
    /// The roster of node 0 at the start and what it may change to; [`ONLY`] + n: only the n-th peer.
    pub roster: Option<(usize, usize)>,
    /// Jurors, besides node 0.
    pub jurors: usize,
    /// Whether the other nodes run whole agents too.
    pub fleet: bool,
    /// How long the processes of the jurors run when the exploration starts, in milliseconds.
    pub juror_age: u64,
    /// The limit of a promise that this configuration lies beyond: it has to be violated, and in this way only.
    pub limit: Option<&'static str>,
    /// Controllers.
    pub controllers: usize,
    /// The controllers work for one remediation, as an old and a new leader do.
    pub one_owner: bool,
    /// `Wd` in milliseconds, if there is a device.
    pub watchdog: Option<u64>,
    /// The software reset works. With a watchdog it never does: the worst case.
    pub software: bool,
    /// `minPeersForRemediation`.
    pub min_peers: u32,
    /// Ticks after the start of the exploration; 0: no end, because every history comes to states that are known.
    pub horizon: u64,
    /// Length of a tick in milliseconds.
    pub tick: u64,
    /// `apiCheckInterval` of node 0, in milliseconds; the others follow from it.
    pub check: u64,
    /// Other values that [`Budget::retime`] may set.
    pub other_checks: &'static [u64],
    /// Clock of node 0 runs slow by 1 part in so many (0: not).
    pub slow: u64,
    /// The first claim is part of the exploration.
    pub from_scratch: bool,
    /// Nothing but the API as a whole may fail: then no node may end.
    pub calm: bool,
    /// These jurors are out of the controllers' reach at the start.
    pub deaf: &'static [usize],
    /// At the start an old question of node 0 to a peer is still under way.
    pub stale_ask: bool,
    /// Pods are part of it.
    pub pods: bool,
    /// Node 0 is a control-plane node, configured to diagnose itself (R4) while its `check` is one of these.
    pub diagnose: &'static [u64],
    /// So many of the jurors, from the first on, are control-plane nodes too.
    pub fellows: usize,
    /// The agent may be killed in the last instant before its watchdog fires.
    pub brink: bool,
    /// What a later boot does after a release is part of it.
    pub after_release: bool,
    /// The faults.
    pub budget: Budget,
}

/// Time limits that fit ticks of one second: `T = check + 1 s + 3 s`.
pub fn tuning(check: u64) -> Tuning {
    Tuning {
        api_check_interval: Duration::from_millis(check),
        api_server_timeout: Duration::from_secs(1),
        max_api_error_threshold: 1,
        peer_dial_timeout: Duration::ZERO,
        peer_request_timeout: Duration::from_secs(3),
    }
}

impl Config {
    /// Settings of an agent.
    pub fn settings(&self, check: u64) -> Settings {
        Settings {
            tuning: tuning(check),
            min_peers: self.min_peers,
            generation: 1,
            software_reboot: self.software || self.watchdog.is_none(),
            watchdog: self.watchdog.is_some(),
            steps: ResetSteps {
                store: Duration::from_millis(200),
                acknowledge: Duration::from_millis(300),
                sysrq: Duration::from_millis(200),
                reboot: Duration::from_millis(300),
            },
            diagnose: self.diagnose.contains(&check),
            spread: false,
        }
    }

    /// `T + 2 Wd + margin` of the nodes at the start, in milliseconds: as long as a juror of a process that started later
    /// abstains.
    pub const fn abstention(&self) -> u64 {
        let wd = match self.watchdog {
            Some(wd) => wd,
            None => 500,
        };
        let bound = self.check + 4_000 + 2 * wd;
        bound + bound / 100 + 500
    }

    /// Timing of the jurors.
    pub fn juror_timing(&self) -> JurorTiming {
        let tuning = tuning(self.check);
        JurorTiming {
            time_to_live: tuning.time_to_live(),
            round: tuning.peer_dial_timeout + tuning.effective_peer_request_timeout(),
        }
    }
}

/// See [`Config::roster`].
pub const ONLY: usize = 10;

/// What every configuration starts from.
pub const BASE: Config = Config {
    name: "",
    about: "",
    whole: true,
    cuts: Cuts::All,
    cut_at_start: &[],
    unreachable: &[],
    jury_in_flight: false,
    nodes_cut_at_start: false,
    narrow: false,
    roster: None,
    jurors: 2,
    fleet: false,
    juror_age: crate::start::ORIGIN,
    limit: None,
    controllers: 1,
    one_owner: true,
    watchdog: Some(2_000),
    software: false,
    min_peers: 1,
    horizon: 0,
    tick: 1_000,
    check: 1_000,
    other_checks: &[],
    slow: 0,
    from_scratch: false,
    calm: false,
    deaf: &[],
    stale_ask: false,
    pods: false,
    diagnose: &[],
    fellows: 0,
    brink: false,
    after_release: false,
    budget: Budget::NONE,
};
