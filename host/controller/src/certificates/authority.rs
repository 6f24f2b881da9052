//! The authority: one Secret, made by whoever comes first, and the ConfigMap with what to trust.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use palisade_rpc::Authority;
use serde_json::json;

/// Secret with the authority's certificate and key.
const SECRET: &str = "palisade-agent-ca";
/// ConfigMap with the certificates to trust.
const TRUST: &str = "palisade-agent-trust";
const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";

/// Opens the authority, making it if nobody did. With several controllers starting at once the first creator wins and
/// the others take what it made.
pub async fn establish(client: &Client, namespace: &str) -> anyhow::Result<Authority> {
    ensure_namespace(client, namespace).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = match secrets.get_opt(SECRET).await? {
        Some(secret) => secret,
        None => create(&secrets, namespace).await?,
    };
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| -> anyhow::Result<String> {
        let bytes = data.get(key).with_context(|| format!("Secret {namespace}/{SECRET} has no key {key}"))?;
        Ok(String::from_utf8(bytes.0.clone())?)
    };
    let authority = Authority::from_pem(&text(CERTIFICATE)?, &text(KEY)?)
        .with_context(|| format!("Secret {namespace}/{SECRET}; delete it to have a new authority made"))?;
    publish(client, namespace, authority.certificate_pem()).await?;
    Ok(authority)
}

async fn create(secrets: &Api<Secret>, namespace: &str) -> anyhow::Result<Secret> {
    let authority = Authority::create()?;
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([
            (CERTIFICATE.to_owned(), bytes(authority.certificate_pem())),
            (KEY.to_owned(), bytes(&authority.key_pem())),
        ])),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &secret).await {
        Ok(secret) => Ok(secret),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(secrets.get(SECRET).await?),
        Err(error) => Err(error.into()),
    }
}

/// The trust bundle. Certificates that are in it already stay: they may belong to a rotation.
async fn publish(client: &Client, namespace: &str, certificate: &str) -> anyhow::Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    match maps.get_opt(TRUST).await? {
        None => {
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(TRUST.to_owned()),
                    namespace: Some(namespace.to_owned()),
                    ..ObjectMeta::default()
                },
                data: Some(BTreeMap::from([(CERTIFICATE.to_owned(), certificate.to_owned())])),
                ..ConfigMap::default()
            };
            match maps.create(&PostParams::default(), &map).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        Some(map) => {
            let known = map.data.and_then(|mut data| data.remove(CERTIFICATE)).unwrap_or_default();
            if known.contains(certificate.trim()) {
                return Ok(());
            }
            // An authority made anew replaces the old one, whose key is gone.
            let patch = json!({
                "metadata": { "resourceVersion": map.metadata.resource_version },
                "data": { CERTIFICATE: certificate },
            });
            maps.patch(TRUST, &PatchParams::default(), &Patch::Merge(&patch)).await?;
            Ok(())
        }
    }
}

/// The namespace usually comes with the installation; in a bare cluster it is made. Without the right to, the next
/// request says so more clearly.
async fn ensure_namespace(client: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if matches!(namespaces.get_opt(name).await, Ok(None)) {
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        if let Err(error) = namespaces.create(&PostParams::default(), &namespace).await {
            tracing::debug!(%error, name, "namespace not created");
        }
    }
}
