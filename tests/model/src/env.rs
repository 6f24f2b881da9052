//! The environment: clocks, machines with their watchdogs, the API server, the network.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use palisade_core::fencing::agent::{Base, Lease, WriteResult};
use palisade_core::fencing::record::{AgentRecord, BootId, LeaseView};
use palisade_core::fencing::timing::SCHEDULING_MARGIN;
use palisade_core::time::{Mono, millis};

use crate::canon::Canon;
use crate::config::Config;
use crate::heal::Memo;
use crate::mutants::Mutant;
use crate::world::{Api, Foul, LeaseObject, Message, Node, Service, World};

/// What a step depends on besides the state.
#[derive(Clone, Debug)]
pub struct Env {
    pub config: Config,
    pub mutant: Option<Mutant>,
    /// What is known about healing.
    pub memo: Arc<Memo>,
}

impl Env {
    pub fn new(config: Config, mutant: Option<Mutant>) -> Self {
        Self { config, mutant, memo: Arc::default() }
    }
}

/// The boot id of the n-th boot of a node.
pub fn boot_id(boot: u8) -> BootId {
    // Never blank, so never refused.
    BootId::new(format!("b{boot}")).unwrap_or_else(|| unreachable!("not blank"))
}

/// The number of a boot id made by [`boot_id`].
pub fn boot_number(id: &BootId) -> u8 {
    id.as_str().trim_start_matches('b').parse().unwrap_or(0)
}

/// `n<index>`.
pub fn name(node: usize) -> String {
    format!("n{node}")
}

/// The index in a name.
pub fn index(name: &str) -> usize {
    name.trim_start_matches('n').parse().unwrap_or(usize::MAX)
}

impl World {
    pub fn api(&mut self) -> &mut Api {
        Arc::make_mut(&mut self.api)
    }

    pub fn node(&mut self, index: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[index])
    }

    pub fn send(&mut self, message: Message) {
        self.net.push(Arc::new(message));
    }

    /// Keeps a message for later.
    pub fn hold(&mut self, message: Arc<Message>) {
        insert(&mut self.held, message, self.now);
    }

    pub fn readable(&self, cut: bool) -> bool {
        !cut && matches!(self.api.service, Service::Up | Service::WritesFail)
    }

    /// The same for controllers.
    pub fn controller_reads(&self, cut: bool) -> bool {
        !cut && self.api.service != Service::Down
    }

    pub fn controller_writes(&self, cut: bool) -> bool {
        !cut && matches!(self.api.service, Service::Up | Service::NodesCut)
    }

    pub fn writable(&self, cut: bool) -> bool {
        !cut && self.api.service == Service::Up
    }

    /// The stored lease of a node as an agent sees it.
    pub fn lease(&self, node: usize) -> Option<Lease> {
        self.api.leases[node]
            .as_ref()
            .map(|lease| Lease { version: lease.version.to_string(), view: lease.view.clone() })
    }

    pub fn view(&self, node: usize) -> Option<&LeaseView> {
        self.api.leases[node].as_ref().map(|lease| &lease.view)
    }

    /// Stores a record over whatever is there.
    pub fn put(&mut self, node: usize, record: AgentRecord) {
        let api = self.api();
        api.version.0 += 1;
        let version = api.version;
        if let Some(lease) = &mut api.leases[node] {
            lease.version = version;
            lease.view.record = Some(record);
        } else {
            api.uids += 1;
            let view = LeaseView { record: Some(record), intent: None };
            let uid = api.uids;
            api.leases[node] = Some(LeaseObject { uid, version, view });
        }
    }

    /// The agent's compare-and-swap.
    pub fn swap(&mut self, node: usize, record: AgentRecord, base: &Base) -> WriteResult {
        let current = self.lease(node).map_or(Base::Absent, |lease| Base::At(lease.version));
        if *base != current {
            return WriteResult::Conflict(self.lease(node));
        }
        self.put(node, record);
        // Just stored.
        self.lease(node).map_or(WriteResult::Conflict(None), WriteResult::Stored)
    }

    pub fn foul(&mut self, foul: Foul) {
        self.foul.get_or_insert(foul);
    }
}

impl Env {
    /// The clock of a node. That of node 0 may run slow.
    pub fn mono(&self, node: usize, now: u64) -> Mono {
        crate::world::clock(if node == 0 { self.config.slow } else { 0 }, now)
    }

    /// When the clock of a node shows this.
    pub fn real(&self, node: usize, at: Mono) -> u64 {
        match self.config.slow {
            slow if slow > 0 && node == 0 => {
                (u128::from(at.0) * u128::from(slow + 1)).div_ceil(u128::from(slow)) as u64
            }
            _ => at.0,
        }
    }

    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Until when the feeder of this node goes on, as things are. It may be late by the scheduling margin.
    fn feeds_until(&self, index: usize, node: &Node) -> Option<u64> {
        let process = node.process.as_ref().filter(|process| process.open && !node.paused)?;
        let permit = if process.stopped { None } else { process.permit };
        let until = permit.max(process.beyond)?;
        let late = millis(SCHEDULING_MARGIN) - 1;
        Some(self.real(index, until).saturating_add(late))
    }

    /// When the watchdog fires, as things are.
    pub fn fires_at(&self, index: usize, node: &Node) -> Option<u64> {
        let device = node.device.as_ref()?;
        let fed = self.feeds_until(index, node).map_or(device.fed.0, |until| device.fed.0.max(until));
        Some(fed.saturating_add(self.config.watchdog.unwrap_or(0)))
    }

    /// The feeder did its work up to now.
    pub fn feed(&self, world: &mut World) {
        for index in 0..world.nodes.len() {
            let node = &world.nodes[index];
            let Some(until) = self.feeds_until(index, node) else { continue };
            let fed = Mono(until.min(world.now));
            if node.device.as_ref().is_some_and(|device| device.fed < fed)
                && let Some(device) = &mut world.node(index).device
            {
                device.fed = fed;
            }
        }
    }

    /// Machines that end now.
    pub fn ends(&self, world: &mut World) {
        for index in 0..world.nodes.len() {
            let node = &world.nodes[index];
            if node.boot == 0 {
                continue;
            }
            let fires = self.fires_at(index, node);
            if fires.is_some_and(|at| at <= world.now) || node.resets_at.is_some_and(|at| at.0 <= world.now) {
                world.power_off(index);
            }
        }
        let doom = world.api.doom.as_ref().map(|doom| (doom.boot, doom.from.0 + doom.bound));
        if let Some((boot, until)) = doom
            && world.now > until
            && world.nodes[0].boot == boot
        {
            world.foul(Foul::OutlivedItsBound { node: 0, boot });
        }
    }
}

impl World {
    /// The boot is over: what was in memory and under `/run` is gone.
    pub fn power_off(&mut self, index: usize) {
        let node = self.node(index);
        node.boot = 0;
        node.published = false;
        node.device = None;
        node.resets_at = None;
        node.process = None;
        node.disk = None;
        node.paused = false;
        node.listed = None;
        if index == 0 {
            for pod in 0..self.api.pods.len() {
                if self.api.pods[pod].running.is_some() {
                    self.api().pods[pod].running = None;
                }
            }
        }
    }
}

/// In an order that depends on what the message says only.
fn insert(messages: &mut Vec<(u64, Arc<Message>)>, message: Arc<Message>, now: u64) {
    let mut canon = Canon::new(now);
    message.hash(&mut canon);
    let entry = (canon.finish(), message);
    let at = messages.partition_point(|other| other.0 <= entry.0);
    messages.insert(at, entry);
}
