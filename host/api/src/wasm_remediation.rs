//! `WasmRemediation`: a remediation by any remediator, without a kind of its own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::common::EmptyStatus;
use crate::keys::palisade::CATEGORY;
use crate::progress::Progress;
use crate::resource::{AGE, Column, resource};
use crate::schema;

/// What is wanted of a remediation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WasmRemediationSpec {
    /// Name of the Remediator.
    #[schemars(length(min = 1, max = 253))]
    pub remediator: String,
    /// Parameters, checked against the schema in the component's manifest.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "schema::any_object")]
    pub parameters: Map<String, Value>,
}

/// What was observed of a remediation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmRemediationStatus {
    /// Current state; types Processing, Succeeded and what the remediator reports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The last error of the latest pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Same words as in SelfNodeRemediation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// From when on the node's old boot has ended at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub time_assumed_rebooted: Option<Time>,
    /// Progress and proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub palisade: Option<Progress>,
}

resource! {
    /// A remediation by a named remediator.
    WasmRemediation(WasmRemediationSpec, WasmRemediationStatus),
    group: "palisade.dev",
    plural: "wasmremediations",
    scope: Namespaced,
    short_names: ["wr"],
    categories: [CATEGORY],
    description: "One unhealthy node that a Wasm remediator takes care of.",
    columns: &[
        Column::new(
            "Node",
            "string",
            r".metadata.annotations.remediation\.medik8s\.io/node-name",
            "Node under remediation; empty: the node has the name of this object",
        ),
        Column::new("Remediator", "string", ".spec.remediator", "The remediator"),
        Column::new("Phase", "string", ".status.phase", "How far it is"),
        Column::new("Proof", "string", ".status.palisade.certificate.proof", "What proves that the old boot has ended"),
        Column::new("Succeeded", "string", r#".status.conditions[?(@.type=="Succeeded")].status"#, "The outcome"),
        AGE,
        Column::wide("Grade", "string", ".status.palisade.certificate.grade", "How certain the proof is"),
        Column::wide("Version", "string", ".status.palisade.module.version", "Version of the component"),
        Column::wide("Waiting for", "string", ".status.palisade.fencing.waitingFor", "What is missing for the proof"),
        Column::wide("Reason", "string", r#".status.conditions[?(@.type=="Succeeded")].reason"#, "Why"),
        Column::wide("Last error", "string", ".status.lastError", "The last error"),
    ],
    spec: required,
    rules: &[],
}

/// What is wanted of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct WasmRemediationTemplateSpec {
    /// The remediation to make.
    pub template: WasmRemediationTemplateResource,
}

/// The remediation that a template makes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct WasmRemediationTemplateResource {
    /// Specification of the remediation.
    pub spec: WasmRemediationSpec,
}

resource! {
    /// A template from which remediations are made.
    WasmRemediationTemplate(WasmRemediationTemplateSpec, EmptyStatus),
    group: "palisade.dev",
    plural: "wasmremediationtemplates",
    scope: Namespaced,
    short_names: ["wrt"],
    categories: [],
    description: "Template of WasmRemediation objects, referred to by a NodeHealthCheck.",
    columns: &[
        Column::new("Remediator", "string", ".spec.template.spec.remediator", "The remediator"),
        AGE,
    ],
    spec: required,
    rules: &[],
}
