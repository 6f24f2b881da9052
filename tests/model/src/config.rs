//! A configuration: which machines, which faults, how many of them, and for how long.
//!
//! All features at once do not finish; each configuration names the features it explores, and is explored completely
//! within its horizon and its budget of faults.

use std::time::Duration;

use palisade_core::fencing::agent::{ResetSteps, Settings};
use palisade_core::fencing::juror::JurorTiming;
use palisade_core::fencing::timing::Tuning;

/// How often each kind of fault may still happen. Part of the state: what is left is what may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// A request is held back, to arrive at any later time or never.
    pub hold: u8,
    /// A request arrives, its answer is held back, to arrive at any later time or never.
    pub late: u8,
    /// A request arrives, and once more at any later time.
    pub duplicate: u8,
    /// The API of everybody changes (up, down, writes refused), or the path of one process is cut or healed.
    pub api: u8,
    /// The path of one process to the API is cut or healed.
    pub cut: u8,
    /// The path from the controllers to a juror is cut or healed.
    pub deaf: u8,
    /// The agent of node 0 is killed, or started.
    pub agent_crash: u8,
    /// Agent and juror of another node are restarted.
    pub juror_crash: u8,
    /// A process is stopped (SIGSTOP) or continued.
    pub pause: u8,
    /// A controller is restarted: sightings and prover are gone.
    pub controller_crash: u8,
    /// A fencing begins, in any controller, at any time.
    pub begin: u8,
    /// A remediation lets go of its intent, its session stops.
    pub let_go: u8,
    /// The machine of node 0 fails and another boot follows.
    pub boots: u8,
    /// The Node object is made again under the same name.
    pub recreate: u8,
    /// The agent lease is deleted.
    pub delete_lease: u8,
    /// The configuration of node 0 changes: other `T`.
    pub retime: u8,
    /// The roster of node 0 changes: other jury.
    pub rejury: u8,
    /// A write of the host file fails.
    pub disk: u8,
    /// The clock of node 0 jumps (the machine lost time).
    pub jump: u8,
}

impl Budget {
    /// One more of each fault that is allowed at all.
    fn more(mut self) -> Self {
        let Self {
            hold,
            late,
            duplicate,
            api,
            cut,
            deaf,
            agent_crash,
            juror_crash,
            pause,
            controller_crash,
            begin,
            let_go,
            boots,
            recreate,
            delete_lease,
            retime,
            rejury,
            disk,
            jump,
        } = &mut self;
        for fault in [
            hold,
            late,
            duplicate,
            api,
            cut,
            deaf,
            agent_crash,
            juror_crash,
            pause,
            controller_crash,
            begin,
            let_go,
            boots,
            recreate,
            delete_lease,
            retime,
            rejury,
            disk,
            jump,
        ] {
            *fault += u8::from(*fault > 0);
        }
        self
    }
}

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
const BASE: Config = Config {
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
    budget: Budget {
        hold: 0,
        late: 0,
        duplicate: 0,
        api: 0,
        cut: 0,
        deaf: 0,
        agent_crash: 0,
        juror_crash: 0,
        pause: 0,
        controller_crash: 0,
        begin: 0,
        let_go: 0,
        boots: 0,
        recreate: 0,
        delete_lease: 0,
        retime: 0,
        rejury: 0,
        disk: 0,
        jump: 0,
    },
};

