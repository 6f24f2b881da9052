//! One guest that plays one scenario again and again, each time in a new boot.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use palisade_core::fencing::record::BootId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cluster::Cluster;
use crate::device::Device;
use crate::image::{Parts, read};
use crate::machine::{Accelerator, Event, Machine, Spec};
use crate::scenario::{Run, Scenario, Stage};
use crate::timing::Timing;

/// Time from power on to the first line of the guest's first process.
/// Half a minute where nothing else runs; on a busy machine a translated guest has waited for minutes.
const BOOT: Duration = Duration::from_mins(6);
/// The same where the processor runs the guest; it takes about two seconds.
const KVM_BOOT: Duration = Duration::from_secs(10);
/// So many boots of a series may end before anything is done to them.
const PATIENCE: usize = 4;
/// Guests that boot at the same time: booting is the only thing that needs a processor all the time, and others here
/// live by their clocks.
const BOOTING: usize = 1;

/// What all guests share.
pub struct World {
    cluster: Cluster,
    parts: Parts,
    timing: Timing,
    accelerator: Accelerator,
    folder: PathBuf,
    booting: Arc<Semaphore>,
    running: Semaphore,
}

impl World {
    /// Around a running cluster.
    pub fn new(
        cluster: Cluster,
        parts: Parts,
        timing: Timing,
        accelerator: Accelerator,
        folder: PathBuf,
        parallel: usize,
    ) -> Arc<Self> {
        let booting = Arc::new(Semaphore::new(BOOTING));
        Arc::new(Self {
            cluster,
            parts,
            timing,
            accelerator,
            folder,
            booting,
            running: Semaphore::new(parallel.max(1)),
        })
    }
}

/// All runs of one scenario with one device.
pub struct Series {
    /// The scenario.
    pub scenario: Scenario,
    /// The device.
    pub device: Device,
    /// How many were wanted.
    pub wanted: usize,
    /// Runs that came to an end.
    pub runs: Vec<Run>,
    /// Boots that ended, or were given up, before anything was done to them. They are no runs.
    pub interrupted: usize,
    /// Why it ended before all runs were done.
    pub failure: Option<String>,
    /// Resident memory of the agent at the end, as its kernel says.
    pub memory: Option<String>,
}

