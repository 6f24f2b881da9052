//! Which machines may be deleted: those that somebody replaces, and of the control plane only one at a time and never
//! the one that its quorum needs.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams};
use palisade_api::keys::cluster::{CONTROL_PLANE_ROLE, MASTER_ROLE};
use palisade_runtime::{Answered, RefusalReason};

use super::{About, api, controller, name, namespace};
use crate::error::Error;
use crate::fence::read::{is_ready, limited};

/// Labels of machines of the control plane, with the value that says so; an empty one: any.
const LABELS: [(&str, &str); 3] = [
    ("machine.openshift.io/cluster-api-machine-role", "master"),
    ("cluster.x-k8s.io/control-plane", ""),
    ("cluster.x-k8s.io/control-plane-name", ""),
];

/// Whether the machine may be deleted now.
pub(super) async fn may_delete(about: &About<'_>, machine: &DynamicObject) -> Result<Answered<()>, Error> {
    if machine.metadata.deletion_timestamp.is_some() {
        return Ok(Ok(()));
    }
    if controller(machine).is_none() {
        return Ok(Err(RefusalReason::Refused(format!(
            "machine {} has no controller among its owners: nobody would make another one in its place",
            name(machine)
        ))));
    }
    let node = about.node.is_some_and(is_control_plane_node);
    if !node && !is_control_plane(machine) {
        return Ok(Ok(()));
    }
    control_plane(about, machine).await
}

async fn control_plane(about: &About<'_>, machine: &DynamicObject) -> Result<Answered<()>, Error> {
    let client = &about.context.client;
    let api_version = machine.types.as_ref().map(|types| types.api_version.clone()).unwrap_or_default();
    let machines = api(client, &api_version, &namespace(machine));
    let machines = limited("list of machines", machines.list(&ListParams::default())).await?;
    let going = machines.items.iter().find(|other| {
        other.metadata.deletion_timestamp.is_some() && other.uid() != machine.uid() && is_control_plane(other)
    });
    if let Some(going) = going {
        return Ok(Err(RefusalReason::Unavailable(format!(
            "control-plane machine {} is being deleted; {} waits until it is replaced",
            name(going),
            name(machine)
        ))));
    }
    let nodes = limited("list of nodes", Api::<Node>::all(client.clone()).list(&ListParams::default())).await?;
    let members: Vec<&Node> = nodes.items.iter().filter(|node| is_control_plane_node(node)).collect();
    let others = members.iter().filter(|node| node.name_any() != about.target.node && is_ready(node)).count();
    Ok(quorum(&name(machine), members.len(), others))
}

/// Whether a majority of the members stays without this one.
fn quorum(machine: &str, members: usize, others_ready: usize) -> Answered<()> {
    let needed = members / 2 + 1;
    if members > 0 && others_ready >= needed {
        return Ok(());
    }
    Err(RefusalReason::Refused(format!(
        "machine {machine} belongs to the control plane, and without it {others_ready} of {members} control-plane nodes \
         are Ready, {needed} are needed for a quorum; bring others back first"
    )))
}

/// Whether a machine belongs to the control plane, by its labels or its controller.
pub(super) fn is_control_plane(machine: &DynamicObject) -> bool {
    let labels = machine.labels();
    let labelled =
        LABELS.iter().any(|(key, value)| labels.get(*key).is_some_and(|found| value.is_empty() || found == value));
    labelled || controller(machine).is_some_and(|owner| owner.kind.contains("ControlPlane"))
}

fn is_control_plane_node(node: &Node) -> bool {
    [CONTROL_PLANE_ROLE, MASTER_ROLE].iter().any(|role| node.labels().contains_key(*role))
}

#[cfg(test)]
mod tests {
    use super::quorum;

    #[test]
    fn a_majority_must_stay_without_the_machine() {
        for (members, others, allowed) in
            [(3, 2, true), (3, 1, false), (5, 3, true), (5, 2, false), (1, 0, false), (0, 0, false), (2, 1, false)]
        {
            assert_eq!(quorum("m", members, others).is_ok(), allowed, "{others} of {members}");
        }
    }
}
