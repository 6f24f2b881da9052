//! The network between nodes, controller and API server: TCP proxies that can be cut.
//!
//! A cut is a black hole, as real partitions are: connections stay open, bytes are held back, and arrive after the
//! heal. Who calls is known by the source address, which agents bind. Where nodes have a wiring of their own (see
//! [`wiring`](super::wiring)), every packet asks here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Somebody who talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// The API server.
    Api,
    /// The controller.
    Controller,
    /// A node, by its number from 1.
    Node(u8),
}

impl Endpoint {
    /// Loopback address that the agent of a node listens on and calls from.
    pub fn agent_address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 1, number)
    }

    /// Loopback address of the proxy in front of the agent of a node.
    pub fn proxy_address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 2, number)
    }

    fn of_caller(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) if v4.octets()[..3] == [127, 0, 1] => Self::Node(v4.octets()[3]),
            _ => Self::Controller,
        }
    }
}

/// Who cannot reach whom, and which boots have ended.
#[derive(Debug, Default)]
struct Rules {
    /// Unordered pairs, smaller first.
    cut: BTreeSet<(Endpoint, Endpoint)>,
    /// From, to.
    one_way: BTreeSet<(Endpoint, Endpoint)>,
    /// How packets fare that are not cut off.
    quality: Quality,
    /// Machines without power or still booting.
    dark: BTreeSet<Endpoint>,
    /// Rises with every boot: connections of an earlier boot never speak again.
    generation: BTreeMap<Endpoint, u64>,
}

/// How good the network is, for wirings that carry packets.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quality {
    /// Added to every packet.
    pub delay: Duration,
    /// Of a thousand packets, how many are lost.
    pub lost_of_thousand: u16,
}

fn pair(a: Endpoint, b: Endpoint) -> (Endpoint, Endpoint) {
    (a.min(b), a.max(b))
}

/// The fault matrix; clones share it.
#[derive(Debug, Clone)]
pub struct Network {
    rules: Arc<Mutex<Rules>>,
    changed: watch::Sender<u64>,
}

impl Default for Network {
    fn default() -> Self {
        Self { rules: Arc::default(), changed: watch::Sender::new(0) }
    }
}

impl Network {
    fn change(&self, edit: impl FnOnce(&mut Rules)) {
        // A panic elsewhere cannot leave these plain sets half changed.
        edit(&mut self.rules.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_modify(|version| *version += 1);
    }

    /// Cuts both directions between two endpoints.
    pub fn cut(&self, a: Endpoint, b: Endpoint) {
        self.change(|rules| {
            rules.cut.insert(pair(a, b));
        });
    }

    /// Cuts one direction. A TCP proxy carries neither then: without answers nothing is said.
    pub fn cut_one_way(&self, from: Endpoint, to: Endpoint) {
        self.change(|rules| {
            rules.one_way.insert((from, to));
        });
    }

    /// Delays and loses packets, where there are packets.
    pub fn worsen(&self, quality: Quality) {
        self.change(|rules| rules.quality = quality);
    }

    /// Removes every cut and restores the quality.
    pub fn heal_all(&self) {
        self.change(|rules| {
            rules.cut.clear();
            rules.one_way.clear();
            rules.quality = Quality::default();
        });
    }

    /// What a packet has to expect: `None` if it is dropped, otherwise quality of the way.
    pub fn packet(&self, from: Endpoint, to: Endpoint) -> Option<Quality> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let dead = rules.dark.contains(&from) || rules.dark.contains(&to);
        let cut = rules.cut.contains(&pair(from, to)) || rules.one_way.contains(&(from, to));
        (!dead && !cut).then_some(rules.quality)
    }

    /// The machine stopped sending: its connections hang, as with a power cut.
    pub fn darken(&self, node: Endpoint) {
        self.change(|rules| {
            rules.dark.insert(node);
        });
    }

    /// A new boot of the machine: connections of the boot before are dead for good.
    pub fn relight(&self, node: Endpoint) {
        self.change(|rules| {
            rules.dark.remove(&node);
            *rules.generation.entry(node).or_default() += 1;
        });
    }

    fn look(&self, a: Endpoint, b: Endpoint) -> (bool, (u64, u64)) {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let one_way = rules.one_way.contains(&(a, b)) || rules.one_way.contains(&(b, a));
        let dark = rules.dark.contains(&a) || rules.dark.contains(&b);
        let open = !rules.cut.contains(&pair(a, b)) && !one_way && !dark;
        let generation = |endpoint| rules.generation.get(&endpoint).copied().unwrap_or_default();
        (open, (generation(a), generation(b)))
    }

    /// Whether bytes pass now.
    pub fn open(&self, a: Endpoint, b: Endpoint) -> bool {
        self.look(a, b).0
    }
}

