//! The component that a command is about: a file, or what the project in this folder was built into.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use palisade_runtime::{EngineSettings, Host, Limits, Module};

use super::project::{Project, WantedLimits};

/// Which component.
#[derive(Debug, Args)]
pub struct Which {
    /// Component file; what the project in the current folder was built into if not given.
    #[arg(value_name = "COMPONENT")]
    file: Option<PathBuf>,
    /// Folder of the project, for its component and its limits.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    project: PathBuf,
}

/// A component file and what it was found with.
#[derive(Debug)]
pub struct Component {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Limits that the project asks for.
    pub wanted: WantedLimits,
}

impl Which {
    /// Reads the file.
    pub fn read(&self) -> anyhow::Result<Component> {
        let (path, wanted) = match (&self.file, Project::open(&self.project)) {
            (Some(file), Ok(project)) => (file.clone(), project.limits),
            (Some(file), Err(_)) => (file.clone(), WantedLimits::default()),
            (None, Ok(project)) => (project.component(), project.limits),
            (None, Err(error)) => return Err(error.context("no component is named, and there is no project")),
        };
        let bytes = std::fs::read(&path)
            .with_context(|| format!("component {}: build it with `palisade remediator build`", path.display()))?;
        let path = path.canonicalize().with_context(|| path.display().to_string())?;
        Ok(Component { path, bytes, wanted })
    }
}

impl Component {
    /// Checks, compiles and links it, as the controller does.
    pub fn load(&self) -> anyhow::Result<Arc<Module>> {
        load(&self.path, &self.bytes)
    }

    /// Limits of its calls.
    pub fn limits(&self) -> Limits {
        self.wanted.limits()
    }
}

/// Checks, compiles and links a component, as the controller does.
pub fn load(path: &Path, bytes: &[u8]) -> anyhow::Result<Arc<Module>> {
    let host = Host::new(&EngineSettings { concurrent_calls: 2, cache_dir: cache(), ..EngineSettings::default() })?;
    host.load(bytes).with_context(|| path.display().to_string())
}

/// Compiled components are kept between commands: those of some languages take half a minute.
fn cache() -> Option<PathBuf> {
    let base = std::env::var_os("PALISADE_CACHE").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Some(home.join("palisade"))
    })?;
    std::fs::create_dir_all(&base).ok()?;
    Some(base.join("components"))
}
