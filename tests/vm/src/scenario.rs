//! What is done to a node, and what has to come of it.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use palisade_core::fencing::record::{AgentRecord, BootId};

use crate::cluster::Cluster;
use crate::device::Device;
use crate::machine::{Event, Machine};
use crate::timing::{SLACK, Timing};

/// One way in which a node loses its right to live, or gives it up in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// SIGKILL of the agent.
    Kill,
    /// SIGKILL right before the feeder feeds the device.
    Worst,
    /// SIGKILL right before the right to live of an isolated node ends: the kernel feeds the device once more.
    Late,
    /// SIGSTOP of the agent.
    Stop,
    /// A fence intent in its lease.
    Intent,
    /// The same with software reboot disabled: only the watchdog acts.
    IntentWatchdog,
    /// The network cable is pulled.
    Isolate,
    /// SIGTERM, a while without agent, a new agent: no reset.
    Restart,
    /// SIGTERM while the network cable is pulled: the device stays armed.
    Term,
    /// What the agent writes to the device while all is well, and in a graceful stop; read in the kernel.
    Fed,
    /// An intent on a node whose wall clock is an hour ahead, and in its next boot an hour behind: one reset.
    Clock,
    /// Isolation with a device that is triggered and does not fire: software has to.
    Dud,
    /// Somebody else holds the device, then an intent: software has to.
    Busy,
    /// The same with software reboot disabled: nothing is promised, nothing is reset.
    Helpless,
}

/// One act and what came of it.
#[derive(Debug, Clone)]
pub struct Run {
    /// From the act to the reset; none where no reset is wanted.
    pub took: Option<Duration>,
    /// What `took` may be.
    pub limit: Option<Duration>,
    /// The emulated watchdog said that it fired.
    pub watchdog_fired: bool,
    /// How long meanwhile the guest waited for the processor of this machine.
    pub starved: Option<Duration>,
}

impl Scenario {
    /// All of them.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Whether the agent may reboot by software.
    pub fn software_reboot(self) -> bool {
        !matches!(self, Self::IntentWatchdog | Self::Helpless)
    }

    /// Whether it is played with this device. What the device does is not the point of every scenario.
    pub fn is_for(self, device: Device) -> bool {
        match self {
            Self::Dud => device == Device::Softdog,
            Self::Term | Self::Fed | Self::Clock | Self::Busy | Self::Helpless => device == Device::I6300esb,
            _ => true,
        }
    }

    /// What the guest does before its agent starts, in shell.
    pub fn prepare(self) -> &'static str {
        match self {
            Self::Fed => {
                "busybox mount -t tracefs none /sys/kernel/tracing\n\
                 echo 'p:opened watchdog_open' >/sys/kernel/tracing/kprobe_events\n\
                 echo 'p:wrote watchdog_write byte=+u0(%si):u8 length=%dx:u64' >>/sys/kernel/tracing/kprobe_events\n\
                 echo 'p:closed watchdog_release' >>/sys/kernel/tracing/kprobe_events\n\
                 echo 1 >/sys/kernel/tracing/events/kprobes/enable"
            }
            Self::Dud => "busybox modprobe softdog soft_noboot=1",
            Self::Busy | Self::Helpless => "busybox watchdog -t 1 /dev/watchdog",
            _ => "",
        }
    }

    /// Whether the device has to be what ends the boot: nobody else is left to do it.
    pub fn only_the_watchdog(self) -> bool {
        matches!(self, Self::Kill | Self::Worst | Self::Late | Self::Stop | Self::IntentWatchdog | Self::Term)
    }

    /// Whether a run ends in a reset.
    pub fn resets(self) -> bool {
        !matches!(self, Self::Restart | Self::Fed | Self::Helpless)
    }

    /// Words for the bound.
    pub fn formula(self) -> &'static str {
        match self {
            Self::Isolate | Self::Late | Self::Term | Self::Dud => "L + 2 Wd + 2 s",
            Self::Restart | Self::Helpless => "no reset",
            Self::Fed => "Wd / 3",
            _ => "2 Wd + 2 s",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// Everything about one guest that a scenario needs.
pub struct Stage<'a> {
    /// The guest.
    pub machine: &'a mut Machine,
    /// The world around it.
    pub cluster: &'a Cluster,
    /// Its node name.
    pub node: &'a str,
    /// Its watchdog.
    pub device: Device,
    /// All lengths of time.
    pub timing: &'a Timing,
}

