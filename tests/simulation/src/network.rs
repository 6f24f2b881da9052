//! Who reaches whom, how fast, and how badly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::chance::Chance;

/// A program somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// The API server.
    Api,
    /// A controller.
    Controller(u16),
    /// The agent of a node.
    Agent(u16),
    /// The kubelet of a node.
    Kubelet(u16),
}

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// Of the API server.
    Api,
    /// Of a controller.
    Controller(u16),
    /// A node.
    Node(u16),
}

impl Actor {
    /// The machine it runs on.
    pub fn host(self) -> Host {
        match self {
            Self::Api => Host::Api,
            Self::Controller(number) => Host::Controller(number),
            Self::Agent(number) | Self::Kubelet(number) => Host::Node(number),
        }
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Api => f.write_str("api"),
            Self::Controller(number) => write!(f, "controller-{number}"),
            Self::Agent(number) => write!(f, "agent-{number}"),
            Self::Kubelet(number) => write!(f, "kubelet-{number}"),
        }
    }
}

/// What happens on a way that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing arrives; connections stay open.
    Silent,
    /// Connections are refused.
    Refused,
}

/// What the API server does with writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedWrite {
    /// 500 at once: etcd is full.
    Refused,
    /// 504 after a while: etcd has no quorum. The write does not happen.
    TimeOut,
    /// 504 after a while, although the write did happen.
    Lost,
}

/// How good the network is where it is not cut.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Latency of one way.
    pub latency: (Duration, Duration),
    /// Of a thousand messages so many are late by up to `late_by`, although their sender may have given up.
    pub late: u64,
    /// See `late`.
    pub late_by: Duration,
    /// Of a thousand calls between agents so many never arrive.
    pub lost: u64,
    /// Of a thousand calls between agents so many arrive twice.
    pub twice: u64,
}

impl Default for Weather {
    fn default() -> Self {
        let latency = (Duration::from_millis(1), Duration::from_millis(4));
        Self { latency, late: 0, late_by: Duration::ZERO, lost: 0, twice: 0 }
    }
}

struct State {
    /// Directed.
    cuts: BTreeMap<(Host, Host), Cut>,
    api_down: Option<Cut>,
    writes: Option<FailedWrite>,
    writes_of: BTreeMap<Host, FailedWrite>,
    frozen: BTreeSet<Actor>,
    resets: BTreeMap<Actor, u64>,
    weather: Weather,
    chance: Chance,
}

struct Inner {
    state: Mutex<State>,
    /// Wakes in the order in which was waited; a `watch` channel would wake in random order.
    changed: Notify,
}

/// The network of one run; clones share it.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

