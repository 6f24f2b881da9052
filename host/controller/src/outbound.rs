//! HTTP to programs that are not the API server: etcd, webhooks. The client of `kube` serves both, so there is one HTTP
//! and one TLS in the process.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::uri::{PathAndQuery, Uri};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::json;

/// Longest answer that is read, in bytes: member lists take a few KiB.
const ANSWER: usize = 256 * 1024;
/// A connection is made in milliseconds or not at all.
const CONNECT: Duration = Duration::from_secs(3);

/// Whom a client trusts and who it is itself, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Certificate and key, if the server asks for them.
    pub pair: Option<(Vec<u8>, Vec<u8>)>,
    /// Who signs the servers' certificates.
    pub authority: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// A server that is spoken to.
#[derive(Clone)]
pub struct Peer {
    client: Client,
    path: PathAndQuery,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peer")
    }
}

impl Peer {
    /// A server at a URL; what is behind its host is where requests go.
    pub async fn new(url: &str, identity: Option<&Identity>) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().context("the URL cannot be understood")?;
        let (scheme, authority) =
            (uri.scheme_str().unwrap_or_default(), uri.authority().context("the URL has no host")?);
        let base = format!("{scheme}://{authority}");
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut config = match identity {
            Some(identity) => with_identity(&base, identity).await?,
            None => Config::new(base.parse()?),
        };
        config.connect_timeout = Some(CONNECT);
        config.default_retry = false;
        config.disable_compression = true;
        // Without TLS no authorities are needed, and a machine may have none.
        config.accept_invalid_certs = scheme == "http";
        let client = Client::try_from(config).map_err(|error| anyhow!("cannot prepare a connection: {error}"))?;
        Ok(Self { client, path })
    }

    /// Sends a request, by default to the path of the URL; returns the answer whatever its status.
    pub async fn send(
        &self,
        method: http::Method,
        path: Option<&str>,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        limit: Duration,
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let mut request = Request::builder().method(method).uri(path.unwrap_or(self.path.as_str()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(kube::client::Body::from(body)).context("the request cannot be made")?;
        let exchange = async {
            let answer = self.client.send(request).await.map_err(|error| anyhow!(root(&error)))?;
            let status = answer.status();
            let body = match Limited::new(answer.into_body(), ANSWER).collect().await {
                Ok(body) => body.to_bytes().to_vec(),
                Err(error) => bail!("the answer cannot be read: {error}"),
            };
            Ok((status, body))
        };
        tokio::time::timeout(limit, exchange).await.map_err(|_| anyhow!("no answer within {limit:?}"))?
    }
}

/// The innermost cause: the outer ones say only that a request failed.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

async fn with_identity(base: &str, identity: &Identity) -> anyhow::Result<Config> {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let user = match &identity.pair {
        Some((certificate, key)) => {
            json!({ "client-certificate-data": encode(certificate), "client-key-data": encode(key) })
        }
        None => json!({}),
    };
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "clusters": [{ "name": "peer", "cluster": {
            "server": base, "certificate-authority-data": encode(&identity.authority),
        } }],
        "users": [{ "name": "peer", "user": user }],
        "contexts": [{ "name": "peer", "context": { "cluster": "peer", "user": "peer" } }],
        "current-context": "peer",
    }))?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .context("the certificates cannot be used")
}
