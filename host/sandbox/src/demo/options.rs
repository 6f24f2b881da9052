//! What to show, and with which programs.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use palisade_api::Stage;

use crate::lab::fault::Fault;
use crate::lab::timings::Timings;
use crate::lab::wiring::Wiring;

/// What the nodes register with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// The in-process store with stand-ins.
    Sandbox,
    /// kube-apiserver, kube-controller-manager, kube-scheduler and etcd.
    Real,
}

impl FromStr for BackendKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sandbox" => Ok(Self::Sandbox),
            "real" => Ok(Self::Real),
            other => Err(format!("no back end is called {other:?}; there are sandbox and real")),
        }
    }
}

impl std::fmt::Display for BackendKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sandbox => "sandbox",
            Self::Real => "real",
        })
    }
}

/// When to kill the controller, to show that it does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// Right after this stage.
    At(Stage),
    /// Right after every stage.
    Each,
}

/// The stages at which a kill is interesting, in their order.
pub const KILL_STAGES: [Stage; 5] = [Stage::Marked, Stage::Intended, Stage::Promised, Stage::Proven, Stage::Released];

impl Kill {
    /// Whether the controller is to die after this stage.
    pub fn matches(self, stage: Stage) -> bool {
        match self {
            Self::At(wanted) => wanted == stage,
            Self::Each => KILL_STAGES.contains(&stage),
        }
    }
}

impl FromStr for Kill {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("each") {
            return Ok(Self::Each);
        }
        let known = || KILL_STAGES.map(|stage| stage.to_string().to_lowercase()).join(", ");
        KILL_STAGES
            .into_iter()
            .find(|stage| stage.to_string().eq_ignore_ascii_case(text))
            .map(Self::At)
            .ok_or_else(|| format!("no stage is called {text:?}; there are {}, each", known()))
    }
}

impl std::fmt::Display for Kill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(stage) => f.write_str(&stage.to_string().to_lowercase()),
            Self::Each => f.write_str("each"),
        }
    }
}

/// The programs and files that a demonstration starts.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The `palisade` binary.
    pub palisade: PathBuf,
    /// The agent.
    pub agent: PathBuf,
    /// Folder of the built-in components.
    pub remediators: PathBuf,
    /// Folder of the CRD manifests.
    pub crds: PathBuf,
    /// The real control plane; needed for [`BackendKind::Real`] only.
    pub controlplane: Option<PathBuf>,
}

/// One demonstration.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Prefix of names, so that several can share a cluster; empty for a single one.
    pub name: String,
    /// What goes wrong.
    pub fault: Fault,
    /// Strategy of the remediation template.
    pub strategy: String,
    /// Number of nodes.
    pub nodes: u8,
    /// Pods on the node that is hit: the one with the volume, and others beside it.
    pub pods: u16,
    /// When to kill the controller.
    pub kill_controller: Option<Kill>,
    /// Detect so late that the wait is over before it begins.
    pub long_silence: bool,
    /// How long things take.
    pub timings: Timings,
    /// Name and spec of a Remediator that serves instead of the built-in ones.
    pub remediator: Option<(String, serde_json::Value)>,
    /// Where agents and controller live, if not on loopback.
    pub wiring: Option<Arc<dyn Wiring>>,
}

impl Scenario {
    /// A scenario with the usual number of nodes and short timings.
    pub fn new(fault: Fault, strategy: &str) -> Self {
        Self {
            name: String::new(),
            fault,
            strategy: strategy.to_owned(),
            nodes: fault.fewest_nodes().max(4),
            pods: 1,
            kill_controller: None,
            long_silence: false,
            timings: Timings::default(),
            remediator: None,
            wiring: None,
        }
    }

    /// The timings, with the late detection if that is wanted.
    pub fn effective_timings(&self) -> Timings {
        if self.long_silence { self.timings.long_silence() } else { self.timings }
    }

    /// What distinguishes this scenario, for tables.
    pub fn title(&self) -> String {
        let kill = self.kill_controller.map(|kill| format!(" kill={kill}")).unwrap_or_default();
        let silence = if self.long_silence { " long-silence" } else { "" };
        let wiring = self.wiring.as_ref().map(|wiring| wiring.label()).filter(|label| !label.is_empty());
        let wiring = wiring.map(|label| format!(" {label}")).unwrap_or_default();
        format!("{} {}{silence}{kill}{wiring}", self.fault, self.strategy)
    }

    /// Where its workload lives.
    pub fn namespace(&self) -> String {
        if self.name.is_empty() { "demo".to_owned() } else { format!("demo-{}", self.name) }
    }

    /// Name of its template and its health check.
    pub fn policy(&self) -> String {
        if self.name.is_empty() { "demo".to_owned() } else { self.name.clone() }
    }
}
