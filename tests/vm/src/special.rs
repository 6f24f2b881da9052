//! Scenarios in which the device, the clock or the configuration is not as it should be, and what is written to a device.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use palisade_core::fencing::record::{AgentRecord, BootId};

use crate::machine::Event;
use crate::scenario::{ANSWER, Run, Scenario, Stage};

impl Stage<'_> {
    /// No reset for so long.
    pub async fn stays_up(&mut self, length: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + length;
        loop {
            match self.machine.next(end.saturating_duration_since(Instant::now())).await? {
                Some(Event::Reset(_) | Event::Watchdog(_)) => bail!("the machine was reset"),
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    /// Waits until the node was renewed lately: on a busy machine the API server here may be what is late, and a node
    /// whose right to live runs out before anything is done to it shows nothing.
    pub async fn lively(&mut self, boot: &BootId) -> anyhow::Result<()> {
        let enough = self.timing.tuning.time_to_live() / 2;
        let begun = Instant::now();
        loop {
            let (left, _) = self.left(boot).await?;
            if left >= enough {
                return Ok(());
            }
            ensure!(begun.elapsed() < self.timing.ready, "it is never renewed in time: {left:?} left to live");
            self.stays_up(Duration::from_millis(500)).await?;
        }
    }

    /// Sets the wall clock of the guest forward, or back.
    pub async fn step_clock(&mut self, seconds: i64) -> anyhow::Result<()> {
        self.machine.tell(&format!("clock {seconds}")).await?;
        self.machine.answer("clock", ANSWER).await.map(drop)
    }

    /// The agent runs without a device that somebody else holds, and publishes only what it can keep.
    pub async fn without_device(&self, scenario: Scenario, boot: &BootId) -> anyhow::Result<AgentRecord> {
        let software = scenario.software_reboot();
        let what = "a lease without watchdog";
        let record = self
            .cluster
            .record_with(self.node, self.timing.ready, what, |record| {
                record.boot_id == *boot
                    && record.terms.watchdog.is_none()
                    && record.terms.claims.self_fences == software
                    && !record.terms.jury.is_empty()
            })
            .await?;
        let never = record.terms.reset_steps_millis > 3_600_000;
        ensure!(never != software, "its software steps take {} ms at most", record.terms.reset_steps_millis);
        Ok(record)
    }

    /// Neither watchdog nor software reboot: an intent is not acknowledged, and nothing ends this boot.
    pub async fn helpless(&mut self, boot: &BootId) -> anyhow::Result<Run> {
        self.cluster.intend(self.node, boot).await?;
        self.stays_up(self.timing.device() * 2).await.context("software reboot is disabled, and there is no device")?;
        let record = self.cluster.record(self.node).await?.context("no record")?;
        ensure!(record.acknowledged.is_none(), "it acknowledged what it cannot do");
        self.machine.tell("memory").await?;
        let (_, memory) = self.machine.answer("memory", ANSWER).await?;
        ensure!(memory.contains("VmRSS"), "the agent does not run any more: {memory:?}");
        self.cluster.clear_intent(self.node).await?;
        // A fenced boot stays fenced: the next run needs another one.
        self.machine.reset().await?;
        Ok(Run::quiet())
    }

    /// The intent for the boot before is still in the lease when the machine is back, and its clock is an hour behind.
    pub async fn one_reset_is_enough(&mut self, boot: &BootId) -> anyhow::Result<()> {
        self.step_clock(-3600).await?;
        self.ready(Scenario::Clock, boot).await?;
        self.stays_up(self.timing.device() * 2).await.context("the new boot")?;
        self.cluster.clear_intent(self.node).await
    }

    /// Every byte that the kernel's watchdog core gets.
    pub async fn fed(&mut self, boot: &BootId) -> anyhow::Result<Run> {
        self.stays_up(self.timing.device()).await?;
        let alive = self.trace().await?;
        let period = self.timing.device() / 3;
        check_feeding(&alive, period)?;
        self.machine.tell("term").await?;
        let (_, code) = self.machine.answer("ended", ANSWER).await?;
        ensure!(code == "0", "the agent ended with {code}");
        let stopped = self.trace().await?;
        let last: Vec<_> = stopped.iter().rev().take(2).map(|entry| entry.what).collect();
        ensure!(last == [What::Closed, What::Wrote(b'V')], "a graceful stop ends with {stopped:?}");
        let record = self.cluster.record(self.node).await?.context("no record")?;
        ensure!(record.disarmed && record.boot_id == *boot, "the lease does not say disarmed: {record:?}");
        self.machine.tell("start").await?;
        Ok(Run::quiet())
    }

    async fn trace(&mut self) -> anyhow::Result<Vec<Entry>> {
        self.machine.tell("trace").await?;
        let (_, text) = self.machine.answer("trace", ANSWER).await?;
        text.split('|').map(str::trim).filter(|text| !text.is_empty()).map(entry).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Opened,
    Wrote(u8),
    Closed,
}

/// One call of the watchdog's device file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Uptime of the guest.
    at: Duration,
    what: What,
}

/// `..... 12.345678: wrote: (watchdog_write+0x0/0x140 [watchdog]) byte=97 length=1`
fn entry(line: &str) -> anyhow::Result<Entry> {
    let strange = || format!("a line of the trace: {line:?}");
    let mut words = line.split_whitespace().skip_while(|word| !word.ends_with(':'));
    let at = words.next().with_context(strange)?.trim_end_matches(':').parse().with_context(strange)?;
    let what = match words.next().with_context(strange)? {
        "opened:" => What::Opened,
        "closed:" => What::Closed,
        "wrote:" => {
            let value =
                |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
            ensure!(value("length=") == Some(1), "not one byte: {line:?}");
            What::Wrote(value("byte=").and_then(|byte| u8::try_from(byte).ok()).with_context(strange)?)
        }
        _ => bail!(strange()),
    };
    Ok(Entry { at: Duration::try_from_secs_f64(at)?, what })
}

/// Fed at once, then at least every third of the timeout, never with the byte that disarms.
fn check_feeding(entries: &[Entry], period: Duration) -> anyhow::Result<()> {
    // Wake-ups of a translated guest are late by milliseconds; a third of a period is still half the device's time early.
    let late = period / 3;
    ensure!(entries.len() >= 3, "hardly anything was written: {entries:?}");
    let opened = entries.iter().position(|entry| entry.what == What::Opened);
    if let Some(opened) = opened {
        let next = entries.get(opened + 1).context("opened and never fed")?;
        ensure!(next.at.saturating_sub(entries[opened].at) <= late, "not fed at once: {entries:?}");
    }
    for pair in entries.windows(2) {
        ensure!(pair[1].at.saturating_sub(pair[0].at) <= period + late, "fed too late: {pair:?}");
        ensure!(pair[1].what == What::Wrote(b'a'), "not food: {pair:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FED: &str = "d.... 12.345678: wrote: (watchdog_write+0x0/0x140 [watchdog]) byte=97 length=0x1";

    fn at(millis: u64, what: What) -> Entry {
        Entry { at: Duration::from_millis(millis), what }
    }

    #[test]
    fn the_kernels_lines_are_understood() {
        let fed = entry(&FED.replace("0x1", "1")).unwrap();
        assert_eq!(fed, Entry { at: Duration::from_micros(12_345_678), what: What::Wrote(97) });
        assert_eq!(entry("..... 7.5: opened: (watchdog_open+0x0/0x90)").unwrap(), at(7_500, What::Opened));
        assert!(entry(&FED.replace("0x1", "2")).is_err());
        assert!(entry("nonsense").is_err());
    }

    #[test]
    fn late_food_and_the_magic_byte_are_found() {
        let second = Duration::from_secs(1);
        let good = [at(0, What::Opened), at(1, What::Wrote(b'a')), at(1_000, What::Wrote(b'a'))];
        check_feeding(&good, second).unwrap();
        check_feeding(&[good[0], at(500, What::Wrote(b'a')), good[2]], second).unwrap_err();
        check_feeding(&[good[0], good[1], at(1_500, What::Wrote(b'a'))], second).unwrap_err();
        check_feeding(&[good[0], good[1], at(1_000, What::Wrote(b'V'))], second).unwrap_err();
        check_feeding(&[good[0], good[1], at(1_000, What::Closed)], second).unwrap_err();
    }
}
