//! A machine double for one agent, and the agent as a process with the configuration that an installation gives it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use palisade_api::keys::self_node;
use palisade_sandbox::lab::boot::Boot;
use palisade_sandbox::lab::device::{Device, Signal};
use palisade_sandbox::lab::{port, process};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::super::kernel::Account;
use crate::controller::NAMESPACE;

/// What most watchdogs are set to.
const WATCHDOG: Duration = Duration::from_mins(1);

/// Where an agent lives.
pub(super) struct Place {
    /// Name of the node.
    pub name: String,
    /// Where it answers.
    pub address: String,
    dir: PathBuf,
    program: PathBuf,
    kubeconfig: PathBuf,
    agent: Option<Child>,
    _device: Device,
    _signals: UnboundedReceiver<(Arc<Boot>, Signal)>,
}

impl Place {
    /// A machine on which no agent runs yet.
    pub fn prepare(dir: &Path, name: &str, boot: &str, program: &Path, kubeconfig: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        std::fs::write(dir.join("boot_id"), boot)?;
        let (signals, received) = mpsc::unbounded_channel();
        let device = Device::start(&dir.join("machine.sock"), WATCHDOG, signals)?;
        device.belongs_to(Some(Boot::new(name, boot)));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free(Ipv4Addr::LOCALHOST.into())?.port()));
        Ok(Self {
            name: name.to_owned(),
            address: address.to_string(),
            dir: dir.to_owned(),
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            agent: None,
            _device: device,
            _signals: received,
        })
    }

    /// Starts the agent, without anybody in between whose start would be measured too.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let simulated = format!("sim:{}", self.dir.join("machine.sock").display());
        let mut command = Command::new(&self.program);
        command.args(["--node-name", &self.name, "--namespace", NAMESPACE, "--listen", &self.address]);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg("--boot-id-file").arg(self.dir.join("boot_id")).arg("--host-dir").arg(self.dir.join("run"));
        command.args(["--watchdog", &simulated, "--reboot", &simulated, "--follow-config", self_node::CONFIG_NAME]);
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.agent = Some(command.spawn().with_context(|| self.program.display().to_string())?);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.dir.join("agent.log")
    }

    /// Fails with the end of its log if it ended.
    pub fn ensure_alive(&mut self) -> anyhow::Result<()> {
        let ended = self.agent.as_mut().context("the agent was not started")?.try_wait()?;
        let Some(status) = ended else { return Ok(()) };
        let said = process::tail(&self.log(), 10).join("\n");
        anyhow::bail!("the agent of {} ended with {}:\n{said}", self.name, process::describe(status))
    }

    /// What its process used up to now.
    pub fn account(&self) -> anyhow::Result<Account> {
        let pid = self.agent.as_ref().and_then(Child::id);
        Account::of(pid.with_context(|| format!("the agent of {} does not run", self.name))?)
    }

    /// SIGKILL; its boot lives on.
    pub async fn kill(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill().await;
        }
    }
}
