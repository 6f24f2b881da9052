//! Refusals, in words that say what would help.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// What is wrong.
    pub message: String,
    /// What would help.
    pub remedy: String,
}

impl Refusal {
    /// Of this status.
    pub fn new(status: StatusCode, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, message: message.into(), remedy: remedy.into() }
    }

    /// The API server does not answer, or not as it should.
    pub fn unreachable(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{what}: {error}"),
            "The API server has to answer first; the page tries again by itself.",
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": { "message": self.message, "remedy": self.remedy } }));
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
