//! A real control plane with an audit log made for assertions.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use palisade_sandbox::lab::process::{self, Launcher, Process, Program};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::audit::AuditLog;

/// Longest start; it takes 5 s on two free cores.
const START_LIMIT: Duration = Duration::from_mins(3);
/// How long it may take to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Requests whose answers take long are not counted against the controller by this policy.
const POLICY: &str = include_str!("../audit-policy.yaml");

/// The programs that the bench starts.
#[derive(Debug, Clone, clap::Args)]
pub struct Parts {
    /// The `palisade` program; beside this one if not given.
    #[arg(long, value_name = "FILE")]
    palisade: Option<PathBuf>,
    /// The real control plane program; `cargo xtask bench` builds it.
    #[arg(long, value_name = "FILE")]
    pub controlplane: PathBuf,
    /// Folder of the built-in remediators; `../guests` from this program if not given.
    #[arg(long, value_name = "FOLDER")]
    remediators: Option<PathBuf>,
    /// Folder of the CRD manifests.
    #[arg(long, value_name = "FOLDER", default_value = "crds")]
    pub crds: PathBuf,
}

impl Parts {
    /// The `palisade` program.
    pub fn palisade(&self) -> PathBuf {
        self.palisade.clone().unwrap_or_else(|| here().join("palisade"))
    }

    /// Folder of the built-in remediators.
    pub fn remediators(&self) -> PathBuf {
        self.remediators.clone().unwrap_or_else(|| here().join("../guests"))
    }

    /// Starts children that end with this process.
    pub fn launcher(&self, dir: &Path) -> Launcher {
        Launcher { palisade: self.palisade(), logs: dir.join("logs") }
    }
}

fn here() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.parent().map(PathBuf::from).unwrap_or_default()
}

/// How it is started.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Port of the API server; 0 picks a free one.
    pub port: u16,
    /// Silence after which a node is Unknown; Kubernetes' own default if absent.
    pub node_grace: Option<Duration>,
    /// More options of the program.
    pub extra: Vec<String>,
}

/// The line that the program prints when it is ready.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // the program names its fields
struct Ready {
    kubeconfig: PathBuf,
    audit_log: PathBuf,
    kubernetes_version: String,
    ready_seconds: f64,
}

/// A running control plane; it ends when dropped, in better order by [`Plane::stop`].
pub struct Plane {
    /// Kubeconfig of an administrator.
    pub admin_kubeconfig: PathBuf,
    /// Its audit log.
    pub audit: AuditLog,
    /// Version of Kubernetes.
    pub version: String,
    /// Seconds until it was ready.
    pub ready_seconds: f64,
    dir: PathBuf,
    program: PathBuf,
    process: Process,
}

impl Plane {
    /// Starts it in a folder and waits until it is ready.
    pub async fn start(parts: &Parts, dir: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let plane_dir = dir.join("controlplane");
        std::fs::create_dir_all(&plane_dir).with_context(|| plane_dir.display().to_string())?;
        let policy = dir.join("audit-policy.yaml");
        std::fs::write(&policy, POLICY).with_context(|| policy.display().to_string())?;
        let mut args: Vec<OsString> = vec!["--dir".into(), plane_dir.clone().into(), "--exit-with-parent".into()];
        args.extend(["--audit-policy".into(), policy.into()]);
        args.extend([OsString::from("--port"), settings.port.to_string().into()]);
        // Thousands of nodes are more than its cautious defaults of 20 a second keep up with.
        args.extend(["--controller-manager-arg=--kube-api-qps=500".into()]);
        args.extend(["--controller-manager-arg=--kube-api-burst=1000".into()]);
        if let Some(grace) = settings.node_grace {
            args.push(format!("--node-monitor-grace-period={}ms", grace.as_millis()).into());
            // Often enough for a short time, and a pass over thousands of nodes takes a while.
            args.push(format!("--node-monitor-period={}s", (grace.as_secs() / 10).clamp(1, 5)).into());
        }
        args.extend(settings.extra.iter().map(OsString::from));
        let start =
            Program { name: "controlplane".to_owned(), program: parts.controlplane.clone(), args, env: Vec::new() };
        let mut process = parts.launcher(dir).start(&start, true)?;
        let stdout = process.take_stdout().context("the control plane has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = match tokio::time::timeout(START_LIMIT, lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(_) => {
                let said = process::tail(&process.log, 15).join("\n");
                bail!("the control plane ended before it was ready; its log {} ends:\n{said}", process.log.display());
            }
            Err(_) => bail!("the control plane was not ready after {START_LIMIT:?}; see {}", process.log.display()),
        };
        let ready: Ready = serde_json::from_str(&line).with_context(|| format!("the control plane said {line:?}"))?;
        Ok(Self {
            admin_kubeconfig: ready.kubeconfig,
            audit: AuditLog::new(ready.audit_log),
            version: ready.kubernetes_version,
            ready_seconds: ready.ready_seconds,
            dir: plane_dir,
            program: parts.controlplane.clone(),
            process,
        })
    }

    /// A client of an administrator.
    pub async fn admin(&self) -> anyhow::Result<Client> {
        client(&std::fs::read_to_string(&self.admin_kubeconfig)?, "palisade-bench").await
    }

    /// A client of another user, which the audit log tells apart.
    pub async fn user(&self, name: &str, group: &str, agent: &str) -> anyhow::Result<Client> {
        let kubeconfig = self.tool(&["client-cert", "--cn", name, "--org", group]).await?;
        client(&kubeconfig, agent).await
    }

    /// Kubeconfig of a service account.
    pub async fn service_account(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        self.tool(&["kubeconfig", "--namespace", namespace, "--service-account", name]).await
    }

    async fn tool(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.program).args(arguments).arg("--dir").arg(&self.dir).output().await?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{}: {complaint}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until it ends by itself, which is a failure.
    pub async fn ended(&mut self) -> String {
        let status = self.process.ended().await;
        status.map_or_else(|error| error.to_string(), process::describe)
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        self.process.stop(STOP_LIMIT).await;
    }
}

/// A client that says who it is.
pub async fn client(kubeconfig: &str, agent: &str) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).context("the kubeconfig cannot be read")?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.headers.push((http::header::USER_AGENT, agent.parse().context("user agent")?));
    Ok(Client::try_from(config)?)
}
