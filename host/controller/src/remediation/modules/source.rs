//! The bytes of a component, from wherever its Remediator says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::Api;
use palisade_api::Remediator;
use palisade_oci::Artifact;
use palisade_runtime::Host;

use super::oci::{self, Look};
use super::{Unserved, lock, reason};
use crate::context::Context;

/// Bytes, and what their registry said about them.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The component.
    pub bytes: Arc<Vec<u8>>,
    /// Its digest.
    pub digest: String,
    /// Where from.
    pub artifact: Option<Arc<Artifact>>,
}

/// A component file as it was read, and what tells that it changed since.
#[derive(Debug)]
struct File {
    modified: SystemTime,
    size: u64,
    digest: String,
    bytes: Arc<Vec<u8>>,
}

impl File {
    fn fetched(&self) -> Fetched {
        Fetched { bytes: self.bytes.clone(), digest: self.digest.clone(), artifact: None }
    }
}

/// Files that were read.
#[derive(Debug, Default)]
pub struct Files(Mutex<HashMap<PathBuf, File>>);

impl Files {
    /// The content of a file, read again when it changed.
    pub fn read(&self, path: &Path) -> Result<Fetched, String> {
        let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let size = metadata.len();
        if let Some(known) = lock(&self.0).get(path)
            && (known.modified, known.size) == (modified, size)
        {
            return Ok(known.fetched());
        }
        let bytes = Arc::new(std::fs::read(path).map_err(|error| error.to_string())?);
        let digest = Host::digest(&bytes);
        let file = File { modified, size, digest, bytes };
        let fetched = file.fetched();
        lock(&self.0).insert(path.to_owned(), file);
        Ok(fetched)
    }

    /// Digests of all files that were read.
    pub fn digests(&self) -> Vec<String> {
        lock(&self.0).values().map(|file| file.digest.clone()).collect()
    }
}

/// Brings the bytes.
pub async fn fetch(context: &Context, remediator: &Remediator, look: Look) -> Result<Fetched, Unserved> {
    let name = remediator.name_any();
    let source = &remediator.spec.source;
    let unserved = |field: &str, detail: String, remedy: &str| {
        Unserved::of(reason::SOURCE, &name, &format!("spec.source.{field}"), &detail, remedy)
    };
    if let Some(builtin) = &source.builtin {
        if builtin.contains('/') || builtin.contains("..") {
            return Err(unserved("builtin", format!("{builtin:?} is not a name"), "use a plain name"));
        }
        let path = context.modules.folder.join(format!("{builtin}.wasm"));
        return context.modules.files.read(&path).map_err(|error| {
            let remedy = "use one of those in the folder --remediators of the controller";
            unserved("builtin", format!("no built-in component {builtin} ({error})"), remedy)
        });
    }
    if let Some(file) = &source.file {
        return context.modules.files.read(Path::new(file)).map_err(|error| {
            unserved("file", format!("{file} cannot be read: {error}"), "mount it into the controller's pod")
        });
    }
    if let Some(map) = &source.config_map {
        let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &map.namespace);
        let whole = format!("{}/{}", map.namespace, map.name);
        let object = api.get_opt(&map.name).await.map_err(|error| {
            unserved("configMap", format!("ConfigMap {whole} cannot be read: {error}"), "it is tried again")
        })?;
        let Some(object) = object else {
            return Err(unserved("configMap", format!("ConfigMap {whole} does not exist"), "create it"));
        };
        return match object.binary_data.and_then(|mut data| data.remove(&map.key)) {
            Some(bytes) => Ok(Fetched { digest: Host::digest(&bytes.0), bytes: Arc::new(bytes.0), artifact: None }),
            None => Err(unserved(
                "configMap.key",
                format!("ConfigMap {whole} has no binaryData key {:?}", map.key),
                "add the component under that key",
            )),
        };
    }
    if let Some(oci) = &source.oci {
        return oci::fetch(context, &name, oci, look).await;
    }
    let message = format!("Remediator {name}, spec.source: names no source; set one of builtin, file, configMap, oci");
    Err(Unserved::new(reason::SOURCE, message))
}
