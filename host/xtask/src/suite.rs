//! `cargo xtask test`: everything. First what is fast or builds, one after the other; then what mostly waits, in tracks
//! side by side. A failing step does not hide the others.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::demo::Parts;
use crate::workspace::{Workspace, cargo};
use crate::{
    bench, build, check, conformance, controlplane, crds, differential, etcd, guests, images, install, kill_matrix,
    kit, languages, manifests, model, monitoring, netns, page, power, registry, shell, simulate, tools, vm,
};

type Work = fn(&Workspace) -> anyhow::Result<()>;
type Step = (&'static str, Work);

/// In this order, each with all cores.
const FIRST: &[Step] = &[
    ("format", check::format),
    ("guests", |workspace| guests::build(workspace).map(drop)),
    ("lint", check::lint),
    ("unit", unit),
    ("power", power::run),
    ("registry", registry::run),
    ("crds", |workspace| crds::run(workspace, true)),
    ("manifests", |workspace| manifests::run(workspace, true)),
    ("dependencies", check::dependencies),
    ("programs", programs),
    // They compile: beside clusters that live by their clocks they would stop those for seconds.
    ("languages", |workspace| languages::run(workspace, &[])),
    ("kit", kit::run),
];

/// Side by side: clusters of processes that wait for their own clocks.
const TRACKS: &[Track] = &[
    Track {
        niceness: 0,
        steps: &[
            ("sandbox", |workspace| scenarios(workspace, "sandbox")),
            ("real", |workspace| scenarios(workspace, "real")),
            ("install", |workspace| install::run(workspace, &[])),
            ("bench", bench::assertions),
        ],
    },
    Track {
        niceness: 0,
        steps: &[
            ("conformance", |workspace| {
                shell::step("the black-box suite on both back ends", &mut conformance::command(workspace, &[])?)
            }),
            ("netns", |workspace| netns::run(workspace, &["--lanes", "2"].map(str::to_owned))),
            ("vm", vm::step),
            ("differential", differential::step),
            ("page", |workspace| page::run(workspace, &[])),
        ],
    },
    // These compute, or wait without a clock: they take what the others leave.
    Track {
        niceness: 10,
        steps: &[
            ("images", images::check),
            ("controlplane", controlplane_itself),
            ("etcd", etcd::run),
            ("monitoring", |workspace| monitoring::run(workspace, &[])),
            ("kill-matrix", kill_matrix::step),
            ("model", whole_model),
            ("simulate", |workspace| simulate::run(workspace, &simulate::Options::SUITE)),
        ],
    },
];

struct Track {
    /// As of nice(1): the higher, the more it gives way.
    niceness: i32,
    steps: &'static [Step],
}

struct Done {
    name: &'static str,
    elapsed: Duration,
    result: anyhow::Result<()>,
}

/// One step of a track, in a process of its own.
pub fn step(workspace: &Workspace, name: &str) -> anyhow::Result<()> {
    let mut steps = TRACKS.iter().flat_map(|track| track.steps);
    let (_, work) = steps.find(|(step, _)| *step == name).with_context(|| format!("--step {name}: unknown"))?;
    work(workspace)
}

/// Runs the steps whose name contains `only`, prints a table, and fails if any failed.
pub fn run(workspace: &Workspace, only: Option<&str>) -> anyhow::Result<()> {
    let all = || FIRST.iter().chain(TRACKS.iter().flat_map(|track| track.steps));
    let wanted = |name: &str| only.is_none_or(|text| name.contains(text));
    let chosen: Vec<&Step> = all().filter(|(name, _)| wanted(name)).collect();
    anyhow::ensure!(
        !chosen.is_empty(),
        "--only {}: no such step; there are {}",
        only.unwrap_or_default(),
        all().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    );
    let started = Instant::now();
    // Somebody who asks for a part wants to watch it.
    let here: Vec<&Step> = if only.is_some() { chosen } else { FIRST.iter().collect() };
    let mut results: Vec<Done> = here.into_iter().map(|step| play(workspace, step)).collect();
    if only.is_none() {
        results.extend(side_by_side(workspace)?);
    }
    println!("\n{:<14} {:>8}  result", "step", "seconds");
    for Done { name, elapsed, result } in &results {
        let verdict = result.as_ref().map_or_else(|error| format!("FAILED: {error:#}"), |()| "passed".to_owned());
        println!("{name:<14} {:>8.1}  {verdict}", elapsed.as_secs_f64());
    }
    let failed = results.iter().filter(|done| done.result.is_err()).count();
    println!("{} passed, {failed} failed, {:.0} s in all", results.len() - failed, started.elapsed().as_secs_f64());
    anyhow::ensure!(failed == 0, "{failed} of {} steps failed", results.len());
    Ok(())
}

fn play(workspace: &Workspace, (name, work): &Step) -> Done {
    eprintln!("\n######## {name}");
    let started = Instant::now();
    let result = work(workspace);
    if let Err(error) = &result {
        eprintln!("xtask: step {name} failed: {error:#}");
    }
    Done { name, elapsed: started.elapsed(), result }
}

/// Every track in a thread, every step in a process whose output is shown in one piece at its end.
fn side_by_side(workspace: &Workspace) -> anyhow::Result<Vec<Done>> {
    let logs = workspace.target.join("test-logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
    let names = TRACKS.iter().map(|track| track.steps.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
    eprintln!("\n######## side by side: {}", names.collect::<Vec<_>>().join(" | "));
    eprintln!("         each step's output follows at its end; until then it grows in {}", logs.display());
    let play = |track: &Track, name: &'static str| {
        let started = Instant::now();
        let log = logs.join(format!("{name}.log"));
        let result = step_in_process(workspace, track, name, &log);
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let elapsed = started.elapsed();
        let verdict = if result.is_ok() { "passed" } else { "FAILED" };
        eprintln!("\n######## {name}: {verdict} after {:.0} s\n{said}", elapsed.as_secs_f64());
        Done { name, elapsed, result }
    };
    let play = &play;
    Ok(std::thread::scope(|scope| {
        let tracks: Vec<_> = TRACKS
            .iter()
            .map(|track| scope.spawn(move || track.steps.iter().map(|(name, _)| play(track, name)).collect::<Vec<_>>()))
            .collect();
        // A panic of a track is a defect of this program: it goes on to whoever called.
        tracks
            .into_iter()
            .flat_map(|track| track.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    }))
}

fn step_in_process(workspace: &Workspace, track: &Track, name: &str, log: &PathBuf) -> anyhow::Result<()> {
    let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let mut command = Command::new("nice");
    command
        .args(["-n", &track.niceness.to_string()])
        // Not the file of this process: building the programs has just replaced it.
        .arg(workspace.program("xtask"))
        .args(["test", "--step", name])
        .current_dir(&workspace.root)
        .stdin(std::process::Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    shell::run(&mut command).with_context(|| format!("see {}", log.display()))
}

/// Unit, property and integration tests of all crates, documentation examples included.
fn unit(workspace: &Workspace) -> anyhow::Result<()> {
    tools::kubectl(workspace)?;
    let guests = guests::build(workspace)?;
    let mut tests = Command::new(cargo());
    tests.args(["test", "--workspace", "--no-fail-fast"]).env("PALISADE_GUESTS", guests).current_dir(&workspace.root);
    shell::step("unit and integration tests (cargo test)", &mut tests)
}

/// What the tracks start, built before any of them waits for it.
fn programs(workspace: &Workspace) -> anyhow::Result<()> {
    build::programs(workspace)?;
    controlplane::build(workspace).map(drop)
}

/// The control plane program's own tests: it is the referee, so it is checked too.
fn controlplane_itself(workspace: &Workspace) -> anyhow::Result<()> {
    let program = controlplane::build(workspace)?;
    let mut tests =
        shell::command(&workspace.root.join("tests/controlplane"), "go", &["test", "-trimpath", "-count=1", "./..."]);
    tests.envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")]).env("PALISADE_CONTROLPLANE", program);
    shell::step("tests of the real control plane (go test)", &mut tests)
}

/// Every configuration and every mutant. The limit is for a configuration that grew, not for a machine on which the model
/// gives way to all others.
fn whole_model(workspace: &Workspace) -> anyhow::Result<()> {
    model::run(workspace, &["--all", "--seconds", "900"].map(str::to_owned))
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
    matrix.args(["--backend", backend, "--lanes", "2"]);
    // The longer one tells its results even if the first failed.
    shell::step(&format!("scenarios on the {backend} back end"), &mut matrix).and(first)
}
