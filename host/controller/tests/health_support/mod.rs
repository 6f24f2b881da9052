//! A cluster in this process with foreign remediation kinds, plain nodes and a running detector.

#![allow(missing_docs, reason = "a helper of tests")]
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a helper of tests: failing is how it reports"
)]

pub mod late;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use palisade_api::NodeHealthCheck;
use palisade_controller::health::{self, Options};
use palisade_sandbox::api::{ApiStore, Settings};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What takes milliseconds may take much longer where many programs share a core. Only a failure takes that long.
const DEADLINE: Duration = Duration::from_mins(3);

/// The cluster.
pub struct Cluster {
    pub store: ApiStore,
    pub client: Client,
    detectors: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.detectors.iter().for_each(JoinHandle::abort);
    }
}

impl Cluster {
    /// With our definitions, `Foo` and `Bar` with their templates, and namespace `rem`.
    pub fn new() -> Self {
        let store = ApiStore::new(Settings { audit: 10_000, ..Settings::default() });
        let client = store.client();
        let cluster = Self { store, client, detectors: Vec::new() };
        for crd in palisade_api::all_crds() {
            cluster.apply(&serde_json::to_value(crd).unwrap());
        }
        for kind in ["Foo", "FooTemplate", "Bar", "BarTemplate"] {
            cluster.apply(&definition(kind));
        }
        cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "rem" } }));
        cluster
    }

    /// The same with templates `foo` and `bar`, nodes `a`, `b`, `c`, and a running detector.
    pub async fn ready() -> Self {
        let mut cluster = Self::new();
        cluster.apply(&template("FooTemplate", "foo"));
        cluster.apply(&template("BarTemplate", "bar"));
        for name in ["a", "b", "c"] {
            cluster.node(name, "True", 3_600).await;
        }
        cluster.detect();
        cluster
    }

    /// Starts a detector.
    pub fn detect(&mut self) {
        let options = Options { instance: format!("detector-{}", self.detectors.len()), ..Options::default() };
        self.detectors.push(tokio::spawn(health::run(self.client.clone(), options, std::future::pending())));
    }

    /// Every detector stops where it is, and a new one that knows nothing takes over.
    pub async fn restart(&mut self) {
        for detector in self.detectors.drain(..) {
            detector.abort();
            // Cancelled, as intended.
            let _ = detector.await;
        }
        self.detect();
    }

    /// Starts a detector whose requests are answered late.
    pub fn detect_late(&mut self, late: &late::Late) {
        let client = Client::new(late.between(self.store.service()), "default");
        let options = Options { instance: "late".to_owned(), ..Options::default() };
        self.detectors.push(tokio::spawn(health::run(client, options, std::future::pending())));
    }

    /// Starts a detector that has these guards and observers.
    pub fn detect_with(&mut self, options: Options) {
        self.detectors.push(tokio::spawn(health::run(self.client.clone(), options, std::future::pending())));
    }

    /// Labels and annotations of a node; `null` removes one.
    pub async fn mark(&self, name: &str, metadata: Value) {
        let body = json!({ "metadata": metadata });
        let nodes = Api::<Node>::all(self.client.clone());
        nodes.patch(name, &PatchParams::default(), &Patch::Merge(body)).await.unwrap();
    }

    pub fn apply(&self, object: &Value) {
        self.store.apply_value(object).unwrap_or_else(|error| panic!("{object} is refused: {error:?}"));
    }

    /// Makes a node, or changes its condition `Ready`, with the stamp so many seconds ago.
    pub async fn node(&self, name: &str, ready: &str, seconds_ago: i64) {
        let nodes = Api::<Node>::all(self.client.clone());
        if nodes.get_opt(name).await.unwrap().is_none() {
            let node = json!({ "metadata": { "name": name, "labels": { "pool": "a" } } });
            nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        }
        let since = Timestamp::now() - SignedDuration::from_secs(seconds_ago);
        let since = Timestamp::from_second(since.as_second()).unwrap();
        let body = json!({ "status": { "conditions": [
            { "type": "Ready", "status": ready, "lastTransitionTime": since.to_string(), "reason": "Test", "message": "" },
        ] } });
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(body)).await.unwrap();
    }

    /// Makes or changes the policy `nhc`.
    pub fn policy(&self, change: Value) {
        self.policy_named("nhc", change);
    }

    pub fn policy_named(&self, name: &str, change: Value) {
        let mut spec = json!({
            "selector": { "matchLabels": { "pool": "a" } },
            "minHealthy": "51%",
            "unhealthyConditions": [
                { "type": "Ready", "status": "False", "duration": "10s" },
                { "type": "Ready", "status": "Unknown", "duration": "10s" },
            ],
            "remediationTemplate": reference("FooTemplate", "foo"),
        });
        for (key, value) in change.as_object().unwrap() {
            if value.is_null() {
                spec.as_object_mut().unwrap().remove(key);
            } else {
                spec[key] = value.clone();
            }
        }
        self.apply(&json!({
            "apiVersion": "remediation.medik8s.io/v1alpha1",
            "kind": "NodeHealthCheck",
            "metadata": { "name": name },
            "spec": spec,
        }));
    }

    pub fn remediations(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), "rem", &resource(kind))
    }

    pub async fn list(&self, kind: &str) -> Vec<DynamicObject> {
        self.remediations(kind).list(&ListParams::default()).await.unwrap().items
    }

    /// Waits until there are so many.
    pub async fn count(&self, kind: &str, expected: usize) -> Vec<DynamicObject> {
        let last = std::sync::Mutex::new(Vec::<String>::new());
        let looking = eventually_or(
            || {
                let (seen, status) = (last.lock().unwrap(), self.told());
                format!("{expected} {kind}; there are {}: {seen:?}; {status}", seen.len())
            },
            async || {
                let found = self.list(kind).await;
                last.lock().unwrap().clone_from(&found.iter().map(ResourceExt::name_any).collect());
                (found.len() == expected).then_some(found)
            },
        );
        looking.await
    }

    /// Waits until the status of policy `nhc` is as wanted.
    pub async fn status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let policies = Api::<NodeHealthCheck>::all(self.client.clone());
        let last = std::sync::Mutex::new(Value::Null);
        let looking = eventually_or(
            || format!("{what}; the status is {}", last.lock().unwrap()),
            async || {
                let status = serde_json::to_value(policies.get("nhc").await.unwrap().status).unwrap();
                last.lock().unwrap().clone_from(&status);
                wanted(&status).then_some(status)
            },
        );
        looking.await
    }

    /// What the policies say of themselves and who is how, for people who look for the reason of a failure.
    fn told(&self) -> String {
        let policies = self.store.objects("remediation.medik8s.io", "nodehealthchecks");
        let policies = policies.iter().map(|policy| format!("{}: {}", policy["metadata"]["name"], policy["status"]));
        let nodes = self.store.objects("", "nodes");
        let nodes = nodes.iter().map(|node| format!("{} {}", node["metadata"]["name"], node["status"]["conditions"]));
        let events = self.store.objects("", "events");
        let events = events.iter().map(|event| format!("{} {}", event["reason"], event["message"]));
        let lines = |all: Vec<String>| all.join("\n  ");
        format!(
            "policies:\n  {}\nnodes:\n  {}\nevents:\n  {}",
            lines(policies.collect()),
            lines(nodes.collect()),
            lines(events.collect())
        )
    }

    /// Messages of events about policies with this reason.
    pub async fn events(&self, reason: &str) -> Vec<String> {
        let events = Api::<Event>::namespaced(self.client.clone(), "default");
        let events = events.list(&ListParams::default()).await.unwrap().items;
        events
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some(reason))
            // What was done to a node is also said of the node.
            .filter(|event| event.involved_object.kind.as_deref() == Some("NodeHealthCheck"))
            .filter_map(|event| event.message)
            .collect()
    }

    /// Waits for an event whose message has the fragment.
    pub async fn event(&self, reason: &str, fragment: &str) {
        let what = || format!("event {reason} with {fragment:?}; {}", self.told());
        let seen = async || self.events(reason).await.iter().any(|message| message.contains(fragment)).then_some(());
        eventually_or(what, seen).await;
    }
}

/// Polls until there is an answer.
pub async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_or(|| what.to_owned(), check).await
}

/// The same; what was waited for is told when it is too late.
pub async fn eventually_or<T>(what: impl Fn() -> String, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {}", what());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn reference(kind: &str, name: &str) -> Value {
    json!({ "apiVersion": "test.example/v1", "kind": kind, "name": name, "namespace": "rem" })
}

pub fn template(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "test.example/v1",
        "kind": kind,
        "metadata": { "name": name, "namespace": "rem" },
        "spec": { "template": { "spec": { "size": name } } },
    })
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("test.example", "v1", kind))
}

pub fn definition(kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.test.example") },
        "spec": {
            "group": "test.example",
            "names": { "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase() },
            "scope": "Namespaced",
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                "subresources": { "status": {} },
            }],
        },
    })
}
