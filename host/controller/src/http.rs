//! `/healthz`, `/readyz` and `/metrics`.
//!
//! `/healthz` answers as long as the process works: a task that panics ends it, every pass has a limit, so there is nothing
//! that only a restart would heal. An API server that is out of reach is no reason to restart. `/readyz` answers 503 and
//! says why: until nodes, remediators and policies were listed once, and while the API server has answered nothing for 30 s.
//! A replica that does not lead is ready: its lists are warm, and it takes over at once. One that lost the lead stops acting
//! by itself, before anybody else may begin.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::Role;
use crate::metrics::Metrics;

/// Content type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until the future is dropped.
pub async fn serve(address: SocketAddr, metrics: Arc<Metrics>, role: Role) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    axum::serve(listener, app(metrics, role)).await?;
    Ok(())
}

pub(crate) fn app(metrics: Arc<Metrics>, role: Role) -> Router {
    let ready = metrics.clone();
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { readiness(ready.unready(role)) }))
        .route("/metrics", get(move || async move { answer(&metrics) }))
}

fn readiness(unready: Option<String>) -> Response {
    match unready {
        None => "ok".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

fn answer(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
