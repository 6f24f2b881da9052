//! The scenarios.

use crate::ending::Ending;
use crate::scenario::{Agent, Device, Job, Machine, NODE, Person, Scenario};

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

const PODS: [&str; 2] = ["pod db-0", "pod web"];

impl Ending {
    fn succeeded(effects: &[&str]) -> Self {
        let (verdict, reason) = ("Succeeded".to_owned(), "succeeded".to_owned());
        Self { verdict, reason, effects: list(effects), ..Self::default() }
    }

    /// Nothing was released, and nothing of ours stays in the end.
    fn failed(reason: &str, effects: &[&str]) -> Self {
        let (verdict, reason) = ("Failed".to_owned(), reason.to_owned());
        Self { verdict, reason, effects: list(effects), ..Self::default() }.left(&PODS).afterwards(&PODS)
    }

    fn released(mut self, how: &str) -> Self {
        how.clone_into(&mut self.released);
        self
    }

    fn told(mut self, conditions: &[&str]) -> Self {
        self.told = list(conditions);
        self
    }

    fn left(mut self, what: &[&str]) -> Self {
        self.left = list(what);
        self
    }

    fn afterwards(mut self, what: &[&str]) -> Self {
        self.afterwards = list(what);
        self
    }

    /// Failed with marks on the node, which go with the remediation.
    fn marked(self) -> Self {
        self.left(&["mark", "pod db-0", "pod web"])
    }
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    [agents(), machines(), devices(), people(), jobs()].concat()
}

fn agents() -> Vec<Scenario> {
    let self_node = Scenario { remediator: "self-node", ..NODE };
    let taint = Scenario { remediator: "out-of-service-taint", ..NODE };
    vec![
        Scenario {
            name: "the-agent-ends-the-boot",
            agent: Agent::Acknowledges,
            then: || {
                let ending = Ending::succeeded(&["fence SelfFence", "release ResourceDeletion"]);
                ending.released("ResourceDeletion").left(&["mark"])
            },
            ..self_node
        },
        Scenario {
            name: "the-owner-gives-up",
            agent: Agent::Silent,
            gives_up: true,
            then: || Ending::failed("timed-out", &["fence SelfFence"]).marked(),
            ..self_node
        },
        Scenario {
            name: "the-node-comes-back",
            agent: Agent::ComesBack,
            then: || {
                let ending = Ending::succeeded(&["fence SelfFence", "release ResourceDeletion"]);
                ending.released("ResourceDeletion").left(&["mark", "pod web"]).afterwards(&["pod web"])
            },
            ..self_node
        },
        Scenario {
            name: "the-agent-ends-the-boot-and-a-taint-releases",
            agent: Agent::Acknowledges,
            then: || {
                let effects = ["fence SelfFence", "release OutOfServiceTaint", "restore OutOfServiceTaint"];
                Ending::succeeded(&effects).released("OutOfServiceTaint").left(&["mark"])
            },
            ..taint
        },
        Scenario {
            name: "the-owner-gives-up-before-a-taint",
            agent: Agent::Silent,
            gives_up: true,
            then: || Ending::failed("timed-out", &["fence SelfFence"]).marked(),
            ..taint
        },
        Scenario {
            name: "the-node-comes-back-and-is-not-tainted",
            agent: Agent::ComesBack,
            then: || {
                let ending = Ending::succeeded(&["fence SelfFence", "release ResourceDeletion"]);
                ending.released("ResourceDeletion").left(&["mark", "pod web"]).afterwards(&["pod web"])
            },
            ..taint
        },
    ]
}

fn machines() -> Vec<Scenario> {
    const EXPECTED: &str = "PermanentNodeDeletionExpected=True MachineDeletionOnCloudProviderCausesNewNodeName";
    let deletion = Scenario { remediator: "machine-deletion", ..NODE };
    vec![
        Scenario {
            name: "the-machine-is-replaced",
            machine: Machine::Replaced,
            then: || {
                let ending = Ending::succeeded(&["event PermanentNodeDeletionExpected", "delete machine"]);
                ending.told(&[EXPECTED]).left(&PODS).afterwards(&PODS)
            },
            ..deletion
        },
        Scenario {
            name: "nobody-would-replace-the-machine",
            machine: Machine::Alone,
            then: || {
                let ending =
                    Ending::failed("cannot-start-no-controller-owner", &["event PermanentNodeDeletionExpected"]);
                ending.told(&[EXPECTED])
            },
            ..deletion
        },
    ]
}

