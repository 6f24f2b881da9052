//! A controller that only watches: beside another operator that acts.

use std::sync::Arc;

use kube::Client;
use tokio::task::JoinSet;

use crate::leader::Leadership;
use crate::metrics::{Metrics, Requests};
use crate::{Options, Role, etcd, health, http};

/// Judges policies and tells what would be done, while somebody else acts.
pub(crate) async fn work(
    client: Client,
    options: Options,
    requests: Requests,
    leadership: Leadership,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new(requests, None)?);
    let report = Arc::new(health::watch::Report::default());
    if let Some(address) = options.listen {
        let metrics = metrics.clone();
        tasks.spawn(async move {
            if let Err(error) = http::serve(address, metrics, Role::Watch).await {
                tracing::error!(%error, "health endpoint");
            }
        });
    }
    let (teller, namespace, publisher) = (report.clone(), options.namespace.clone(), client.clone());
    tasks.spawn(async move { teller.publish(publisher, &namespace).await });
    let detector = health::Options {
        instance: options.observer.clone(),
        leadership,
        lease_namespace: Some(options.lease_namespace),
        guards: vec![Arc::new(etcd::Guard::new(client.clone(), &options.namespace))],
        observers: vec![metrics],
        board: None,
        watch: Some(report),
    };
    tasks.spawn(async move {
        if let Err(error) = health::run(client, detector, std::future::pending()).await {
            tracing::error!(error = format!("{error:#}"), "detector");
        }
    });
    tracing::info!(observer = options.observer, "controller watches only: it tells what it would do, and does nothing");
    let ended = tasks.join_next().await;
    anyhow::bail!("a task of the controller ended: {ended:?}")
}
