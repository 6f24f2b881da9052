//! One machine: its kubelet, its containers, and how it fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::ledger::Ledger;
use super::{Spec, body};

/// How long a request may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a machine fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The kubelet is dead; containers run on.
    Kubelet,
    /// The kubelet cannot reach the API; containers run on.
    Cut,
    /// Nothing moves any more: neither kubelet nor containers.
    Hang,
    /// The machine is off.
    Power,
    /// The kubelet says so itself: Ready is False.
    NotReady,
}

impl Fault {
    /// All of them by name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("kill", Self::Kubelet),
        ("cut", Self::Cut),
        ("hang", Self::Hang),
        ("off", Self::Power),
        ("notready", Self::NotReady),
    ];
}

struct State {
    fault: Option<Fault>,
    boot: String,
    /// When Ready changed last, as the kubelet knows it.
    changed: Timestamp,
    /// Pods bound here that the API shows, by UID.
    bound: BTreeMap<String, Pod>,
    /// Running containers: identity by UID.
    running: BTreeMap<String, String>,
    /// A status goes out at once.
    news: bool,
}

/// One machine.
pub struct Machine {
    index: usize,
    name: String,
    spec: Arc<Spec>,
    client: Client,
    in_flight: Arc<Semaphore>,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    wake: Notify,
}

impl Machine {
    pub(super) fn new(
        index: usize,
        spec: Arc<Spec>,
        client: Client,
        in_flight: &Arc<Semaphore>,
        ledger: Arc<Ledger>,
    ) -> Self {
        let state = State {
            fault: None,
            boot: new_boot(),
            changed: Timestamp::now(),
            bound: BTreeMap::new(),
            running: BTreeMap::new(),
            news: false,
        };
        Self {
            index,
            name: format!("{}-{index:04}", spec.name),
            spec,
            client,
            in_flight: in_flight.clone(),
            ledger,
            state: Mutex::new(state),
            wake: Notify::new(),
        }
    }

    /// Name of its node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its boot id.
    pub fn boot(&self) -> String {
        self.lock().boot.clone()
    }

    /// How it has failed, if it has.
    pub fn fault(&self) -> Option<Fault> {
        self.lock().fault
    }

    /// Lets it fail; it stays so until [`Machine::recover`] or [`Machine::reboot`].
    pub fn fail(&self, fault: Fault) {
        let mut state = self.lock();
        if fault == Fault::NotReady {
            state.changed = Timestamp::now();
        }
        state.fault = Some(fault);
        state.news = true;
        if matches!(fault, Fault::Hang | Fault::Power) {
            // What hangs writes nothing; what is off never will again.
            for (uid, identity) in &state.running {
                self.ledger.end(identity, uid);
            }
        }
        if fault == Fault::Power {
            state.running.clear();
        }
        drop(state);
        self.wake.notify_one();
    }

    /// What was broken works again, in the same boot. A machine that was off has booted.
    pub fn recover(&self) {
        let mut state = self.lock();
        match state.fault {
            None => return,
            Some(Fault::Power) => return self.boot_up(state),
            Some(Fault::Hang) => {
                for (uid, identity) in &state.running {
                    self.ledger.begin(identity, uid, &self.name, &state.boot);
                }
            }
            Some(Fault::Kubelet | Fault::Cut | Fault::NotReady) => {}
        }
        state.fault = None;
        state.changed = Timestamp::now();
        state.news = true;
        drop(state);
        self.wake.notify_one();
    }

    /// It comes back with a new boot id; nothing that ran before does any more.
    pub fn reboot(&self) {
        let mut state = self.lock();
        for (uid, identity) in std::mem::take(&mut state.running) {
            self.ledger.end(&identity, &uid);
        }
        self.boot_up(state);
    }

    fn boot_up(&self, mut state: MutexGuard<'_, State>) {
        state.boot = new_boot();
        state.fault = None;
        state.changed = Timestamp::now();
        state.news = true;
        drop(state);
        self.wake.notify_one();
    }

