//! What all parts of the controller share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::reflector::{ObjectRef, Store};
use palisade_api::{Remediator, SelfNodeRemediationConfig};
use palisade_core::fencing::record::LeaseView;
use palisade_rpc::Trust;
use palisade_runtime::ProofAuthority;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use crate::Options;
use crate::events::Recorder;
use crate::fence::Fences;
use crate::fence::read::Seen;
use crate::jurors::Jurors;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::remediation::modules::Modules;
use crate::remediation::outside::Providers;

/// Shared by all tasks of one controller process.
pub struct Context {
    /// API client.
    pub client: Client,
    /// Options of the process.
    pub options: Options,
    /// First sights.
    pub seen: Seen,
    /// Agent leases, for the addresses of jurors.
    pub leases: Store<Lease>,
    /// Remediators.
    pub remediators: Store<Remediator>,
    /// Configurations of self node remediation.
    pub configs: Store<SelfNodeRemediationConfig>,
    /// Wakes the rollout when the configuration changed.
    pub configs_changed: Arc<Notify>,
    /// Loaded components.
    pub modules: Modules,
    /// Whether this process acts.
    pub leadership: Leadership,
    /// What operators alert on.
    pub metrics: Arc<Metrics>,
    /// The one maker of proofs.
    pub authority: ProofAuthority,
    /// Whose records count.
    pub trust: Trust,
    /// Calls agents as the controller.
    pub rpc: Arc<dyn Jurors>,
    /// Running fencings.
    pub fences: Fences,
    /// What is outside of the nodes: power devices and jobs.
    pub providers: Providers,
    /// Event recorder.
    pub events: Recorder,
    /// Wakes reconcilers.
    pub triggers: Triggers,
    /// What the page shows; none where there is no page.
    pub board: Option<Arc<palisade_page::Board>>,
    /// Failures in a row, by UID: they lengthen the pause before the next try.
    pub retries: Mutex<HashMap<String, u32>>,
    /// Server version, once known.
    pub version: Mutex<Option<(u32, u32)>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Context {
    /// Where the agent of a node says it is reached. Only a hint: the name is proved by certificate.
    pub fn agent_address(&self, node: &str) -> Option<String> {
        let lease = self.agent_lease(node)?;
        let view = LeaseView::from_annotations(lease.metadata.annotations.as_ref()?).ok()?;
        Some(view.record?.address)
    }

    /// The agent lease of a node as the watch showed it last. Nothing may be decided by it.
    pub fn agent_lease(&self, node: &str) -> Option<Arc<Lease>> {
        self.leases.get(&ObjectRef::new(node).within(&self.options.namespace))
    }

    /// Version of the API server. Asked for until it is known; unknown is treated as old.
    pub async fn server_version(&self) -> Option<(u32, u32)> {
        let known = *self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() {
            return known;
        }
        let info = self.client.apiserver_version().await.ok()?;
        // Vendors add to the minor: "26+", "26.5.2".
        let digits: String = info.minor.chars().take_while(char::is_ascii_digit).collect();
        let version = Some((info.major.parse().ok()?, digits.parse().ok()?));
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version;
        version
    }

    /// The one configuration of self node remediation, unless it is missing or going.
    pub fn config(&self) -> Option<Arc<SelfNodeRemediationConfig>> {
        let name = ObjectRef::new(palisade_api::keys::self_node::CONFIG_NAME).within(&self.options.namespace);
        self.configs.get(&name).filter(|config| config.metadata.deletion_timestamp.is_none())
    }
}

/// A remediation and the node it is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Kind of the remediation.
    pub kind: &'static str,
    /// API version of the remediation.
    pub api_version: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The node.
    pub node: String,
}

impl Target {
    /// How it stands among the owners of an intent.
    pub fn owner(&self) -> String {
        format!("{}/{}/{}/{}", self.kind, self.namespace, self.name, self.uid)
    }

    /// What is said on its behalf in the log carries kind, namespace, name and node.
    pub fn span(&self) -> tracing::Span {
        let Self { kind, namespace, name, node, .. } = self;
        tracing::info_span!("remediation", kind, namespace, name, node)
    }

    /// For events about it.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.api_version.clone()),
            kind: Some(self.kind.to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// For events about a node.
pub fn node_reference(node: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(node.to_owned()),
        uid: Some(node.to_owned()),
        ..ObjectReference::default()
    }
}

/// Ways to have a remediation looked at now.
#[derive(Debug)]
pub struct Triggers {
    /// By kind: namespace and name of a remediation to look at.
    pub kinds: HashMap<&'static str, UnboundedSender<(String, String)>>,
    /// Remediations by node, as far as they were looked at.
    pub known: Mutex<HashMap<String, Target>>,
}

impl Triggers {
    /// Looks at a remediation soon.
    pub fn fire(&self, target: &Target) {
        // A closed channel means that the process stops.
        if let Some(kind) = self.kinds.get(target.kind) {
            let _ = kind.send((target.namespace.clone(), target.name.clone()));
        }
    }

    /// The same for whoever outlives the pass.
    pub fn waker(&self, target: &Target) -> impl Fn() + Send + 'static + use<> {
        let look = self.kinds.get(target.kind).cloned();
        let (namespace, name) = (target.namespace.clone(), target.name.clone());
        move || {
            if let Some(look) = &look {
                let _ = look.send((namespace.clone(), name.clone()));
            }
        }
    }

    /// Looks at all remediations of a node soon.
    pub fn fire_node(&self, node: &str) {
        for target in self.lock().values().filter(|target| target.node == node) {
            self.fire(target);
        }
    }

    /// Whether anything on this node is being remediated.
    pub fn knows_node(&self, node: &str) -> bool {
        self.lock().values().any(|target| target.node == node)
    }

    /// Looks at all remediations soon.
    pub fn fire_all(&self) {
        for target in self.lock().values() {
            self.fire(target);
        }
    }

    /// Remembers which node a remediation is about.
    pub fn remember(&self, target: &Target) {
        let mut known = self.lock();
        if known.get(&target.uid) != Some(target) {
            known.insert(target.uid.clone(), target.clone());
        }
    }

    /// Forgets a remediation.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Target>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
