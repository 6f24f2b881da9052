//! `/healthz` and `/readyz`.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;

/// Serves until the future is dropped.
pub async fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let app = Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(|| async { "ok" }));
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    axum::serve(listener, app).await?;
    Ok(())
}
