//! `MachineDeletionRemediation`: the machine behind a node is deleted and replaced.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::EmptyStatus;
use crate::keys::palisade::CATEGORY;
use crate::progress::Progress;
use crate::resource::{AGE, Column, resource};
use crate::schema;

/// There is nothing to choose.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MachineDeletionRemediationSpec {}

/// What was observed of a remediation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineDeletionRemediationStatus {
    /// Current state; types Processing, Succeeded and PermanentNodeDeletionExpected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Progress and proof, as Palisade records them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub palisade: Option<Progress>,
}

resource! {
    /// A remediation that replaces the machine.
    MachineDeletionRemediation(MachineDeletionRemediationSpec, MachineDeletionRemediationStatus),
    group: "machine-deletion-remediation.medik8s.io",
    plural: "machinedeletionremediations",
    scope: Namespaced,
    short_names: ["mdr"],
    categories: [CATEGORY],
    description: "One unhealthy node whose machine is deleted, so that its owner makes a new one.",
    columns: &[
        Column::new(
            "Machine",
            "string",
            r".metadata.annotations.machine-deletion-remediation\.medik8s\.io/machineNameNamespace",
            "Machine that is deleted",
        ),
        Column::new("Processing", "string", r#".status.conditions[?(@.type=="Processing")].status"#, "Whether it works"),
        Column::new("Succeeded", "string", r#".status.conditions[?(@.type=="Succeeded")].status"#, "The outcome"),
        AGE,
        Column::wide("Reason", "string", r#".status.conditions[?(@.type=="Succeeded")].reason"#, "Why"),
        Column::wide(
            "Node vanishes",
            "string",
            r#".status.conditions[?(@.type=="PermanentNodeDeletionExpected")].status"#,
            "Whether a differently named node comes back",
        ),
    ],
    spec: optional,
    rules: &[],
}

/// What is wanted of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MachineDeletionRemediationTemplateSpec {
    /// The remediation to make.
    pub template: MachineDeletionRemediationTemplateResource,
}

/// The remediation that a template makes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MachineDeletionRemediationTemplateResource {
    /// Specification of the remediation.
    pub spec: MachineDeletionRemediationSpec,
}

resource! {
    /// A template from which remediations are made.
    MachineDeletionRemediationTemplate(MachineDeletionRemediationTemplateSpec, EmptyStatus),
    group: "machine-deletion-remediation.medik8s.io",
    plural: "machinedeletionremediationtemplates",
    scope: Namespaced,
    short_names: ["mdrt"],
    categories: [],
    description: "Template of MachineDeletionRemediation objects, referred to by a NodeHealthCheck.",
    columns: &[AGE],
    spec: optional,
    rules: &[],
}