fn devices() -> Vec<Scenario> {
    let agents = Scenario {
        remediator: "fence-agents",
        parameters: r#"{"action":"reboot","strategy":"ResourceDeletion"}"#,
        ..NODE
    };
    let metal = Scenario { remediator: "metal3", parameters: r#"{"strategy":"ResourceDeletion"}"#, ..NODE };
    vec![
        Scenario {
            name: "the-device-switches-off-and-on",
            device: Device::Works,
            then: || {
                let effects = ["fence External", "power off", "release ResourceDeletion", "power on"];
                let ending = Ending::succeeded(&effects).released("ResourceDeletion");
                ending.told(&["FenceAgentActionSucceeded=True FenceAgentSucceeded"]).left(&["mark"])
            },
            ..agents
        },
        Scenario {
            name: "the-device-switches-off-and-a-taint-releases",
            parameters: r#"{"action":"off","strategy":"OutOfServiceTaint"}"#,
            device: Device::Works,
            then: || {
                let effects = ["fence External", "power off", "release OutOfServiceTaint"];
                let ending = Ending::succeeded(&effects).released("OutOfServiceTaint");
                let told = ending.told(&["FenceAgentActionSucceeded=True FenceAgentSucceeded"]);
                told.left(&["mark", "out of service"])
            },
            ..agents
        },
        Scenario {
            name: "the-device-refuses",
            device: Device::Refuses,
            then: || {
                let ending = Ending::failed("failed", &["fence External", "power off"]).marked();
                ending.told(&["FenceAgentActionSucceeded=False FenceAgentFailed"])
            },
            ..agents
        },
        Scenario {
            name: "the-host-is-held-off-and-let-go",
            device: Device::Works,
            then: || {
                let effects = ["fence External", "power off", "release ResourceDeletion", "power on"];
                let ending = Ending::succeeded(&effects).released("ResourceDeletion");
                ending.told(&["PoweredOff=True FenceAgentSucceeded"]).left(&["mark"])
            },
            ..metal
        },
        Scenario {
            name: "the-host-is-kept-off-by-its-user",
            device: Device::KeptOff,
            then: || {
                let ending = Ending::failed("cannot-start-invalid-parameters", &[]);
                ending.told(&["PoweredOff=False InvalidParameters"])
            },
            ..metal
        },
        Scenario {
            name: "the-owner-gives-up-while-the-host-is-held",
            device: Device::Slow,
            gives_up: true,
            then: || {
                let ending = Ending::failed("timed-out", &["fence External", "power off"]).marked();
                ending.told(&["PoweredOff=Unknown SwitchingOff"])
            },
            ..metal
        },
    ]
}

fn people() -> Vec<Scenario> {
    let meatware = Scenario { remediator: "meatware", ..NODE };
    vec![
        Scenario {
            name: "people-approve-and-confirm",
            then: || {
                let effects =
                    ["ask ApproveAction", "fence External", "ask ConfirmIsolated", "release ResourceDeletion"];
                let ending = Ending::succeeded(&effects).released("ResourceDeletion");
                ending.told(&["WaitsForPerson=True Pending"]).left(&["mark"])
            },
            ..meatware
        },
        Scenario {
            name: "somebody-says-no",
            approve: Person::Denies,
            then: || {
                let ending = Ending::failed("rejected-by-person", &["ask ApproveAction"]);
                ending.told(&["WaitsForPerson=False Ended"])
            },
            ..meatware
        },
    ]
}

fn jobs() -> Vec<Scenario> {
    let script = Scenario { remediator: "script", parameters: r#"{"job":"job"}"#, ..NODE };
    vec![
        Scenario {
            name: "the-job-is-evidence",
            job: Job::Evidence,
            then: || {
                let effects = ["fence External", "run job", "release ResourceDeletion"];
                Ending::succeeded(&effects).released("ResourceDeletion").left(&["mark"])
            },
            ..script
        },
        Scenario {
            name: "the-job-proves-nothing",
            job: Job::Plain,
            then: || Ending::succeeded(&["run job"]).left(&PODS).afterwards(&PODS),
            ..script
        },
        Scenario { name: "the-job-fails", job: Job::Fails, then: || Ending::failed("failed", &["run job"]), ..script },
    ]
}
