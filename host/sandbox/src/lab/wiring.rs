//! Where the processes of a lab live, and how they reach each other: on loopback behind proxies, or wherever a test
//! puts them, for example in network namespaces.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::network::{Endpoint, Network};

/// Makes the wires of a lab.
pub trait Wiring: Debug + Send + Sync {
    /// What tells it from others in tables; empty for the usual one.
    fn label(&self) -> &str;

    /// Lays wires that obey `network` and lead to the API server at `api`.
    fn lay(&self, network: &Network, api: SocketAddr) -> io::Result<Box<dyn Wires>>;
}

/// The wires of one lab; they are gone when dropped.
pub trait Wires: Debug + Send + Sync {
    /// The place of the controller or of a node.
    fn place(&self, who: Endpoint) -> io::Result<Place>;
}

/// Where somebody's processes live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Program and arguments that start another program there; empty to start it here.
    pub enter: Vec<OsString>,
    /// Their own address, to listen on and to call from.
    pub own: IpAddr,
    /// How the API server is reached from there.
    pub api: SocketAddr,
}

/// Port of an agent in a place of its own.
pub const AGENT_PORT: u16 = 30001;
