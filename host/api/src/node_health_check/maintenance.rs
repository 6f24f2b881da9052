//! Planned work on nodes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What counts as planned work on a node, beside the lifecycle conditions of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MaintenanceSignals {
    /// Types of node conditions that mean planned work while they are True, beside MaintenanceInProgress,
    /// DrainInProgress, Drained and GracefulNodeShutdownInProgress.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16))]
    pub node_conditions: Vec<String>,
    /// Whether a cordoned node counts as being upgraded while the kubelets of the cluster have different versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cordon_and_version_skew: Option<bool>,
}
