//! Ports for servers that are started a moment later.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::bail;

/// A port that is free now, and that nobody is given by chance until it is used: below those that the kernel hands out
/// (32768 and up by default), and never the same twice.
///
/// # Errors
/// If all of them are taken.
pub fn free(host: IpAddr) -> anyhow::Result<SocketAddr> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        // Another test on this machine begins elsewhere.
        let anywhere = uuid::Uuid::new_v4().as_u128() % u128::from(COUNT);
        AtomicU16::new(u16::try_from(anywhere).unwrap_or_default())
    });
    for _ in 0..COUNT {
        let address = SocketAddr::new(host, FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT);
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("{host} has no free port from {FIRST} to {}", FIRST + COUNT - 1)
}
