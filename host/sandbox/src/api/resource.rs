//! What a served resource is, whether compiled in or made from a CustomResourceDefinition.

use std::collections::HashMap;
use std::sync::Arc;

use kube::core::cel::CompiledSchema;
use regex::Regex;
use serde_json::Value;

/// Names a resource independently of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// API group, empty for the core group.
    pub group: String,
    /// Plural name, as in the path.
    pub plural: String,
}

/// How the store treats objects of a resource.
#[derive(Debug, Clone, Copy, Default)]
pub struct Behaviour {
    /// `metadata.generation` counts changes outside metadata and status.
    pub generation: bool,
    /// An update without a resource version is refused.
    pub conditional_update: bool,
    /// A PUT on a missing name creates it.
    pub create_on_update: bool,
}

/// A served kind of object.
#[derive(Debug)]
pub struct Resource {
    /// API group, empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Kind of the list.
    pub list_kind: String,
    /// Plural name.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Short names for kubectl.
    pub short_names: Vec<String>,
    /// Categories for kubectl.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether a CustomResourceDefinition made it.
    pub custom: bool,
    /// Rules of writing.
    pub behaviour: Behaviour,
    /// Versions, the storage version among them.
    pub versions: Vec<Version>,
}

/// One version of a resource.
#[derive(Debug)]
pub struct Version {
    /// For example `v1beta1`.
    pub name: String,
    /// Whether requests are answered in it.
    pub served: bool,
    /// Whether objects are kept in it.
    pub storage: bool,
    /// Whether status has its own endpoint.
    pub status: bool,
    /// Structural schema of a custom resource.
    pub schema: Option<Arc<Schema>>,
    /// Columns of a custom resource's table.
    pub columns: Vec<Column>,
    /// Paths that a field selector may name besides the general ones.
    pub selectable: Vec<String>,
}

/// A structural schema, with what can be prepared once.
#[derive(Debug)]
pub struct Schema {
    /// The `openAPIV3Schema`.
    pub json: Value,
    /// Compiled CEL rules of the whole tree.
    pub rules: CompiledSchema,
    /// Compiled `pattern`s by their text.
    pub patterns: HashMap<String, Regex>,
}

/// An additional printer column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `OpenAPI` type, or `date`.
    pub kind: String,
    /// Where the value is.
    pub json_path: String,
    /// Zero is always shown, more only with `-o wide`.
    pub priority: i64,
    /// What it means.
    pub description: String,
}

impl Resource {
    /// The key in the store.
    pub fn key(&self) -> ResourceKey {
        ResourceKey { group: self.group.clone(), plural: self.plural.clone() }
    }

    /// `plural.group`, or just `plural` in the core group: how messages name it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `group/version`, or `version` in the core group.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// A served version by name.
    pub fn served(&self, version: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.served && v.name == version)
    }

    /// The version objects are kept in.
    pub fn storage_version(&self) -> Option<&Version> {
        self.versions.iter().find(|v| v.storage)
    }
}
