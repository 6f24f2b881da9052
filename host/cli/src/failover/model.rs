//! From a fault to the released workload, in seconds, at the latest. Pure; bounds are those of the core.

use std::time::Duration;

use palisade_core::fencing::record::Terms;
use palisade_core::fencing::timing::{Tuning, margin};
use serde::Serialize;

/// The controller manager looks at all nodes this often (its `--node-monitor-period`).
pub const MONITOR_PERIOD: Duration = Duration::from_secs(5);
/// Taking up, marking pods and storing the intent: some requests to an API server that answers.
pub const REQUESTS: Duration = Duration::from_secs(1);
/// With the out-of-service taint pods are deleted by the pod garbage collector of Kubernetes, which looks this often.
const POD_COLLECTION: Duration = Duration::from_secs(20);
/// A kubelet that was heard just before is waited for so long (the core's longest heartbeat).
const HEARTBEAT: Duration = Duration::from_secs(12);

/// Everything that decides how long it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Silence after which the controller manager calls a node Unknown.
    pub grace: Duration,
    /// How long a silent node has to be Unknown; none if no condition of the policy is met by silence.
    pub unhealthy_for: Option<Duration>,
    /// Timings of the agents.
    pub tuning: Tuning,
    /// What the agent publishes, or would.
    pub terms: Terms,
    /// `safeTimeToAssumeNodeRebootedSeconds`.
    pub floor: Duration,
    /// How workloads are released.
    pub release: Release,
    /// The kind of the policy's first template, if its proof is not the agent's.
    pub outside: Option<String>,
}

/// How workloads are released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Pods and attachments are deleted by the controller.
    ResourceDeletion,
    /// Kubernetes does it when it sees the taint.
    OutOfServiceTaint,
}

/// What may happen to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// The kubelet is dead, its pods run on, the agent reaches the API.
    Kubelet,
    /// The node reaches its peers, and not the API.
    ApiLost,
    /// It reaches nobody.
    Isolated,
    /// It is off.
    PowerOff,
    /// Everything stands still.
    Hang,
    /// It has been silent for longer than its bound before anybody acted.
    LongSilent,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Kubelet, Self::ApiLost, Self::Isolated, Self::PowerOff, Self::Hang, Self::LongSilent];

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet dead",
            Self::ApiLost => "API lost, peers not",
            Self::Isolated => "isolated",
            Self::PowerOff => "power off",
            Self::Hang => "hang",
            Self::LongSilent => "silent for long",
        }
    }
}

/// Where the seconds go; each part follows the one before.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// The fault.
    pub fault: Fault,
    /// Until the policy calls the node unhealthy; none: never.
    #[serde(serialize_with = "seconds")]
    pub detect: Option<Duration>,
    /// Until the intent is stored.
    #[serde(serialize_with = "seconds")]
    pub fence: Option<Duration>,
    /// Until the end is proven; none: not by itself.
    #[serde(serialize_with = "seconds")]
    pub prove: Option<Duration>,
    /// What the floor adds.
    #[serde(serialize_with = "seconds")]
    pub floor: Option<Duration>,
    /// Until the workload is released.
    #[serde(serialize_with = "seconds")]
    pub release: Option<Duration>,
    /// All together.
    #[serde(serialize_with = "seconds")]
    pub total: Option<Duration>,
    /// By what it is proven, or why not.
    pub because: String,
}

// The signature is serde's.
#[allow(clippy::ref_option)]
fn seconds<S: serde::Serializer>(length: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    length.map(|length| length.as_secs_f64()).serialize(to)
}

/// From one fault to the release.
pub fn split(setting: &Setting, fault: Fault) -> Split {
    let detect = match fault {
        Fault::LongSilent => setting.unhealthy_for.map(|_| Duration::ZERO),
        _ => setting.unhealthy_for.map(|lasts| setting.grace + MONITOR_PERIOD + lasts),
    };
    let mut split = Split {
        fault,
        detect,
        fence: None,
        prove: None,
        floor: None,
        release: None,
        total: None,
        because: String::new(),
    };
    let Some(detect) = detect else {
        "no unhealthyCondition is met by a node that falls silent (status Unknown)".clone_into(&mut split.because);
        return split;
    };
    if let Some(kind) = &setting.outside {
        split.because = format!("a {kind}: as fast as what it talks to answers");
        return split;
    }
    split.fence = Some(REQUESTS);
    let proven = match fault {
        Fault::Kubelet | Fault::ApiLost => acknowledged(setting, fault),
        _ => expired(setting, fault, detect + REQUESTS),
    };
    match proven {
        Ok((prove, floor, because)) => {
            let release = match setting.release {
                Release::ResourceDeletion => REQUESTS,
                Release::OutOfServiceTaint => POD_COLLECTION,
            };
            split.prove = Some(prove);
            split.floor = Some(floor);
            split.release = Some(release);
            split.total = Some(detect + REQUESTS + prove + floor + release);
            split.because = because;
        }
        Err(why) => split.because = why,
    }
    split
}

type Proven = Result<(Duration, Duration, String), String>;

/// The agent runs: it learns of the intent, acknowledges, ends its boot (P2).
fn acknowledged(setting: &Setting, fault: Fault) -> Proven {
    if !setting.terms.claims.self_fences {
        return Err("its agent does not claim to fence itself: another boot, or a proof from outside".to_owned());
    }
    let tuning = &setting.tuning;
    // It watches its lease; if it cannot, its next renewal tells.
    let renewal = tuning.api_check_interval + tuning.api_server_timeout;
    let learns = match fault {
        Fault::ApiLost => renewal + tuning.peer_dial_timeout + tuning.effective_peer_request_timeout(),
        _ => renewal,
    };
    let reset = setting.terms.reset_bound();
    let ends = reset + margin(reset);
    Ok((
        learns + ends,
        Duration::ZERO,
        format!("AgentAcknowledged: learns of it within {}, then {}", say(learns), say(ends)),
    ))
}

/// Nothing extends its life any more (P3). The time counts from its last renewal, which was before the fault.
fn expired(setting: &Setting, fault: Fault, passed: Duration) -> Proven {
    let terms = &setting.terms;
    if !terms.claims.self_fences {
        return Err("its agent does not claim to fence itself: another boot, or a proof from outside".to_owned());
    }
    if terms.claims.may_exempt {
        return Err(
            "it may exempt itself (controlPlanePolicy Diagnose): another boot, or a proof from outside".to_owned()
        );
    }
    if terms.jury.len() < terms.min_peers as usize {
        return Err(format!(
            "its jury of {} is smaller than minPeersForRemediation {}: another boot, or a proof from outside",
            terms.jury.len(),
            terms.min_peers
        ));
    }
    let bound = terms.life_bound();
    let quiet = HEARTBEAT.min(terms.time_to_live());
    let wait = if fault == Fault::LongSilent { Duration::ZERO } else { bound.max(quiet).saturating_sub(passed) };
    let mut because = format!("LeaseExpired: {} after its last renewal", say(bound));
    if terms.watchdog.is_none() {
        because.push_str(match fault {
            Fault::Hang => "; Assumed: without a watchdog nothing ends a kernel that hangs",
            _ => "; Assumed: it has no watchdog",
        });
    }
    Ok((wait, setting.floor.saturating_sub(wait), because))
}

/// `93.4 s`.
pub fn say(length: Duration) -> String {
    let text = format!("{:.1}", length.as_secs_f64());
    format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
}
