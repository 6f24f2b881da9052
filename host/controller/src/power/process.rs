//! Runs one program with a limit, and leaves nothing of it behind.
//!
//! No shell, an empty environment, the input on standard input only, a process group of its own. Whatever the program
//! starts carries a mark in its environment, so that it is also found when it has left the group (agents that speak SSH
//! or Telnet do that).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::hidden::Hidden;

/// So much of each output is kept, in bytes; the rest is read and dropped, so that the program does not block.
const KEPT: usize = 64 * 1024;
/// Variable that marks everything a run starts.
const MARK: &str = "PALISADE_POWER_RUN";
/// What is killed is gone in milliseconds, unless the kernel holds it.
const GONE: Duration = Duration::from_secs(5);
/// Pause between two looks at whether it is gone.
const LOOK: Duration = Duration::from_millis(10);
/// Outputs end with the program; what a child holds open longer is not waited for.
const DRAIN: Duration = Duration::from_millis(500);
/// Programs that agents start are found there.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Taken over from the controller: how the cloud's API is reached.
const INHERITED: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
];

/// A program to be run.
#[derive(Debug)]
pub struct Run<'a> {
    /// The program.
    pub program: &'a Path,
    /// What is written to its standard input.
    pub input: Hidden,
    /// It is ended after this time.
    pub limit: Duration,
    /// Names what this run belongs to; nothing of an earlier run with the same mark is alive when it begins.
    pub mark: &'a str,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(i32),
    /// By a signal of somebody else.
    Signal,
    /// By its limit.
    TimedOut,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub end: End,
    /// Beginning of its standard output.
    pub stdout: String,
    /// Beginning of its standard error.
    pub stderr: String,
}

/// Why there was no run, or no end of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The program cannot be started.
    #[error("{program} cannot be started: {why}", program = .0.display(), why = .1)]
    Start(PathBuf, String),
    /// Something of the run does not end. Nothing else may be begun meanwhile: it may still act.
    #[error("a process of the run cannot be ended ({0} left); nothing further is begun until it is gone")]
    Stuck(usize),
}

/// Kills the group when the run is dropped before its end.
struct Group {
    leader: Pid,
    mark: String,
    over: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.over {
            // The leader was not waited for yet, so its number is still its own.
            let _ = killpg(self.leader, Signal::SIGKILL);
            kill_marked(&self.mark);
        }
    }
}

/// Runs it to its end. Everything it started is gone when this returns without an error.
pub async fn run(run: Run<'_>) -> Result<Ended, RunError> {
    sweep(run.mark).await?;
    let mut command = Command::new(run.program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONWARNINGS", "ignore")
        .env(MARK, run.mark)
        .envs(INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let failed = |why: &str| RunError::Start(run.program.to_owned(), why.to_owned());
    let mut child = command.spawn().map_err(|error| failed(&error.to_string()))?;
    let number = child.id().and_then(|id| i32::try_from(id).ok()).ok_or_else(|| failed("it has no process id"))?;
    let mut group = Group { leader: Pid::from_raw(number), mark: run.mark.to_owned(), over: false };

    let started = Instant::now();
    let mut stdout = Vec::new();
    let mut stderr = Vec::new();
    let end = {
        let work = drive(&mut child, &run.input, &mut stdout, &mut stderr);
        match tokio::time::timeout(run.limit, work).await {
            Ok(end) => end,
            Err(_) => End::TimedOut,
        }
    };
    let _ = killpg(group.leader, Signal::SIGKILL);
    let _ = child.wait().await;
    sweep(run.mark).await?;
    group.over = true;
    tracing::debug!(program = %run.program.display(), ?end, elapsed = ?started.elapsed(), "fence agent ended");
    Ok(Ended { end, stdout: text(&stdout), stderr: text(&stderr) })
}

async fn drive(child: &mut Child, input: &Hidden, stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) -> End {
    let stdin = child.stdin.take();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input is judged by what it says.
            let _ = stdin.write_all(input.reveal().as_bytes()).await;
            let _ = stdin.shutdown().await;
        }
    };
    let outputs = async { tokio::join!(keep(out, stdout), keep(err, stderr), write) };
    tokio::pin!(outputs);
    let status = tokio::select! {
        status = child.wait() => {
            let _ = tokio::time::timeout(DRAIN, &mut outputs).await;
            status
        }
        _ = &mut outputs => child.wait().await,
    };
    status.ok().and_then(|status| status.code()).map_or(End::Signal, End::Code)
}

async fn keep(from: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let room = KEPT.saturating_sub(into.len()).min(count);
        into.extend_from_slice(&buffer[..room]);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends everything that carries the mark, also what an earlier process of this controller left behind.
pub async fn sweep(mark: &str) -> Result<(), RunError> {
    let began = Instant::now();
    loop {
        let left = kill_marked(mark);
        if left == 0 {
            return Ok(());
        }
        if began.elapsed() > GONE {
            return Err(RunError::Stuck(left));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Kills what carries the mark; returns how many that were.
fn kill_marked(mark: &str) -> usize {
    let wanted = format!("{MARK}={mark}");
    let own = std::process::id();
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let marked = numbers.filter(|number| *number != own).filter(|number| {
        fs::read(format!("/proc/{number}/environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()))
    });
    marked
        .filter_map(|number| i32::try_from(number).ok())
        .map(|number| {
            let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
        })
        .count()
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
