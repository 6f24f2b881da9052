//! Which setting buys how many seconds. Pure.

use std::time::Duration;

use palisade_core::fencing::record::Terms;
use serde::Serialize;

use super::model::{Fault, Release, Setting, say, split};

/// One setting that could be smaller.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Knob {
    /// The field, with the object it is in.
    pub field: &'static str,
    /// Its value.
    pub now: String,
    /// The smallest that makes sense.
    pub smallest: String,
    /// Why not smaller.
    pub because: &'static str,
    /// What it buys in the fault where it buys most, in seconds.
    pub buys: f64,
    /// What it buys in each fault, in seconds; only where it is something.
    pub by_fault: Vec<(Fault, f64)>,
}

struct Turn {
    field: &'static str,
    because: &'static str,
    now: String,
    smallest: String,
    turned: Setting,
}

/// All that buy something, the best first.
pub fn knobs(setting: &Setting) -> Vec<Knob> {
    let mut knobs: Vec<Knob> = turns(setting).into_iter().filter_map(|turn| weigh(setting, turn)).collect();
    knobs.sort_by(|one, other| other.buys.total_cmp(&one.buys).then_with(|| one.field.cmp(other.field)));
    knobs
}

/// All of them at once.
pub fn all(setting: &Setting) -> Setting {
    let mut all = setting.clone();
    // Each round turns one; what depends on another one (a request's limit on the API's) is found in the next.
    for _ in 0..turns(setting).len() * 2 {
        let Some(turn) = turns(&all).into_iter().find(|turn| turn.turned != all) else { break };
        all = turn.turned;
    }
    all
}

fn weigh(setting: &Setting, turn: Turn) -> Option<Knob> {
    let buys = |fault| {
        let (before, after) = (split(setting, fault).total?, split(&turn.turned, fault).total?);
        Some((fault, before.as_secs_f64() - after.as_secs_f64())).filter(|(_, buys)| *buys > 0.05)
    };
    let by_fault: Vec<(Fault, f64)> = Fault::ALL.into_iter().filter_map(buys).collect();
    let most = by_fault.iter().map(|(_, buys)| *buys).max_by(f64::total_cmp)?;
    let Turn { field, because, now, smallest, .. } = turn;
    Some(Knob { field, now, smallest, because, buys: most, by_fault })
}

fn turns(setting: &Setting) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut turn = |field, because, now: Duration, least: Duration, change: &dyn Fn(&mut Setting)| {
        if now > least {
            let mut turned = setting.clone();
            change(&mut turned);
            turns.push(Turn { field, because, now: say(now), smallest: say(least), turned });
        }
    };
    let least = Duration::from_secs(30);
    if let Some(lasts) = setting.unhealthy_for {
        turn(
            "NodeHealthCheck unhealthyConditions[].duration",
            "a restart of a kubelet or a short loss of network should pass",
            lasts,
            least,
            &|it| {
                it.unhealthy_for = Some(least);
            },
        );
    }
    let least = Duration::from_secs(40);
    turn(
        "kube-controller-manager --node-monitor-grace-period",
        "several heartbeats of 10 s and a broken connection should fit",
        setting.grace,
        least,
        &|it| {
            it.grace = least;
        },
    );
    let tuning = setting.tuning;
    let least = Duration::from_secs(2);
    turn(
        "SelfNodeRemediationConfig apiCheckInterval",
        "accepted from 1s; every agent asks the API server this often",
        tuning.api_check_interval,
        least,
        &|it| {
            tune(it, |it| it.tuning.api_check_interval = least);
        },
    );
    let least = Duration::from_secs(2);
    turn(
        "SelfNodeRemediationConfig apiServerTimeout",
        "accepted from 10ms; a loaded API server should still answer",
        tuning.api_server_timeout,
        least,
        &|it| {
            tune(it, |it| it.tuning.api_server_timeout = least);
        },
    );
    let least = Duration::from_secs(1);
    turn(
        "SelfNodeRemediationConfig peerDialTimeout",
        "accepted from 10ms; a lost packet is sent again after 1 s",
        tuning.peer_dial_timeout,
        least,
        &|it| {
            tune(it, |it| it.tuning.peer_dial_timeout = least);
        },
    );
    let least = tuning.api_server_timeout + Duration::from_secs(2);
    turn(
        "SelfNodeRemediationConfig peerRequestTimeout",
        "less than apiServerTimeout + 2s is not used",
        tuning.peer_request_timeout,
        least,
        &|it| {
            tune(it, |it| it.tuning.peer_request_timeout = least);
        },
    );
    turn(
        "SelfNodeRemediationConfig safeTimeToAssumeNodeRebootedSeconds",
        "left out, the protocol's own bound counts",
        setting.floor,
        Duration::ZERO,
        &|it| {
            it.floor = Duration::ZERO;
        },
    );
    if let Some(watchdog) = &setting.terms.watchdog {
        let least = Duration::from_secs(5);
        turn(
            "watchdog timeout (driver, or agent --watchdog-timeout)",
            "the agent has to feed it in time on a loaded node",
            Duration::from_millis(watchdog.timeout_millis),
            least,
            &|it| {
                if let Some(watchdog) = &mut it.terms.watchdog {
                    watchdog.timeout_millis = 5_000;
                }
            },
        );
    }
    if tuning.max_api_error_threshold > 2 {
        let mut turned = setting.clone();
        tune(&mut turned, |it| it.tuning.max_api_error_threshold = 2);
        turns.push(Turn {
            field: "SelfNodeRemediationConfig maxApiErrorThreshold",
            because: "accepted from 1; one lost request should not make a node ask its peers",
            now: tuning.max_api_error_threshold.to_string(),
            smallest: "2".to_owned(),
            turned,
        });
    }
    if setting.release == Release::OutOfServiceTaint {
        turns.push(Turn {
            field: "SelfNodeRemediationTemplate remediationStrategy",
            because: "the controller deletes pods and attachments itself, instead of waiting for Kubernetes' collector",
            now: "OutOfServiceTaint".to_owned(),
            smallest: "ResourceDeletion".to_owned(),
            turned: Setting { release: Release::ResourceDeletion, ..setting.clone() },
        });
    }
    turns
}

/// Changes the tuning, and what the agent would then publish.
fn tune(setting: &mut Setting, change: impl Fn(&mut Setting)) {
    change(setting);
    let life = setting.tuning.time_to_live();
    setting.terms =
        Terms { time_to_live_millis: u64::try_from(life.as_millis()).unwrap_or(u64::MAX), ..setting.terms.clone() };
}
