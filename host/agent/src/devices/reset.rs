//! Ending the boot by software.
//!
//! sysrq `b` first: it resets at once. `reboot(2)` second, because a few drivers stop the watchdog on an orderly
//! shutdown, and a hang there would leave the node running for ever. No driver is trusted to be another kind.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};
use palisade_core::fencing::agent::ResetSteps;

use super::machine::RebootBy;

/// Runs the steps, each on a thread of its own and for no longer than its limit.
pub(super) async fn run(by: &RebootBy, steps: ResetSteps) {
    match by {
        RebootBy::Sysrq => {
            limited("sysrq b", steps.sysrq, || {
                std::fs::OpenOptions::new()
                    .write(true)
                    .open("/proc/sysrq-trigger")
                    .and_then(|mut trigger| trigger.write_all(b"b"))
            })
            .await;
            limited("reboot(2)", steps.reboot, || {
                reboot(RebootMode::RB_AUTOBOOT).map(drop).map_err(std::io::Error::from)
            })
            .await;
        }
        RebootBy::Sim(socket) => {
            let socket = socket.clone();
            limited("reset of the machine double", steps.sysrq, move || super::sim::reset(Path::new(&socket))).await;
        }
        RebootBy::None => tracing::error!("asked to reboot by software, which is disabled"),
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
