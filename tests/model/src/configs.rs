//! The configurations.

use palisade_core::time::millis;

use crate::budget::Budget;
use crate::config::{BASE, Config, Cuts, ONLY, tuning};

/// What is known about a whole-API outage: a juror whose process started less than the asker's bound ago is silent,
/// because it cannot know what its earlier life answered. So the promise is to nodes of whose jurors most are older.
const YOUNG: &str = "a node without a majority of jurors older than T + 2 Wd + margin may end in an outage";

/// The configurations of every run, or all of them.
pub fn all(deep: bool) -> Vec<Config> {
    let none = Budget::NONE;
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
    let fleet = Config { calm: true, fleet: true, ..BASE };
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
            "from the first contact: the node loses the API",
            Config { from_scratch: true, ..subject.clone() },
            Budget { begin: 1, cut: 1, ..none },
        ),
        named(
            "first-claim",
            "from the first contact: answers come late, the node loses the API; 14 ticks",
            Config { from_scratch: true, horizon: 14, ..subject.clone() },
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
            "lengthen",
            "a larger T is in flight",
            Config { other_checks: &[5_000], ..subject.clone() },
            Budget { begin: 1, cut: 1, retime: 1, ..none },
        ),
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
            "woken",
            "a juror wakes the node at any time, with or without a reason; the node loses the API",
            subject.clone(),
            Budget { begin: 1, cut: 1, wake: 2, ..none },
        ),
        named(
            "woken-calm",
            "the same, and nothing fails but the API as a whole",
            Config { calm: true, ..BASE },
            Budget { api: 1, wake: 2, ..none },
        ),
        named(
            "calm",
            "nothing fails but the API as a whole, reads and writes or writes only; the machine loses time",
            Config { calm: true, ..BASE },
            Budget { api: 2, jump: 1, ..none },
        ),
        named(
            "skew",
            "the node's clock runs slow by one part in a hundred, its agent is killed at the worst moment; 20 ticks",
            Config { slow: 100, horizon: 20, brink: true, ..subject.clone() },
            Budget { begin: 1, cut: 1, agent_crash: 1, ..none },
        ),
        named(
            "calm-fleet",
            "nothing fails but the API as a whole; all are whole agents, started T + 2 Wd + margin before",
            Config { juror_age: BASE.abstention(), ..fleet.clone() },
            Budget { api: 2, ..none },
        ),
        named(
            "calm-fleet-young",
            "as calm-fleet, all started T later than that: nobody may speak before L",
            Config {
                juror_age: BASE.abstention() - millis(tuning(BASE.check).time_to_live()),
                limit: Some(YOUNG),
                ..fleet.clone()
            },
            Budget { api: 1, ..none },
        ),
        named(
            "calm-fleet-restart",
            "as calm-fleet with four agents, so three jurors each; one agent restarts before or in the outage",
            Config { jurors: 3, juror_age: BASE.abstention(), narrow: true, ..fleet.clone() },
            Budget { api: 1, juror_crash: 1, ..none },
        ),
        named(
            "calm-fleet-pair",
            "the same with three agents: a jury of two has no majority while one of them is young",
            Config { limit: Some(YOUNG), narrow: true, ..fleet },
            Budget { api: 1, juror_crash: 1, ..none },
        ),
        named(
            "evidence",
            "the machine is switched off and on; somebody reads that it was off, and tells it late",
            wide(subject.clone()),
            Budget { begin: 1, boots: 2, evidence: 1, ..none },
        ),
        named(
            "evidence-wide",
            "as evidence; another boot is fenced in its turn",
            wide(subject.clone()),
            Budget { begin: 2, boots: 2, evidence: 1, let_go: 1, ..none },
        ),
        named(
            "later-boot",
            "what a later boot does after a release",
            Config { after_release: true, ..pods.clone() },
            Budget { begin: 1, boots: 2, ..none },
        ),
        named(
            "split-jury",
            "three jurors; the controllers reach two of them and the node the third; an outage of the nodes",
            Config { jurors: 3, deaf: &[3], unreachable: &[1, 2], ..BASE },
            Budget { begin: 1, api: 1, ..none },
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
        ..Budget::NONE
    };
    let two = Budget { pause: 1, controller_crash: 1, begin: 1, let_go: 1, boots: 1, recreate: 1, ..one };
    let budget = Budget { delete_lease: 1, retime: 1, rejury: 1, disk: 1, jump: 1, wake: 1, ..two }.more();
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
