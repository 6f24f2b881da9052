//! `SelfNodeRemediation`: the node ends its own boot, the controller proves it and releases the workload.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{EmptyStatus, RemediationStrategy};
use crate::keys::palisade::CATEGORY;
use crate::progress::Progress;
use crate::resource::{AGE, Column, resource};
use crate::schema;

/// What is wanted of a remediation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelfNodeRemediationSpec {
    /// How the workload is released once the node is proven dead. Automatic picks what the cluster supports;
    /// ResourceDeletion deletes pods and volume attachments; OutOfServiceTaint sets the taint on which Kubernetes (1.26
    /// or later) releases them itself.
    #[serde(default)]
    pub remediation_strategy: RemediationStrategy,
}

/// What was observed of a remediation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfNodeRemediationStatus {
    /// Current state; types Processing, Succeeded and Disabled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The last error of the latest pass; empty when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Pre-Reboot-Completed, Reboot-Completed or Fencing-Completed; absent while fencing starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// From when on the node's old boot has ended at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub time_assumed_rebooted: Option<Time>,
    /// Progress and proof, as Palisade records them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub palisade: Option<Progress>,
}

resource! {
    /// A remediation of one node by itself.
    SelfNodeRemediation(SelfNodeRemediationSpec, SelfNodeRemediationStatus),
    group: "self-node-remediation.medik8s.io",
    plural: "selfnoderemediations",
    scope: Namespaced,
    short_names: ["snr", "snremediation"],
    categories: [CATEGORY],
    description: "One unhealthy node that ends its own boot; its workload is released elsewhere once that is proven.",
    columns: &[
        Column::new(
            "Node",
            "string",
            r".metadata.annotations.remediation\.medik8s\.io/node-name",
            "Node under remediation; empty: the node has the name of this object",
        ),
        Column::new("Phase", "string", ".status.phase", "How far it is"),
        Column::new("Strategy", "string", ".spec.remediationStrategy", "How the workload is released"),
        Column::new("Proof", "string", ".status.palisade.certificate.proof", "What proves that the old boot has ended"),
        Column::new("Succeeded", "string", r#".status.conditions[?(@.type=="Succeeded")].status"#, "The outcome"),
        AGE,
        Column::wide("Grade", "string", ".status.palisade.certificate.grade", "How certain the proof is"),
        Column::wide("Assumed rebooted", "string", ".status.timeAssumedRebooted", "When the old boot is over at the latest"),
        Column::wide("Waiting for", "string", ".status.palisade.fencing.waitingFor", "What is missing for the proof"),
        Column::wide("Reason", "string", r#".status.conditions[?(@.type=="Succeeded")].reason"#, "Why"),
        Column::wide("Last error", "string", ".status.lastError", "The last error"),
    ],
    spec: defaulted,
    rules: &[],
}

/// What is wanted of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SelfNodeRemediationTemplateSpec {
    /// The remediation to make.
    pub template: SelfNodeRemediationTemplateResource,
}

/// The remediation that a template makes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SelfNodeRemediationTemplateResource {
    /// Specification of the remediation.
    pub spec: SelfNodeRemediationSpec,
}

resource! {
    /// A template from which remediations are made.
    SelfNodeRemediationTemplate(SelfNodeRemediationTemplateSpec, EmptyStatus),
    group: "self-node-remediation.medik8s.io",
    plural: "selfnoderemediationtemplates",
    scope: Namespaced,
    short_names: ["snrt", "snremediationtemplate", "snrtemplate"],
    categories: [],
    description: "Template of SelfNodeRemediation objects, referred to by a NodeHealthCheck.",
    columns: &[
        Column::new("Strategy", "string", ".spec.template.spec.remediationStrategy", "How the workload is released"),
        AGE,
    ],
    spec: required,
    rules: &[],
}
