//! Writes the definitions as YAML files, or checks that the files are what would be written.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use palisade_api::all_crds;

const USAGE: &str = "usage: palisade-crds (write|check) DIR";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", directory] => write(Path::new(directory)),
        ["check", directory] => check(Path::new(directory)),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn files(directory: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    all_crds()
        .iter()
        .map(|crd| {
            let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            let text = palisade_api::to_yaml(crd).map_err(|error| format!("cannot encode {name}: {error}"))?;
            Ok((directory.join(name), text))
        })
        .collect()
}

fn write(directory: &Path) -> Result<(), String> {
    std::fs::create_dir_all(directory).map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
    for (path, text) in files(directory)? {
        std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

fn check(directory: &Path) -> Result<(), String> {
    let expected = files(directory)?;
    let mut stale: Vec<String> = expected
        .iter()
        .filter(|(path, text)| std::fs::read_to_string(path).ok().as_ref() != Some(text))
        .map(|(path, _)| path.display().to_string())
        .collect();
    let unknown = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|path| !expected.iter().any(|(known, _)| known == path))
        .map(|path| format!("{} (belongs to no kind)", path.display()));
    stale.extend(unknown);
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("not what the types say; run `cargo xtask crds`:\n  {}", stale.join("\n  ")))
}
