//! What is given, what happens, and what must come of it.

use crate::ending::Ending;

/// A scenario: a node that went silent, with a stateless and a stateful pod, and one remediation of it.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The remediator.
    pub remediator: &'static str,
    /// Parameters as the remediator sees them, as JSON.
    pub parameters: &'static str,
    /// What the node's agent does.
    pub agent: Agent,
    /// What the management device does.
    pub device: Device,
    /// The machine behind the node.
    pub machine: Machine,
    /// What people answer when they are asked to approve.
    pub approve: Person,
    /// The job of the administrator.
    pub job: Job,
    /// The owner of the remediation gives up as soon as the boot was to be ended.
    pub gives_up: bool,
    /// What must come of it.
    pub then: fn() -> Ending,
}

/// What the node's agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// There is none.
    Absent,
    /// It acknowledges the intent and stops feeding its watchdog.
    Acknowledges,
    /// Nothing is heard of it.
    Silent,
    /// The node boots anew before anything else proves its end.
    ComesBack,
}

/// What the management device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// There is none.
    Absent,
    /// What it is asked for.
    Works,
    /// It fails each time it shall switch off.
    Refuses,
    /// It takes the order and does not carry it out.
    Slow,
    /// The machine's user keeps it off: it may not be used.
    KeptOff,
}

/// The machine behind the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// None that anybody knows.
    Absent,
    /// Its controller replaces it.
    Replaced,
    /// It belongs to nobody, so nobody would replace it.
    Alone,
}

/// What people answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person {
    /// They approve, and confirm the isolation when they are asked for that.
    Agrees,
    /// They say no.
    Denies,
}

/// A job of the administrator's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Not on the list.
    Absent,
    /// It succeeds, which is declared to be evidence of a machine that is off.
    Evidence,
    /// It succeeds, which proves nothing.
    Plain,
    /// It fails.
    Fails,
}

/// Nothing but a silent node.
pub const NODE: Scenario = Scenario {
    name: "",
    remediator: "",
    parameters: "{}",
    agent: Agent::Absent,
    device: Device::Absent,
    machine: Machine::Absent,
    approve: Person::Agrees,
    job: Job::Absent,
    gives_up: false,
    then: Ending::default,
};