    /// Whether its kubelet can talk to the API.
    pub(super) fn talks(&self) -> bool {
        matches!(self.lock().fault, None | Some(Fault::NotReady))
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The API shows this pod, bound here.
    pub(super) fn show(&self, uid: String, pod: Pod) {
        self.lock().bound.insert(uid, pod);
        self.wake.notify_one();
    }

    /// The API shows it no more.
    pub(super) fn hide(&self, uid: &str) {
        if self.lock().bound.remove(uid).is_some() {
            self.wake.notify_one();
        }
    }

    /// The pods that the API shows.
    pub(super) fn bound(&self) -> BTreeMap<String, Pod> {
        self.lock().bound.clone()
    }

    /// Containers that run.
    pub(super) fn running(&self) -> Vec<String> {
        self.lock().running.keys().cloned().collect()
    }

    /// Starts a container; false if it runs already, or cannot because the machine failed meanwhile.
    pub(super) fn start(&self, uid: &str, identity: &str) -> bool {
        let mut state = self.lock();
        let can = matches!(state.fault, None | Some(Fault::NotReady | Fault::Cut));
        if !can || state.running.contains_key(uid) {
            return false;
        }
        state.running.insert(uid.to_owned(), identity.to_owned());
        self.ledger.begin(identity, uid, &self.name, &state.boot);
        true
    }

    /// Ends a container.
    pub(super) fn end(&self, uid: &str) {
        if let Some(identity) = self.lock().running.remove(uid) {
            self.ledger.end(&identity, uid);
        }
    }

    /// Creates node and lease, and reports the first status. Objects of an earlier run are taken over.
    pub(super) async fn register(&self) -> anyhow::Result<()> {
        let path = format!("/api/v1/nodes/{}", self.name);
        let created = self.send("POST", "/api/v1/nodes", &body::node(&self.spec, self.index, &self.name)).await;
        let uid = match created {
            Ok(node) => node["metadata"]["uid"].as_str().map(str::to_owned),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let request = http::Request::get(&path).body(Vec::new())?;
                let node: Value = self.client.request(request).await.with_context(|| path.clone())?;
                node["metadata"]["uid"].as_str().map(str::to_owned)
            }
            Err(error) => return Err(error).with_context(|| format!("creating node {}", self.name)),
        };
        let lease = body::lease(&self.name, &uid.unwrap_or_default());
        let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        match self.send("POST", leases, &lease).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error).with_context(|| format!("creating the lease of node {}", self.name)),
        }
        let status = body::full_status(&self.spec, self.index, &self.conditions(), &self.boot());
        self.send("PATCH", &format!("{path}/status"), &status).await.with_context(|| format!("{path}/status"))?;
        Ok(())
    }

    fn conditions(&self) -> Value {
        let state = self.lock();
        body::conditions(state.fault != Some(Fault::NotReady), state.changed)
    }

    async fn report(&self) -> kube::Result<()> {
        self.lock().news = false;
        let status = body::status(&self.conditions(), &self.boot());
        let path = format!("/api/v1/nodes/{}/status", self.name);
        let sent = self.send("PATCH", &path, &status).await.map(drop);
        if sent.is_err() {
            self.lock().news = true;
        }
        sent
    }

    async fn renew(&self) -> kube::Result<()> {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}", self.name);
        self.send("PATCH", &path, &body::renewal()).await.map(drop)
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> kube::Result<Value> {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, kind);
        let request = request.body(body.to_string().into_bytes()).map_err(kube::Error::HttpError)?;
        // Closed only when the fleet is gone.
        let _permit = self.in_flight.acquire().await;
        let text = self.client.request_text(request).await?;
        // Only a creation is read.
        if method == "POST" { serde_json::from_str(&text).map_err(kube::Error::SerdeError) } else { Ok(Value::Null) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain values, never left half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Heartbeats, until aborted.
pub(super) async fn beat(machine: Arc<Machine>) {
    let spec = machine.spec.clone();
    // Evenly spread, and the same in every run.
    let phase =
        |period: Duration| period.mul_f64((machine.index % spec.nodes.max(1)) as f64 / spec.nodes.max(1) as f64);
    let start = Instant::now();
    let mut lease = start + phase(spec.lease_period);
    let mut status = start + phase(spec.status_period);
    loop {
        let next = lease.min(status);
        tokio::select! {
            () = machine.wake.notified() => {}
            () = sleep_until(next) => {}
        }
        let now = Instant::now();
        let news = machine.lock().news;
        let (renew, report) = (now >= lease, now >= status || news);
        if renew {
            lease = now + spec.lease_period;
        }
        if report {
            status = now + spec.status_period;
        }
        if !machine.talks() {
            continue;
        }
        let sending = async {
            if report {
                machine.report().await?;
            }
            if renew {
                machine.renew().await?;
            }
            Ok::<(), kube::Error>(())
        };
        let sent = timeout(PATIENCE, sending).await;
        match &sent {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(node = machine.name, %error, "heartbeat"),
            Err(_) => tracing::debug!(node = machine.name, "heartbeat: no answer"),
        }
        if renew && !matches!(sent, Ok(Ok(()))) {
            // Kubelets try again soon; all of them at once would make it worse.
            lease = Instant::now() + spec.lease_period / 5;
        }
        if spec.pods {
            super::pods::sync(&machine).await;
        }
    }
}

fn new_boot() -> String {
    uuid::Uuid::new_v4().to_string()
}
