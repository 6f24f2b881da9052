//! `Remediator`: where a Wasm component comes from, what it may do, and which kinds it serves.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::{AGE, Column, resource};
use crate::rule::Rule;
use crate::schema;

/// A remediator.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemediatorSpec {
    /// Where the component comes from; exactly one of its fields.
    pub source: Source,
    /// sha256 digest that the component must have; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// Who must have signed the component; absent: nobody. For OCI artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignaturePolicy>,
    /// What it may do. A capability that the component asks for and that is not listed here is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub capabilities: Vec<Capability>,
    /// Limits of one call; absent ones are the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Remediation kinds and strategies it serves, beside WasmRemediations that name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind"]))]
    pub serves: Vec<Serves>,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Name of a component that comes with the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub builtin: Option<String>,
    /// Path of a file in the controller's file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub file: Option<String>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// An OCI artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
}

/// A key of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ConfigMapSource {
    /// Namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in `binaryData`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// An OCI artifact.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OciSource {
    /// `registry/repository:tag` or `registry/repository@sha256:...`.
    #[schemars(length(min = 1, max = 512))]
    pub reference: String,
    /// Secret with credentials (`kubernetes.io/dockerconfigjson`), in the controller's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pull_secret: Option<String>,
    /// ConfigMap in the controller's namespace whose key `ca.crt` holds the authorities that are trusted for registry
    /// and mirrors, as PEM; absent: those of the controller's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ca_config_map: Option<String>,
    /// Asked before the registry, in this order: `registry` or `registry/prefix`, which take the registry's place in the
    /// reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 255)), extend("x-kubernetes-list-type" = "atomic"))]
    pub mirrors: Vec<String>,
}

/// Who must have signed a component, in the way of `cosign sign --key`: one of the keys is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignaturePolicy {
    /// Public keys (ECDSA P-256) as PEM.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 1024)), extend("x-kubernetes-list-type" = "atomic"))]
    pub public_keys: Vec<String>,
}

/// One of the host's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Read the target node.
    Target,
    /// Ask the node's agent.
    Agent,
    /// Ask for fencing and receive the proof.
    Fencing,
    /// Release and restore workloads.
    Workloads,
    /// Delete machines.
    Machines,
    /// Switch power.
    Power,
    /// Ask people.
    Approval,
    /// Run jobs.
    Jobs,
    /// Cordon and taint.
    Scheduling,
    /// Report conditions and events.
    Report,
}

impl Capability {
    /// The word in manifests and component manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Agent => "agent",
            Self::Fencing => "fencing",
            Self::Workloads => "workloads",
            Self::Machines => "machines",
            Self::Power => "power",
            Self::Approval => "approval",
            Self::Jobs => "jobs",
            Self::Scheduling => "scheduling",
            Self::Report => "report",
        }
    }
}

impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Limits of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Fuel, about one unit per instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub fuel: Option<i64>,
    /// Linear memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 65536))]
    pub memory_bytes: Option<i64>,
    /// Wall-clock time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub deadline_millis: Option<i64>,
}

/// A remediation kind and its strategies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Serves {
    /// Remediation kind, for example SelfNodeRemediation.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Strategies; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub strategies: Vec<String>,
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RemediatorStatus {
    /// Current state; type Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Generation that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The component that is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<LoadedModule>,
    /// Why the latest attempt to load failed; the component in use stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Calls of the component in use by the controller that leads, since it leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<i64>,
    /// How many of these failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<i64>,
    /// 99 of the latest 100 calls took no longer, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_micros: Option<i64>,
}

/// A component that is in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadedModule {
    /// Name in its manifest.
    pub name: String,
    /// Version in its manifest.
    pub version: String,
    /// sha256 digest.
    pub digest: String,
    /// The OCI manifest it came with, if it came from a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<String>,
    /// Contract it was built against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// Capabilities it asks for and was granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub capabilities: Vec<Capability>,
}

resource! {
    /// A Wasm component and what it may do.
    Remediator(RemediatorSpec, RemediatorStatus),
    group: "palisade.dev",
    plural: "remediators",
    scope: Cluster,
    short_names: ["rmd"],
    categories: [],
    description: "A Wasm component that remediates nodes: its source, what it may do, and which kinds it serves.",
    columns: &[
        Column::new("Version", "string", ".status.module.version", "Version of the component"),
        Column::new("Ready", "string", r#".status.conditions[?(@.type=="Ready")].status"#, "Whether it is loaded"),
        Column::new("Serves", "string", ".spec.serves[*].kind", "Remediation kinds"),
        AGE,
        Column::wide("Digest", "string", ".status.module.digest", "Digest of the component"),
        Column::wide("Capabilities", "string", ".spec.capabilities", "What it may do"),
        Column::wide("Calls", "integer", ".status.calls", "Calls since the controller leads"),
        Column::wide("p99", "integer", ".status.p99Micros", "99 of 100 calls took no longer, in microseconds"),
        Column::wide("Last error", "string", ".status.lastError", "Why loading failed"),
    ],
    spec: required,
    rules: RULES,
}

const RULES: &[Rule] = &[
    Rule::new(
        "spec.source",
        "[has(self.builtin), has(self.file), has(self.configMap), has(self.oci)].filter(given, given).size() == 1",
        "source must have exactly one of builtin, file, configMap and oci",
    ),
    Rule::new(
        "spec",
        "!has(self.signature) || has(self.source.oci)",
        "signature needs source.oci: signatures are kept in the registry; pin other sources with digest",
    ),
];
