//! Components on disk by digest, with what their registry said about them: a restart needs no registry, and a
//! remediation under way finds what it began with. Nothing read from here is trusted: digests are compared, and
//! signatures are checked again.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_oci::Artifact;
use palisade_runtime::Host;

/// The folder.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Makes the folder if needed; without it, nothing outlives the process.
    pub fn open(folder: &Path) -> Option<Self> {
        fs::create_dir_all(folder)
            .inspect_err(|error| tracing::warn!(%error, folder = %folder.display(), "components are not kept"))
            .ok()?;
        Some(Self { folder: folder.to_owned() })
    }

    fn path(&self, digest: &str, extension: &str) -> PathBuf {
        // Digests are hexadecimal after their prefix, so this is one plain name.
        self.folder.join(format!("{}.{extension}", digest.replace(':', "-")))
    }

    /// Keeps a component.
    pub fn put(&self, digest: &str, component: &[u8], artifact: Option<&Artifact>) {
        let component_path = self.path(digest, "wasm");
        let mut result = Ok(());
        if !component_path.exists() {
            result = write(&component_path, component);
        }
        if let (Ok(()), Some(artifact)) = (&result, artifact) {
            // A record of plain texts always has a JSON form.
            let record = serde_json::to_vec(artifact).unwrap_or_default();
            result = write(&self.path(digest, "json"), &record);
        }
        if let Err(error) = result {
            tracing::warn!(%error, digest, "component not kept");
        }
    }

    /// The component, if it is there and still what it was.
    pub fn get(&self, digest: &str) -> Option<(Vec<u8>, Option<Artifact>)> {
        if !is_digest(digest) {
            return None;
        }
        let component = fs::read(self.path(digest, "wasm")).ok()?;
        if Host::digest(&component) != digest {
            tracing::warn!(digest, "kept component is damaged, it is ignored");
            return None;
        }
        let record = fs::read(self.path(digest, "json")).ok();
        let artifact = record.and_then(|record| serde_json::from_slice::<Artifact>(&record).ok());
        Some((component, artifact.filter(|artifact| artifact.component_digest == digest)))
    }

    /// Removes all others that have been there for a while: another process may have begun with a newer one.
    pub fn keep(&self, digests: &HashSet<String>, age: Duration) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let names: HashSet<String> = digests.iter().map(|digest| digest.replace(':', "-")).collect();
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let old = modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|passed| passed >= age));
            if old && stem.starts_with("sha256-") && !names.contains(stem) {
                // What cannot be removed only wastes space.
                let _ = fs::remove_file(&path);
            }
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Readers see the whole file or none.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&aside, bytes)?;
    fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_compared_and_what_nobody_uses_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (one, two) = (Host::digest(b"one"), Host::digest(b"two"));
        store.put(&one, b"one", None);
        store.put(&two, b"two", None);
        assert_eq!(store.get(&one), Some((b"one".to_vec(), None)));
        fs::write(store.path(&two, "wasm"), b"other").unwrap();
        assert_eq!(store.get(&two), None, "a changed file is nothing");
        assert_eq!(store.get("sha256:../../etc/passwd"), None);
        store.keep(&[two.clone()].into(), Duration::from_hours(1));
        assert!(store.get(&one).is_some(), "it is new");
        store.keep(&[two.clone()].into(), Duration::ZERO);
        assert_eq!(store.get(&one), None);
        assert!(store.path(&two, "wasm").exists());
    }
}
