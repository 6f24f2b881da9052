//! Machines of OpenShift and of Cluster API: found through the node or the remediation's owner, verified, deleted by
//! UID, and known to be gone.

pub(crate) mod find;
mod guard;
mod replacement;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Preconditions};
use kube::{Client, ResourceExt};
use palisade_api::outside::{MachineRecord, MachineReference};
use palisade_core::fencing::proof::{Grade, ProofKind};
use palisade_core::fencing::record::BootId;
use palisade_runtime::{Answered, MachineApi, MachineView, OwnerView, RefusalReason, ReplacementView};
use serde_json::Value;

use super::{About, Sighting};
use crate::clock;
use crate::context::Context;
use crate::error::Error;
use crate::fence::read::limited;

/// Group of OpenShift's machines.
pub const OPENSHIFT: &str = "machine.openshift.io";
/// Group of Cluster API's machines.
pub const CLUSTER_API: &str = "cluster.x-k8s.io";

/// What a component is shown.
pub struct Looked {
    /// The machine.
    pub machine: Answered<MachineView>,
    /// Whether it may be deleted.
    pub deletable: Answered<()>,
    /// What came in its place.
    pub replacement: Answered<ReplacementView>,
}

/// Looks at the node's machine.
pub async fn look(about: &About<'_>) -> Result<Looked, Error> {
    let found = find::find(about).await?;
    let deletable = match &found {
        Ok(machine) => guard::may_delete(about, machine).await?,
        Err(why) => Err(why.clone()),
    };
    let replacement = match &about.progress.machine {
        Some(record) => Ok(replacement::look(about, record).await?),
        None => found.as_ref().map(|_| ReplacementView::default()).map_err(Clone::clone),
    };
    Ok(Looked { machine: found.map(|machine| view(&machine)), deletable, replacement })
}

/// What is to be recorded before the machine with this UID is deleted; `None` when it is gone already.
pub async fn intend(about: &About<'_>, uid: &str) -> Result<Option<MachineRecord>, Error> {
    if let Some(record) = about.progress.machine.clone().filter(|record| record.uid == uid) {
        return Ok(Some(record));
    }
    // What the component saw may be old: everything is verified once more, on what is true now.
    let machine = match find::find(about).await? {
        Ok(machine) => machine,
        Err(RefusalReason::NotFound(_)) => return Ok(None),
        Err(why) => return Err(Error::Blocked(why.to_string())),
    };
    if machine.uid().as_deref() != Some(uid) {
        return Err(Error::Blocked(format!("machine {} is not the one with UID {uid} any more", name(&machine))));
    }
    if let Err(why) = guard::may_delete(about, &machine).await? {
        return Err(Error::Blocked(why.to_string()));
    }
    let owner = controller(&machine);
    let replicas = match &owner {
        Some(owner) => replacement::wanted(&about.context.client, &namespace(&machine), owner).await?,
        None => None,
    };
    Ok(Some(MachineRecord {
        api_version: machine.types.as_ref().map(|types| types.api_version.clone()).unwrap_or_default(),
        namespace: namespace(&machine),
        name: machine.name_any(),
        uid: uid.to_owned(),
        deletion_requested: Some(seconds(&clock::wall())),
        guarded: !machine.finalizers().is_empty(),
        infrastructure: infrastructure(&about.context.client, &machine).await?,
        owner,
        replicas,
    }))
}

/// Deletes the recorded machine and no other; whether its deletion is under way, or it is gone.
pub async fn delete(context: &Context, record: Option<&MachineRecord>) -> Result<bool, Error> {
    let Some(record) = record else { return Ok(false) };
    let api = api(&context.client, &record.api_version, &record.namespace);
    let Some(machine) = limited("machine", api.get_opt(&record.name)).await? else { return Ok(true) };
    if machine.uid().as_deref() != Some(record.uid.as_str()) || machine.metadata.deletion_timestamp.is_some() {
        return Ok(true);
    }
    let preconditions = Preconditions { uid: machine.uid(), resource_version: machine.resource_version() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match limited("deletion of the machine", async { api.delete(&record.name, &parameters).await.map(drop) }).await {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) => Err(error),
    }
}

/// The recorded machine and its instance are gone.
pub async fn evidence(about: &About<'_>) -> Result<Option<Sighting>, Error> {
    let (Some(record), Some(fence)) = (&about.progress.machine, about.fence) else { return Ok(None) };
    let Some(boot) = fence.boot.clone() else { return Ok(None) };
    let begun = clock::now();
    Ok(is_gone(about, record).await?.then(|| sighting(record, boot, begun)))
}

fn sighting(record: &MachineRecord, boot: BootId, begun: palisade_core::time::Mono) -> Sighting {
    let what = format!("machine {}/{} (UID {})", record.namespace, record.name, record.uid);
    let instance = match &record.infrastructure {
        Some(object) => format!("and its {} {} are gone", object.kind, object.name),
        None => "is gone, and its finalizers with it: its machine controller reported the instance gone".to_owned(),
    };
    Sighting {
        kind: ProofKind::MachineGone,
        grade: Grade::Certain,
        boot,
        begun,
        explanation: format!("{what} {instance}"),
    }
}

