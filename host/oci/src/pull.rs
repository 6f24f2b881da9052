//! From a reference to a component and its signatures.

use oci_client::Client;
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use tokio::io::AsyncWrite;

use crate::access::Access;
use crate::artifact::{Artifact, SignedPayload};
use crate::error::OciError;
use crate::location::Location;
use crate::{LAYER, MANIFEST, OLD_LAYER, OLD_MANIFEST, PAYLOAD, SIGNATURE, digest};

/// Statements that are looked at; more would only cost time.
const SIGNATURES: usize = 16;
/// Largest statement.
const PAYLOAD_LIMIT: u64 = 64 << 10;

/// Brings a component and its signatures, from the first mirror that has it or from its registry.
pub async fn pull(location: &Location, access: &Access) -> Result<Artifact, OciError> {
    let client = access.client()?;
    let work = async {
        let mut errors = Vec::new();
        for place in places(location, access)? {
            match pull_from(&client, &place, access).await {
                Ok(artifact) => return Ok(artifact),
                Err(error) => errors.push(error),
            }
        }
        Err(told(location, errors))
    };
    within(location, access, work).await
}

/// The digest of the manifest that a reference means now: cheap, to see whether a tag has moved.
pub async fn resolve(location: &Location, access: &Access) -> Result<String, OciError> {
    if let Some(digest) = location.pinned() {
        return Ok(digest.to_owned());
    }
    let client = access.client()?;
    let work = async {
        let mut errors = Vec::new();
        for place in places(location, access)? {
            let auth = access.credentials.for_registry(place.registry());
            match client.fetch_manifest_digest(&place.0, &auth).await {
                Ok(digest) => return Ok(digest),
                Err(error) => errors.push(OciError::of(&place.to_string(), &error)),
            }
        }
        Err(told(location, errors))
    };
    within(location, access, work).await
}

/// Mirrors first, then the registry itself.
fn places(location: &Location, access: &Access) -> Result<Vec<Location>, OciError> {
    let mut places = Vec::new();
    for mirror in &access.mirrors {
        places.push(location.through(mirror)?);
    }
    places.push(location.clone());
    Ok(places)
}

/// What the registry itself said counts; when it was out of reach, what the mirrors said matters too.
fn told(location: &Location, mut errors: Vec<OciError>) -> OciError {
    match errors.pop() {
        Some(OciError::Unreachable { at, why }) if !errors.is_empty() => {
            let others: Vec<String> = errors.iter().map(ToString::to_string).collect();
            OciError::Unreachable { at, why: format!("{why} (and of its mirrors: {})", others.join("; ")) }
        }
        Some(error) => error,
        // There is always the registry itself.
        None => OciError::NotFound { at: location.to_string() },
    }
}

async fn within<T>(
    location: &Location,
    access: &Access,
    work: impl Future<Output = Result<T, OciError>>,
) -> Result<T, OciError> {
    let patience = access.patience;
    let late = OciError::Unreachable { at: location.to_string(), why: format!("no answer within {patience:?}") };
    tokio::time::timeout(patience, work).await.unwrap_or(Err(late))
}

async fn pull_from(client: &Client, location: &Location, access: &Access) -> Result<Artifact, OciError> {
    let at = location.to_string();
    let auth = access.credentials.for_registry(location.registry());
    let (bytes, _) = client
        .pull_manifest_raw(&location.0, &auth, &[MANIFEST, OLD_MANIFEST])
        .await
        .map_err(|error| OciError::of(&at, &error))?;
    let manifest_digest = digest(&bytes);
    if let Some(wanted) = location.pinned()
        && wanted != manifest_digest
    {
        return Err(OciError::Altered { at, why: format!("its manifest has digest {manifest_digest}") });
    }
    let layer = component_layer(&at, &bytes)?;
    let size = u64::try_from(layer.size).unwrap_or(u64::MAX);
    if size > access.limit {
        return Err(OciError::TooLarge { at, size, limit: access.limit });
    }
    let component = blob(client, location, &layer, access.limit).await?;
    let component_digest = digest(&component);
    let signatures = signatures(client, location, &manifest_digest, access).await?;
    Ok(Artifact { manifest_digest, component_digest, component, signatures })
}

fn component_layer(at: &str, manifest: &[u8]) -> Result<OciDescriptor, OciError> {
    let refused = |why: String| OciError::NotAComponent { at: at.to_owned(), why };
    let manifest: OciImageManifest =
        serde_json::from_slice(manifest).map_err(|error| refused(format!("its manifest cannot be read: {error}")))?;
    let mut layers = manifest.layers;
    let (Some(layer), true) = (layers.pop(), layers.is_empty()) else {
        return Err(refused("it has no layer or several".to_owned()));
    };
    if [LAYER, OLD_LAYER].contains(&layer.media_type.as_str()) {
        Ok(layer)
    } else {
        Err(refused(format!("its layer is of type {}, not {LAYER}", layer.media_type)))
    }
}

/// The client compares the digest; the length is ours to watch, because a registry may lie about it.
async fn blob(client: &Client, location: &Location, layer: &OciDescriptor, limit: u64) -> Result<Vec<u8>, OciError> {
    let at = location.to_string();
    let mut bounded = Bounded { bytes: Vec::new(), limit: usize::try_from(limit).unwrap_or(usize::MAX) };
    match client.pull_blob(&location.0, layer, &mut bounded).await {
        Ok(()) => Ok(bounded.bytes),
        Err(_) if bounded.bytes.len() >= bounded.limit => {
            Err(OciError::TooLarge { at, size: limit.saturating_add(1), limit })
        }
        Err(error) => Err(OciError::of(&at, &error)),
    }
}

async fn signatures(
    client: &Client,
    location: &Location,
    manifest_digest: &str,
    access: &Access,
) -> Result<Vec<SignedPayload>, OciError> {
    let place = location.signatures_of(manifest_digest);
    let at = place.to_string();
    let auth = access.credentials.for_registry(location.registry());
    let bytes = match client.pull_manifest_raw(&place.0, &auth, &[MANIFEST, OLD_MANIFEST]).await {
        Ok((bytes, _)) => bytes,
        Err(error) => {
            return match OciError::of(&at, &error) {
                OciError::NotFound { .. } => Ok(Vec::new()),
                other => Err(other),
            };
        }
    };
    let manifest: OciImageManifest = serde_json::from_slice(&bytes)
        .map_err(|error| OciError::Other { at, why: format!("the signatures cannot be read: {error}") })?;
    let mut found = Vec::new();
    for layer in manifest.layers.iter().filter(|layer| layer.media_type == PAYLOAD).take(SIGNATURES) {
        let signature = layer.annotations.as_ref().and_then(|annotations| annotations.get(SIGNATURE));
        let Some(signature) = signature.cloned() else { continue };
        let payload = blob(client, &place, layer, PAYLOAD_LIMIT).await?;
        found.push(SignedPayload { payload, signature });
    }
    Ok(found)
}

/// Takes no more than was agreed.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        more: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        let room = self.limit - self.bytes.len();
        let taken = more.len().min(room);
        self.bytes.extend_from_slice(&more[..taken]);
        std::task::Poll::Ready(if taken < more.len() && taken == 0 {
            Err(std::io::Error::other("larger than allowed"))
        } else {
            Ok(taken)
        })
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
