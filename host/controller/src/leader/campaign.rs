//! A candidate: watches the Lease, takes it when it is free, renews it while it holds it.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::decide::{Move, Sight, decide};
use super::{DEADLINE, DURATION, HandedOver, LEASE, RENEWAL};

/// No request about the Lease takes longer.
const LIMIT: Duration = Duration::from_secs(3);
/// Pause after a request that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Stands for election.
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    leads: watch::Sender<bool>,
    /// The Lease as last seen, and since when it is so.
    seen: Option<(Lease, Instant)>,
    /// Whether anything was seen at all.
    listed: bool,
    /// When the last renewal that worked was sent.
    renewed: Instant,
    /// No request before this time.
    not_before: Instant,
    /// Asks it to step back.
    handed_over: Arc<HandedOver>,
}

impl Candidate {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        identity: String,
        leads: watch::Sender<bool>,
        handed_over: Arc<HandedOver>,
    ) -> Self {
        let now = Instant::now();
        let api = Api::namespaced(client, namespace);
        Self { api, identity, leads, seen: None, listed: false, renewed: now, not_before: now, handed_over }
    }

    /// Campaigns until dropped; call [`Candidate::release`] after it.
    pub async fn run(&mut self) {
        let config = watcher::Config::default().fields(&format!("metadata.name={LEASE}"));
        let stream = watcher(self.api.clone(), config).default_backoff();
        let mut stream = std::pin::pin!(stream);
        self.campaign(&mut stream).await;
    }

    async fn campaign(&mut self, stream: &mut (impl Stream<Item = watcher::Result<Event<Lease>>> + Unpin)) {
        let mut listing = None;
        let handed_over = self.handed_over.clone();
        loop {
            let again = self.act().await;
            tokio::select! {
                () = handed_over.asked.notified() => self.step_back().await,
                event = stream.next() => match event {
                    Some(Ok(Event::Init)) => listing = None,
                    Some(Ok(Event::InitApply(lease))) => listing = Some(lease),
                    Some(Ok(Event::InitDone)) => {
                        self.listed = true;
                        match listing.take() {
                            Some(lease) => self.see(lease),
                            None => self.seen = None,
                        }
                    }
                    Some(Ok(Event::Apply(lease))) => self.see(lease),
                    Some(Ok(Event::Delete(_))) => self.seen = None,
                    Some(Err(error)) => tracing::debug!(%error, "watch of the leader's lease interrupted"),
                    None => return,
                },
                () = sleep_until(again) => {}
            }
        }
    }

    /// Gives the lead up, so that another takes over at once.
    pub async fn release(mut self) {
        self.let_go().await;
    }

    /// The same for one that goes on as a follower: it takes the lead back if nobody else wants it for so long as a holder
    /// may be silent.
    async fn step_back(&mut self) {
        self.let_go().await;
        self.not_before = Instant::now() + DURATION;
    }

    async fn let_go(&mut self) {
        self.say(false);
        let Some((lease, _)) = self.seen.take() else { return };
        if holder(&lease) != self.identity {
            return;
        }
        let mut free = lease;
        let spec = free.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        // Whoever replaced it in between has it; one that cannot be released is taken over after its duration.
        match timeout(LIMIT, self.api.replace(LEASE, &PostParams::default(), &free)).await {
            Ok(Ok(_)) => tracing::info!("lead released"),
            Ok(Err(error)) => tracing::debug!(%error, "lead not released"),
            Err(_) => tracing::debug!("lead not released in time"),
        }
    }

    /// One look and at most one request; when to look again if nothing happens.
    async fn act(&mut self) -> Instant {
        let now = Instant::now();
        let sight = self.sight(now);
        let step = decide(&self.identity, &sight);
        if step != Move::Lead || now >= self.renewed + DEADLINE {
            self.say(false);
        }
        if !self.listed || now < self.not_before {
            return self.not_before.max(now + RETRY);
        }
        match step {
            Move::Follow(left) => now + left,
            Move::Create => self.create().await,
            Move::Take => self.put().await,
            Move::Lead => {
                let due = self.renewed + RENEWAL;
                if *self.leads.borrow() && now < due { due } else { self.put().await }
            }
        }
    }

    fn sight(&self, now: Instant) -> Sight {
        let Some((lease, since)) = &self.seen else { return Sight::Absent };
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Sight::Present {
            holder: holder(lease).to_owned(),
            unchanged: now.duration_since(*since),
            duration: seconds.map_or(DURATION, Duration::from_secs),
        }
    }

    fn see(&mut self, lease: Lease) {
        let known = self.seen.as_ref().map(|(known, _)| (known.uid(), known.resource_version()));
        if known != Some((lease.uid(), lease.resource_version())) {
            self.seen = Some((lease, Instant::now()));
        }
    }

    async fn create(&mut self) -> Instant {
        let mut lease =
            Lease { metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() }, spec: None };
        lease.spec = Some(self.spec(None));
        let sent = Instant::now();
        let made = timeout(LIMIT, self.api.create(&PostParams::default(), &lease)).await;
        self.answered(sent, made)
    }

    /// Renews it or takes it over: only if it is still as it was seen.
    async fn put(&mut self) -> Instant {
        let Some((mut lease, _)) = self.seen.clone() else { return Instant::now() + RETRY };
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        let sent = Instant::now();
        let put = timeout(LIMIT, self.api.replace(LEASE, &PostParams::default(), &lease)).await;
        self.answered(sent, put)
    }

    fn answered(&mut self, sent: Instant, answer: Result<kube::Result<Lease>, tokio::time::error::Elapsed>) -> Instant {
        let now = Instant::now();
        match answer {
            Ok(Ok(lease)) => {
                self.see(lease);
                self.renewed = sent;
                // An answer that took so long may be older than another's claim.
                self.say(now < sent + DEADLINE);
                return sent + RENEWAL;
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                // Somebody else was faster: the watch shows it. Until then this one does not lead.
                self.say(false);
            }
            Ok(Err(error)) => tracing::warn!(%error, "the leader's lease cannot be written"),
            Err(_) => tracing::warn!("the leader's lease cannot be written in time"),
        }
        self.not_before = now + RETRY;
        self.not_before
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let mine = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let acquired = before.and_then(|spec| spec.acquire_time.clone()).filter(|_| mine);
        let transitions = before.map(|spec| spec.lease_transitions.unwrap_or_default());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions.map_or(0, |count| if mine { count } else { count.saturating_add(1) })),
            ..LeaseSpec::default()
        }
    }

    fn say(&self, leads: bool) {
        let changed = self.leads.send_if_modified(|known| std::mem::replace(known, leads) != leads);
        if changed {
            tracing::info!(identity = self.identity, "{}", if leads { "leads" } else { "does not lead any more" });
        }
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}
