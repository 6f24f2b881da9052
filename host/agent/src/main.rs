//! `palisade-agent`: see the library of the same name.

use clap::Parser as _;
use palisade_agent::options::{LogFormat, Options};
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    // One thread is enough for a heartbeat, and keeps the agent small.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(palisade_agent::run::run(options))?;
    if outcome.disarmed {
        tracing::info!("agent ends: {}", outcome.why);
    } else {
        tracing::warn!("agent ends: {}", outcome.why);
    }
    // Threads that hang in a device must not keep the process.
    runtime.shutdown_background();
    Ok(())
}
