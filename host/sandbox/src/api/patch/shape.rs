//! How lists merge: from the schema of a custom resource, or from a table for compiled-in kinds.

use serde_json::Value;

/// How one list merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items told apart by these fields.
    Map(Vec<String>),
}

/// What is known about a place in an object.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// Part of a compiled-in kind, or metadata of any object.
    BuiltIn,
    /// The schema of this place.
    Custom(&'a Value),
    /// A place the schema does not describe.
    Unknown,
}

/// List fields of compiled-in kinds that merge by key; all others are replaced.
const KEYS: &[(&str, &str)] = &[
    ("conditions", "type"),
    ("addresses", "type"),
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("ownerReferences", "uid"),
    ("hostAliases", "ip"),
    ("podIPs", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
];

impl<'a> Shape<'a> {
    /// The shape of an object's root.
    pub fn root(schema: Option<&'a Value>) -> Self {
        schema.map_or(Self::BuiltIn, Self::Custom)
    }

    /// The shape of a field.
    pub fn child(&self, name: &str, at_root: bool) -> Shape<'a> {
        match self {
            Self::Custom(_) if at_root && name == "metadata" => Self::BuiltIn,
            Self::Custom(schema) => schema
                .get("properties")
                .and_then(|p| p.get(name))
                .or_else(|| schema.get("additionalProperties").filter(|a| a.is_object()))
                .map_or(Self::Unknown, Self::Custom),
            other => *other,
        }
    }

    /// The shape of a list's items.
    pub fn items(&self) -> Shape<'a> {
        match self {
            Self::Custom(schema) => schema.get("items").map_or(Self::Unknown, Self::Custom),
            other => *other,
        }
    }

    /// How the list merges that has this shape and lies in this field.
    pub fn list(&self, name: &str, sample: &[Value]) -> ListKind {
        match self {
            Self::Unknown => ListKind::Atomic,
            Self::BuiltIn => builtin(name, sample),
            Self::Custom(schema) => match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("map") => ListKind::Map(
                    schema
                        .get("x-kubernetes-list-map-keys")
                        .and_then(Value::as_array)
                        .map(|keys| keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                        .unwrap_or_default(),
                ),
                Some("set") => ListKind::Set,
                _ => ListKind::Atomic,
            },
        }
    }

    /// Whether an object here is replaced as a whole.
    pub fn atomic_map(&self) -> bool {
        matches!(self, Self::Custom(schema)
            if schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"))
    }
}

fn builtin(name: &str, sample: &[Value]) -> ListKind {
    if name == "finalizers" {
        return ListKind::Set;
    }
    // Containers and Services both have `ports`, with different keys.
    if name == "ports" && !sample.is_empty() {
        let key = if sample.iter().all(|p| p.get("containerPort").is_some()) { "containerPort" } else { "port" };
        return ListKind::Map(vec![key.to_owned()]);
    }
    KEYS.iter()
        .find(|(field, _)| *field == name)
        .map_or(ListKind::Atomic, |(_, key)| ListKind::Map(vec![(*key).to_owned()]))
}
