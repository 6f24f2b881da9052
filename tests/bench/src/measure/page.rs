//! The operator's page on the server's side: what a board of thousands of nodes keeps, how long the fleet takes to be
//! told, and how soon a change is. What a browser makes of it is measured in one, by `cargo xtask page`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use futures::StreamExt;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::client::Body as KubeBody;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use palisade_api::NodeHealthCheck;
use palisade_page::{Board, Page};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::Report;
use super::kernel::Account;

/// How large, how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Sizes of the cluster, separated by commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1_000, 5_000])]
    pub nodes: Vec<usize>,
    /// Measurements of each figure.
    #[arg(long, default_value_t = 20)]
    pub runs: usize,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Not used here; accepted so that all benches are started the same way.
    #[command(flatten)]
    pub parts: crate::plane::Parts,
}

/// Longest wait for news.
const PATIENCE: Duration = Duration::from_mins(1);

/// Measures and prints.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::begin();
    report.note("`cargo xtask bench page --browser` adds the first paint in a real Chromium".to_owned());
    for &nodes in &options.nodes {
        one(nodes, options, &mut report).await?;
    }
    report.print(options.json)
}

async fn one(nodes: usize, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let board = Arc::new(Board::default());
    let before = Account::of(std::process::id())?;
    board.node(&Event::Init);
    let mut filled = 0.0;
    for index in 0..nodes {
        let event = Event::InitApply(node(index, "True")?);
        let begun = Instant::now();
        board.node(&event);
        filled += millis(begun);
    }
    board.node(&Event::InitDone);
    let kept = Account::of(std::process::id())?.resident.saturating_sub(before.resident);
    policy(&board)?;
    let router = Page::new(board.clone(), reviewer(), None).router();
    let [mut first, mut again, mut size, mut told, mut heartbeat] = [const { Vec::new() }; 5];
    let mut stream = router.clone().oneshot(request("/api/events")?).await?.into_body().into_data_stream();
    let mut news = async || -> anyhow::Result<()> {
        let next = tokio::time::timeout(PATIENCE, stream.next()).await.context("no news")?;
        next.context("the stream has ended")?.context("the stream")?;
        Ok(())
    };
    // Where we are.
    news().await?;
    for run in 0..options.runs.min(nodes) {
        // Each was Ready, so that this is news.
        let changed = node(run, "False")?;
        let begun = Instant::now();
        board.node(&Event::Apply(changed));
        news().await?;
        told.push(millis(begun));
        let begun = Instant::now();
        size.push(fleet(&router, nodes).await? as f64 / 1024.0);
        first.push(millis(begun));
        let begun = Instant::now();
        fleet(&router, nodes).await?;
        again.push(millis(begun));
        // The same state, a new heartbeat.
        let same = node(run, "False")?;
        let revision = *board.revision().borrow();
        let begun = Instant::now();
        board.node(&Event::Apply(same));
        heartbeat.push(millis(begun) * 1e3);
        ensure!(*board.revision().borrow() == revision, "a heartbeat is news to the page");
    }
    report.add(nodes, "all nodes put onto the board", "ms", vec![filled])?;
    report.add(nodes, "resident memory that they take there", "MiB", vec![kept as f64 / 1024.0])?;
    report.add(nodes, "a heartbeat, which changes nothing", "µs", heartbeat)?;
    report.add(nodes, "a change until readers are told (0.3 s by design)", "ms", told)?;
    report.add(nodes, "the fleet told after a change", "ms", first)?;
    report.add(nodes, "the fleet told to the next reader", "ms", again)?;
    report.add(nodes, "the fleet as it is sent", "KiB", size)
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// Bytes of what the page shows first.
async fn fleet(router: &Router, nodes: usize) -> anyhow::Result<usize> {
    let answer = router.clone().oneshot(request("/api/fleet")?).await?;
    let status = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    ensure!(status.is_success() && text.starts_with(&format!("{{\"nodes\":{nodes},")), "{status}: {text}");
    Ok(bytes.len())
}

fn request(path: &str) -> anyhow::Result<Request<Body>> {
    Ok(Request::get(path).header(header::AUTHORIZATION, "Bearer reader").body(Body::empty())?)
}

/// Everybody is known and may look.
fn reviewer() -> Client {
    let service = tower::service_fn(async |request: http::Request<KubeBody>| {
        let tokens = request.uri().path().ends_with("/tokenreviews");
        let status = if tokens {
            json!({ "authenticated": true, "user": { "username": "reader" } })
        } else {
            json!({ "allowed": true })
        };
        let review: Value = json!({ "metadata": {}, "spec": {}, "status": status });
        Ok::<_, Infallible>(http::Response::new(KubeBody::from(review.to_string().into_bytes())))
    });
    Client::new(service, "default")
}

fn node(index: usize, ready: &str) -> anyhow::Result<Node> {
    let now = jiff::Timestamp::now();
    let condition = |kind: &str, status: &str| {
        json!({ "type": kind, "status": status, "reason": "x", "message": "as the kubelet says",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "lastHeartbeatTime": now })
    };
    let conditions =
        [condition("MemoryPressure", "False"), condition("DiskPressure", "False"), condition("Ready", ready)];
    let name = format!("worker-{index:05}");
    Ok(serde_json::from_value(json!({
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "node-role.kubernetes.io/worker": "", "topology.kubernetes.io/zone": format!("zone-{}", index % 3),
        } },
        "status": { "conditions": conditions },
    }))?)
}

fn policy(board: &Board) -> anyhow::Result<()> {
    let policy: DeserializeGuard<NodeHealthCheck> = serde_json::from_value(json!({
        "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck", "metadata": { "name": "workers" },
        "spec": { "selector": { "matchLabels": { "kubernetes.io/os": "linux" } }, "minHealthy": "51%" },
    }))?;
    board.policy(&Event::Init);
    board.policy(&Event::InitApply(policy));
    board.policy(&Event::InitDone);
    Ok(())
}
