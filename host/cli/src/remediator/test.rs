//! `palisade remediator test`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::project::{Language, Project};
use super::toolchain;
use super::{build, component, output::Output, suite};

/// What to test.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder of the project.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    project: PathBuf,
    /// Test this component instead of building one; the language's own tests are not run then.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Behaviour to expect, besides the `tests/*.yaml` of the project.
    #[arg(long, value_name = "FILE")]
    suite: Vec<PathBuf>,
    /// Write the journal of every call to this file, one a line, for `palisade remediator replay`.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// How the result is shown.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Runs all tests; false if one failed.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let output = arguments.output;
    let project = Project::open(&arguments.project)?;
    let mut suites = suites_of(&project.folder)?;
    suites.extend(arguments.suite.iter().cloned());
    let native = match (&arguments.component, project.language) {
        (None, Language::Rust) => {
            output.say("native tests (cargo test)");
            let mut tests = Command::new("cargo");
            tests.arg("test").current_dir(&project.folder);
            Some(toolchain::passes(&mut tests, output)?)
        }
        _ => None,
    };
    anyhow::ensure!(
        native.is_some() || !suites.is_empty(),
        "nothing to test: {} has no tests/*.yaml",
        project.folder.display()
    );
    let path = match &arguments.component {
        Some(path) => path.clone(),
        None => build::build(&project, output)?.path,
    };
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let module = component::load(&path, &bytes)?;
    let limits = project.limits.limits();
    let mut verdicts = Vec::new();
    for path in &suites {
        for case in suite::read(path)? {
            verdicts.push(suite::play(&module, &limits, &case)?);
        }
    }
    if let Some(path) = &arguments.journal {
        let mut text = String::new();
        for verdict in &verdicts {
            text.push_str(&serde_json::to_string(&verdict.journal)?);
            text.push('\n');
        }
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.wrong.is_empty()).count();
    let value = json!({ "native": native, "cases": verdicts, "failed": failed, "digest": module.digest() });
    output.show(&value, || {
        let told = |verdict: &suite::Verdict| {
            let word = if verdict.wrong.is_empty() { "ok    " } else { "FAILED" };
            let wrong: Vec<String> = verdict.wrong.iter().map(|wrong| format!("       {wrong}\n")).collect();
            format!("{word} {}\n{}", verdict.name, wrong.concat())
        };
        let text: Vec<String> = verdicts.iter().map(told).collect();
        let native = match native {
            Some(true) => "native tests passed; ",
            Some(false) => "native tests FAILED; ",
            None => "",
        };
        text.concat() + &format!("{native}behaviour: {} passed, {failed} failed", verdicts.len() - failed)
    });
    Ok(failed == 0 && native != Some(false))
}

fn suites_of(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(folder.join("tests")) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
