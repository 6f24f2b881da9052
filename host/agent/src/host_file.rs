//! The host file: one JSON document under `/run`, replaced as a whole, locked by the one agent process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use nix::fcntl::{Flock, FlockArg};
use palisade_core::fencing::agent::HostFile;

/// Stores host files in order.
pub trait HostStore: Send + Sync + 'static {
    /// Replaces the file; done when it is on disk.
    fn store(&self, file: HostFile) -> BoxFuture<'_, io::Result<()>>;
}

/// The host directory, locked for the life of this value.
#[derive(Debug)]
pub struct HostDir {
    path: PathBuf,
    _lock: Flock<File>,
}

/// Why the host directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostDirError {
    /// Another agent process of this node is running.
    #[error("another agent holds {0}: only one may decide about this node")]
    Locked(PathBuf),
    /// The disk says no.
    #[error("host directory {path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl HostDir {
    /// Creates the directory if needed and takes its lock.
    pub fn open(path: &Path) -> Result<Self, HostDirError> {
        let failed = |error| HostDirError::Io { path: path.to_owned(), error };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock_path = path.join("agent.lock");
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path).map_err(failed)?;
        match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(HostDirError::Locked(lock_path)),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// The host file, if there is one that can be read. One that cannot is set aside: without a host file nothing is
    /// armed or fed before the first contact.
    pub fn load(&self) -> Option<HostFile> {
        let path = self.file();
        let text = std::fs::read(&path).ok()?;
        match serde_json::from_slice(&text) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "the host file cannot be read and is set aside");
                let _ = std::fs::rename(&path, path.with_extension("json.unreadable"));
                None
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.path.join("agent.json")
    }

    /// Reads a small text of the directory.
    pub fn read_text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path.join(name)).ok()
    }

    /// Replaces a small file of the directory: all of it or nothing, and on disk when this returns.
    pub fn write_bytes(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        replace(&self.path, name, bytes)
    }
}

fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, folder.join(name))?;
    File::open(folder)?.sync_all()
}

impl HostStore for HostDir {
    fn store(&self, file: HostFile) -> BoxFuture<'_, io::Result<()>> {
        let folder = self.path.clone();
        async move {
            let bytes = serde_json::to_vec(&file)?;
            // The disk may hang; the loop must not.
            tokio::task::spawn_blocking(move || replace(&folder, "agent.json", &bytes))
                .await
                .map_err(io::Error::other)?
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use palisade_core::fencing::agent::Fenced;
    use palisade_core::fencing::record::BootId;
    use palisade_core::time::Mono;

    use super::*;

    fn sample() -> HostFile {
        HostFile {
            boot_id: BootId::new("b1").unwrap(),
            sequence: 7,
            until: Some(Mono(1234)),
            confirmed: None,
            sent: Vec::new(),
            fenced: Some(Fenced { reason: "intent".into(), intent_uid: Some("u".into()) }),
            device: None,
            peers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_was_stored_is_loaded_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let dir = HostDir::open(folder.path()).unwrap();
        assert_eq!(dir.load(), None);
        dir.store(sample()).await.unwrap();
        drop(dir);
        assert_eq!(HostDir::open(folder.path()).unwrap().load(), Some(sample()));
    }

    #[test]
    fn two_agents_of_one_node_are_one_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let _first = HostDir::open(folder.path()).unwrap();
        assert!(matches!(HostDir::open(folder.path()), Err(HostDirError::Locked(_))));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("agent.json"), "{ torn").unwrap();
        let dir = HostDir::open(folder.path()).unwrap();
        assert_eq!(dir.load(), None);
        assert!(folder.path().join("agent.json.unreadable").exists());
    }

    #[tokio::test]
    async fn a_directory_that_vanished_is_an_error_not_a_silence() {
        let folder = tempfile::tempdir().unwrap();
        let dir = HostDir::open(&folder.path().join("run")).unwrap();
        std::fs::remove_dir_all(folder.path().join("run")).unwrap();
        assert!(dir.store(sample()).await.is_err());
    }
}