/// Whether machine and instance are gone. An object that nobody guarded says nothing about its instance.
pub async fn is_gone(about: &About<'_>, record: &MachineRecord) -> Result<bool, Error> {
    if !record.guarded || !object_is_gone(about, record).await? {
        return Ok(false);
    }
    let Some(object) = &record.infrastructure else { return Ok(true) };
    // One that was not there when the deletion was asked for was never looked at: that it is not there says nothing.
    let Some(uid) = &object.uid else { return Ok(false) };
    let kind = resource(&object.api_version, &object.kind);
    let api = Api::namespaced_with(about.context.client.clone(), &record.namespace, &kind);
    not_there(&api, &object.name, uid).await
}

/// Whether no object of this name has this UID. By a list and not by a read: where a kind is not served any more, that is
/// an error and not an answer.
async fn not_there(api: &Api<DynamicObject>, name: &str, uid: &str) -> Result<bool, Error> {
    let only = ListParams::default().fields(&format!("metadata.name={name}"));
    let list = limited("list of machines", api.list(&only)).await?;
    Ok(!list.items.iter().any(|found| found.name_any() == name && found.uid().as_deref() == Some(uid)))
}

/// Whether the object with the recorded UID is gone.
pub async fn object_is_gone(about: &About<'_>, record: &MachineRecord) -> Result<bool, Error> {
    let api = api(&about.context.client, &record.api_version, &record.namespace);
    not_there(&api, &record.name, &record.uid).await
}

fn view(machine: &DynamicObject) -> MachineView {
    let api_version = machine.types.as_ref().map(|types| types.api_version.as_str()).unwrap_or_default();
    let created = machine.metadata.creation_timestamp.as_ref();
    let age = created.map_or(0, |at| clock::wall().0.as_millisecond().saturating_sub(at.0.as_millisecond()));
    MachineView {
        api: if group(api_version) == OPENSHIFT { MachineApi::Openshift } else { MachineApi::ClusterApi },
        namespace: namespace(machine),
        name: machine.name_any(),
        uid: machine.uid().unwrap_or_default(),
        provider_id: text(machine, "/spec/providerID"),
        phase: text(machine, "/status/phase"),
        deleting: machine.metadata.deletion_timestamp.is_some(),
        age_millis: u64::try_from(age).unwrap_or(0),
        control_plane: guard::is_control_plane(machine),
        owner: controller(machine).map(|owner| OwnerView {
            kind: owner.kind,
            name: owner.name,
            uid: owner.uid.unwrap_or_default(),
        }),
    }
}

/// The owner that makes another one.
pub(super) fn controller(machine: &DynamicObject) -> Option<MachineReference> {
    let owner = machine.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    Some(MachineReference {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: Some(owner.uid.clone()),
    })
}

/// The object of the infrastructure provider, as it is there now: Cluster API names it, OpenShift has none.
async fn infrastructure(client: &Client, machine: &DynamicObject) -> Result<Option<MachineReference>, Error> {
    let Some(reference) = machine.data.pointer("/spec/infrastructureRef") else { return Ok(None) };
    let part = |name: &str| reference[name].as_str().unwrap_or_default().to_owned();
    let (kind, name) = (part("kind"), part("name"));
    if kind.is_empty() || name.is_empty() {
        return Ok(None);
    }
    // Newer versions name the group only.
    let (known, group) = (part("apiVersion"), part("apiGroup"));
    let group = if known.is_empty() { &group } else { self::group(&known) };
    let Some(api_version) = served(client, group).await? else {
        return Ok(Some(MachineReference { api_version: known, kind, name, uid: None }));
    };
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &namespace(machine), &resource(&api_version, &kind));
    let found = if_served(limited("infrastructure machine", api.get_opt(&name)).await)?;
    let uid = found.and_then(|found| found.uid());
    Ok(Some(MachineReference { api_version, kind, name, uid }))
}

/// The version of a group that the API server prefers; `None` when it does not serve the group.
pub(crate) async fn served(client: &Client, group: &str) -> Result<Option<String>, Error> {
    let groups = limited("API groups", client.list_api_groups()).await?;
    let found = groups.groups.into_iter().find(|known| known.name == group);
    Ok(found.and_then(|known| {
        let preferred = known.preferred_version.map(|version| version.group_version);
        preferred.or_else(|| known.versions.first().map(|version| version.group_version.clone()))
    }))
}

/// An object of a kind that the API server does not serve is not there either; it says so in another way than of an object.
fn if_served<T>(answer: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(Error::Api(error)) if matches!(&*error, kube::Error::Api(status) if status.code == 404) => Ok(None),
        answer => answer,
    }
}

/// Access to machines of one API version.
pub(crate) fn api(client: &Client, api_version: &str, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(api_version, "Machine"))
}

/// How a kind is asked for; kinds of machine APIs have regular plurals.
pub(super) fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

pub(crate) fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

pub(super) fn text(object: &DynamicObject, pointer: &str) -> String {
    object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(super) fn namespace(object: &DynamicObject) -> String {
    object.namespace().unwrap_or_default()
}

/// `namespace/name`.
pub(super) fn name(object: &DynamicObject) -> String {
    format!("{}/{}", namespace(object), object.name_any())
}

fn seconds(time: &Time) -> Time {
    Time(jiff::Timestamp::from_second(time.0.as_second()).unwrap_or(time.0))
}

#[cfg(test)]
mod tests;