/// Long: a translated guest beside other work has waited ten seconds for a processor.
pub(crate) const ANSWER: Duration = Duration::from_mins(2);

impl Stage<'_> {
    /// Waits until the agent of this boot has published what this scenario begins with: usually that the device is armed
    /// and that it fences itself.
    pub async fn ready(&self, scenario: Scenario, boot: &BootId) -> anyhow::Result<AgentRecord> {
        if matches!(scenario, Scenario::Busy | Scenario::Helpless) {
            return self.without_device(scenario, boot).await;
        }
        let (device, timeout) = (self.device, self.timing.device());
        let record = self
            .cluster
            .record_with(self.node, self.timing.ready, "an armed watchdog and the claim to self-fence", |record| {
                record.boot_id == *boot
                    && !record.disarmed
                    && record.terms.claims.self_fences
                    && record.terms.watchdog.is_some()
            })
            .await?;
        let watchdog = record.terms.watchdog.as_ref().context("no watchdog")?;
        ensure!(watchdog.identity == device.identity(), "the lease names the watchdog {:?}", watchdog.identity);
        ensure!(
            watchdog.resets == (scenario != Scenario::Dud),
            "the lease says of {} that resets = {}",
            watchdog.identity,
            watchdog.resets
        );
        ensure!(
            watchdog.timeout_millis == timeout.as_millis() as u64,
            "the device was asked for {timeout:?}, the lease says {} ms",
            watchdog.timeout_millis
        );
        Ok(record)
    }

    /// Does it once. None if the boot ended itself before that was done to it that was to be done.
    pub async fn act(&mut self, scenario: Scenario, boot: &BootId) -> anyhow::Result<Option<Run>> {
        let two_devices = self.timing.device() * 2 + SLACK;
        let starved = self.machine.starved();
        // From the last feeding before the act on the device waits its whole time, and the feeder is never late by more
        // than its period: an earlier reset by the device is a false alarm.
        let feeding = self.timing.device() * 2 / 3;
        let (begun, earliest, limit) = match scenario {
            Scenario::Restart => return self.restart(boot).await.map(Some),
            Scenario::Fed => return self.fed(boot).await.map(Some),
            Scenario::Helpless => return self.helpless(boot).await.map(Some),
            Scenario::Kill => (self.tell("kill").await?, feeding, two_devices),
            Scenario::Stop => (self.tell("stop").await?, feeding, two_devices),
            Scenario::Worst => {
                let period = self.timing.device() / 3;
                // Early enough that the process is dead before the feeder wakes up, also in a slow guest.
                self.machine.tell(&format!("worst {}", (period * 14 / 15).as_millis())).await?;
                (self.machine.answer("now", ANSWER).await?.0, feeding, two_devices)
            }
            Scenario::Late => {
                let begun = Instant::now();
                self.machine.cable(false).await?;
                let (life, until) = self.life(boot, begun).await?;
                self.machine.tell(&format!("late {}", until.saturating_sub(250))).await?;
                (begun, life, life + two_devices)
            }
            Scenario::Isolate | Scenario::Dud => {
                let begun = Instant::now();
                self.machine.cable(false).await?;
                let (life, _) = self.life(boot, begun).await?;
                (begun, life, life + two_devices)
            }
            Scenario::Term => {
                let begun = Instant::now();
                self.machine.cable(false).await?;
                let (life, _) = self.life(boot, begun).await?;
                self.machine.tell("term").await?;
                (begun, feeding, life + two_devices)
            }
            Scenario::Clock => {
                self.step_clock(3600).await?;
                (self.cluster.intend(self.node, boot).await?.1, Duration::ZERO, two_devices)
            }
            Scenario::Intent | Scenario::Busy => {
                (self.cluster.intend(self.node, boot).await?.1, Duration::ZERO, two_devices)
            }
            Scenario::IntentWatchdog => (self.cluster.intend(self.node, boot).await?.1, feeding, two_devices),
        };
        let Some(mut run) = self.wait_for_reset(scenario, begun, limit).await? else { return Ok(None) };
        run.starved = self.machine.starved().zip(starved).map(|(after, before)| after.saturating_sub(before));
        // A second for the way of the act into the guest.
        if let Some(took) = run.took.filter(|took| *took + Duration::from_secs(1) < earliest) {
            bail!(
                "reset after {took:?}, earlier than {earliest:?}; meanwhile the guest waited {:?} for this machine's \
                 processor",
                run.starved.unwrap_or_default()
            );
        }
        Ok(Some(run))
    }

    async fn tell(&mut self, command: &str) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        self.machine.tell(command).await?;
        Ok(begun)
    }

    /// How long after `begun` this boot may live by its host file, and until which of its milliseconds.
    async fn life(&mut self, boot: &BootId, begun: Instant) -> anyhow::Result<(Duration, u64)> {
        // Let a renewal that was on its way when the cable was pulled come to its end.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (left, until) = self.left(boot).await?;
        Ok((begun.elapsed() + left, until))
    }

    /// How long this boot may still live by its host file, and until which of its milliseconds.
    pub(crate) async fn left(&mut self, boot: &BootId) -> anyhow::Result<(Duration, u64)> {
        self.machine.tell("life").await?;
        let (_, answer) = self.machine.answer("life", ANSWER).await?;
        let (uptime, file) = answer.split_once(' ').context("no host file")?;
        let file: serde_json::Value = serde_json::from_str(file).with_context(|| format!("host file {file:?}"))?;
        ensure!(file["bootId"].as_str() == Some(boot.as_str()), "the host file is of another boot");
        let until = file["until"].as_u64().context("the host file has no L")?;
        Ok((Duration::from_millis(until.saturating_sub(uptime.parse()?)), until))
    }

    async fn wait_for_reset(
        &mut self,
        scenario: Scenario,
        begun: Instant,
        limit: Duration,
    ) -> anyhow::Result<Option<Run>> {
        // Beyond the limit a while is waited on, so that a late reset is told as late and not as none.
        let patience = limit + self.timing.device();
        let mut watchdog_fired = false;
        let mut killed = scenario != Scenario::Late;
        loop {
            let left = patience.saturating_sub(begun.elapsed());
            match self.machine.next(left).await? {
                // The guest was slower than the agent, whose right to live was over first.
                Some(Event::Reset(_)) if !killed => return Ok(None),
                Some(Event::Reset(at)) => {
                    let expected = scenario.only_the_watchdog();
                    if self.device == Device::I6300esb {
                        ensure!(watchdog_fired == expected, "reset by the watchdog: {watchdog_fired}, not {expected}");
                    }
                    return Ok(Some(Run {
                        took: Some(at.saturating_duration_since(begun)),
                        limit: Some(limit),
                        watchdog_fired,
                        starved: None,
                    }));
                }
                Some(Event::Watchdog(_)) => watchdog_fired = true,
                Some(Event::Line(_, line)) if line.starts_with("killed") => killed = true,
                Some(_) => {}
                None => bail!("no reset within {patience:?}"),
            }
        }
    }

    /// Stop in order, nobody for longer than the device would wait, start again.
    async fn restart(&mut self, boot: &BootId) -> anyhow::Result<Run> {
        self.machine.tell("term").await?;
        let (_, code) = self.machine.answer("ended", ANSWER).await?;
        ensure!(code == "0", "the agent ended with {code}");
        self.machine.tell("watchdog").await?;
        let (_, state) = self.machine.answer("watchdog", ANSWER).await?;
        ensure!(state.starts_with("inactive"), "after a graceful stop the device says {state:?}");
        let record = self.cluster.record(self.node).await?.context("no record")?;
        ensure!(record.disarmed && record.boot_id == *boot, "the lease does not say disarmed: {record:?}");
        self.stays_up(self.timing.device() * 2).await.context("after a graceful stop")?;
        self.machine.tell("start").await?;
        Ok(Run::quiet())
    }
}

impl Run {
    /// One in which no reset was wanted, and none came.
    pub fn quiet() -> Self {
        Self { took: None, limit: None, watchdog_fired: false, starved: None }
    }
}
