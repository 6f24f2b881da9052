//! The API that nodes register with: the in-process store, or a real control plane as a child process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::options::{BackendKind, Parts};
use crate::api::{ApiServer, ApiStore};
use crate::lab::process::{self, Launcher, Process, Program};
use crate::lab::timings::{Timings, go};

/// A running back end; ends when dropped, in better order by [`Backend::stop`].
pub struct Backend {
    /// Which one.
    pub kind: BackendKind,
    /// Kubeconfig of an administrator.
    pub admin_kubeconfig: PathBuf,
    /// What to tell the reader about it.
    pub description: String,
    /// Log of its requests; the sandbox keeps none.
    pub audit_log: Option<PathBuf>,
    /// Seconds until it was ready.
    pub ready_seconds: f64,
    dir: PathBuf,
    controlplane: Option<PathBuf>,
    running: Running,
}

enum Running {
    Sandbox { _server: ApiServer, _store: ApiStore },
    Real(Process),
}

/// The line that the control plane prints when it is ready.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    kubeconfig: PathBuf,
    kubernetes_version: String,
    audit_log: PathBuf,
}

/// Longest start of the real control plane; it takes 12 s on two free cores.
const START_LIMIT: Duration = Duration::from_mins(3);
/// How long it may take to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(15);

impl Backend {
    /// Starts it and waits until it is ready. `port` 0 chooses a free one.
    pub async fn start(
        kind: BackendKind,
        dir: &Path,
        port: u16,
        parts: &Parts,
        launcher: &Launcher,
        timings: &Timings,
    ) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut backend = match kind {
            BackendKind::Sandbox => Self::sandbox(dir, port).await?,
            BackendKind::Real => Self::real(dir, port, parts, launcher, timings).await?,
        };
        backend.ready_seconds = started.elapsed().as_secs_f64();
        Ok(backend)
    }

    async fn sandbox(dir: &Path, port: u16) -> anyhow::Result<Self> {
        let store = ApiStore::default();
        let server = ApiServer::start(store.clone(), ([127, 0, 0, 1], port).into()).await.context("API store")?;
        let admin_kubeconfig = dir.join("admin.kubeconfig");
        server.write_kubeconfig(&admin_kubeconfig).context("kubeconfig")?;
        Ok(Self {
            kind: BackendKind::Sandbox,
            admin_kubeconfig,
            audit_log: None,
            description: "in-process API store with stand-ins for scheduler and controllers".to_owned(),
            ready_seconds: 0.0,
            dir: dir.to_owned(),
            controlplane: None,
            running: Running::Sandbox { _server: server, _store: store },
        })
    }

    async fn real(
        dir: &Path,
        port: u16,
        parts: &Parts,
        launcher: &Launcher,
        timings: &Timings,
    ) -> anyhow::Result<Self> {
        let program = parts.controlplane.clone().context(
            "the real back end needs the control plane binary: give --controlplane, or use `cargo xtask demo \
             --backend real`, which builds it",
        )?;
        let plane_dir = dir.join("controlplane");
        let grace = go(timings.node_grace);
        let mut args: Vec<OsString> = vec!["--dir".into(), plane_dir.clone().into(), "--exit-with-parent".into()];
        args.extend([OsString::from("--port"), port.to_string().into()]);
        // Detection is shortened for the demonstration; nothing in the proof depends on it.
        args.extend([OsString::from(format!("--node-monitor-grace-period={grace}"))]);
        args.extend([OsString::from(format!("--node-monitor-period={}", go(timings.node_monitor())))]);
        // How soon attach/detach notices that somebody else removed a VolumeAttachment.
        args.extend([OsString::from("--controller-manager-arg=--attach-detach-reconcile-sync-period=3s")]);
        let start = Program { name: "controlplane".to_owned(), program: program.clone(), args, env: Vec::new() };
        let mut process = launcher.start(&start, true)?;
        let stdout = process.take_stdout().context("the control plane has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(START_LIMIT, lines.next_line()).await;
        let line = match first {
            Ok(Ok(Some(line))) => line,
            Ok(_) => {
                let said = process::tail(&process.log, 15).join("\n");
                bail!("the control plane ended before it was ready; its log {} ends:\n{said}", process.log.display());
            }
            Err(_) => bail!("the control plane was not ready after {START_LIMIT:?}; see {}", process.log.display()),
        };
        let ready: Ready = serde_json::from_str(&line).with_context(|| format!("the control plane said {line:?}"))?;
        Ok(Self {
            kind: BackendKind::Real,
            admin_kubeconfig: ready.kubeconfig,
            audit_log: Some(ready.audit_log),
            description: format!("Kubernetes {}", ready.kubernetes_version),
            ready_seconds: 0.0,
            dir: plane_dir,
            controlplane: Some(program),
            running: Running::Real(process),
        })
    }

    /// The administrator's kubeconfig.
    pub fn admin(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(&self.admin_kubeconfig).with_context(|| self.admin_kubeconfig.display().to_string())
    }

    /// Kubeconfig of one of our own service accounts; the sandbox knows no identities.
    pub async fn service_account(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        let Some(program) = &self.controlplane else { return self.admin() };
        let output = tokio::process::Command::new(program)
            .args(["kubeconfig", "--namespace", namespace, "--service-account", name, "--dir"])
            .arg(&self.dir)
            .output()
            .await
            .context("kubeconfig of a service account")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "kubeconfig of service account {namespace}/{name}: {complaint}");
        String::from_utf8(output.stdout).context("kubeconfig of a service account")
    }

    /// Ends it in order.
    pub async fn stop(self) {
        if let Running::Real(mut process) = self.running {
            process.stop(STOP_LIMIT).await;
        }
    }
}
