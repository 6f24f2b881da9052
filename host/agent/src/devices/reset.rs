//! Ending the boot by software.
//!
//! sysrq `b` first: it resets at once. `reboot(2)` second, because a few drivers stop the watchdog on an orderly
//! shutdown, and a hang there would leave the node running for ever. No driver is trusted to be another kind.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};
use palisade_core::fencing::agent::ResetSteps;

use super::machine::RebootBy;

/// One way to end the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Sysrq,
    RebootCall,
    Double(PathBuf),
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Self::Sysrq => "sysrq b",
            Self::RebootCall => "reboot(2)",
            Self::Double(_) => "reset of the machine double",
        }
    }

    fn act(self) -> std::io::Result<()> {
        match self {
            Self::Sysrq => {
                let mut trigger = std::fs::OpenOptions::new().write(true).open("/proc/sysrq-trigger")?;
                trigger.write_all(b"b")
            }
            Self::RebootCall => reboot(RebootMode::RB_AUTOBOOT).map(drop).map_err(std::io::Error::from),
            Self::Double(socket) => super::sim::reset(&socket),
        }
    }
}

/// What is done, in this order, and for how long at most.
fn plan(by: &RebootBy, limits: ResetSteps) -> Vec<(Step, Duration)> {
    match by {
        RebootBy::Sysrq => vec![(Step::Sysrq, limits.sysrq), (Step::RebootCall, limits.reboot)],
        RebootBy::Sim(socket) => vec![(Step::Double(socket.clone()), limits.sysrq)],
        RebootBy::None => Vec::new(),
    }
}

/// Runs the steps, each on a thread of its own and for no longer than its limit.
pub(super) async fn run(by: &RebootBy, limits: ResetSteps) {
    let plan = plan(by, limits);
    if plan.is_empty() {
        tracing::error!("asked to reboot by software, which is disabled");
    }
    for (step, limit) in plan {
        limited(step.name(), limit, move || step.act()).await;
    }
}

async fn limited(step: &'static str, limit: Duration, act: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
    tracing::error!("ending this boot: {step}");
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(act)).await {
        Err(_) => tracing::error!("{step} had no effect within {limit:?}"),
        Ok(Ok(Err(error))) => tracing::error!(%error, "{step} failed"),
        Ok(Err(error)) => tracing::error!(%error, "{step} failed"),
        // It worked and the machine takes a moment, or it silently did nothing: give it the rest of its time.
        Ok(Ok(Ok(()))) => tokio::time::sleep(limit).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_13_sysrq_comes_first_because_an_orderly_reboot_may_stop_the_watchdog() {
        let limits = ResetSteps::default();
        let plan = plan(&RebootBy::Sysrq, limits);
        assert_eq!(plan, [(Step::Sysrq, limits.sysrq), (Step::RebootCall, limits.reboot)]);
    }

    #[test]
    fn disabled_means_nothing_is_tried() {
        assert!(plan(&RebootBy::None, ResetSteps::default()).is_empty());
    }
}
