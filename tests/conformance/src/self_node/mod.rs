//! `SelfNodeRemediation`: the listed cases of its specification, with agents that do as a case tells them.

mod admission;
pub mod agents;
mod bootstrap;
pub mod catalogue;
mod famous;
mod kept;
mod manager;
mod release;
mod steady;
pub mod subject;

use std::rc::Rc;

use crate::case::Case;
use crate::world::World;

/// All cases.
pub fn cases() -> Vec<Case> {
    [
        admission::cases(),
        bootstrap::cases(),
        manager::cases(),
        release::cases(),
        steady::cases(),
        kept::cases(),
        famous::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Makes the kinds known and watches the remediations.
pub async fn know(world: &Rc<World>) -> anyhow::Result<()> {
    let group = "self-node-remediation.medik8s.io";
    for (kind, plural) in [
        ("SelfNodeRemediation", "selfnoderemediations"),
        ("SelfNodeRemediationTemplate", "selfnoderemediationtemplates"),
        ("SelfNodeRemediationConfig", "selfnoderemediationconfigs"),
    ] {
        world.plane.learn(group, "v1alpha1", kind, plural);
    }
    for (group, version, kind, plural) in
        [("apps", "v1", "DaemonSet", "daemonsets"), ("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments")]
    {
        world.plane.learn(group, version, kind, plural);
    }
    for kind in [subject::KIND, "Lease", "Event", "Node"] {
        world.plane.eyes.watch(&world.plane.resource(kind)?).await?;
    }
    Ok(())
}
