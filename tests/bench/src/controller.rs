//! The controller under test: a process of its own with a service account of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use palisade_sandbox::lab::process::{self, Launcher, Process, Program};

use crate::plane::{Parts, Plane};

/// Namespace of controller and agents.
pub const NAMESPACE: &str = palisade_api::keys::palisade::NAMESPACE;
/// The controller's user in the audit log.
pub const USER: &str = "system:serviceaccount:palisade-system:palisade-controller";
/// Name of its service account.
pub const ACCOUNT: &str = "palisade-controller";

/// A running controller; killed when dropped.
pub struct Controller {
    /// Name of the process in its user agent, certificates and events.
    pub observer: String,
    /// Its log.
    pub log: PathBuf,
    process: Process,
}

/// How it is started.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// More options of `palisade controller`.
    pub options: Vec<String>,
    /// `RUST_LOG`; only warnings if empty.
    pub log: String,
}

impl Controller {
    /// Starts one.
    pub async fn start(
        parts: &Parts,
        plane: &Plane,
        dir: &Path,
        observer: &str,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let kubeconfig = dir.join(format!("{observer}.kubeconfig"));
        let text = plane.service_account(NAMESPACE, ACCOUNT).await?;
        std::fs::write(&kubeconfig, text).with_context(|| kubeconfig.display().to_string())?;
        let mut args: Vec<OsString> = vec!["controller".into()];
        let mut flag = |name: &str, value: OsString| args.extend([OsString::from(name), value]);
        flag("--kubeconfig", kubeconfig.into());
        flag("--namespace", NAMESPACE.into());
        flag("--remediators", parts.remediators().into());
        flag("--module-cache", dir.join("module-cache").into());
        flag("--observer", observer.into());
        args.extend(settings.options.iter().map(OsString::from));
        let filter = if settings.log.is_empty() { "warn" } else { settings.log.as_str() };
        let program = Program {
            name: observer.to_owned(),
            program: parts.palisade(),
            args,
            env: vec![("RUST_LOG".to_owned(), filter.to_owned()), ("NO_COLOR".to_owned(), "1".to_owned())],
        };
        let launcher: Launcher = parts.launcher(dir);
        let process = launcher.start(&program, false)?;
        Ok(Self { observer: observer.to_owned(), log: process.log.clone(), process })
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Fails with the end of its log if it ended.
    pub fn ensure_alive(&mut self) -> anyhow::Result<()> {
        match self.process.try_ended() {
            None => Ok(()),
            Some(status) => {
                let said = process::tail(&self.log, 10).join("\n");
                anyhow::bail!("controller {} ended with {}:\n{said}", self.observer, process::describe(status))
            }
        }
    }

    /// Stops its execution, as a machine that hangs does, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        self.process.signal(if frozen { Signal::SIGSTOP } else { Signal::SIGCONT });
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// SIGTERM, as a roll-out does it.
    pub async fn stop(mut self) {
        self.process.stop(Duration::from_secs(10)).await;
    }
}
