//! Kubeconfigs that lead through a proxy, and clients made from them.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_yaml_ng::Value;

/// The same credentials, but the server is at `address`. Server certificates must be valid for loopback and `localhost`.
pub fn redirect(kubeconfig: &str, address: SocketAddr) -> anyhow::Result<String> {
    let mut document: Value = serde_yaml_ng::from_str(kubeconfig).context("the kubeconfig is not YAML")?;
    let clusters = document.get_mut("clusters").and_then(Value::as_sequence_mut).context("kubeconfig: no clusters")?;
    for cluster in clusters {
        let cluster = cluster.get_mut("cluster").context("kubeconfig: a cluster without content")?;
        if !address.ip().is_loopback() {
            cluster["tls-server-name"] = Value::String("localhost".to_owned());
        }
        let server = cluster.get_mut("server").context("kubeconfig: a cluster without server")?;
        let scheme = server.as_str().and_then(|text| text.split_once("://")).map_or("https", |(scheme, _)| scheme);
        *server = Value::String(format!("{scheme}://{address}"));
    }
    Ok(serde_yaml_ng::to_string(&document)?)
}

/// Where the API server of a kubeconfig listens.
pub fn server(kubeconfig: &str) -> anyhow::Result<SocketAddr> {
    let document: Value = serde_yaml_ng::from_str(kubeconfig).context("the kubeconfig is not YAML")?;
    let url = document["clusters"][0]["cluster"]["server"].as_str().context("kubeconfig: no server")?;
    let host = url.split_once("://").map_or(url, |(_, host)| host).trim_end_matches('/');
    host.parse().with_context(|| format!("kubeconfig: {url} is not an address and a port"))
}

/// A client for a kubeconfig.
pub async fn client(kubeconfig: &str) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).context("the kubeconfig cannot be read")?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
}

/// The same, from a file.
pub async fn client_of(path: &Path) -> anyhow::Result<Client> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    client(&text).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_server_changes() {
        let original = "apiVersion: v1\nclusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:6443\n    certificate-authority-data: QQ==\nusers:\n- name: u\n  user:\n    token: secret\n";
        let moved = redirect(original, "127.0.0.1:7000".parse().unwrap()).unwrap();
        assert_eq!(server(&moved).unwrap(), "127.0.0.1:7000".parse().unwrap());
        assert!(moved.contains("QQ==") && moved.contains("secret"));
    }
}