impl Network {
    /// Everybody reaches everybody.
    pub fn new(seed: u64) -> Self {
        let state = State {
            cuts: BTreeMap::new(),
            api_down: None,
            writes: None,
            writes_of: BTreeMap::new(),
            frozen: BTreeSet::new(),
            resets: BTreeMap::new(),
            weather: Weather::default(),
            chance: Chance::new(seed, 1),
        };
        Self(Arc::new(Inner { state: Mutex::new(state), changed: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Single values change one at a time.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, act: impl FnOnce(&mut State)) {
        act(&mut self.state());
        self.0.changed.notify_waiters();
    }

    /// Cuts one direction.
    pub fn cut(&self, from: Host, to: Host, how: Cut) {
        self.change(|state| {
            state.cuts.insert((from, to), how);
        });
    }

    /// Cuts both directions.
    pub fn cut_both(&self, one: Host, other: Host, how: Cut) {
        self.cut(one, other, how);
        self.cut(other, one, how);
    }

    /// Mends both directions.
    pub fn mend(&self, one: Host, other: Host) {
        self.change(|state| {
            state.cuts.remove(&(one, other));
            state.cuts.remove(&(other, one));
        });
    }

    /// Mends every way from and to a machine.
    pub fn mend_host(&self, host: Host) {
        self.change(|state| state.cuts.retain(|(from, to), _| *from != host && *to != host));
    }

    /// The API server answers nobody, or is back.
    pub fn api_down(&self, how: Option<Cut>) {
        self.change(|state| state.api_down = how);
    }

    /// Whether it is down.
    pub fn is_api_down(&self) -> bool {
        let state = self.state();
        state.api_down.is_some() || state.writes.is_some()
    }

    /// Writes of everybody fail, or work.
    pub fn fail_writes(&self, how: Option<FailedWrite>) {
        self.change(|state| state.writes = how);
    }

    /// Writes from one machine fail, or work.
    pub fn fail_writes_of(&self, host: Host, how: Option<FailedWrite>) {
        self.change(|state| match how {
            Some(how) => _ = state.writes_of.insert(host, how),
            None => _ = state.writes_of.remove(&host),
        });
    }

    /// How a write of this program fails.
    pub fn failing(&self, actor: Actor) -> Option<FailedWrite> {
        let state = self.state();
        state.writes.or_else(|| state.writes_of.get(&actor.host()).copied())
    }

    /// A stopped program (SIGSTOP) sends and takes nothing.
    pub fn freeze(&self, actor: Actor, frozen: bool) {
        self.change(|state| {
            if frozen {
                state.frozen.insert(actor);
            } else {
                state.frozen.remove(&actor);
            }
        });
    }

    /// Whether it is stopped.
    pub fn is_frozen(&self, actor: Actor) -> bool {
        self.state().frozen.contains(&actor)
    }

    /// Looks now and after every change, until there is an answer.
    async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(answer) = look() {
                return answer;
            }
            changed.await;
        }
    }

    /// Returns when the program is not stopped.
    pub async fn thawed(&self, actor: Actor) {
        self.until(|| (!self.is_frozen(actor)).then_some(())).await;
    }

    /// Ends all open connections of a program to the API server.
    pub fn reset(&self, actor: Actor) {
        self.change(|state| *state.resets.entry(actor).or_default() += 1);
    }

    fn resets(&self, actor: Actor) -> u64 {
        self.state().resets.get(&actor).copied().unwrap_or_default()
    }

    /// Returns when connections that are open now have ended.
    pub async fn was_reset(&self, actor: Actor) {
        let before = self.resets(actor);
        self.until(|| (self.resets(actor) != before).then_some(())).await;
    }

    /// Sets the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Everything is mended.
    pub fn heal(&self) {
        self.change(|state| {
            state.cuts.clear();
            state.api_down = None;
            state.writes = None;
            state.writes_of.clear();
            state.weather = Weather::default();
        });
    }

    fn blocked(&self, from: Actor, to: Actor) -> Option<Cut> {
        let state = self.state();
        if state.frozen.contains(&from) || state.frozen.contains(&to) {
            return Some(Cut::Silent);
        }
        if (from == Actor::Api || to == Actor::Api)
            && let Some(how) = state.api_down
        {
            return Some(how);
        }
        state.cuts.get(&(from.host(), to.host())).copied()
    }

    /// How long the next message is under way.
    pub fn latency(&self) -> Duration {
        let mut state = self.state();
        let weather = state.weather;
        let length = state.chance.length(weather.latency.0, weather.latency.1);
        if state.chance.per_mille(weather.late) {
            return length + state.chance.length(Duration::ZERO, weather.late_by);
        }
        length
    }

    /// Whether the next call between agents is lost, and whether it comes twice.
    pub fn accident(&self) -> (bool, bool) {
        let mut state = self.state();
        let weather = state.weather;
        (state.chance.per_mille(weather.lost), state.chance.per_mille(weather.twice))
    }

    /// Waits until the way is open. An error if it refuses.
    pub async fn open(&self, from: Actor, to: Actor) -> Result<(), String> {
        self.until(|| match self.blocked(from, to) {
            None => Some(Ok(())),
            Some(Cut::Refused) => Some(Err("connection refused".to_owned())),
            Some(Cut::Silent) => None,
        })
        .await
    }

    /// One message: its latency, then the way has to be open.
    pub async fn hop(&self, from: Actor, to: Actor) -> Result<(), String> {
        tokio::time::sleep(self.latency()).await;
        self.open(from, to).await
    }
}
