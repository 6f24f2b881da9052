//! Network namespaces as the places of a lab: one for the controller, one for each node, all plugged into the hub. The
//! API server stays where it is; a forwarder with an address on the hub stands for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use palisade_sandbox::lab::network::{Endpoint, Network};
use palisade_sandbox::lab::wiring::{Place, Wires, Wiring};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tun_rs::DeviceBuilder;

use crate::hub::{Hub, MTU};

/// Prefix of the names of namespaces and devices; the process id follows.
const PREFIX: &str = "pal";

/// Which addresses are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 198.18.0.0/15, which is set aside for tests.
    V4,
    /// A unique local prefix.
    V6,
}

/// Makes namespaces.
#[derive(Debug)]
pub struct Namespaces {
    family: Family,
}

impl Namespaces {
    /// Namespaces that talk with these addresses.
    pub fn new(family: Family) -> Self {
        Self { family }
    }
}

/// Complains if this process may not make namespaces.
pub fn check() -> anyhow::Result<()> {
    let device = Path::new("/dev/net/tun");
    anyhow::ensure!(device.exists(), "{}: not there; load the kernel module tun", device.display());
    let probe = format!("{PREFIX}{}-probe", std::process::id());
    ip(&["netns", "add", &probe]).context("network namespaces need root and the package iproute2")?;
    Ok(ip(&["netns", "del", &probe])?)
}

/// Removes the namespaces of processes that were killed before they could.
pub fn remove_leftovers() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(owner, _)| owner);
        if owner.is_some_and(|owner| owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

impl Wiring for Namespaces {
    fn label(&self) -> &'static str {
        match self.family {
            Family::V4 => "",
            Family::V6 => "ipv6",
        }
    }

    fn lay(&self, network: &Network, api: SocketAddr) -> io::Result<Box<dyn Wires>> {
        let subnet = Subnet { family: self.family, number: fastrand::u16(0..512) };
        let hub = Hub::new(network);
        let here = subnet.address(1);
        let device = device(subnet, 1)?;
        let name = device.name()?;
        ip(&["address", "add", &subnet.with_length(here), "dev", &name, "nodad"])?;
        ip(&["link", "set", &name, "up"])?;
        hub.plug(Endpoint::Api, &[here], device);
        let listener = std::net::TcpListener::bind((here, 0))?;
        listener.set_nonblocking(true)?;
        let forwarder = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(forward(TcpListener::from_std(listener)?, api));
        Ok(Box::new(Wired { subnet, hub, forwarder, namespaces: Mutex::default(), _tasks: tasks }))
    }
}

/// The network of one lab.
#[derive(Debug, Clone, Copy)]
struct Subnet {
    family: Family,
    /// Below 512, at random: labs of other processes use others.
    number: u16,
}

impl Subnet {
    fn address(self, host: u8) -> IpAddr {
        let [high, low] = self.number.to_be_bytes();
        match self.family {
            Family::V4 => Ipv4Addr::new(198, 18 + high, low, host).into(),
            Family::V6 => Ipv6Addr::new(0xfd50, 0x616c, self.number, 0, 0, 0, 0, u16::from(host)).into(),
        }
    }

    fn with_length(self, address: IpAddr) -> String {
        match self.family {
            Family::V4 => format!("{address}/24"),
            Family::V6 => format!("{address}/64"),
        }
    }
}

/// A TUN device of this lab in our own namespace.
fn device(subnet: Subnet, host: u8) -> io::Result<tun_rs::AsyncDevice> {
    // Names have at most 15 characters.
    let device = DeviceBuilder::new().name(format!("{PREFIX}{}-{host}", subnet.number)).build_async()?;
    ip(&["link", "set", &device.name()?, "mtu", &MTU.to_string()])?;
    Ok(device)
}

#[derive(Debug)]
struct Wired {
    subnet: Subnet,
    hub: Hub,
    forwarder: SocketAddr,
    namespaces: Mutex<Vec<String>>,
    _tasks: JoinSet<()>,
}

impl Wires for Wired {
    fn place(&self, who: Endpoint) -> io::Result<Place> {
        let host = match who {
            Endpoint::Api => return Err(io::Error::other("the API server has its place already")),
            Endpoint::Controller => 2,
            Endpoint::Node(number) => 10 + number,
        };
        let namespace = format!("{PREFIX}{}-{}-{host}", std::process::id(), self.subnet.number);
        ip(&["netns", "add", &namespace])?;
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).push(namespace.clone());
        let own = self.subnet.address(host);
        let device = device(self.subnet, host)?;
        let name = device.name()?;
        ip(&["link", "set", &name, "netns", &namespace])?;
        ip(&["-n", &namespace, "address", "add", &self.subnet.with_length(own), "dev", &name, "nodad"])?;
        ip(&["-n", &namespace, "link", "set", &name, "up"])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        self.hub.plug(who, &[own], device);
        let enter = ["ip", "netns", "exec", &namespace].map(Into::into).to_vec();
        Ok(Place { enter, own, api: self.forwarder })
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        self.hub.stop();
        for namespace in self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Err(error) = ip(&["netns", "del", &namespace]) {
                tracing::warn!(%error, "a namespace stays behind");
            }
        }
    }
}

/// Carries connections to the API server until aborted.
async fn forward(listener: TcpListener, api: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((mut caller, _)) = accepted {
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(api).await {
                        let _ = (caller.set_nodelay(true), server.set_nodelay(true));
                        let _ = tokio::io::copy_bidirectional(&mut caller, &mut server).await;
                    }
                });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Runs `ip` of iproute2.
fn ip(args: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("ip {}: {}", args.join(" "), said.trim())))
}
