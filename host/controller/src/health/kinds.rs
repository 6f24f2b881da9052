//! Templates and remediations of any kind: found by discovery, watched from the first time a policy names them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{Guarded, Wake, policies, views};

/// The first list of a kind usually takes milliseconds.
const FIRST_LIST: Duration = Duration::from_secs(10);

/// Why objects of a kind cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum KindError {
    /// The API server does not serve it.
    #[error(
        "kind {kind} of {api_version} does not exist on this cluster; install its CustomResourceDefinition or correct the reference"
    )]
    Unknown {
        /// Group and version.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// It exists but cannot be listed.
    #[error(
        "cannot list {plural} of group {group:?}: {why}; grant list and watch on them, for example with a ClusterRole labelled {}=true",
        palisade_api::keys::remediation::AGGREGATE_ROLE
    )]
    Unreadable {
        /// Plural name.
        plural: String,
        /// Group.
        group: String,
        /// What the API server said.
        why: String,
    },
    /// The API server did not answer.
    #[error("cannot discover kind {kind}: {source}")]
    Api {
        /// Kind.
        kind: String,
        /// What went wrong.
        source: Box<kube::Error>,
    },
}

/// A watched kind.
pub(super) struct Kind {
    pub resource: ApiResource,
    pub namespaced: bool,
    objects: Store<DynamicObject>,
    problem: Arc<Mutex<Option<String>>>,
    task: AbortHandle,
}

impl Drop for Kind {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kind {
    /// Access to the objects of a namespace, or of the cluster for a cluster-scoped kind.
    pub fn api(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        if self.namespaced {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        } else {
            Api::all_with(client.clone(), &self.resource)
        }
    }

    /// One object, as last seen.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let mut reference = ObjectRef::new_with(name, self.resource.clone());
        if self.namespaced {
            reference = reference.within(namespace);
        }
        self.objects.get(&reference)
    }

    /// Every object, as last seen.
    pub fn all(&self) -> Vec<Arc<DynamicObject>> {
        self.objects.state()
    }

    fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The watched kinds.
pub(super) struct Kinds {
    client: Client,
    policies: Store<Guarded>,
    wake: UnboundedSender<Wake>,
    watched: Mutex<HashMap<GroupVersionKind, Arc<Kind>>>,
}

impl Kinds {
    pub fn new(client: Client, policies: Store<Guarded>, wake: UnboundedSender<Wake>) -> Self {
        Self { client, policies, wake, watched: Mutex::default() }
    }

    /// The kind with a complete list of its objects.
    pub async fn get(&self, api_version: &str, kind: &str) -> Result<Arc<Kind>, KindError> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let known = self.lock().get(&gvk).cloned();
        // A watch that fails holds an old list; the kind may be gone or have come back with another scope.
        let known = match known {
            Some(known) if known.problem().is_none() => known,
            _ => {
                let found = self.discover(&gvk).await?;
                self.lock().insert(gvk, Arc::clone(&found));
                found
            }
        };
        match timeout(FIRST_LIST, known.objects.wait_until_ready()).await {
            Ok(Ok(())) => Ok(known),
            _ => Err(KindError::Unreadable {
                plural: known.resource.plural.clone(),
                group: known.resource.group.clone(),
                why: known.problem().unwrap_or_else(|| format!("no answer within {FIRST_LIST:?}")),
            }),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<GroupVersionKind, Arc<Kind>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn discover(&self, gvk: &GroupVersionKind) -> Result<Arc<Kind>, KindError> {
        let (resource, capabilities) = match discovery::pinned_kind(&self.client, gvk).await {
            Ok(found) => found,
            Err(error) if is_unknown(&error) => {
                self.lock().remove(gvk);
                return Err(KindError::Unknown { api_version: gvk.api_version(), kind: gvk.kind.clone() });
            }
            Err(error) => return Err(KindError::Api { kind: gvk.kind.clone(), source: Box::new(error) }),
        };
        let writer = Writer::new(resource.clone());
        let objects = writer.as_reader();
        let problem = Arc::new(Mutex::new(None));
        let task = tokio::spawn(watch(
            Api::all_with(self.client.clone(), &resource),
            resource.clone(),
            writer,
            Arc::clone(&problem),
            self.policies.clone(),
            self.wake.clone(),
        ));
        let namespaced = capabilities.scope == Scope::Namespaced;
        Ok(Arc::new(Kind { resource, namespaced, objects, problem, task: task.abort_handle() }))
    }
}

fn is_unknown(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 404,
        kube::Error::Discovery(_) => true,
        _ => false,
    }
}

async fn watch(
    api: Api<DynamicObject>,
    resource: ApiResource,
    writer: Writer<DynamicObject>,
    problem: Arc<Mutex<Option<String>>>,
    policies: Store<Guarded>,
    wake: UnboundedSender<Wake>,
) {
    let types = kube::api::TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
    let is_template = resource.kind.ends_with(palisade_api::keys::remediation::TEMPLATE_SUFFIX);
    let stream = watcher(api, watcher::Config::default())
        .modify(move |object| trim(object, &types, is_template))
        .default_backoff()
        .reflect(writer);
    pin_mut!(stream);
    while let Some(event) = stream.next().await {
        let mut seen = problem.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = event.as_ref().err().map(ToString::to_string);
        drop(seen);
        let wakes = match event {
            Ok(Event::Apply(object) | Event::Delete(object)) => concerned(&policies, &object, is_template),
            Ok(Event::InitDone) => vec![Wake::All],
            Ok(Event::Init | Event::InitApply(_)) => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, kind = resource.kind, "cannot watch");
                Vec::new()
            }
        };
        for wakes in wakes {
            if wake.send(wakes).is_err() {
                return;
            }
        }
    }
}

/// Keeps what decisions read: of templates everything, of remediations metadata and conditions.
fn trim(object: &mut DynamicObject, types: &kube::api::TypeMeta, is_template: bool) {
    object.metadata.managed_fields = None;
    // Objects of a list carry no type of their own.
    object.types = Some(types.clone());
    if !is_template {
        let conditions = object.data.pointer_mut("/status/conditions").map(Value::take).unwrap_or_default();
        object.data = serde_json::json!({ "status": { "conditions": conditions } });
    }
}

fn concerned(policies: &Store<Guarded>, object: &DynamicObject, is_template: bool) -> Vec<Wake> {
    let owners = views::owners(object).map(|owner| Wake::Policy(owner.to_owned()));
    if !is_template {
        return owners.collect();
    }
    let named = policies.state().into_iter().filter(|policy| match &policy.0 {
        Ok(policy) => palisade_core::health::steps(&policy.spec).iter().any(|step| step.template == object.name_any()),
        Err(_) => false,
    });
    owners.chain(named.filter_map(|policy| policies::name(&policy).map(Wake::Policy))).collect()
}
