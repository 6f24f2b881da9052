//! The authority: one Secret, made by whoever comes first, and the ConfigMap with what to trust.

use std::collections::BTreeMap;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use palisade_rpc::Authority;
use serde_json::json;

use super::rotation::{Authorities, Pair};

/// Secret with the authorities' certificates and keys.
const SECRET: &str = "palisade-agent-ca";
/// ConfigMap with the certificates to trust.
const TRUST: &str = "palisade-agent-trust";
const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
const SINCE: &str = "ca.since";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const NEXT_SINCE: &str = "next.since";
const PREVIOUS_CERTIFICATE: &str = "previous.crt";
const PREVIOUS_SINCE: &str = "previous.since";
/// Annotation of the Secret with which an administrator asks for a rotation now; taken away when it begins.
const ROTATE: &str = "palisade.dev/rotate";

/// Opens the authority, making it if nobody did, and takes the next step of its rotation if one is due. With several
/// controllers starting at once the first writer wins and the others take what it made.
pub async fn establish(client: &Client, namespace: &str) -> anyhow::Result<Authority> {
    ensure_namespace(client, namespace).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    let secret = match secrets.get_opt(SECRET).await? {
        Some(secret) => secret,
        None => create(&secrets, namespace, now).await?,
    };
    let authorities = read(&secret)
        .with_context(|| format!("Secret {namespace}/{SECRET}; delete it to have a new authority made"))?;
    let asked = secret.annotations().contains_key(ROTATE);
    let authorities = match authorities.step(now, asked)? {
        None => authorities,
        Some(after) => {
            let begins = authorities.next.is_none() && after.next.is_some();
            write(&secrets, &secret, &after, begins).await?;
            if begins || after.current != authorities.current {
                tracing::info!(
                    issuer_changed = after.current.0 != authorities.current.0,
                    "the authority of agents rotates"
                );
            }
            after
        }
    };
    let authority = authorities.open()?;
    publish(client, namespace, &authority).await?;
    Ok(authority)
}

fn read(secret: &Secret) -> anyhow::Result<Authorities> {
    let text = |key: &str| -> anyhow::Result<Option<String>> {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        bytes.map(|bytes| String::from_utf8(bytes.0.clone())).transpose().with_context(|| format!("key {key}"))
    };
    let needed = |key: &str| text(key)?.with_context(|| format!("there is no key {key}"));
    // A time that cannot be read is no reason to stop: the stage it belongs to begins now.
    let since = |key: &str| anyhow::Ok(text(key)?.and_then(|text| text.trim().parse::<u64>().ok()));
    let current = Pair { certificate: needed(CERTIFICATE)?, key: needed(KEY)? };
    let next = match (text(NEXT_CERTIFICATE)?, text(NEXT_KEY)?) {
        (Some(certificate), Some(key)) => Some((Pair { certificate, key }, since(NEXT_SINCE)?.unwrap_or_default())),
        _ => None,
    };
    let previous = text(PREVIOUS_CERTIFICATE)?;
    let previous_since = since(PREVIOUS_SINCE)?.unwrap_or_default();
    let authorities = Authorities {
        current: (current, since(SINCE)?),
        next,
        previous: previous.map(|certificate| (certificate, previous_since)),
    };
    authorities.open()?;
    Ok(authorities)
}

fn data(authorities: &Authorities) -> BTreeMap<String, ByteString> {
    let (current, since) = &authorities.current;
    let next = authorities.next.as_ref();
    let previous = authorities.previous.as_ref();
    [
        (CERTIFICATE, Some(current.certificate.clone())),
        (KEY, Some(current.key.clone())),
        (SINCE, since.map(|since| since.to_string())),
        (NEXT_CERTIFICATE, next.map(|(pair, _)| pair.certificate.clone())),
        (NEXT_KEY, next.map(|(pair, _)| pair.key.clone())),
        (NEXT_SINCE, next.map(|(_, since)| since.to_string())),
        (PREVIOUS_CERTIFICATE, previous.map(|(certificate, _)| certificate.clone())),
        (PREVIOUS_SINCE, previous.map(|(_, since)| since.to_string())),
    ]
    .into_iter()
    .filter_map(|(key, text)| Some((key.to_owned(), ByteString(text?.into_bytes()))))
    .collect()
}

async fn create(secrets: &Api<Secret>, namespace: &str, now: u64) -> anyhow::Result<Secret> {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(data(&Authorities::first(now)?)),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &secret).await {
        Ok(secret) => Ok(secret),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(secrets.get(SECRET).await?),
        Err(error) => Err(error.into()),
    }
}

/// Replaces what was read. A conflict is an error, and the caller begins again with what the other one wrote.
async fn write(
    secrets: &Api<Secret>,
    read: &Secret,
    authorities: &Authorities,
    rotation_begins: bool,
) -> anyhow::Result<()> {
    let mut secret = read.clone();
    secret.data = Some(data(authorities));
    if rotation_begins {
        secret.annotations_mut().remove(ROTATE);
    }
    secrets.replace(SECRET, &PostParams::default(), &secret).await?;
    Ok(())
}

/// The trust bundle: exactly what the Secret says. An authority that was made anew, because the Secret was deleted,
/// replaces the old one, whose key may be in wrong hands.
async fn publish(client: &Client, namespace: &str, authority: &Authority) -> anyhow::Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let bundle = authority.bundle();
    match maps.get_opt(TRUST).await? {
        None => {
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(TRUST.to_owned()),
                    namespace: Some(namespace.to_owned()),
                    ..ObjectMeta::default()
                },
                data: Some(BTreeMap::from([(CERTIFICATE.to_owned(), bundle)])),
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
            if known.trim() == bundle.trim() {
                return Ok(());
            }
            let patch = json!({
                "metadata": { "resourceVersion": map.metadata.resource_version },
                "data": { CERTIFICATE: bundle },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_keeps_every_stage() {
        let first = Authorities::first(100).unwrap();
        let known = first.step(200, true).unwrap().unwrap();
        let issuing = known.step(200 + 48 * 3600, false).unwrap().unwrap();
        for stage in [first, known, issuing] {
            let secret = Secret { data: Some(data(&stage)), ..Secret::default() };
            assert_eq!(read(&secret).unwrap(), stage);
        }
    }

    #[test]
    fn a_secret_of_an_older_version_is_read() {
        let pair = Pair::create().unwrap();
        let old: BTreeMap<_, _> = [(CERTIFICATE, pair.certificate.clone()), (KEY, pair.key.clone())]
            .map(|(k, v)| (k.to_owned(), ByteString(v.into_bytes())))
            .into();
        let secret = Secret { data: Some(old), ..Secret::default() };
        let authorities = read(&secret).unwrap();
        assert_eq!(authorities.current, (pair, None));
        assert!(read(&Secret::default()).unwrap_err().to_string().contains("ca.crt"));
    }
}
