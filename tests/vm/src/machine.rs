//! One virtual machine: qemu, its monitor, and the serial port on which the guest obeys.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::device::Device;
use crate::image::NETWORK;

/// How guests are run on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor runs the guest.
    Kvm,
    /// qemu translates every instruction: ten times slower, everywhere available.
    Software,
}

impl Accelerator {
    fn options(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "qemu64"],
            Self::Software => ["-accel", "tcg,thread=single", "-cpu", "max"],
        }
    }

    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Software => "software emulation",
        }
    }
}

/// How to build a machine.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Folder for sockets and the console's log.
    pub folder: PathBuf,
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initramfs.
    pub image: PathBuf,
    /// Its watchdog.
    pub device: Device,
    /// How it runs.
    pub accelerator: Accelerator,
    /// `address:port` on this machine that leads to the guest's agent; none for a guest without network.
    pub forward: Option<std::net::SocketAddr>,
}

/// What a machine tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The machine was reset.
    Reset(Instant),
    /// The emulated watchdog fired.
    Watchdog(Instant),
    /// A line of the guest's first process.
    Line(Instant, String),
    /// qemu ended.
    Gone,
}

/// A running machine; ends when dropped.
pub struct Machine {
    /// The console's log.
    pub console: PathBuf,
    events: mpsc::UnboundedReceiver<Event>,
    monitor: OwnedWriteHalf,
    control: OwnedWriteHalf,
    qemu: Child,
}

const SOCKETS: Duration = Duration::from_secs(20);

impl Machine {
    /// Powers it on.
    pub async fn start(spec: &Spec) -> anyhow::Result<Self> {
        let (monitor, control) = (spec.folder.join("monitor"), spec.folder.join("control"));
        let console = spec.folder.join("console.log");
        // The kernel ends it when this process dies without a chance to clean up.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(spec.accelerator.options())
            .args(["-machine", "q35", "-m", "384", "-smp", "1", "-display", "none", "-nodefaults", "-no-user-config"])
            .arg("-kernel")
            .arg(&spec.kernel)
            .arg("-initrd")
            .arg(&spec.image)
            .args(["-append", "console=ttyS0 panic=5 quiet loglevel=5 random.trust_cpu=on tsc=reliable no_timer_check"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-serial")
            .arg(format!("unix:{},server=on,wait=off", control.display()))
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", monitor.display()))
            .args(spec.device.hardware());
        if let Some(forward) = spec.forward {
            qemu.arg("-netdev")
                .arg(format!("user,id=net0,net={NETWORK},hostfwd=tcp:{}:{}-:30001", forward.ip(), forward.port()))
                .args(["-device", "e1000,netdev=net0,id=nic"]);
        }
        let errors = std::fs::File::create(spec.folder.join("qemu.log"))?;
        let qemu = qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).kill_on_drop(true).spawn();
        let qemu = qemu.context("starting qemu-system-x86_64 through setpriv (util-linux)")?;
        let (sender, events) = mpsc::unbounded_channel();
        let opened = connect(&monitor).await.with_context(|| {
            // What it says is why: a port that is taken, an unknown option.
            let said = std::fs::read_to_string(spec.folder.join("qemu.log")).unwrap_or_default();
            format!("qemu says {:?}", said.trim())
        });
        let (reads, mut monitor) = opened?.into_split();
        monitor.write_all(b"{\"execute\":\"qmp_capabilities\"}\n").await?;
        tokio::spawn(lines(reads, sender.clone(), |line, at| {
            let message: Value = serde_json::from_str(line).ok()?;
            match message["event"].as_str()? {
                "RESET" => Some(Event::Reset(at)),
                "WATCHDOG" => Some(Event::Watchdog(at)),
                _ => None,
            }
        }));
        let (reads, control) = connect(&control).await?.into_split();
        tokio::spawn(lines(reads, sender, |line, at| Some(Event::Line(at, line.trim().to_owned()))));
        Ok(Self { console, events, monitor, control, qemu })
    }

    async fn execute(&mut self, command: &str, arguments: Value) -> anyhow::Result<()> {
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.monitor.write_all(line.as_bytes()).await.context("the monitor of qemu")
    }

    /// Plugs the network cable in, or pulls it.
    pub async fn cable(&mut self, plugged: bool) -> anyhow::Result<()> {
        self.execute("set_link", json!({ "name": "nic", "up": plugged })).await
    }

    /// Stops the virtual processor; the guest does not notice.
    pub async fn pause(&mut self) -> anyhow::Result<()> {
        self.execute("stop", json!({})).await
    }

    /// Lets it go on.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        self.execute("cont", json!({})).await
    }

    /// Presses the reset button.
    pub async fn reset(&mut self) -> anyhow::Result<()> {
        self.execute("system_reset", json!({})).await
    }

    /// How long the threads of this guest were ready to run and did not get this machine's processor, so far; of the
    /// thread that waited longest. Not known on kernels without scheduler statistics.
    pub fn starved(&self) -> Option<Duration> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.qemu.id()?)).ok()?;
        let waited = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
        };
        tasks.flatten().filter_map(waited).max()
    }

    /// Tells the guest's first process to do something.
    pub async fn tell(&mut self, command: &str) -> anyhow::Result<()> {
        self.control.write_all(format!("{command}\n").as_bytes()).await.context("the control port of the guest")
    }

    /// The next event, within a limit.
    pub async fn next(&mut self, limit: Duration) -> anyhow::Result<Option<Event>> {
        match tokio::time::timeout(limit, self.events.recv()).await {
            Err(_) => Ok(None),
            Ok(Some(Event::Gone) | None) => bail!("qemu ended by itself"),
            Ok(Some(event)) => Ok(Some(event)),
        }
    }

    /// The next line of the guest that begins with a word; resets on the way are errors.
    pub async fn answer(&mut self, word: &str, limit: Duration) -> anyhow::Result<(Instant, String)> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(left).await? {
                Some(Event::Line(at, line)) => {
                    if let Some(rest) = line.strip_prefix(word) {
                        return Ok((at, rest.trim().to_owned()));
                    }
                    ensure!(
                        !line.starts_with("unknown"),
                        "waiting for {word:?}, the guest did not understand: {line:?}"
                    );
                }
                Some(Event::Reset(_)) => bail!("the machine was reset while waiting for {word:?}"),
                Some(Event::Watchdog(_) | Event::Gone) => {}
                None => bail!("the guest did not say {word:?} within {limit:?}"),
            }
        }
    }

    /// The end of the console's log, for failures.
    pub fn last_words(&self) -> String {
        let bytes = std::fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(3000)..]).into_owned();
        text.lines().rev().take(25).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

async fn connect(path: &Path) -> anyhow::Result<UnixStream> {
    let deadline = Instant::now() + SOCKETS;
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(stream),
            // qemu makes its sockets a moment after it was started.
            Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => bail!("qemu did not open {}: {error}", path.display()),
        }
    }
}

async fn lines(
    reads: impl AsyncRead + Unpin,
    events: mpsc::UnboundedSender<Event>,
    understand: impl Fn(&str, Instant) -> Option<Event>,
) {
    let mut reader = BufReader::new(reads);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => {
                let _ = events.send(Event::Gone);
                return;
            }
            Ok(_) => {
                // Firmware and kernel may leave other bytes on the line.
                if let Some(event) = understand(&String::from_utf8_lossy(&line), Instant::now()) {
                    let _ = events.send(event);
                }
            }
        }
    }
}
