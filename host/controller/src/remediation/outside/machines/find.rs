//! Which machine is the node's, and that it really is.

use kube::api::DynamicObject;
use kube::{Resource, ResourceExt};
use palisade_api::keys::cluster::{CAPI_MACHINE, CAPI_NAMESPACE, MACHINE};
use palisade_runtime::{Answered, RefusalReason};

use super::{About, CLUSTER_API, OPENSHIFT, api, group, name, served, text};
use crate::error::Error;
use crate::fence::read::limited;

/// Where a machine is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Group and version; only the group where `version` is still to be asked for.
    pub(super) api_version: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// What the reference says about the UID.
    pub(super) uid: Option<String>,
    /// Who says so, for messages.
    pub(super) by: String,
}

/// The node's machine: the one recorded, the one that owns the remediation, or the one that the node names.
pub(crate) async fn find(about: &About<'_>) -> Result<Answered<DynamicObject>, Error> {
    let mut reference = match refer(about) {
        Ok(reference) => reference,
        Err(why) => return Ok(Err(why)),
    };
    if !reference.api_version.contains('/') {
        let group = reference.api_version.clone();
        match served(&about.context.client, &group).await? {
            Some(version) => reference.api_version = version,
            None => {
                return Ok(Err(RefusalReason::Unavailable(format!(
                    "{} names a machine of {group}, but the API server does not serve that group; install it, or \
                     correct the annotation",
                    reference.by
                ))));
            }
        }
    }
    let machines = api(&about.context.client, &reference.api_version, &reference.namespace);
    let Some(machine) = limited("machine", machines.get_opt(&reference.name)).await? else {
        return Ok(Err(RefusalReason::NotFound(format!(
            "machine {}/{} does not exist; it is named by {}",
            reference.namespace, reference.name, reference.by
        ))));
    };
    Ok(verify(about, &reference, &machine).map(|()| machine))
}

fn refer(about: &About<'_>) -> Answered<Reference> {
    if let Some(record) = &about.progress.machine {
        return Ok(Reference {
            api_version: record.api_version.clone(),
            namespace: record.namespace.clone(),
            name: record.name.clone(),
            uid: Some(record.uid.clone()),
            by: "the record of this remediation".to_owned(),
        });
    }
    if let Some(owner) = owner(about) {
        return Ok(owner);
    }
    let Some(node) = about.node else {
        let node = &about.target.node;
        return Err(RefusalReason::NotFound(format!(
            "node {node:?} does not exist, and no Machine owns this remediation: nothing says which machine is meant"
        )));
    };
    by_node(&node.name_any(), |key| node.annotations().get(key).map(String::as_str))
}

/// A Machine among the owners of the remediation, of one of the two groups; other projects have a kind Machine as well.
fn owner(about: &About<'_>) -> Option<Reference> {
    let owners = about.object.pointer("/metadata/ownerReferences")?.as_array()?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let owner = owners.iter().find(|owner| {
        owner["kind"] == "Machine" && [OPENSHIFT, CLUSTER_API].contains(&group(&text(&owner["apiVersion"])))
    })?;
    Some(Reference {
        api_version: text(&owner["apiVersion"]),
        namespace: about.target.namespace.clone(),
        name: text(&owner["name"]),
        uid: Some(text(&owner["uid"])),
        by: "the owner reference of this remediation".to_owned(),
    })
}

/// What the annotations of a node name.
pub(super) fn by_node<'a>(node: &str, annotation: impl Fn(&str) -> Option<&'a str>) -> Answered<Reference> {
    if let Some(value) = annotation(MACHINE) {
        let refused = |what: &str| {
            Err(RefusalReason::Refused(format!(
                "annotation {MACHINE} of node {node} is {value:?}, {what}; it must be NAMESPACE/NAME of its Machine"
            )))
        };
        let by = format!("annotation {MACHINE} of node {node}");
        return match value.split('/').collect::<Vec<_>>().as_slice() {
            [""] => refused("which is empty"),
            [_] => refused("which names no namespace"),
            ["", _] => refused("whose namespace is empty"),
            [_, ""] => refused("whose name is empty"),
            [namespace, name] => Ok(Reference {
                api_version: OPENSHIFT.to_owned(),
                namespace: (*namespace).to_owned(),
                name: (*name).to_owned(),
                uid: None,
                by,
            }),
            _ => refused("which has more than two parts"),
        };
    }
    if let Some(name) = annotation(CAPI_MACHINE) {
        let namespace = annotation(CAPI_NAMESPACE).unwrap_or_default();
        let by = format!("annotations {CAPI_MACHINE} and {CAPI_NAMESPACE} of node {node}");
        if name.is_empty() || namespace.is_empty() {
            return Err(RefusalReason::Refused(format!(
                "{by} are {name:?} and {namespace:?}; both must be set to the name and the namespace of its Machine"
            )));
        }
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        return Ok(Reference { api_version: CLUSTER_API.to_owned(), namespace, name, uid: None, by });
    }
    Err(RefusalReason::NotFound(format!(
        "node {node} has neither annotation {MACHINE} nor {CAPI_MACHINE}: nothing links it to a machine"
    )))
}

/// A reference alone is not enough: the machine itself must say that it is this node's.
fn verify(about: &About<'_>, reference: &Reference, machine: &DynamicObject) -> Answered<()> {
    let refused = |why: String| Err(RefusalReason::Refused(why));
    let (called, uid) = (name(machine), machine.uid().unwrap_or_default());
    if let Some(wanted) = &reference.uid
        && *wanted != uid
    {
        return match &about.progress.machine {
            Some(_) => Err(RefusalReason::NotFound(format!(
                "machine {called} has UID {uid} now, not {wanted}: the one of this remediation is gone"
            ))),
            None => refused(format!(
                "machine {called} has UID {uid}, but {} names {wanted}: it is another machine of the same name",
                reference.by
            )),
        };
    }
    let recorded = about.progress.machine.is_some();
    let linked = text(machine, "/status/nodeRef/name");
    if !recorded && !linked.is_empty() && linked != about.target.node {
        return refused(format!(
            "status.nodeRef of machine {called} names node {linked}, not {}, although {} names that machine; correct the \
             annotation",
            about.target.node, reference.by
        ));
    }
    let linked_uid = text(machine, "/status/nodeRef/uid");
    if let Some(node_uid) = about.node.and_then(|node| node.meta().uid.clone())
        && !recorded
        && !linked_uid.is_empty()
        && linked_uid != node_uid
    {
        return refused(format!(
            "status.nodeRef of machine {called} has UID {linked_uid}, but node {} has {node_uid}: another node of the \
             same name",
            about.target.node
        ));
    }
    // Who is only named by a node must know that node; who owns the remediation was named by the machine's own detector.
    if linked.is_empty() && reference.uid.is_none() {
        return refused(format!(
            "machine {called} has no status.nodeRef, so that only {} says that it is the node's; it must name the node",
            reference.by
        ));
    }
    let asked = about.object.pointer("/metadata/creationTimestamp").and_then(serde_json::Value::as_str);
    let asked = asked.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let made = machine.meta().creation_timestamp.as_ref().map(|at| at.0);
    if let (Some(asked), Some(made)) = (asked, made)
        && !recorded
        && made > asked
    {
        return refused(format!(
            "machine {called} was made at {made}, after this remediation ({asked}): it cannot be the machine that was \
             unhealthy then"
        ));
    }
    Ok(())
}
