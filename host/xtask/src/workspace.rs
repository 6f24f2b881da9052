//! Where things are: the workspace, its target directory, the cache that outlives a clone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

/// Paths that every command needs.
pub struct Workspace {
    /// Root of the repository.
    pub root: PathBuf,
    /// Cargo's target directory, which `CARGO_TARGET_DIR` may have moved.
    pub target: PathBuf,
    /// Tools and programs that are expensive to build and shared by all clones on a machine.
    pub cache: PathBuf,
}

impl Workspace {
    /// Asks cargo where the workspace is.
    pub fn locate() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("host/xtask lies two folders below the workspace root")?
            .to_path_buf();
        let output = Command::new(cargo())
            .args(["metadata", "--format-version=1", "--no-deps"])
            .current_dir(&root)
            .output()
            .context("running cargo metadata")?;
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("reading the answer of cargo metadata")?;
        let target = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
        Ok(Self { root, target: target.into(), cache: cache_folder()? })
    }

    /// Folder of finished components.
    pub fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// Path of a program that the workspace builds in its one profile.
    pub fn program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }
}

/// The cargo that runs us, so that a toolchain override reaches every step.
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

fn cache_folder() -> anyhow::Result<PathBuf> {
    let base = match (std::env::var_os("PALISADE_CACHE"), std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))
    {
        (Some(own), _, _) => PathBuf::from(own),
        (None, Some(cache), _) => PathBuf::from(cache).join("palisade"),
        (None, None, Some(home)) => PathBuf::from(home).join(".cache/palisade"),
        (None, None, None) => anyhow::bail!("set HOME, XDG_CACHE_HOME or PALISADE_CACHE: a folder for built tools"),
    };
    std::fs::create_dir_all(&base).with_context(|| format!("creating the cache folder {}", base.display()))?;
    Ok(base)
}
