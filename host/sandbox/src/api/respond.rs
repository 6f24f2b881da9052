//! Responses in the form a client asked for: the object, a table of it, or its metadata.

use std::convert::Infallible;

use ::http::{Response, header};
use futures::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::error::ApiError;
use super::table;
use super::write::Target;

/// The body of every response.
pub type ResponseBody = UnsyncBoxBody<Bytes, Infallible>;

/// The form that a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// The objects themselves.
    Plain,
    /// Rows for `kubectl get`.
    Table,
    /// Metadata only.
    Metadata,
}

impl Accept {
    /// The first form in an `Accept` header that there is.
    pub fn negotiate(header: &str) -> Result<Self, ApiError> {
        if header.is_empty() {
            return Ok(Self::Plain);
        }
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or("");
            if !matches!(media_type, "application/json" | "application/*" | "*/*") {
                continue;
            }
            match parts.find_map(|p| p.strip_prefix("as=")) {
                None => return Ok(Self::Plain),
                Some("Table") => return Ok(Self::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Self::Metadata),
                Some(_) => {}
            }
        }
        let message = "only the following media types are accepted: application/json";
        Err(ApiError::new(406, "NotAcceptable", message))
    }

    /// One object.
    pub fn object(self, target: &Target, object: Value, include: &str, now: Timestamp) -> Value {
        match self {
            Self::Plain => object,
            Self::Metadata => partial(&object),
            Self::Table => {
                let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
                table::table(target, &[object], &version, include, now)
            }
        }
    }

    /// A list.
    pub fn list(self, target: &Target, items: Vec<Value>, version: u64, include: &str, now: Timestamp) -> Value {
        let version = json!(version.to_string());
        let (kind, api_version, items) = match self {
            Self::Table => return table::table(target, &items, &version, include, now),
            Self::Plain => (target.resource.list_kind.as_str(), target.api_version.as_str(), items),
            Self::Metadata => ("PartialObjectMetadataList", "meta.k8s.io/v1", items.iter().map(partial).collect()),
        };
        json!({"kind": kind, "apiVersion": api_version, "metadata": {"resourceVersion": version}, "items": items})
    }

    /// A watch event; its object takes the form, errors stay as they are.
    pub fn event(self, target: &Target, mut event: Value, include: &str, now: Timestamp) -> Value {
        let error = event.get("type").and_then(Value::as_str) == Some("ERROR");
        if let Some(object) = event.get_mut("object").filter(|_| !error) {
            *object = self.object(target, object.take(), include, now);
        }
        event
    }
}

fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")})
}

/// A JSON answer.
pub fn json_response(code: u16, value: &Value) -> Response<ResponseBody> {
    let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
    with_type(code, body)
}

/// A refusal.
pub fn status_response(error: &ApiError) -> Response<ResponseBody> {
    json_response(error.code, &error.status())
}

/// Events, one JSON document a line.
pub fn stream_response(
    events: impl Stream<Item = Value> + Send + 'static,
    mut form: impl FnMut(Value) -> Value + Send + 'static,
) -> Response<ResponseBody> {
    let frames = events.map(move |event| {
        let mut line = form(event).to_string();
        line.push('\n');
        Ok::<_, Infallible>(Frame::data(Bytes::from(line)))
    });
    with_type(200, StreamBody::new(frames).boxed_unsync())
}

fn with_type(code: u16, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    // All codes used here are valid; anything else would be a bug shown as 500.
    *response.status_mut() = ::http::StatusCode::from_u16(code).unwrap_or(::http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
