//! How a cluster is reached, as kubectl does it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::de::DeserializeOwned;

pub use palisade_explain::questions::resource;

/// No answer takes longer.
const LIMIT: Duration = Duration::from_secs(15);

/// Which cluster.
#[derive(Debug, Args)]
pub struct Connection {
    /// Kubeconfig; the usual places if not given.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl Connection {
    /// A client for it.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
                Config::from_custom_kubeconfig(file, &options).await?
            }
            None if self.context.is_some() => Config::from_kubeconfig(&options).await?,
            None => Config::infer().await.context("no cluster: give --kubeconfig, or set KUBECONFIG")?,
        };
        Ok(Client::try_from(config)?)
    }
}

/// Runs what a command does to its end.
pub fn wait<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("async runtime")?;
    let result = runtime.block_on(work);
    // A request that hangs must not hold up the end.
    runtime.shutdown_background();
    result
}

/// All objects of a kind, within a limit: a hurried person should rather hear that the API server does not answer.
pub async fn list<K>(api: Api<K>) -> anyhow::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    Ok(answer(api.list(&ListParams::default())).await?.items)
}

/// What the API server answers, within that limit.
///
/// # Errors
/// A [`Refused`], or that there was no answer.
pub async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
    let answered = tokio::time::timeout(LIMIT, request).await;
    let answered = answered.map_err(|_| anyhow::anyhow!("the API server did not answer within {LIMIT:?}"))?;
    Ok(answered.map_err(Refused)?)
}

/// A request that failed, in the API server's own words: what the client makes of them says everything three times.
#[derive(Debug)]
pub struct Refused(pub kube::Error);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            kube::Error::Api(status) if !status.message.is_empty() => write!(f, "{} ({})", status.message, status.code),
            other => other.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

/// Who the API server takes the caller for: what is recorded is recorded under that name.
pub async fn user(client: &Client) -> anyhow::Result<String> {
    let me: SelfSubjectReview =
        Api::all(client.clone()).create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = me.status.and_then(|status| status.user_info).and_then(|user| user.username);
    user.context("the API server does not say who you are")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_is_said_once_and_in_the_servers_words() {
        let status =
            kube::core::Status::failure("nodes is forbidden: User \"ann\" cannot list", "Forbidden").with_code(403);
        let refused = answer(async { Err::<(), _>(kube::Error::Api(status.boxed())) }).await.unwrap_err();
        assert_eq!(format!("{refused:#}"), "nodes is forbidden: User \"ann\" cannot list (403)");
        assert!(matches!(refused.downcast_ref(), Some(Refused(kube::Error::Api(status))) if status.code == 403));
    }
}
