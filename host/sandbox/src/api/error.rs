//! Refusals, in the shape every Kubernetes client parses: a `Status` object.

use serde_json::{Value, json};

use super::resource::Resource;

/// One field that is wrong, with its path.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Segments of the path: field names and `[0]`-style indexes.
    pub path: Vec<Segment>,
    /// Machine-readable cause, as in `metav1.CauseType`.
    pub cause: &'static str,
    /// The text after the path.
    pub message: String,
}

/// A step of a field path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A named field.
    Field(String),
    /// A list index.
    Index(usize),
}

impl FieldError {
    /// The path as Kubernetes writes it: `spec.items[0].name`.
    pub fn field(&self) -> String {
        let mut out = String::new();
        for segment in &self.path {
            match segment {
                Segment::Field(name) => {
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(name);
                }
                Segment::Index(index) => {
                    out.push('[');
                    out.push_str(&index.to_string());
                    out.push(']');
                }
            }
        }
        if out.is_empty() { "<nil>".to_owned() } else { out }
    }

    /// A "missing" error.
    pub fn required(path: Vec<Segment>, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { path, cause: "FieldValueRequired", message }
    }

    /// An "invalid" error that shows the value.
    pub fn invalid(path: Vec<Segment>, value: &str, detail: &str) -> Self {
        Self { path, cause: "FieldValueInvalid", message: format!("Invalid value: {value}: {detail}") }
    }

    /// A "not allowed" error.
    pub fn forbidden(path: Vec<Segment>, detail: &str) -> Self {
        Self { path, cause: "FieldValueForbidden", message: format!("Forbidden: {detail}") }
    }

    /// A field path written as text, for errors found outside a schema walk.
    pub fn at(path: &str) -> Vec<Segment> {
        path.split('.').filter(|part| !part.is_empty()).map(|part| Segment::Field(part.to_owned())).collect()
    }
}

/// What a request is answered with when it is not granted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// `reason` of the `Status`.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
    /// `details` of the `Status`.
    pub details: Option<Value>,
}

impl ApiError {
    /// Any refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = Some(json!({"name": name, "group": resource.group, "kind": resource.plural}));
        self
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 404 for an object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", resource.qualified())).about(resource, name)
    }

    /// 404 for a path that no resource serves.
    pub fn no_such_path() -> Self {
        let mut error = Self::new(404, "NotFound", "the server could not find the requested resource");
        error.details = Some(json!({}));
        error
    }

    /// 409 because the name is taken.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", resource.qualified()))
            .about(resource, name)
    }

    /// 409 because the object is not what the caller thinks.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// 409 because the resource version moved on.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 403.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        Self::new(403, "Forbidden", format!("{} \"{name}\" is forbidden: {why}", resource.qualified()))
            .about(resource, name)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// 415.
    pub fn media_type(given: &str, accepted: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        let mut error = Self::new(415, "UnsupportedMediaType", message);
        error.details = Some(json!({"causes": [{"message": given}]}));
        error
    }

    /// 410.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 422 with the fields named.
    pub fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field(), e.message)).collect();
        let list = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
        let kind = if resource.group.is_empty() {
            resource.kind.clone()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let causes: Vec<Value> =
            errors.iter().map(|e| json!({"reason": e.cause, "message": e.message, "field": e.field()})).collect();
        let mut error = Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {list}"));
        error.details = Some(json!({"name": name, "group": resource.group, "kind": resource.kind, "causes": causes}));
        error
    }

    /// 422 for a JSON patch that does not fit the object, as the real server answers it.
    pub fn patch_does_not_apply(why: &str) -> Self {
        let mut error = Self::new(422, "Invalid", "the server rejected our request due to an error in our request");
        error.details = Some(json!({"causes": [{"reason": "UnexpectedServerResponse", "message": why}]}));
        error
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let (Some(details), Some(map)) = (&self.details, status.as_object_mut()) {
            map.insert("details".to_owned(), details.clone());
        }
        status
    }
}
