//! A remediator's folder: what `remediator.yaml` says.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use palisade_runtime::{Capability, Limits};
use serde::Deserialize;
use serde_json::{Value, json};

/// Name of the file that makes a folder a project.
pub const FILE: &str = "remediator.yaml";

/// Languages with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, with the SDK.
    Rust,
    /// C11, without a C library.
    C,
    /// JavaScript; needs Node.
    Javascript,
}

impl Language {
    /// The word in `--language` and in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Javascript => "javascript",
        }
    }
}

/// Content of the file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    language: Language,
    #[serde(default)]
    manifest: Option<Manifest>,
    #[serde(default)]
    limits: WantedLimits,
}

/// The manifest, for languages that cannot write it themselves.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    name: String,
    version: String,
    capabilities: Vec<Capability>,
    #[serde(default)]
    parameters: Option<Value>,
}

/// Limits of a call, as a `Remediator` object names them; absent ones are the host's.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedLimits {
    fuel: Option<u64>,
    memory_bytes: Option<usize>,
    deadline_millis: Option<u64>,
}

/// A project.
#[derive(Debug)]
pub struct Project {
    /// Its folder.
    pub folder: PathBuf,
    /// Its language.
    pub language: Language,
    /// What it needs to run.
    pub limits: WantedLimits,
    manifest: Option<Manifest>,
}

impl WantedLimits {
    /// The limits of its calls.
    pub fn limits(&self) -> Limits {
        Limits::named(self.fuel, self.memory_bytes, self.deadline_millis)
    }

    /// As `spec.limits` of a `Remediator`; none if the host's are enough.
    pub fn spec(&self) -> Option<Value> {
        let named = [
            ("fuel", self.fuel.map(|fuel| json!(fuel))),
            ("memoryBytes", self.memory_bytes.map(|bytes| json!(bytes))),
            ("deadlineMillis", self.deadline_millis.map(|millis| json!(millis))),
        ];
        let named: serde_json::Map<_, _> =
            named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        (!named.is_empty()).then_some(Value::Object(named))
    }
}

impl Project {
    /// Reads the project in a folder.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!("{}: this folder is no remediator; `palisade remediator new NAME` makes one", file.display())
        })?;
        let content: Content = serde_yaml_ng::from_str(&text).with_context(|| file.display().to_string())?;
        anyhow::ensure!(
            content.manifest.is_some() != (content.language == Language::Rust),
            "{}: field manifest belongs there for every language but rust, where remediator! writes it",
            file.display()
        );
        let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
        let Content { language, manifest, limits } = content;
        Ok(Self { folder, language, limits, manifest })
    }

    /// The manifest to put into the component, if the language cannot.
    pub fn manifest(&self) -> Option<String> {
        self.manifest.as_ref().map(|manifest| {
            let capabilities: Vec<&str> = manifest.capabilities.iter().map(|capability| capability.name()).collect();
            let manifest = json!({
                "name": manifest.name, "version": manifest.version, "contract": palisade_runtime::CONTRACTS[0],
                "capabilities": capabilities, "parameters": manifest.parameters.clone().unwrap_or_else(|| json!({})),
            });
            format!("{manifest}\n")
        })
    }

    /// Where the finished component is put.
    pub fn component(&self) -> PathBuf {
        self.folder.join("build/remediator.wasm")
    }

    /// Folder for what is made on the way there.
    pub fn work(&self) -> PathBuf {
        self.folder.join("build/work")
    }
}