impl Series {
    /// Whether every run kept its bound.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
            && self.runs.len() == self.wanted
            && self.runs.iter().all(|run| run.took.zip(run.limit).is_none_or(|(took, limit)| took <= limit))
    }

    /// Plays it.
    pub async fn play(world: &World, device: Device, scenario: Scenario, wanted: usize) -> Self {
        let mut series =
            Self { scenario, device, wanted, runs: Vec::new(), interrupted: 0, failure: None, memory: None };
        let Ok(_turn) = world.running.acquire().await else { return series };
        if let Err(error) = series.play_all(world).await {
            series.failure = Some(format!("{error:#}"));
        }
        series
    }

    async fn play_all(&mut self, world: &World) -> anyhow::Result<()> {
        let node = format!("{}-{}", self.device, self.scenario);
        let folder = world.folder.join(&node);
        std::fs::create_dir_all(&folder)?;
        let forward = world.cluster.free_address()?;
        let arguments = self.arguments(world, &node, &forward.to_string());
        let image = folder.join("image.cpio");
        world.parts.write(&image, self.device, &arguments, self.scenario.prepare(), &world.cluster.kubeconfig()?)?;
        let spec = Spec {
            folder,
            kernel: world.parts.kernel_image()?,
            image,
            device: self.device,
            accelerator: world.accelerator,
            forward: Some(forward),
        };
        let permit = boot_permit(world).await?;
        let mut machine = Machine::start(&spec).await?;
        let outcome = self.repeat(world, &node, &mut machine, permit).await;
        outcome.with_context(|| format!("run {}; the console ends with\n{}", self.runs.len() + 1, machine.last_words()))
    }

    async fn repeat(
        &mut self,
        world: &World,
        node: &str,
        machine: &mut Machine,
        permit: OwnedSemaphorePermit,
    ) -> anyhow::Result<()> {
        let mut permit = Some(permit);
        let mut boot = self.booted(machine, None).await?;
        while self.runs.len() < self.wanted {
            let mut stage =
                Stage { machine, cluster: &world.cluster, node, device: self.device, timing: &world.timing };
            let prepared = async {
                stage.ready(self.scenario, &boot).await?;
                stage.lively(&boot).await
            };
            if let Err(error) = prepared.await {
                self.no_run(node, error)?;
                permit = match permit.take() {
                    Some(permit) => Some(permit),
                    None => Some(boot_permit(world).await?),
                };
                machine.reset().await?;
                boot = self.booted(machine, Some(&boot)).await?;
                continue;
            }
            drop(permit.take());
            if self.runs.len() + 1 == self.wanted {
                stage.machine.tell("memory").await?;
                self.memory = Some(stage.machine.answer("memory", BOOT).await?.1);
            }
            match stage.act(self.scenario, &boot).await? {
                Some(run) => self.runs.push(run),
                None => self.no_run(node, anyhow::anyhow!("it ended itself before it was killed"))?,
            }
            // That another boot follows is part of a run only where the boot was to be ended.
            let again = self.scenario == Scenario::Helpless && self.runs.len() < self.wanted;
            if self.scenario.resets() || again {
                // The guest is frozen in its firmware until others have booted.
                machine.pause().await?;
                self.after_reset(world, node, &boot).await?;
                permit = Some(boot_permit(world).await?);
                machine.cable(true).await?;
                machine.resume().await?;
                boot = self.booted(machine, Some(&boot)).await?;
                if self.scenario == Scenario::Clock {
                    let mut stage =
                        Stage { machine, cluster: &world.cluster, node, device: self.device, timing: &world.timing };
                    stage.one_reset_is_enough(&boot).await?;
                }
            }
        }
        Ok(())
    }

    /// Counts a boot to which nothing was done in time: this machine was too busy for its guest, or for the API server.
    fn no_run(&mut self, node: &str, why: anyhow::Error) -> anyhow::Result<()> {
        self.interrupted += 1;
        eprintln!("{node}: this boot is no run: {why:#}");
        if self.interrupted > PATIENCE {
            return Err(why.context(format!("{PATIENCE} boots ended before anything was done to them")));
        }
        Ok(())
    }

    /// What the lease has to say before the new boot writes it.
    async fn after_reset(&self, world: &World, node: &str, boot: &BootId) -> anyhow::Result<()> {
        let fenced = [Scenario::Intent, Scenario::IntentWatchdog, Scenario::Clock, Scenario::Busy];
        if fenced.contains(&self.scenario) {
            let record = world.cluster.record(node).await?.context("no record")?;
            ensure!(record.boot_id == *boot, "the lease is of another boot already");
            ensure!(record.acknowledged.is_some(), "the intent was not acknowledged before the reset: {record:?}");
            // The scenario with the clock needs to see that the next boot leaves it alone.
            if self.scenario != Scenario::Clock {
                world.cluster.clear_intent(node).await?;
            }
        }
        Ok(())
    }

    /// Waits for the first line of a boot; its id has to be a new one.
    async fn booted(&self, machine: &mut Machine, before: Option<&BootId>) -> anyhow::Result<BootId> {
        let deadline = Instant::now() + BOOT;
        loop {
            let event = machine.next(deadline.saturating_duration_since(Instant::now())).await?;
            match event.context("the guest did not boot")? {
                Event::Line(_, line) => {
                    // Firmware may leave bytes before the first line.
                    if let Some((_, id)) = line.split_once("boot ") {
                        let boot = BootId::new(id).context("an empty boot id")?;
                        ensure!(Some(&boot) != before, "the boot id did not change");
                        return Ok(boot);
                    }
                }
                // A machine may say more than once that it was reset.
                Event::Reset(_) | Event::Watchdog(_) | Event::Gone => {}
            }
        }
    }

    fn arguments(&self, world: &World, node: &str, address: &str) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "--node-name",
            node,
            "--kubeconfig",
            "/kubeconfig",
            "--listen",
            "0.0.0.0:30001",
            "--advertise",
            address,
            "--watchdog",
            "/dev/watchdog",
            "--reboot",
            if self.scenario.software_reboot() { "sysrq" } else { "none" },
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--watchdog-timeout={}s", world.timing.watchdog));
        if self.device == Device::Softdog {
            arguments.push("--load-softdog".to_owned());
        }
        arguments.extend(world.timing.arguments());
        arguments
    }
}

async fn boot_permit(world: &World) -> anyhow::Result<OwnedSemaphorePermit> {
    Ok(Arc::clone(&world.booting).acquire_owned().await?)
}

/// Whether this machine's processor can run guests: tried, because a device node says little.
pub async fn accelerator(parts: &Parts) -> anyhow::Result<Accelerator> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(Accelerator::Software);
    }
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("image.cpio");
    parts.write(&image, Device::Softdog, &["--version".to_owned()], "", &read(Path::new("/dev/null"))?)?;
    let spec = Spec {
        folder: folder.path().to_owned(),
        kernel: parts.kernel_image()?,
        image,
        device: Device::Softdog,
        accelerator: Accelerator::Kvm,
        forward: None,
    };
    let works = async {
        let mut machine = Machine::start(&spec).await?;
        machine.answer("boot", KVM_BOOT).await
    };
    match works.await {
        Ok(_) => Ok(Accelerator::Kvm),
        Err(error) => {
            eprintln!("/dev/kvm exists, but a guest does not boot with it ({error:#}): software emulation instead");
            Ok(Accelerator::Software)
        }
    }
}
