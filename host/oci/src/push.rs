//! From a component to a registry, with a signature if wanted.

use http::HeaderValue;
use oci_client::{Client, RegistryOperation};
use serde_json::{Value, json};

use crate::access::Access;
use crate::error::OciError;
use crate::location::Location;
use crate::signature::{SigningKey, statement};
use crate::{CONFIG, LAYER, MANIFEST, PAYLOAD, SIGNATURE, digest};

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Digest of its manifest: `repository@digest` names it forever.
    pub manifest_digest: String,
    /// Digest of the component.
    pub component_digest: String,
}

/// Pushes a component. `annotations` describe it to people and tools.
pub async fn push(
    location: &Location,
    component: Vec<u8>,
    annotations: &[(&str, &str)],
    sign: Option<&SigningKey>,
    access: &Access,
) -> Result<Pushed, OciError> {
    if location.pinned().is_some() {
        let why = "what is pushed gets its digest by being pushed; name a tag".to_owned();
        return Err(OciError::Reference { text: location.to_string(), why });
    }
    let client = access.client()?;
    let work = async {
        let auth = access.credentials.for_registry(location.registry());
        let login = client.auth(&location.0, &auth, RegistryOperation::Push).await;
        login.map_err(|error| OciError::of(&location.to_string(), &error))?;
        let component_digest = digest(&component);
        // The configuration that the artifact type asks for: what is inside, without opening it.
        let config = json!({
            "created": null, "architecture": "wasm", "os": "wasip2", "layerDigests": [component_digest],
            "component": { "exports": ["reconcile"], "imports": [], "target": null },
        });
        let annotations: serde_json::Map<String, Value> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let layer = upload(&client, location, LAYER, component).await?;
        let config = upload(&client, location, CONFIG, config.to_string().into_bytes()).await?;
        let manifest_digest = publish(&client, location, &config, &[layer], &annotations).await?;
        if let Some(key) = sign {
            attach(&client, location, &manifest_digest, key).await?;
        }
        Ok(Pushed { manifest_digest, component_digest })
    };
    let late =
        OciError::Unreachable { at: location.to_string(), why: format!("not done within {:?}", access.patience) };
    tokio::time::timeout(access.patience, work).await.unwrap_or(Err(late))
}

async fn attach(client: &Client, location: &Location, manifest_digest: &str, key: &SigningKey) -> Result<(), OciError> {
    let place = location.signatures_of(manifest_digest);
    let payload = statement(&location.repository(), manifest_digest);
    let signature = key.sign(&payload).map_err(OciError::Settings)?;
    let mut layer = upload(client, &place, PAYLOAD, payload).await?;
    layer["annotations"] = json!({ SIGNATURE: signature });
    let config = json!({ "architecture": "", "os": "", "config": {}, "rootfs": { "type": "layers", "diff_ids": [] } });
    let kind = "application/vnd.oci.image.config.v1+json";
    let config = upload(client, &place, kind, config.to_string().into_bytes()).await?;
    publish(client, &place, &config, &[layer], &serde_json::Map::new()).await.map(drop)
}

/// Uploads a blob and describes it.
async fn upload(client: &Client, location: &Location, kind: &str, bytes: Vec<u8>) -> Result<Value, OciError> {
    let (digest, size) = (digest(&bytes), bytes.len());
    let failed = |error| OciError::of(&location.to_string(), &error);
    if !client.blob_exists(&location.0, &digest).await.map_err(failed)? {
        client.push_blob(&location.0, bytes, &digest).await.map_err(failed)?;
    }
    Ok(json!({ "mediaType": kind, "digest": digest, "size": size }))
}

async fn publish(
    client: &Client,
    location: &Location,
    config: &Value,
    layers: &[Value],
    annotations: &serde_json::Map<String, Value>,
) -> Result<String, OciError> {
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    if !annotations.is_empty() {
        manifest["annotations"] = Value::Object(annotations.clone());
    }
    let bytes = manifest.to_string().into_bytes();
    let digest = digest(&bytes);
    client
        .push_manifest_raw(&location.0, bytes, HeaderValue::from_static(MANIFEST))
        .await
        .map_err(|error| OciError::of(&location.to_string(), &error))?;
    Ok(digest)
}
