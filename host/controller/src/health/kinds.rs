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
use palisade_core::health::{Step, steps};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch as signal;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::facts::FACTS;
use super::recent::Recent;
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
    problem: signal::Receiver<Option<Problem>>,
    task: AbortHandle,
}

/// Why a kind cannot be watched at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    /// What the API server said.
    text: String,
    /// It is not served any more; if it comes back it may be another.
    gone: bool,
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

    fn is_gone(&self) -> bool {
        self.problem.borrow().as_ref().is_some_and(|problem| problem.gone)
    }

    /// Waits for the first complete list, or for the reason why there is none.
    async fn ready(&self) -> Result<(), String> {
        let mut problem = self.problem.clone();
        tokio::select! {
            biased;
            ready = self.objects.wait_until_ready() => ready.map_err(|error| error.to_string()),
            // The sender lives as long as the watch; its end is as good a reason as another.
            found = problem.wait_for(Option::is_some) => Err(match found {
                Ok(found) => found.as_ref().map(|problem| problem.text.clone()).unwrap_or_default(),
                Err(error) => error.to_string(),
            }),
        }
    }
}

/// The watched kinds.
pub(super) struct Kinds {
    client: Client,
    policies: Store<Guarded>,
    wake: UnboundedSender<Wake>,
    witnesses: Witnesses,
    watched: Mutex<HashMap<GroupVersionKind, Arc<Kind>>>,
}

impl Kinds {
    pub fn new(
        client: Client,
        policies: Store<Guarded>,
        wake: UnboundedSender<Wake>,
        recent: Arc<Recent>,
        board: Option<Arc<palisade_page::Board>>,
    ) -> Self {
        Self { client, policies, wake, witnesses: Witnesses { recent, board }, watched: Mutex::default() }
    }

    /// The kind with a complete list of its objects.
    pub async fn get(&self, api_version: &str, kind: &str) -> Result<Arc<Kind>, KindError> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let known = self.lock().get(&gvk).cloned();
        let known = match known {
            Some(known) if !known.is_gone() => known,
            _ => {
                let found = self.discover(&gvk).await?;
                self.lock().insert(gvk, Arc::clone(&found));
                found
            }
        };
        let why = match timeout(FIRST_LIST, known.ready()).await {
            Ok(Ok(())) => return Ok(known),
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {FIRST_LIST:?}"),
        };
        Err(KindError::Unreadable { plural: known.resource.plural.clone(), group: known.resource.group.clone(), why })
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
        let (tell, problem) = signal::channel(None);
        let task = tokio::spawn(watch(
            Api::all_with(self.client.clone(), &resource),
            resource.clone(),
            writer,
            tell,
            self.policies.clone(),
            self.wake.clone(),
            self.witnesses.clone(),
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

/// Who hears of every object, whatever it means for policies.
#[derive(Clone)]
struct Witnesses {
    recent: Arc<Recent>,
    board: Option<Arc<palisade_page::Board>>,
}

impl Witnesses {
    fn saw(&self, kind: &str, role: Role, event: &Event<DynamicObject>) {
        if let (Some(board), Role::Remediation) = (&self.board, role) {
            board.followed(kind, event);
        }
        if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = event
            && let Some(uid) = &object.metadata.uid
        {
            self.recent.shown(uid);
        }
    }
}

async fn watch(
    api: Api<DynamicObject>,
    resource: ApiResource,
    writer: Writer<DynamicObject>,
    problem: signal::Sender<Option<Problem>>,
    policies: Store<Guarded>,
    wake: UnboundedSender<Wake>,
    witnesses: Witnesses,
) {
    let types = kube::api::TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
    let role = Role::of(&resource);
    let stream = watcher(api, watcher::Config::default())
        .modify(move |object| trim(object, &types, role))
        .default_backoff()
        .reflect(writer);
    pin_mut!(stream);
    while let Some(event) = stream.next().await {
        let seen = event.as_ref().err().map(|error| Problem { text: error.to_string(), gone: is_gone(error) });
        let changed = problem.send_if_modified(|known| std::mem::replace(known, seen.clone()) != seen);
        if let Ok(event) = &event {
            witnesses.saw(&resource.kind, role, event);
        }
        let wakes = match event {
            Ok(Event::Apply(object)) => concerned(&policies, &object, role),
            // Somebody's remediation of this kind may be what another policy waits for.
            Ok(Event::Delete(object)) => {
                [concerned(&policies, &object, role), users(&policies, &resource.kind)].concat()
            }
            Ok(Event::InitDone) => vec![Wake::All],
            Ok(Event::Init | Event::InitApply(_)) => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, kind = resource.kind, "cannot watch");
                if changed && is_gone(&error) { vec![Wake::All] } else { Vec::new() }
            }
        };
        for wakes in wakes {
            if wake.send(wakes).is_err() {
                return;
            }
        }
    }
}

fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

/// What objects of a kind are to the detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Template,
    Remediation,
    Fact,
}

impl Role {
    fn of(resource: &ApiResource) -> Self {
        if FACTS.iter().any(|(api_version, kind, _)| *api_version == resource.api_version && *kind == resource.kind) {
            Self::Fact
        } else if resource.kind.ends_with(palisade_api::keys::remediation::TEMPLATE_SUFFIX) {
            Self::Template
        } else {
            Self::Remediation
        }
    }
}

/// Keeps what decisions read: of templates everything, of remediations metadata and conditions.
fn trim(object: &mut DynamicObject, types: &kube::api::TypeMeta, role: Role) {
    object.metadata.managed_fields = None;
    // Objects of a list carry no type of their own.
    object.types = Some(types.clone());
    if role == Role::Remediation {
        let conditions = object.data.pointer_mut("/status/conditions").map(Value::take).unwrap_or_default();
        object.data = serde_json::json!({ "status": { "conditions": conditions } });
    }
}

fn concerned(policies: &Store<Guarded>, object: &DynamicObject, role: Role) -> Vec<Wake> {
    let owners = views::owners(object).map(|owner| Wake::Policy(owner.to_owned()));
    match role {
        Role::Fact => return vec![Wake::All],
        // One that is not ours, or holds up the control plane, may be what another policy waits for.
        Role::Remediation if object.labels().contains_key(palisade_api::keys::remediation::CONTROL_PLANE) => {
            return vec![Wake::All];
        }
        Role::Remediation => return owners.collect(),
        Role::Template => {}
    }
    owners.chain(naming(policies, |step| step.template == object.name_any())).collect()
}

/// The policies whose remediations are of this kind.
fn users(policies: &Store<Guarded>, kind: &str) -> Vec<Wake> {
    naming(policies, |step| step.kind == kind).collect()
}

fn naming(policies: &Store<Guarded>, wanted: impl Fn(&Step) -> bool) -> impl Iterator<Item = Wake> {
    let named = policies.state().into_iter().filter(move |policy| match &policy.0 {
        Ok(policy) => steps(&policy.spec).iter().any(&wanted),
        Err(_) => false,
    });
    named.filter_map(|policy| policies::name(&policy).map(Wake::Policy))
}
