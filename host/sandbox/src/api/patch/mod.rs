//! The four ways to change part of an object.

mod apply;
mod fields;
mod shape;
mod strategic;

use serde_json::Value;

use super::error::ApiError;
use super::resource::Resource;

pub use apply::{Applier, apply};
pub use shape::Shape;

/// What the content type of a PATCH means.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' merge that knows list keys; compiled-in kinds only.
    Strategic(Value),
    /// Server-side apply.
    Apply(Value),
}

impl Patch {
    /// Chooses by content type. Bodies of apply patches may be YAML, which the caller has parsed already.
    pub fn new(content_type: &str, body: Value) -> Result<Self, ApiError> {
        match content_type.split(';').next().unwrap_or("").trim() {
            "application/json-patch+json" => Ok(Self::Json(body)),
            "application/merge-patch+json" => Ok(Self::Merge(body)),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic(body)),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply(body)),
            other => Err(ApiError::media_type(
                other,
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )),
        }
    }
}

/// The object after a patch that is not server-side apply.
pub fn patched(resource: &Resource, patch: &Patch, object: &Value) -> Result<Value, ApiError> {
    let mut result = object.clone();
    match patch {
        Patch::Json(operations) => {
            let operations: json_patch::Patch = serde_json::from_value(operations.clone())
                .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
            json_patch::patch(&mut result, &operations.0)
                .map_err(|error| ApiError::patch_does_not_apply(&error.to_string()))?;
        }
        Patch::Merge(patch) => {
            if !patch.is_object() {
                return Err(ApiError::bad_request("error decoding patch: a merge patch must be an object"));
            }
            json_patch::merge(&mut result, patch);
        }
        Patch::Strategic(patch) => {
            if resource.custom {
                return Err(ApiError::media_type(
                    "application/strategic-merge-patch+json",
                    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
                ));
            }
            strategic::merge(&mut result, patch, &Shape::BuiltIn)?;
        }
        Patch::Apply(_) => return Err(ApiError::bad_request("apply patches are merged by the apply code")),
    }
    Ok(result)
}
