//! API types of Palisade: the stock kinds, with exactly their fields, defaults and validation, and our own.
//!
//! Knows nobody else in the workspace. One module per kind; [`keys`] and [`reasons`] hold the words on the wire,
//! [`duration`] Go's durations, [`all_crds`] every definition.

#![allow(clippy::doc_markdown, reason = "comments on fields become descriptions in the CRDs, which are plain text")]

pub mod certificate;
pub mod common;
mod crds;
pub mod customized_user_remediation;
pub mod duration;
pub mod fence_agents_remediation;
pub mod keys;
pub mod machine_deletion_remediation;
pub mod node_health_check;
pub mod outside;
pub mod progress;
pub mod reasons;
pub mod remediator;
pub mod resource;
pub mod rule;
pub mod schema;
pub mod self_node_remediation;
pub mod self_node_remediation_config;
pub mod wasm_remediation;

pub use certificate::{FencingCertificate, Grade, Juror, ProofKind};
pub use common::{EmptyStatus, IntOrString, RemediationStrategy};
pub use crds::{all_crds, to_yaml};
pub use customized_user_remediation::{
    CustomizedUserRemediation, CustomizedUserRemediationConfig, CustomizedUserRemediationTemplate,
};
pub use duration::{DurationError, GoDuration};
pub use fence_agents_remediation::{FenceAgentsRemediation, FenceAgentsRemediationTemplate};
pub use machine_deletion_remediation::{MachineDeletionRemediation, MachineDeletionRemediationTemplate};
pub use node_health_check::NodeHealthCheck;
pub use progress::{Progress, Stage};
pub use remediator::Remediator;
pub use self_node_remediation::{SelfNodeRemediation, SelfNodeRemediationTemplate};
pub use self_node_remediation_config::SelfNodeRemediationConfig;
pub use wasm_remediation::{WasmRemediation, WasmRemediationTemplate};