/// The configurations of every run, or all of them.
pub fn all(deep: bool) -> Vec<Config> {
    let none = BASE.budget;
    let one = Config { jurors: 1, ..BASE };
    let named = |name, about, config: Config, budget| Config { name, about, budget, ..config };
    let wide = |config: Config| Config { whole: false, ..config };
    let subject = Config { cuts: Cuts::Subject, ..one.clone() };
    let pods = Config { pods: true, ..subject.clone() };
    let other_time = Config { check: 5_000, other_checks: &[1_000, 5_000], ..subject.clone() };
    let stale = Config { stale_ask: true, other_checks: &[1_000, 5_000], ..subject.clone() };
    let leaders = Config { controllers: 2, ..subject.clone() };
    // The node reaches only the other control-plane node, the controllers only the workers.
    let control_plane = Config {
        diagnose: &[1_000],
        fellows: 1,
        jurors: 3,
        deaf: &[1],
        unreachable: &[2, 3],
        cut_at_start: &[1],
        other_checks: &[1_000, 1_001],
        ..subject.clone()
    };
    let workers =
        Config { fellows: 0, jurors: 2, deaf: &[], unreachable: &[], cut_at_start: &[], ..control_plane.clone() };
    let remediations = Config { one_owner: false, ..leaders.clone() };
    let configs = vec![
        named(
            "cut",
            "node, jurors and controller lose and find the API one by one",
            BASE,
            Budget { begin: 1, cut: 2, ..none },
        ),
        named(
            "late",
            "requests and answers are held back while the nodes lose the API",
            one.clone(),
            Budget { begin: 1, api: 1, late: 1, ..none },
        ),
        named(
            "duplicate",
            "requests arrive twice while the nodes lose the API",
            one.clone(),
            Budget { begin: 1, api: 1, duplicate: 1, ..none },
        ),
        named(
            "first-contact",
            "from the first contact: answers are lost, the node loses the API",
            Config { from_scratch: true, ..subject.clone() },
            Budget { begin: 1, cut: 1, ..none },
        ),
        named(
            "first-claim",
            "from the first contact: answers are lost, the node loses the API",
            wide(Config { from_scratch: true, ..subject.clone() }),
            Budget { begin: 1, late: 1, cut: 1, ..none },
        ),
        named(
            "first-restart",
            "from the first contact: the agent is killed and started",
            Config { from_scratch: true, ..subject.clone() },
            Budget { begin: 1, late: 1, agent_crash: 1, ..none },
        ),
        named(
            "jurors",
            "an outage is confirmed by two jurors while promises are collected; one restarts",
            BASE,
            Budget { begin: 1, api: 1, juror_crash: 1, ..none },
        ),
        named(
            "juror-restart",
            "the only juror restarts in an outage",
            one.clone(),
            Budget { begin: 1, api: 1, juror_crash: 1, ..none },
        ),
        named(
            "agent-restart",
            "the agent is killed and started; no watchdog, the software reset works",
            Config { watchdog: None, software: true, ..one.clone() },
            Budget { begin: 1, cut: 1, agent_crash: 1, ..none },
        ),
        named(
            "pause",
            "the agent is killed, stopped (SIGSTOP) and continued; a watchdog",
            subject.clone(),
            Budget { begin: 1, cut: 1, agent_crash: 1, pause: 1, ..none },
        ),
        named(
            "leaders",
            "an old and a new leader of one remediation; it lets go",
            leaders.clone(),
            Budget { begin: 1, cut: 1, let_go: 1, ..none },
        ),
        named(
            "leaders-pause",
            "an old leader is stopped (SIGSTOP), a new one begins",
            leaders.clone(),
            Budget { begin: 2, pause: 2, ..none },
        ),
        named(
            "remediations",
            "two remediations of two controllers share an intent; one lets go",
            remediations.clone(),
            Budget { begin: 2, let_go: 1, ..none },
        ),
        named(
            "boots",
            "the machine fails and boots again, with pods and marks",
            pods.clone(),
            Budget { begin: 1, boots: 2, ..none },
        ),
        named(
            "identity",
            "the Node is made again under the same name, the lease is deleted",
            subject.clone(),
            Budget { begin: 1, cut: 1, recreate: 1, delete_lease: 1, ..none },
        ),
        named("retime", "another T is in flight", other_time.clone(), Budget { begin: 1, cut: 1, retime: 1, ..none }),
        named(
            "rejury",
            "another jury is in flight while the nodes lose the API",
            Config { roster: Some((ONLY + 1, ONLY + 2)), ..BASE },
            Budget { begin: 1, api: 1, rejury: 1, ..none },
        ),
        named(
            "relay",
            "an old question reaches a peer after newer contact; T changes",
            stale.clone(),
            Budget { begin: 1, retime: 1, ..none },
        ),
        named(
            "disk",
            "the host file cannot be written",
            subject.clone(),
            Budget { begin: 1, cut: 1, disk: 1, agent_crash: 1, ..none },
        ),
        named(
            "min-peers",
            "the live roster shrinks below minPeers while the lease claims",
            Config { min_peers: 2, cuts: Cuts::Subject, ..BASE },
            Budget { begin: 1, cut: 1, rejury: 1, ..none },
        ),
        named(
            "calm",
            "nothing fails but the API as a whole, reads and writes or writes only; the machine loses time",
            Config { calm: true, ..BASE },
            Budget { api: 2, jump: 1, ..none },
        ),
        named(
            "skew",
            "the node's clock runs slow by one part in a hundred; 20 ticks",
            Config { slow: 100, horizon: 20, ..subject.clone() },
            Budget { begin: 1, cut: 1, agent_crash: 1, ..none },
        ),
        named(
            "zone-cut",
            "all nodes of a zone lose the API, the controller does not",
            BASE,
            Budget { begin: 1, api: 1, ..none },
        ),
        named(
            "majority-cut",
            "most of the jury have lost the API, then the node does",
            Config { jurors: 3, cut_at_start: &[1, 2], unreachable: &[3], cuts: Cuts::Subject, ..BASE },
            Budget { begin: 1, cut: 1, ..none },
        ),
        named(
            "four-nodes",
            "three jurors; the node loses the API and finds it again, a message is held back",
            Config { jurors: 3, cuts: Cuts::Subject, ..BASE },
            Budget { begin: 1, cut: 1, hold: 1, ..none },
        ),
        named(
            "control-plane",
            "a control-plane node that may exempt itself by R4 loses the API as another one has, both out of reach of the rest",
            control_plane.clone(),
            Budget { begin: 1, cut: 1, ..none },
        ),
        named(
            "control-plane-policy",
            "R4 is switched off and on while the control-plane nodes have lost the API",
            wide(control_plane),
            Budget { begin: 1, cut: 1, retime: 1, ..none },
        ),
        named(
            "control-plane-workers",
            "a control-plane node and two workers lose the API; its diagnostics pass",
            workers.clone(),
            Budget { begin: 1, api: 1, ..none },
        ),
        named(
            "control-plane-calm",
            "a control-plane node, and nothing fails but the API as a whole",
            Config { calm: true, ..workers },
            Budget { api: 1, ..none },
        ),
        named(
            "far-apart",
            "three jurors, two of them out of the controllers' reach, an outage of the nodes; a juror restarts",
            wide(Config { jurors: 3, deaf: &[2, 3], nodes_cut_at_start: true, narrow: true, ..BASE }),
            Budget { begin: 1, juror_crash: 1, deaf: 1, ..none },
        ),
        named(
            "leaders-wide",
            "as leaders; the node loses the API and finds it again",
            wide(leaders),
            Budget { begin: 1, cut: 2, let_go: 1, ..none },
        ),
        named(
            "boots-wide",
            "as boots; a message is held back, the node loses the API",
            wide(pods.clone()),
            Budget { begin: 1, cut: 1, boots: 2, hold: 1, ..none },
        ),
        named(
            "paused-release",
            "a controller is stopped between its last read and the release; the machine boots again",
            wide(pods),
            Budget { begin: 1, boots: 2, pause: 2, ..none },
        ),
        named(
            "retime-wide",
            "as retime; answers come late",
            wide(other_time),
            Budget { begin: 1, cut: 1, retime: 1, late: 1, ..none },
        ),
        named(
            "jury-in-flight",
            "another jury is stored, its answer under way, and the nodes lose the API; the agent restarts",
            Config { roster: Some((ONLY + 1, ONLY + 2)), jury_in_flight: true, nodes_cut_at_start: true, ..BASE },
            Budget { begin: 1, agent_crash: 1, ..none },
        ),
        named(
            "relay-wide",
            "as relay; the node loses the API",
            wide(stale),
            Budget { begin: 1, cut: 1, retime: 1, ..none },
        ),
        named(
            "remediations-wide",
            "as remediations; a controller restarts, the node loses the API",
            wide(remediations),
            Budget { begin: 2, cut: 1, let_go: 1, controller_crash: 1, ..none },
        ),
    ];
    configs.into_iter().filter(|config| deep || config.whole).collect()
}

/// All features at once. Does not finish; walked through at random.
pub fn everything() -> Config {
    let one = Budget {
        hold: 1,
        late: 1,
        duplicate: 1,
        api: 1,
        cut: 1,
        deaf: 1,
        agent_crash: 1,
        juror_crash: 1,
        ..BASE.budget
    };
    let two = Budget { pause: 1, controller_crash: 1, begin: 1, let_go: 1, boots: 1, recreate: 1, ..one };
    let budget = Budget { delete_lease: 1, retime: 1, rejury: 1, disk: 1, jump: 1, ..two }.more();
    Config {
        name: "everything",
        about: "three jurors, two controllers, every fault",
        jurors: 3,
        controllers: 2,
        one_owner: false,
        pods: true,
        other_checks: &[1_000, 5_000],
        budget,
        ..BASE
    }
}

/// By name.
pub fn named(name: &str) -> Option<Config> {
    all(true).into_iter().find(|config| config.name == name)
}
