//! The real control plane: a real API server, the real controller process with the rights that are shipped and no other,
//! and objects that say what the scenario gives.
//! Several scenarios run side by side, each with names of its own: as many as do not slow each other down.

mod observe;
mod people;
mod roles;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::future::join_all;
use palisade_conformance::parts::Parts;
use palisade_conformance::plane::{NAMESPACE, Plane, Start};
use palisade_conformance::world::World;
use palisade_sandbox::demo::BackendKind;
use palisade_sandbox::lab::process;
use tokio::sync::Semaphore;

use crate::ending::Ending;
use crate::scenario::Scenario;

/// No scenario takes longer once it has begun, also on a machine that does much else.
const LIMIT: Duration = Duration::from_mins(10);
/// Neither does anything that a scenario waits for. It ends a run that hangs, and is no promise of the product.
const PATIENCE: Duration = Duration::from_mins(3);

/// Plays the scenarios, at most `lanes` of them at a time, and returns an ending for each, in their order.
pub async fn play(parts: &Parts, scenarios: &[Scenario], lanes: usize) -> anyhow::Result<Vec<anyhow::Result<Ending>>> {
    let plane = Plane::start(BackendKind::Real, "differential", parts).await?;
    plane.eyes.be_patient(PATIENCE);
    plane.install().await?;
    let kubeconfig = Some(shipped_rights(&plane).await?);
    let mut controller = plane.controller(&Start { name: "controller".to_owned(), kubeconfig, ..Start::default() })?;
    // Kinds of others and admission policies come once, before anybody needs them.
    roles::prepare(&World::new(Rc::clone(&plane), "prepare").await?, scenarios).await?;
    let lanes = Semaphore::new(lanes.max(1));
    let plays = scenarios.iter().enumerate().map(|(index, scenario)| one(&plane, &lanes, index, scenario));
    let endings = join_all(plays).await;
    if let Some(how) = controller.try_ended() {
        let last = process::tail(&controller.log, 12).join("\n");
        bail!("the controller ended by itself: {}\n{last}", process::describe(how));
    }
    controller.kill().await;
    plane.stop().await;
    Ok(endings)
}

/// Brings the roles as an installation does. Whoever plays everybody else is an administrator; the controller is not.
async fn shipped_rights(plane: &Plane) -> anyhow::Result<PathBuf> {
    let folder = plane.parts.deploy.join("rbac");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<PathBuf>>>()?;
    // The account is in one of the first, and roles are bound whether or not they are there yet.
    files.sort();
    for file in files {
        plane.apply_file(&file).await?;
    }
    plane.service_account(NAMESPACE, "palisade-controller").await
}

async fn one(plane: &Rc<Plane>, lanes: &Semaphore, index: usize, scenario: &Scenario) -> anyhow::Result<Ending> {
    // The semaphore is never closed.
    let _lane = lanes.acquire().await.ok();
    let begun = Instant::now();
    let world = World::new(Rc::clone(plane), &format!("d{index}-{}", scenario.remediator)).await?;
    let played = tokio::time::timeout(LIMIT, roles::play(&world, scenario)).await;
    world.leave().await;
    eprintln!("{:>6.1} s  {} {}", begun.elapsed().as_secs_f64(), scenario.remediator, scenario.name);
    played.with_context(|| format!("it was not over after {LIMIT:?}"))?
}
