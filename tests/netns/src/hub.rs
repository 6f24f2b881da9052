//! A switch for IP packets between namespaces. Each namespace has a TUN device whose other end is here, so that loss,
//! delay and one-way cuts need no kernel module, and so that the fault matrix of the lab decides about every packet.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use palisade_sandbox::lab::network::{Endpoint, Network};
use tokio::task::JoinSet;
use tun_rs::AsyncDevice;

/// Longest packet: the devices' MTU.
pub const MTU: u16 = 1500;

/// Who has which address, and the device that leads there.
type Ports = BTreeMap<IpAddr, (Endpoint, Arc<AsyncDevice>)>;

/// The switch; packets stop when it is dropped.
pub struct Hub {
    network: Network,
    ports: Arc<Mutex<Ports>>,
    tasks: Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("network", &self.network).finish_non_exhaustive()
    }
}

impl Hub {
    /// A switch that obeys `network`.
    pub fn new(network: &Network) -> Self {
        Self { network: network.clone(), ports: Arc::default(), tasks: Mutex::default() }
    }

    /// Stops all packets, for the moment before devices vanish under it.
    pub fn stop(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Plugs a device in; its packets flow from now on.
    pub fn plug(&self, who: Endpoint, addresses: &[IpAddr], device: AsyncDevice) {
        let device = Arc::new(device);
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses {
            ports.insert(*address, (who, Arc::clone(&device)));
        }
        let (network, ports) = (self.network.clone(), Arc::clone(&self.ports));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async move {
            if let Err(error) = forward(who, &device, &network, &ports).await {
                tracing::error!(?who, %error, "a wire broke");
            }
        });
    }
}

async fn forward(from: Endpoint, device: &AsyncDevice, network: &Network, ports: &Mutex<Ports>) -> io::Result<()> {
    let mut buffer = vec![0; usize::from(MTU)];
    // Dropping this task drops what is still on its way.
    let mut on_its_way = JoinSet::new();
    loop {
        let length = device.recv(&mut buffer).await?;
        while on_its_way.try_join_next().is_some() {}
        let packet = &buffer[..length];
        let Some(destination) = destination(packet) else { continue };
        let port = ports.lock().unwrap_or_else(PoisonError::into_inner).get(&destination).cloned();
        let Some((to, out)) = port else { continue };
        let Some(quality) = network.packet(from, to) else { continue };
        if fastrand::u16(0..1000) < quality.lost_of_thousand {
            continue;
        }
        if quality.delay.is_zero() {
            // A full queue loses the packet, as every switch does.
            let _ = out.send(packet).await;
        } else {
            let packet = packet.to_vec();
            on_its_way.spawn(async move {
                tokio::time::sleep(quality.delay).await;
                let _ = out.send(&packet).await;
            });
        }
    }
}

/// Where an IP packet wants to go; `None` for anything else.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => <[u8; 4]>::try_from(packet.get(16..20)?).ok().map(|octets| Ipv4Addr::from(octets).into()),
        6 => <[u8; 16]>::try_from(packet.get(24..40)?).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_of_both_families_is_read_and_rubbish_is_not() {
        let mut four = [0; 20];
        four[0] = 0x45;
        four[16..20].copy_from_slice(&[198, 18, 1, 11]);
        assert_eq!(destination(&four), Some("198.18.1.11".parse().unwrap()));
        let mut six = [0; 40];
        six[0] = 0x60;
        six[24] = 0xfd;
        six[39] = 7;
        assert_eq!(destination(&six), Some("fd00::7".parse().unwrap()));
        assert_eq!(destination(&six[..39]), None, "cut short");
        assert_eq!(destination(&[0x10; 40]), None, "neither");
        assert_eq!(destination(&[]), None);
    }
}
