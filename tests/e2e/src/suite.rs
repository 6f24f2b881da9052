//! Runs named cases on one back end and counts them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use palisade_sandbox::demo::{self, Backend, BackendKind, Parts, Stand, Style, Timeline};
use palisade_sandbox::lab::process::Launcher;
use palisade_sandbox::lab::timings::Timings;
use tokio::process::Command;

/// One back end and the cases played on it.
pub struct Suite {
    /// The back end and the programs.
    pub stand: Stand,
    results: Vec<(String, Result<(), String>, f64)>,
}

impl Suite {
    /// Starts a bare back end: nothing of ours is installed yet.
    pub async fn start(kind: BackendKind, parts: Parts) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("palisade-e2e-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let launcher = Launcher { palisade: parts.palisade.clone(), logs: dir.join("logs") };
        let backend = Backend::start(kind, &dir, 0, &parts, &launcher, &Timings::default()).await?;
        eprintln!("{} ready after {:.1} s", backend.description, backend.ready_seconds);
        Ok(Self { stand: Stand { backend, parts, launcher, dir }, results: Vec::new() })
    }

    /// CRDs, accounts and configuration, as the demonstration brings them.
    pub async fn bring_installation(&self) -> anyhow::Result<()> {
        demo::install(&self.stand, &Timings::default(), &Timeline::new(Style::Silent)).await
    }

    /// Notes how a case ended.
    pub fn note(&mut self, name: &str, started: Instant, result: Result<(), String>) {
        let seconds = started.elapsed().as_secs_f64();
        match &result {
            Ok(()) => println!("ok      {seconds:>6.1} s  {name}"),
            Err(failure) => println!("FAILED  {seconds:>6.1} s  {name}\n        {failure}"),
        }
        self.results.push((name.to_owned(), result, seconds));
    }

    /// Runs kubectl as a user with administrator's rights would; what it printed, both streams together.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.stand.backend.admin_kubeconfig).args(arguments);
        let run = tokio::time::timeout(Duration::from_secs(90), command.output());
        let output = match run.await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(format!("kubectl cannot be started: {error}")),
            Err(_) => return Err(format!("kubectl {} took too long", arguments.join(" "))),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        if output.status.success() { Ok(said) } else { Err(format!("kubectl {}: {said}", arguments.join(" "))) }
    }

    /// Writes a manifest for kubectl.
    pub fn manifest(&self, name: &str, content: &str) -> Result<PathBuf, String> {
        let path = self.stand.dir.join(format!("{name}.yaml"));
        std::fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// Ends everything and counts.
    pub async fn finish(self) -> anyhow::Result<bool> {
        self.stand.backend.stop().await;
        let failed = self.results.iter().filter(|(_, result, _)| result.is_err()).count();
        println!("{} passed, {failed} failed", self.results.len() - failed);
        if failed == 0 {
            let _ = std::fs::remove_dir_all(&self.stand.dir);
        } else {
            println!("everything is kept in {}", self.stand.dir.display());
        }
        Ok(failed == 0)
    }
}
