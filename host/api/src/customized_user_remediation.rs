//! `CustomizedUserRemediation`: a script of the administrator.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::EmptyStatus;
use crate::keys::palisade::CATEGORY;
use crate::progress::Progress;
use crate::resource::{AGE, Column, resource};
use crate::schema;

/// What is wanted of a remediation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomizedUserRemediationSpec {
    /// Name of the job that runs for the remediation, from the administrator's list: a suspended CronJob with label
    /// palisade.dev/remediation-job=true in the controller's namespace. The text of a script is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// What was observed of a remediation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomizedUserRemediationStatus {
    /// Current state; types Processing and Succeeded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Progress and proof, as Palisade records them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub palisade: Option<Progress>,
}

resource! {
    /// A remediation by a script.
    CustomizedUserRemediation(CustomizedUserRemediationSpec, CustomizedUserRemediationStatus),
    group: "customized-user-remediation.medik8s.io",
    plural: "customizeduserremediations",
    scope: Namespaced,
    short_names: [],
    categories: [CATEGORY],
    description: "One unhealthy node for which a script of the administrator runs. It fences nothing by itself.",
    columns: &[
        Column::new(
            "Node",
            "string",
            r".metadata.annotations.remediation\.medik8s\.io/node-name",
            "Node under remediation; empty: the node has the name of this object",
        ),
        Column::new("Job", "string", ".spec.script", "Job that runs"),
        Column::new("Succeeded", "string", r#".status.conditions[?(@.type=="Succeeded")].status"#, "The outcome"),
        AGE,
    ],
    spec: optional,
    rules: &[],
}

/// What is wanted of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CustomizedUserRemediationTemplateSpec {
    /// The remediation to make.
    pub template: CustomizedUserRemediationTemplateResource,
}

/// The remediation that a template makes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CustomizedUserRemediationTemplateResource {
    /// Specification of the remediation.
    pub spec: CustomizedUserRemediationSpec,
}

resource! {
    /// A template from which remediations are made.
    CustomizedUserRemediationTemplate(CustomizedUserRemediationTemplateSpec, EmptyStatus),
    group: "customized-user-remediation.medik8s.io",
    plural: "customizeduserremediationtemplates",
    scope: Namespaced,
    short_names: [],
    categories: [],
    description: "Template of CustomizedUserRemediation objects, referred to by a NodeHealthCheck.",
    columns: &[AGE],
    spec: optional,
    rules: &[],
}

/// There is nothing to choose.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CustomizedUserRemediationConfigSpec {}

resource! {
    /// Configuration of remediation by script.
    CustomizedUserRemediationConfig(CustomizedUserRemediationConfigSpec, EmptyStatus),
    group: "customized-user-remediation.medik8s.io",
    plural: "customizeduserremediationconfigs",
    scope: Namespaced,
    short_names: [],
    categories: [],
    description: "Accepted for compatibility; there is nothing to configure.",
    columns: &[AGE],
    spec: optional,
    rules: &[],
}
