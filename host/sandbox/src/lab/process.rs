//! Child processes that cannot outlive the lab: agents, the controller, the real control plane.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::process::{Child, Command};

/// Starts programs through `palisade sandbox exec`, which asks the kernel to end them with us.
///
/// Only that works when this process is killed without a chance to clean up; Rust offers no safe code between fork and
/// exec, hence the program in between.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The `palisade` binary.
    pub palisade: PathBuf,
    /// Folder for one log file per process.
    pub logs: PathBuf,
}

/// A program to start.
#[derive(Debug, Clone)]
pub struct Program {
    /// Name of the process in messages and of its log file.
    pub name: String,
    /// What to execute.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to our environment.
    pub env: Vec<(String, String)>,
}

impl Program {
    /// The same program, started by another one that leads to where it shall live.
    #[must_use]
    pub fn within(mut self, enter: &[OsString]) -> Self {
        if let Some((door, rest)) = enter.split_first() {
            let inner = std::mem::replace(&mut self.program, PathBuf::from(door));
            let args = std::mem::take(&mut self.args);
            self.args = rest.iter().cloned().chain([inner.into_os_string()]).chain(args).collect();
        }
        self
    }
}

impl Launcher {
    /// Starts the program with both outputs appended to its log; `piped` gives stdout to us instead.
    pub fn start(&self, program: &Program, piped: bool) -> io::Result<Process> {
        std::fs::create_dir_all(&self.logs)?;
        let log = self.logs.join(format!("{}.log", program.name));
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = Command::new(&self.palisade);
        command
            .args(["sandbox", "exec", "--parent"])
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(&program.program)
            .args(&program.args)
            .envs(program.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(if piped { Stdio::piped() } else { Stdio::from(file.try_clone()?) })
            .stderr(Stdio::from(file))
            // Ctrl-C in a terminal goes to us alone: we end the others in order.
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{}: cannot start {}: {error}", program.name, self.palisade.display()))
        })?;
        Ok(Process { name: program.name.clone(), log, child })
    }
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    /// Name of the process.
    pub name: String,
    /// Its log file.
    pub log: PathBuf,
    child: Child,
}

impl Process {
    /// The process id, `None` once it has been reaped.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Takes the piped stdout.
    pub fn take_stdout(&mut self) -> Option<tokio::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Sends a signal; a process that is gone already is fine.
    pub fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.id() {
            let _ = kill(Pid::from_raw(id as i32), signal);
        }
    }

    /// SIGKILL, and waits until the kernel has taken the process away.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// SIGTERM, and SIGKILL if that is ignored for longer than `grace`.
    pub async fn stop(&mut self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// How it ended, if it did.
    pub fn try_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

/// Words for how a process ended.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.to_string())
        }
        (None, None) => status.to_string(),
    }
}

/// `palisade sandbox exec`: becomes the program, and dies with the process that asked for it. Returns only on failure.
pub fn exec_tied_to(parent: u32, program: &Path, args: &[OsString]) -> io::Error {
    if let Err(errno) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return errno.into();
    }
    // The parent may have died before the request: then nobody would ever send the signal.
    if getppid().as_raw() as u32 != parent {
        return io::Error::other("the process that started this one is gone");
    }
    let error = std::process::Command::new(program).args(args).exec();
    io::Error::new(error.kind(), format!("{}: {error}", program.display()))
}

/// The last lines of a log, for messages about failures.
pub fn tail(log: &Path, lines: usize) -> Vec<String> {
    use std::io::{Read, Seek, SeekFrom};
    const ENOUGH: u64 = 64 * 1024;
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect()
}
