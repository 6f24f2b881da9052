//! Compiled components on disk, so that a restart takes a millisecond instead of a compilation.
//!
//! A file's name is the digest of the component and the hash of engine version, settings and target. Its content is the
//! compiled code, which is mapped as it is, followed by the digest of that code. Code is executed as it is, so the directory must belong to this
//! user and be closed to all others; otherwise the cache stays off. Any doubt about a file means compiling again.

mod aot;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use wasmtime::Engine;

use crate::hex;
use aot::OwnCode;

const SUM: usize = 32;
/// So much of a file is read at once.
const CHUNK: usize = 64 * 1024;

/// An open, checked cache directory.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    engine: String,
}

impl Cache {
    pub(crate) fn open(dir: &Path, engine: &Engine) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let found = fs::symlink_metadata(dir)?;
        let ours = nix::unistd::geteuid().as_raw();
        if !found.is_dir() || found.uid() != ours || found.mode() & 0o077 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{} must be a directory of user {ours} with mode 0700, no link", dir.display()),
            ));
        }
        Ok(Self { dir: dir.to_owned(), engine: engine_hash(engine) })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}-{}.cwasm", self.engine))
    }

    /// The compiled code of a component, if there is a file that can be trusted.
    pub(crate) fn get(&self, digest: &str) -> Option<OwnCode> {
        let path = self.path(digest);
        match read(&path) {
            Ok(code) => code.map(OwnCode::vouched_for),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "compiled component ignored, compiling again");
                None
            }
        }
    }

    /// Keeps compiled code. Readers see the whole file or none: it is written aside and renamed.
    pub(crate) fn put(&self, digest: &str, code: &[u8]) {
        if let Err(error) = self.write(digest, code) {
            tracing::warn!(%error, dir = %self.dir.display(), "compiled component not cached");
        }
    }

    fn write(&self, digest: &str, code: &[u8]) -> io::Result<()> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let aside = self.dir.join(format!(".{digest}-{}-{serial}", std::process::id()));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&aside)?;
        let written = file.write_all(code).and_then(|()| file.write_all(&Sha256::digest(code)));
        let done = written.and_then(|()| fs::rename(&aside, self.path(digest)));
        if done.is_err() {
            // A leftover is only a waste of space; the error that matters is the first one.
            let _ = fs::remove_file(&aside);
        }
        done
    }
}

fn read(path: &Path) -> io::Result<Option<File>> {
    let mut file = match OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    check(&file)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged (digest differs)");
    let mut left =
        usize::try_from(file.metadata()?.len()).ok().and_then(|len| len.checked_sub(SUM)).ok_or_else(damaged)?;
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    while left > 0 {
        let part = &mut chunk[..CHUNK.min(left)];
        file.read_exact(part)?;
        digest.update(&*part);
        left -= part.len();
    }
    let mut sum = [0; SUM];
    file.read_exact(&mut sum)?;
    if digest.finalize().as_slice() != sum.as_slice() {
        return Err(damaged());
    }
    Ok(Some(file))
}

fn check(file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    if found.is_file() && found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a file that only this user can write"))
}

fn engine_hash(engine: &Engine) -> String {
    let mut hasher = ShaHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    std::env::consts::ARCH.hash(&mut hasher);
    std::env::consts::OS.hash(&mut hasher);
    hex::encode(&hasher.0.finalize()[..16])
}

/// A `Hasher` whose result is the same in every process.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}
