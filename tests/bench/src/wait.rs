//! Waiting for something to become true.

use std::time::{Duration, Instant};

/// Pause between two looks.
const PACE: Duration = Duration::from_millis(50);

/// Looks until `look` returns something, or fails with what it said last.
pub async fn until<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Result<T, String>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match look().await? {
            Ok(found) => return Ok(found),
            Err(why) if Instant::now() >= deadline => anyhow::bail!("{what}: not within {limit:?}: {why}"),
            Err(_) => tokio::time::sleep(PACE).await,
        }
    }
}
