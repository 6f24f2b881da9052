//! `cargo xtask test`: everything, in order of how fast it tells. A failing step does not hide the later ones.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::demo::Parts;
use crate::workspace::{Workspace, cargo};
use crate::{check, controlplane, crds, guests, shell, tools};

type Step = fn(&Workspace) -> anyhow::Result<()>;

const STEPS: [(&str, Step); 9] = [
    ("format", check::format),
    ("guests", |workspace| guests::build(workspace).map(drop)),
    ("lint", check::lint),
    ("unit", unit),
    ("crds", |workspace| crds::run(workspace, true)),
    ("dependencies", check::dependencies),
    ("sandbox", |workspace| scenarios(workspace, "sandbox")),
    ("controlplane", controlplane_itself),
    ("real", |workspace| scenarios(workspace, "real")),
];

/// Runs the steps whose name contains `only`, prints a table, and fails if any failed.
pub fn run(workspace: &Workspace, only: Option<&str>) -> anyhow::Result<()> {
    let chosen: Vec<_> = STEPS.iter().filter(|(name, _)| only.is_none_or(|text| name.contains(text))).collect();
    anyhow::ensure!(
        !chosen.is_empty(),
        "--only {}: no such step; there are {}",
        only.unwrap_or_default(),
        STEPS.map(|(name, _)| name).join(", ")
    );
    let mut results: Vec<(&str, Duration, anyhow::Result<()>)> = Vec::new();
    for (name, step) in chosen {
        eprintln!("\n######## {name}");
        let started = Instant::now();
        let result = step(workspace);
        if let Err(error) = &result {
            eprintln!("xtask: step {name} failed: {error:#}");
        }
        results.push((name, started.elapsed(), result));
    }
    println!("\n{:<14} {:>8}  result", "step", "seconds");
    for (name, elapsed, result) in &results {
        let verdict = result.as_ref().map_or_else(|error| format!("FAILED: {error:#}"), |()| "passed".to_owned());
        println!("{name:<14} {:>8.1}  {verdict}", elapsed.as_secs_f64());
    }
    let failed = results.iter().filter(|(_, _, result)| result.is_err()).count();
    println!("{} passed, {failed} failed", results.len() - failed);
    anyhow::ensure!(failed == 0, "{failed} of {} steps failed", results.len());
    Ok(())
}

/// Unit, property and integration tests of all crates, documentation examples included.
fn unit(workspace: &Workspace) -> anyhow::Result<()> {
    tools::kubectl(workspace)?;
    let guests = guests::build(workspace)?;
    let mut tests = Command::new(cargo());
    tests.args(["test", "--workspace", "--no-fail-fast"]).env("PALISADE_GUESTS", guests).current_dir(&workspace.root);
    shell::step("unit and integration tests (cargo test)", &mut tests)
}

/// The control plane program's own tests: it is the referee, so it is checked first.
fn controlplane_itself(workspace: &Workspace) -> anyhow::Result<()> {
    let program = controlplane::build(workspace)?;
    let mut tests =
        shell::command(&workspace.root.join("tests/controlplane"), "go", &["test", "-trimpath", "-count=1", "./..."]);
    tests.envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")]).env("PALISADE_CONTROLPLANE", program);
    shell::step("tests of the real control plane (go test)", &mut tests)
}

/// Every fault with every strategy on one back end.
fn scenarios(workspace: &Workspace, backend: &str) -> anyhow::Result<()> {
    tools::kubectl(workspace)?;
    let parts = Parts::build(workspace, backend == "real")?;
    let mut end_to_end = parts.program(workspace, "palisade-e2e");
    end_to_end.args(["--backend", backend]);
    let first =
        shell::step(&format!("kubectl, bad input and hostile components on the {backend} back end"), &mut end_to_end);
    let mut matrix = parts.command(workspace, "matrix");
    matrix.args(["--backend", backend]);
    // The longer one tells its results even if the first failed.
    shell::step(&format!("scenarios on the {backend} back end"), &mut matrix).and(first)
}
