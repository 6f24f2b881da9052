//! Who the other agents are: those that published a signed lease and keep renewing it.

use std::collections::BTreeMap;
use std::time::Duration;

use palisade_core::fencing::agent::Peer;
use palisade_core::fencing::record::{CERTIFICATE, RECORD, RECORD_SIGNATURE};
use palisade_core::time::Mono;
use palisade_rpc::Trust;

use crate::api::StoredLease;

/// Remembers when each agent's lease changed last, on the own clock; written times are never compared.
#[derive(Debug, Default)]
pub struct Roster {
    changed: BTreeMap<String, (String, Mono)>,
}

impl Roster {
    /// The agents a jury can be made of: others, correctly signed, not fenced, and not silent for longer than `silence`.
    pub fn peers(
        &mut self,
        now: Mono,
        me: &str,
        leases: &[StoredLease],
        trust: &Trust,
        silence: Duration,
    ) -> Vec<Peer> {
        self.changed.retain(|node, _| leases.iter().any(|lease| lease.node == *node));
        let mut peers: Vec<Peer> = leases
            .iter()
            .filter(|lease| lease.node != me)
            .filter(|lease| !self.silent(now, lease, silence))
            .filter_map(|lease| peer(lease, trust))
            .collect();
        peers.sort_by(|a, b| a.node.cmp(&b.node));
        peers
    }

    fn silent(&mut self, now: Mono, lease: &StoredLease, silence: Duration) -> bool {
        let record = lease.annotations.get(RECORD).cloned().unwrap_or_default();
        let entry = self.changed.entry(lease.node.clone()).or_insert_with(|| (record.clone(), now));
        if entry.0 != record {
            *entry = (record, now);
        }
        now.since(entry.1) > silence
    }
}

fn peer(lease: &StoredLease, trust: &Trust) -> Option<Peer> {
    let text = lease.annotations.get(RECORD)?;
    let signature = lease.annotations.get(RECORD_SIGNATURE)?;
    let certificate = lease.annotations.get(CERTIFICATE)?;
    trust.verify_record(certificate, &lease.node, text.as_bytes(), signature).ok()?;
    let record = lease.view().ok()?.record?;
    if record.node != lease.node || record.acknowledged.is_some() || record.address.is_empty() {
        return None;
    }
    Some(Peer {
        node: record.node,
        address: record.address,
        zone: lease.zone.clone(),
        control_plane: record.terms.claims.may_exempt,
    })
}

/// What has to change in a lease before the roster can: the agent, its address, its certificate.
pub fn fingerprint(lease: &StoredLease) -> String {
    let record = lease.view().ok().and_then(|view| view.record);
    let described = record.map(|record| {
        let exempt = record.terms.claims.may_exempt;
        format!("{} {} {} {exempt}", record.address, record.boot_id, record.acknowledged.is_some())
    });
    let certificate = lease.annotations.get(CERTIFICATE).map_or(0, String::len);
    format!("{} {} {certificate}", lease.node, described.unwrap_or_default())
}
