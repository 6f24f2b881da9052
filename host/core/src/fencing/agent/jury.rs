//! Choosing the jury: at most 15 other agents, spread over zones, the same for the same cluster.

use std::collections::BTreeMap;

use super::types::Peer;
use crate::fencing::record::JURY_LIMIT;
use crate::stable_hash::fnv1a;

/// Chooses by rendezvous hash, taking turns over the zones: a node that comes or goes changes at most one juror of
/// each jury, and no zone has more jurors than it must.
pub fn choose(me: &str, roster: &[Peer]) -> Vec<String> {
    let mut zones: BTreeMap<&str, Vec<(u64, &str)>> = BTreeMap::new();
    for peer in roster.iter().filter(|peer| peer.node != me) {
        zones.entry(&peer.zone).or_default().push((weight(me, &peer.node), &peer.node));
    }
    let mut zones: Vec<(u64, Vec<(u64, &str)>)> =
        zones.into_iter().map(|(zone, peers)| (weight(me, zone), peers)).collect();
    zones.sort();
    for (_, peers) in &mut zones {
        peers.sort_unstable();
        peers.dedup();
    }
    let deepest = zones.iter().map(|(_, peers)| peers.len()).max().unwrap_or(0);
    let mut jury: Vec<String> = (0..deepest)
        .flat_map(|turn| zones.iter().filter_map(move |(_, peers)| peers.get(turn)))
        .map(|(_, node)| (*node).to_owned())
        .take(JURY_LIMIT)
        .collect();
    jury.sort();
    jury
}

/// FNV-1a over both names, then the finaliser of splitmix64: stable over versions and machines.
pub(super) fn weight(me: &str, other: &str) -> u64 {
    let mut hash = fnv1a(me.bytes().chain([0]).chain(other.bytes()));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(zones: &[(&str, usize)]) -> Vec<Peer> {
        zones
            .iter()
            .flat_map(|(zone, count)| {
                (0..*count).map(move |index| Peer {
                    node: format!("{zone}-{index}"),
                    address: String::new(),
                    zone: (*zone).to_owned(),
                    control_plane: false,
                })
            })
            .collect()
    }

    #[test]
    fn a_large_cluster_gives_fifteen_jurors_evenly_over_its_zones() {
        let jury = choose("me", &peers(&[("a", 100), ("b", 100), ("c", 100)]));
        assert_eq!(jury.len(), 15);
        for zone in ["a", "b", "c"] {
            assert_eq!(jury.iter().filter(|name| name.starts_with(zone)).count(), 5, "{jury:?}");
        }
    }

    #[test]
    fn a_small_cluster_gives_everybody_but_me() {
        let mut roster = peers(&[("a", 3)]);
        roster.push(Peer { node: "me".into(), address: String::new(), zone: "a".into(), control_plane: false });
        assert_eq!(choose("me", &roster), ["a-0", "a-1", "a-2"]);
        assert!(choose("me", &[]).is_empty());
    }

    #[test]
    fn the_order_of_the_roster_does_not_matter_and_one_new_node_moves_at_most_one_seat() {
        let mut roster = peers(&[("a", 40), ("b", 40), ("c", 40)]);
        let before = choose("me", &roster);
        roster.reverse();
        assert_eq!(choose("me", &roster), before);

        roster.push(Peer { node: "a-new".into(), address: String::new(), zone: "a".into(), control_plane: false });
        let after = choose("me", &roster);
        let kept = after.iter().filter(|name| before.contains(name)).count();
        assert!(kept >= 14, "{before:?} {after:?}");
    }

    #[test]
    fn juries_of_different_nodes_differ() {
        let roster = peers(&[("a", 100)]);
        assert_ne!(choose("one", &roster), choose("two", &roster));
    }
}
