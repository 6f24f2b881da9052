//! `CustomizedUserRemediation`: a script of the administrator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::EmptyStatus;
use crate::keys::palisade::CATEGORY;
use crate::resource::{AGE, Column, resource};

/// What is wanted of a remediation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomizedUserRemediationSpec {
    /// Script that runs for the remediation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

resource! {
    /// A remediation by a script.
    CustomizedUserRemediation(CustomizedUserRemediationSpec, EmptyStatus),
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
