//! What the kernel knows of a process, finer than [`usage`](super::usage): CPU time in nanoseconds, how often it woke up,
//! and what its memory consists of. For programs that do next to nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// A process up to now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Time on a CPU, of all its threads that live.
    pub cpu: Duration,
    /// How often its threads gave up the CPU to wait: so often something woke them.
    pub wakes: u64,
    /// Resident memory, in KiB.
    pub resident: u64,
    /// The part of it that belongs to no file: heap, stacks, and pages of the program that were written to.
    pub anonymous: u64,
    /// The largest that [`Self::resident`] ever was.
    pub peak: u64,
}

impl Account {
    /// Of this process.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let folder = format!("/proc/{pid}");
        let mut account = Self::memory(&read(Path::new(&folder), "status")?)?;
        for task in std::fs::read_dir(format!("{folder}/task")).with_context(|| folder.clone())? {
            let task = task?.path();
            // A thread that ended meanwhile is not counted.
            let (Ok(status), Ok(schedule)) = (read(&task, "status"), read(&task, "schedstat")) else { continue };
            account.cpu += cpu(&schedule)?;
            account.wakes += number(&status, "voluntary_ctxt_switches:")?;
        }
        Ok(account)
    }

    fn memory(status: &str) -> anyhow::Result<Self> {
        Ok(Self {
            resident: number(status, "VmRSS:")?,
            anonymous: number(status, "RssAnon:")?,
            peak: number(status, "VmHWM:")?,
            ..Self::default()
        })
    }
}

fn read(folder: &Path, file: &str) -> anyhow::Result<String> {
    let path = folder.join(file);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn number(status: &str, name: &str) -> anyhow::Result<u64> {
    let text =
        status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} in status"))?;
    let text = text.trim().trim_end_matches("kB").trim();
    text.parse().with_context(|| format!("{name} is {text:?}"))
}

/// The first number is nanoseconds on a CPU.
fn cpu(schedule: &str) -> anyhow::Result<Duration> {
    let nanoseconds = schedule.split_ascii_whitespace().next().context("schedstat is empty")?;
    Ok(Duration::from_nanos(nanoseconds.parse().with_context(|| format!("schedstat begins with {nanoseconds:?}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_the_kernel_writes_them() {
        let status = "Name:\tx\nVmHWM:\t    9000 kB\nVmRSS:\t    8000 kB\nRssAnon:\t    3000 kB\nRssFile:\t 5000 kB\n";
        let account = Account::memory(status).unwrap();
        assert_eq!((account.peak, account.resident, account.anonymous), (9_000, 8_000, 3_000));
        assert!(Account::memory("VmRSS: 1 kB").is_err());
        assert_eq!(cpu("1500000 7 3\n").unwrap(), Duration::from_micros(1_500));
        assert!(cpu("").is_err());
        let own = Account::of(std::process::id()).unwrap();
        assert!(own.resident > 0 && own.peak >= own.anonymous && own.cpu > Duration::ZERO);
    }
}
