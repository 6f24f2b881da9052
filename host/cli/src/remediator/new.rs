//! `palisade remediator new`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::output::Output;
use super::project::Language;
use super::toolchain;

/// What to start.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the remediator, a DNS label; also of the folder.
    name: String,
    /// Language.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
    /// Folder to make; NAME in the current one if not given.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Checkout of Palisade, for the SDK.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_CHECKOUT")]
    checkout: Option<PathBuf>,
    /// How the result is shown.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

macro_rules! template {
    ($($target:literal <- $source:literal),* $(,)?) => {
        &[$(($target, include_str!(concat!("../../../../guest-sdk/templates/", $source)))),*]
    };
}

const BEHAVIOUR: (&str, &str) =
    ("tests/behaviour.yaml", include_str!("../../../../guest-sdk/templates/behaviour.yaml"));

const RUST: &[(&str, &str)] = template! {
    "Cargo.toml" <- "rust/Cargo.toml.in",
    ".cargo/config.toml" <- "rust/cargo-config.toml",
    ".gitignore" <- "gitignore",
    "remediator.yaml" <- "rust/remediator.yaml",
    "src/lib.rs" <- "rust/lib.rs",
    "src/tests.rs" <- "rust/tests.rs",
};

const C: &[(&str, &str)] = template! {
    ".gitignore" <- "gitignore",
    "remediator.yaml" <- "c/remediator.yaml",
    "src/remediator.c" <- "c/remediator.c",
    "src/libc.c" <- "c/libc.c",
    "include/stdlib.h" <- "c/include/stdlib.h",
    "include/string.h" <- "c/include/string.h",
};

const JAVASCRIPT: &[(&str, &str)] = template! {
    ".gitignore" <- "gitignore",
    "remediator.yaml" <- "javascript/remediator.yaml",
    "package.json" <- "javascript/package.json",
    "build.mjs" <- "javascript/build.mjs",
    "src/remediator.js" <- "javascript/remediator.js",
};

/// Writes the files of the template.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let name = &arguments.name;
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    anyhow::ensure!(
        (1..=63).contains(&name.len())
            && name.chars().all(letter)
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-'),
        "{name:?} cannot be its name: use a-z, 0-9 and '-', begin with a letter, at most 63 of them"
    );
    let checkout = toolchain::checkout(arguments.checkout.as_deref())?;
    let folder = arguments.folder.clone().unwrap_or_else(|| PathBuf::from(name));
    let empty = std::fs::read_dir(&folder).map_or(true, |mut entries| entries.next().is_none());
    anyhow::ensure!(empty, "{} is not empty; nothing was written", folder.display());
    let files = match arguments.language {
        Language::Rust => RUST,
        Language::C => C,
        Language::Javascript => JAVASCRIPT,
    };
    let sdk = checkout.join("guest-sdk");
    for (path, text) in files.iter().chain([&BEHAVIOUR]) {
        let text = text.replace("{{name}}", name).replace("{{sdk}}", &sdk.display().to_string());
        write(&folder.join(path), &text)?;
    }
    let value = json!({ "name": name, "folder": folder, "language": arguments.language.name(), "sdk": sdk });
    arguments.output.show(&value, || {
        let source = match arguments.language {
            Language::Rust => "src/lib.rs",
            Language::C => "src/remediator.c",
            Language::Javascript => "src/remediator.js",
        };
        format!(
            "{name} is in {0}: {source} is the remediator, tests/behaviour.yaml what it must do.\n\
             Next:  cd {0} && palisade remediator test && palisade remediator run",
            folder.display()
        )
    });
    Ok(true)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())
}
