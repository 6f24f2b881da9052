//! Programs of others, and where the SDK is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::output::Output;

/// Runs a program whose output people want to see; in JSON mode it goes to standard error, so that standard output
/// holds only the result.
pub fn passes(command: &mut Command, output: Output) -> anyhow::Result<bool> {
    if output == Output::Json {
        command.stdout(std::io::stderr());
    }
    let status = command.status().with_context(|| missing(command))?;
    Ok(status.success())
}

/// Runs a program that must succeed; says what it was for if it does not.
pub fn must(command: &mut Command, purpose: &str, output: Output) -> anyhow::Result<()> {
    anyhow::ensure!(passes(command, output)?, "{purpose} failed: {}", line(command));
    Ok(())
}

/// Runs a program and returns what it printed.
pub fn printed(command: &mut Command) -> anyhow::Result<String> {
    let done = command.stderr(Stdio::inherit()).output().with_context(|| missing(command))?;
    anyhow::ensure!(done.status.success(), "failed: {}", line(command));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn missing(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let remedy = match program.as_str() {
        "cargo" => "install Rust with rustup",
        "clang" => "install Debian's packages clang and lld",
        "node" | "npm" => "install Node 20 or later",
        _ => "is it installed?",
    };
    format!("{program} cannot be started; {remedy}")
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// The checkout with the contract and the SDK: as given, or around this folder, or where this program was built.
pub fn checkout(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let is = |folder: &Path| folder.join("guest-sdk/wit/world.wit").is_file();
    let named = std::env::var_os("PALISADE_CHECKOUT").map(PathBuf::from);
    if let Some(folder) = given.map(Path::to_path_buf).or(named) {
        anyhow::ensure!(is(&folder), "--checkout {}: no guest-sdk in this folder", folder.display());
        return folder.canonicalize().with_context(|| folder.display().to_string());
    }
    let here = std::env::current_dir().context("the current folder")?;
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    here.ancestors().map(Path::to_path_buf).chain([built]).find(|folder| is(folder)).map_or_else(
        || anyhow::bail!("the SDK is not found; name the checkout of Palisade with --checkout or PALISADE_CHECKOUT"),
        |folder| folder.canonicalize().with_context(|| folder.display().to_string()),
    )
}
