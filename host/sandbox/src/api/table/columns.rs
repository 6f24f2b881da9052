//! Which columns a resource has.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::meta::{self, at};
use super::super::resource::Column;
use super::super::write::Target;
use super::{age, json_path};

/// A column of a table.
pub struct TableColumn {
    /// Heading.
    pub name: String,
    kind: String,
    /// What it means.
    pub description: String,
    /// Zero is always shown.
    pub priority: i64,
    source: Source,
}

enum Source {
    Path(String),
    Computed(fn(&Value) -> Value),
}

impl TableColumn {
    fn path(name: &str, kind: &str, path: &str) -> Self {
        let source = Source::Path(path.to_owned());
        Self { name: name.to_owned(), kind: kind.to_owned(), description: String::new(), priority: 0, source }
    }

    fn computed(name: &str, compute: fn(&Value) -> Value) -> Self {
        Self { source: Source::Computed(compute), ..Self::path(name, "string", "") }
    }

    fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }

    /// Dates are sent as the text of their age.
    pub fn shown_type(&self) -> &str {
        if self.kind == "date" { "string" } else { &self.kind }
    }

    /// kubectl finds the name by its format.
    pub fn format(&self) -> &'static str {
        if self.name == "Name" { "name" } else { "" }
    }

    /// The cell of one object.
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        match &self.source {
            Source::Computed(compute) => compute(object),
            Source::Path(path) => match json_path::first(object, path) {
                None | Some(Value::Null) if self.kind == "date" => json!("<unknown>"),
                None => Value::Null,
                Some(Value::String(time)) if self.kind == "date" => json!(age::since(time, now)),
                Some(value @ (Value::Array(_) | Value::Object(_))) => json!(value.to_string()),
                Some(value) if self.kind == "string" && !value.is_string() => json!(value.to_string()),
                Some(value) => value.clone(),
            },
        }
    }
}

/// The columns of a resource: its own, or the usual two.
pub fn of(target: &Target) -> Vec<TableColumn> {
    let mut columns = vec![TableColumn::path("Name", "string", ".metadata.name")];
    let own = target.version().map(|v| v.columns.as_slice()).unwrap_or_default();
    if target.resource.custom && !own.is_empty() {
        columns.extend(own.iter().map(custom));
        return columns;
    }
    let age = || TableColumn::path("Age", "date", ".metadata.creationTimestamp");
    let text = |name: &str, path: &str| TableColumn::path(name, "string", path);
    match (target.resource.group.as_str(), target.resource.plural.as_str()) {
        ("", "nodes") => columns.extend([
            TableColumn::computed("Status", node_status),
            TableColumn::computed("Roles", node_roles),
            age(),
            text("Version", ".status.nodeInfo.kubeletVersion"),
            TableColumn::computed("Taints", taints).wide(),
            text("Boot-ID", ".status.nodeInfo.bootID").wide(),
        ]),
        ("", "pods") => columns.extend([
            TableColumn::computed("Ready", pod_ready),
            TableColumn::computed("Status", pod_status),
            text("Node", ".spec.nodeName"),
            age(),
        ]),
        ("", "namespaces") => columns.extend([text("Status", ".status.phase"), age()]),
        ("", "events") => columns.extend([
            TableColumn::path("Last Seen", "date", ".metadata.creationTimestamp"),
            text("Type", ".type"),
            text("Reason", ".reason"),
            TableColumn::computed("Object", event_object),
            text("Message", ".message"),
        ]),
        ("coordination.k8s.io", "leases") => columns.extend([text("Holder", ".spec.holderIdentity"), age()]),
        ("storage.k8s.io", "volumeattachments") => columns.extend([
            text("Attacher", ".spec.attacher"),
            text("PV", ".spec.source.persistentVolumeName"),
            text("Node", ".spec.nodeName"),
            text("Attached", ".status.attached"),
            age(),
        ]),
        ("apps", "statefulsets" | "deployments" | "replicasets") => {
            columns.extend([TableColumn::computed("Ready", replicas_ready), age()]);
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            columns.push(text("Created At", ".metadata.creationTimestamp"));
        }
        _ => columns.push(age()),
    }
    columns
}

fn custom(column: &Column) -> TableColumn {
    TableColumn {
        name: column.name.clone(),
        kind: column.kind.clone(),
        description: column.description.clone(),
        priority: column.priority,
        source: Source::Path(column.json_path.clone()),
    }
}

fn node_status(node: &Value) -> Value {
    let ready = json_path::first(node, r#".status.conditions[?(@.type=="Ready")].status"#);
    let mut text = match ready.and_then(Value::as_str) {
        Some("True") => "Ready",
        Some("False" | "Unknown") => "NotReady",
        _ => "Unknown",
    }
    .to_owned();
    if at(node, &["spec", "unschedulable"]) == Some(&json!(true)) {
        text.push_str(",SchedulingDisabled");
    }
    json!(text)
}

fn node_roles(node: &Value) -> Value {
    let labels = meta::field(node, "labels").and_then(Value::as_object);
    let roles: Vec<&str> =
        labels.into_iter().flatten().filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/")).collect();
    json!(if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") })
}

fn taints(node: &Value) -> Value {
    let text = |taint: &Value, field: &str| taint.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    let list: Vec<String> = at(node, &["spec", "taints"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|taint| format!("{}:{}", text(taint, "key"), text(taint, "effect")))
        .collect();
    json!(if list.is_empty() { "<none>".to_owned() } else { list.join(",") })
}

fn pod_ready(pod: &Value) -> Value {
    let total = at(pod, &["spec", "containers"]).and_then(Value::as_array).map_or(0, Vec::len);
    let ready = at(pod, &["status", "containerStatuses"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|c| c.get("ready") == Some(&json!(true)))
        .count();
    json!(format!("{ready}/{total}"))
}

fn pod_status(pod: &Value) -> Value {
    if meta::deleting(pod) {
        return json!("Terminating");
    }
    let status = pod.get("status");
    let text = |field: &str| status.and_then(|s| s.get(field)).and_then(Value::as_str);
    json!(text("reason").or(text("phase")).unwrap_or("Unknown"))
}

fn event_object(event: &Value) -> Value {
    let (core, new) = (event.get("involvedObject"), event.get("regarding"));
    let object = core.or(new);
    let text = |field: &str| object.and_then(|o| o.get(field)).and_then(Value::as_str).unwrap_or("");
    json!(format!("{}/{}", text("kind").to_lowercase(), text("name")))
}

fn replicas_ready(object: &Value) -> Value {
    let number = |path: &[&str]| at(object, path).and_then(Value::as_i64).unwrap_or(0);
    json!(format!("{}/{}", number(&["status", "readyReplicas"]), number(&["spec", "replicas"])))
}
