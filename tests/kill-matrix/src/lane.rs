//! A control plane with one controller behind a gate, on which runs follow each other.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use palisade_conformance::parts::Parts;
use palisade_conformance::plane::{Plane, Start};
use palisade_conformance::world::World;
use palisade_sandbox::demo::BackendKind;
use palisade_sandbox::lab::process::{self, Process};
use serde_json::Value;

use crate::gate::{Gate, Plan, Write};
use crate::story::{Ending, Scene, Story};

/// No run takes longer, killed or not.
const LIMIT: Duration = Duration::from_mins(4);

/// How long writes may be on their way after the controller's death.
const SETTLED: Duration = Duration::from_secs(10);

/// A control plane, a gate, a controller.
pub struct Lane {
    plane: Rc<Plane>,
    gate: Rc<Gate>,
    start: Start,
    process: Process,
    devices: PathBuf,
    runs: usize,
}

/// How a run went.
pub struct Played {
    /// How things are at its end.
    pub ending: Ending,
    /// What the controller wrote, as far as it came before it was killed.
    pub writes: Vec<Write>,
    /// Whether it was killed.
    pub killed: bool,
    /// How long it took.
    pub seconds: f64,
}

impl Lane {
    /// Starts everything.
    pub async fn start(kind: BackendKind, name: &str, parts: &Parts) -> anyhow::Result<Self> {
        let plane = Plane::start(kind, name, parts).await?;
        plane.install().await?;
        let devices = plane.dir.join("devices");
        crate::story::fence_agents::install(&devices)?;
        let gate = Gate::open(plane.client.clone(), &plane.dir).await?;
        let start = Start {
            name: "controller".to_owned(),
            args: vec!["--fence-agent-folder".to_owned(), devices.join("agents").display().to_string()],
            kubeconfig: Some(gate.kubeconfig.clone()),
            ..Start::default()
        };
        let process = plane.controller(&start)?;
        Ok(Self { plane, gate: Rc::new(gate), start, process, devices, runs: 0 })
    }

    /// Plays a story once. A controller that is killed is started again at once.
    pub async fn play(&mut self, story: &Story, plan: Plan) -> anyhow::Result<Played> {
        self.runs += 1;
        let begun = Instant::now();
        let world = World::new(Rc::clone(&self.plane), &format!("k{}-{}", self.runs, story.name)).await?;
        let scene =
            Scene { world: Rc::clone(&world), gate: Rc::clone(&self.gate), devices: self.devices.clone(), plan };
        let (gate, plane, start, process) = (&self.gate, &self.plane, &self.start, &mut self.process);
        let keep = async {
            loop {
                gate.reached().await;
                process.kill().await;
                gate.reopen();
                *process = plane.controller(start)?;
            }
        };
        let told = tokio::time::timeout(LIMIT, (story.play)(scene));
        let result = tokio::select! {
            played = told => played.unwrap_or_else(|_| Err(anyhow::anyhow!("it was not over after {LIMIT:?}"))),
            failed = keep => failed,
        };
        let died = self.process.try_ended().map(process::describe);
        let planned = self.gate.planned();
        let writes = self.gate.disarm();
        // It was reached in the moment in which the story ended.
        if self.gate.is_shut() {
            self.process.kill().await;
            self.gate.reopen();
            self.process = self.plane.controller(&self.start)?;
        } else if let Some(how) = died {
            self.process = self.plane.controller(&self.start)?;
            anyhow::bail!("the controller died by itself: {how}; see {}", self.process.log.display());
        }
        world.leave().await;
        let ending = result.with_context(|| {
            let last = process::tail(&self.process.log, 12).join("\n");
            format!("the end of {}:\n{last}", self.process.log.display())
        })?;
        Ok(Played { ending, killed: plan.is_some() && !planned, writes, seconds: begun.elapsed().as_secs_f64() })
    }

    /// Ends everything in order, and compares what went through the gate with what the API server's audit log says, where
    /// there is one. Returns how many writes both saw.
    pub async fn end(mut self) -> anyhow::Result<Option<usize>> {
        // Before they are compared: a controller that runs writes between the two counts.
        self.process.kill().await;
        let audited = self.audited().await;
        self.plane.stop().await;
        audited
    }

    /// What was sent before the controller died may still be on its way to either count.
    async fn audited(&self) -> anyhow::Result<Option<usize>> {
        if self.plane.kind != BackendKind::Real {
            return Ok(None);
        }
        let begun = Instant::now();
        loop {
            let (logged, counted) = (self.logged()?, self.gate.accepted());
            if logged == counted {
                return Ok(Some(counted));
            }
            ensure!(
                begun.elapsed() < SETTLED,
                "the audit log shows {logged} writes of the controller, the gate counted {counted}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Writes of the controller that the audit log shows as accepted.
    fn logged(&self) -> anyhow::Result<usize> {
        let file = self.plane.dir.join("controlplane/audit.log");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut logged = 0;
        for line in text.lines() {
            let entry: Value = serde_json::from_str(line).unwrap_or_default();
            let is = |key: &str, wanted: &[&str]| entry[key].as_str().is_some_and(|text| wanted.contains(&text));
            let ours = entry["userAgent"].as_str().is_some_and(|agent| agent.starts_with("palisade-controller/"));
            let code = entry["responseStatus"]["code"].as_u64().unwrap_or(0);
            let write = is("verb", &["create", "update", "patch", "delete", "deletecollection"]);
            logged += usize::from(ours && write && is("stage", &["ResponseComplete"]) && (200..300).contains(&code));
        }
        Ok(logged)
    }
}
