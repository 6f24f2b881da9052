//! Components from registries. A registry is asked when a remediator is new, and then now and then by the one task that
//! looks after all Remediators: a remediation never waits for a registry that it needed before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use palisade_api::remediator::OciSource;
use palisade_oci::{Access, Artifact, Credentials, Location, OciError};
use palisade_runtime::EngineSettings;
use tokio::time::Instant;

use super::source::Fetched;
use super::{Unserved, lock, reason};
use crate::context::Context;

/// After an error the registry is left alone for so long.
const PAUSE: Duration = Duration::from_secs(10);
/// A pull takes no longer: a pass over a remediation may be waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the source is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Only if it was never read.
    IfMissing,
    /// Also if it was not read for a while.
    IfStale,
}

/// What was pulled, by where and how.
#[derive(Debug, Default)]
pub struct Pulled(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Entry>>>>);

#[derive(Debug, Default)]
struct Entry {
    fetched: Option<Fetched>,
    looked: Option<Instant>,
    failed: Option<(Instant, Unserved)>,
}

impl Pulled {
    fn entry(&self, source: &OciSource) -> Arc<tokio::sync::Mutex<Entry>> {
        let OciSource { reference, pull_secret, ca_config_map, mirrors } = source;
        let key = format!("{reference} {pull_secret:?} {ca_config_map:?} {mirrors:?}");
        lock(&self.0).entry(key).or_default().clone()
    }
}

/// The component that a reference means.
pub async fn fetch(context: &Context, name: &str, source: &OciSource, look: Look) -> Result<Fetched, Unserved> {
    let entry = context.modules.pulled.entry(source);
    let mut entry = entry.lock().await;
    let location: Location = source.reference.parse().map_err(|error| explained(name, &error))?;
    let fresh = location.pinned().is_some()
        || entry.looked.is_some_and(|looked| looked.elapsed() < context.options.registry_refresh);
    if let Some(fetched) = entry.fetched.clone().filter(|_| fresh || look == Look::IfMissing) {
        return Ok(fetched);
    }
    if let Some((_, why)) =
        entry.failed.as_ref().filter(|(at, _)| at.elapsed() < PAUSE.min(context.options.registry_refresh))
    {
        return Err(why.clone());
    }
    match ask(context, name, source, &location, entry.fetched.as_ref()).await {
        Ok(fetched) => {
            *entry = Entry { fetched: Some(fetched.clone()), looked: Some(Instant::now()), failed: None };
            Ok(fetched)
        }
        Err(why) => {
            entry.failed = Some((Instant::now(), why.clone()));
            Err(why)
        }
    }
}

async fn ask(
    context: &Context,
    name: &str,
    source: &OciSource,
    location: &Location,
    before: Option<&Fetched>,
) -> Result<Fetched, Unserved> {
    let access = access(context, name, source).await?;
    if let Some(before) = before
        && let Some(artifact) = &before.artifact
    {
        // A tag that did not move is not pulled again, but somebody may have signed it since.
        let digest = palisade_oci::resolve(location, &access).await.map_err(|error| explained(name, &error))?;
        if digest == artifact.manifest_digest && !artifact.signatures.is_empty() {
            return Ok(before.clone());
        }
    }
    let mut artifact: Artifact =
        palisade_oci::pull(location, &access).await.map_err(|error| explained(name, &error))?;
    let bytes = Arc::new(std::mem::take(&mut artifact.component));
    Ok(Fetched { bytes, digest: artifact.component_digest.clone(), artifact: Some(Arc::new(artifact)) })
}

async fn access(context: &Context, name: &str, source: &OciSource) -> Result<Access, Unserved> {
    let namespace = &context.options.namespace;
    let unserved = |field: &str, detail: String, remedy: &str| {
        Unserved::of(reason::SOURCE, name, &format!("spec.source.oci.{field}"), &detail, remedy)
    };
    let mut access = Access {
        mirrors: source.mirrors.clone(),
        limit: EngineSettings::default().component_bytes as u64,
        patience: PATIENCE,
        ..Access::default()
    };
    if let Some(secret) = &source.pull_secret {
        let refused = |detail: String, remedy: &str| unserved("pullSecret", detail, remedy);
        let whole = format!("Secret {namespace}/{secret}");
        let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
        let object = api
            .get_opt(secret)
            .await
            .map_err(|error| refused(format!("{whole} cannot be read: {error}"), "it is tried again"))?;
        let Some(object) = object else { return Err(refused(format!("{whole} does not exist"), "create it")) };
        let Some(json) = object.data.and_then(|mut data| data.remove(".dockerconfigjson")) else {
            let remedy = "make it with `kubectl create secret docker-registry`";
            return Err(refused(format!("{whole} has no key .dockerconfigjson"), remedy));
        };
        access.credentials = Credentials::from_docker_config(&json.0).map_err(|why| {
            refused(format!("{whole}: {why}"), "make it with `kubectl create secret docker-registry`")
        })?;
    }
    if let Some(map) = &source.ca_config_map {
        let refused = |detail: String, remedy: &str| unserved("caConfigMap", detail, remedy);
        let whole = format!("ConfigMap {namespace}/{map}");
        let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
        let object = api
            .get_opt(map)
            .await
            .map_err(|error| refused(format!("{whole} cannot be read: {error}"), "it is tried again"))?;
        let Some(object) = object else { return Err(refused(format!("{whole} does not exist"), "create it")) };
        let pem = object.data.and_then(|mut data| data.remove("ca.crt"));
        let Some(pem) = pem else {
            return Err(refused(format!("{whole} has no key ca.crt"), "put the authority's PEM there"));
        };
        access.authorities = Some(pem.into_bytes());
    }
    Ok(access)
}

fn explained(name: &str, error: &OciError) -> Unserved {
    let why = match error {
        OciError::TooLarge { .. } => reason::SIZE,
        OciError::NotAComponent { .. } => reason::INVALID,
        OciError::Altered { .. } => reason::DIGEST,
        _ => reason::SOURCE,
    };
    let field = match error {
        OciError::Untrusted { .. } => "spec.source.oci.caConfigMap",
        OciError::Unauthorized { .. } => "spec.source.oci.pullSecret",
        _ => "spec.source.oci",
    };
    Unserved::new(why, format!("Remediator {name}, {field}: {error}"))
}
