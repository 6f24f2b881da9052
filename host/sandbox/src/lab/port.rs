//! Ports for servers that are started a moment later.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, bail};
use tokio::net::TcpSocket;

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

/// Holds an address for a server that comes and goes: as long as this lives, the kernel gives the port to nobody by
/// chance, and a server that names it (and sets `SO_REUSEADDR`, as tokio does) can listen on it, again and again. While
/// no server listens, callers are refused.
///
/// # Errors
/// If somebody listens there.
pub fn reserve(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("cannot reserve {address}"))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn a_reserved_port_is_its_servers_each_time_it_comes_and_nobody_elses() {
        let address = free(Ipv4Addr::LOCALHOST.into()).unwrap();
        let reserved = reserve(address).unwrap();
        for _ in 0..2 {
            let server = tokio::net::TcpListener::bind(address).await.unwrap();
            tokio::net::TcpStream::connect(address).await.unwrap();
            drop(server);
            let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        // A stranger who does not ask for the reuse of addresses, as a socket that gets its port from the kernel.
        let stranger = TcpSocket::new_v4().unwrap();
        assert_eq!(stranger.bind(address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        drop(reserved);
    }
}
