//! The cases, by section of the specification.

mod admission;
mod control_plane;
mod creation;
mod detection;
mod escalation;
mod explained;
mod extensions;
mod leases;
mod misc;
pub mod openshift;
mod recovery;
mod schema;
mod shipped;
mod stops;
mod storm;
mod thresholds;

pub(crate) use misc::metric;
use serde_json::{Value, json};

use crate::case::Case;

/// All of them.
pub fn all() -> Vec<Case> {
    [
        schema::cases(),
        admission::cases(),
        detection::cases(),
        thresholds::cases(),
        creation::cases(),
        escalation::cases(),
        leases::cases(),
        recovery::cases(),
        control_plane::cases(),
        stops::cases(),
        storm::cases(),
        misc::cases(),
        openshift::cases(),
        shipped::cases(),
        extensions::cases(),
        explained::cases(),
        crate::self_node::cases(),
        crate::remediators::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A policy that is only accepted where ladders may be short.
pub fn lenient_probe() -> Value {
    json!({
        "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck", "metadata": { "name": "probe" },
        "spec": {
            "selector": { "matchLabels": { "nobody": "" } }, "minHealthy": 1,
            "escalatingRemediations": [{
                "remediationTemplate": { "apiVersion": "test.example/v1", "kind": "FooTemplate", "name": "foo", "namespace": "rem" },
                "order": 0, "timeout": "1s",
            }],
        },
    })
}
