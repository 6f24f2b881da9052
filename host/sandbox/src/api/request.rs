//! A request once its body is read: what its parameters and headers ask for.

use std::collections::HashMap;

use ::http::Method;
use hyper::body::Bytes;
use serde_json::Value;

use super::delete::{DeleteOptions, Propagation};
use super::error::ApiError;
use super::path;
use super::selectors::Selector;
use super::write::{FieldValidation, Target, WriteOptions};

/// What is left of a request once its body is read.
pub struct Call {
    /// HTTP method.
    pub method: Method,
    /// Path without the query.
    pub path: String,
    /// Decoded query parameters; of repeated ones the last.
    pub query: HashMap<String, String>,
    /// `Content-Type`.
    pub content_type: String,
    /// `Accept`.
    pub accept: String,
    /// The whole body.
    pub body: Bytes,
}

impl Call {
    /// The verb that the audit log shows.
    pub fn verb(&self, single: bool) -> &'static str {
        match (&self.method, single) {
            (&Method::GET, _) if self.flag("watch") => "watch",
            (&Method::GET, true) => "get",
            (&Method::GET, false) => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) if self.content_type.starts_with("application/apply-patch") => "apply",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, true) => "delete",
            (&Method::DELETE, false) => "deletecollection",
            _ => "",
        }
    }

    /// Which objects a list, watch or collection is about.
    pub fn selector(&self, target: &Target) -> Result<Selector, ApiError> {
        let text = |name: &str| self.query.get(name).map_or("", String::as_str);
        let custom = target.version().map(|v| v.selectable.clone()).unwrap_or_default();
        Selector::parse(&target.resource.plural, &custom, text("labelSelector"), text("fieldSelector"))
    }

    /// Options of a deletion, from query and body.
    pub fn delete_options(&self) -> Result<DeleteOptions, ApiError> {
        let mut options = DeleteOptions {
            grace: self.query.get("gracePeriodSeconds").and_then(|v| v.parse().ok()),
            propagation: self.query.get("propagationPolicy").map(|v| Propagation::parse(v)).unwrap_or_default(),
            dry_run: self.query.contains_key("dryRun"),
            ..DeleteOptions::default()
        };
        if !self.body.is_empty() {
            options.merge(&self.json()?);
        }
        Ok(options)
    }

    /// Options of a write.
    pub fn options(&self) -> WriteOptions {
        WriteOptions {
            dry_run: self.query.contains_key("dryRun"),
            manager: self.query.get("fieldManager").cloned().unwrap_or_default(),
            force: self.flag("force"),
            fields: match self.query.get("fieldValidation").map(String::as_str) {
                Some("Strict") => FieldValidation::Strict,
                Some("Ignore") => FieldValidation::Ignore,
                _ => FieldValidation::Warn,
            },
        }
    }

    /// A boolean parameter.
    pub fn flag(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(|value| matches!(value.as_str(), "" | "1" | "true"))
    }

    /// What a table row carries of its object.
    pub fn include(&self) -> &str {
        self.query.get("includeObject").map_or("", String::as_str)
    }

    /// The body; YAML where the content type says so.
    pub fn json(&self) -> Result<Value, ApiError> {
        let kind = self.content_type.as_str();
        if kind.contains("yaml") {
            return serde_yaml_ng::from_slice(&self.body)
                .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")));
        }
        if !kind.is_empty() && !kind.contains("json") {
            return Err(ApiError::media_type(kind, "application/json, application/yaml"));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| ApiError::bad_request(format!("the body of the request is not JSON: {error}")))
    }
}

/// Query parameters by name.
pub fn query(text: &str) -> HashMap<String, String> {
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (path::decode(name), path::decode(&value.replace('+', " "))))
        .collect()
}
