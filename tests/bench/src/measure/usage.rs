//! What a process uses, by the kernel's own account.

use std::time::Duration;

use anyhow::Context;

/// Clock ticks a second in `/proc/<pid>/stat`: `USER_HZ`, which is 100 on every architecture that we build for.
const TICKS: u64 = 100;

/// Use of a process up to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// Time on a CPU, in user and kernel mode.
    pub cpu: Duration,
    /// Resident memory, in KiB.
    pub resident: u64,
}

impl Usage {
    /// Of this process.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).context(path)
        };
        Self::parse(&read("stat")?, &read("status")?)
    }

    fn parse(stat: &str, status: &str) -> anyhow::Result<Self> {
        // The name of the program may contain anything, also blanks and brackets: what counts comes after the last one.
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        let field = |index: usize| {
            let text = fields.split_ascii_whitespace().nth(index).context("stat is too short")?;
            text.parse::<u64>().with_context(|| format!("{text:?} in stat is no number"))
        };
        // Fields 14 and 15 of proc(5), utime and stime; the state, field 3, is the first after the name.
        let ticks = field(11)?.saturating_add(field(12)?);
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in status")?;
        let resident = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
        Ok(Self { cpu: Duration::from_millis(ticks.saturating_mul(1_000 / TICKS)), resident })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 4 0 1 1 1";
        let usage = Usage::parse(stat, "Name:\ta) b\nVmHWM:\t  9 kB\nVmRSS:\t  30720 kB\n").unwrap();
        assert_eq!(usage, Usage { cpu: Duration::from_millis(1_750), resident: 30_720 });
        assert!(Usage::parse("7 (a) S 1", "VmRSS: 1 kB").is_err());
        assert!(Usage::of(std::process::id()).unwrap().resident > 0);
    }
}