/// One connection's view of the network.
#[derive(Clone)]
struct Path {
    network: Network,
    from: Endpoint,
    to: Endpoint,
    born: (u64, u64),
}

impl Path {
    fn new(network: &Network, from: Endpoint, to: Endpoint) -> Self {
        let born = network.look(from, to).1;
        Self { network: network.clone(), from, to, born }
    }

    /// Waits until bytes may pass; false when the boot of an end is over and they never will.
    async fn passes(&self) -> bool {
        let mut changed = self.network.changed.subscribe();
        loop {
            let (open, generation) = self.network.look(self.from, self.to);
            if generation != self.born {
                return false;
            }
            if open {
                return true;
            }
            if changed.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Returns when the boot of an end is over.
    async fn outlived(&self) {
        let mut changed = self.network.changed.subscribe();
        while self.network.look(self.from, self.to).1 == self.born {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A listening proxy; stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    _task: JoinSet<()>,
}

impl Proxy {
    /// Listens on `listen` for callers of `to`, who lives at `target`. Without a fixed `from`, callers are told apart
    /// by their address.
    pub async fn start(
        network: &Network,
        listen: SocketAddr,
        from: Option<Endpoint>,
        to: Endpoint,
        target: SocketAddr,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let network = network.clone();
        let target = if target.port() == 0 { SocketAddr::new(target.ip(), address.port()) } else { target };
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((stream, caller)) = accepted {
                        let from = from.unwrap_or_else(|| Endpoint::of_caller(caller.ip()));
                        connections.spawn(carry(stream, target, Path::new(&network, from, to)));
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, _task: task })
    }
}

async fn carry(caller: TcpStream, target: SocketAddr, path: Path) {
    // The kernel completed the handshake with the caller already; nothing more happens until the path is open.
    if !path.passes().await {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = caller.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (caller_reads, caller_writes) = caller.into_split();
    let (server_reads, server_writes) = server.into_split();
    tokio::select! {
        () = path.outlived() => {}
        ((), ()) = async { tokio::join!(
            pump(caller_reads, server_writes, &path),
            pump(server_reads, caller_writes, &path),
        ) } => {}
    }
}

/// Moves bytes, and the end of the stream too, only while the path is open.
async fn pump(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, path: &Path) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        if !path.passes().await {
            return;
        }
        match read {
            Ok(0) | Err(_) => {
                let _ = to.shutdown().await;
                return;
            }
            Ok(length) => {
                if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    let _ = tokio::io::copy(&mut reads, &mut writes).await;
                });
            }
        });
        address
    }

    async fn call(stream: &mut TcpStream) -> Option<u8> {
        stream.write_all(b"x").await.ok()?;
        let answer = tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await;
        answer.ok().and_then(Result::ok)
    }

    #[tokio::test]
    async fn a_cut_holds_bytes_back_and_the_heal_delivers_them() {
        // Given an open connection of node 1 to the API
        let network = Network::default();
        let (api, node) = (Endpoint::Api, Endpoint::Node(1));
        let proxy =
            Proxy::start(&network, "127.0.0.1:0".parse().unwrap(), Some(node), api, echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(call(&mut stream).await, Some(b'x'));
        // When the path is cut, then nothing comes back and nothing is closed
        network.cut(node, api);
        assert_eq!(call(&mut stream).await, None);
        // And after the heal the byte that was on its way arrives
        network.heal_all();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn connections_of_an_ended_boot_are_dead() {
        // Given an open connection of node 1, whose machine then loses power
        let network = Network::default();
        let (api, node) = (Endpoint::Api, Endpoint::Node(1));
        let proxy =
            Proxy::start(&network, "127.0.0.1:0".parse().unwrap(), Some(node), api, echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(call(&mut stream).await, Some(b'x'));
        network.darken(node);
        assert_eq!(call(&mut stream).await, None);
        // When it boots again, then the old connection ends without the late byte
        network.relight(node);
        assert!(stream.read_u8().await.is_err());
    }

    #[test]
    fn a_one_way_cut_drops_packets_of_that_direction_only() {
        let network = Network::default();
        let (node, api) = (Endpoint::Node(1), Endpoint::Api);
        network.cut_one_way(node, api);
        assert_eq!(network.packet(node, api), None);
        assert_eq!(network.packet(api, node), Some(Quality::default()));
        assert!(!network.open(api, node), "a stream needs both directions");
        network.heal_all();
        assert!(network.open(node, api));
    }

    #[test]
    fn callers_are_known_by_their_address() {
        assert_eq!(Endpoint::of_caller("127.0.1.7".parse().unwrap()), Endpoint::Node(7));
        assert_eq!(Endpoint::of_caller("127.0.0.1".parse().unwrap()), Endpoint::Controller);
    }
}
