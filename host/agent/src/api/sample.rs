//! Which of the other agents an agent looks at: a jury has at most 15 members, so in a large cluster reading all leases
//! would cost traffic that grows with the square of its size, and memory that grows with it.
//!
//! Each agent labels its lease with one of [`SHARDS`] shards, by its name. A node reads neighbouring shards, beginning with
//! one by its own name, as many as hold about [`WANTED`] leases. So each agent is read by about as many others as it
//! reads, samples differ, and a node that comes or goes changes few of them.

use palisade_core::stable_hash::fnv1a;

use super::StoredLease;

/// Label with the shard of an agent's lease.
pub const SHARD_LABEL: &str = "palisade.dev/agent-shard";
/// As many shards as two digits name.
const SHARDS: usize = 256;
/// Up to so many leases are all read.
pub const SMALL: usize = 128;
/// Six times a jury: enough that zones of a usual size have their seats.
const WANTED: usize = 96;
/// Fewer than this, and the labels are not believed to be complete: twice a jury.
pub const ENOUGH: usize = 30;
/// More is never kept, whatever the shards hold.
const MOST: usize = 256;

/// FNV-1a, and the finaliser of splitmix64: the same everywhere.
fn hash(text: &str) -> u64 {
    let hash = fnv1a(text.bytes());
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ (hash >> 31)
}

fn number(node: &str) -> usize {
    (hash(node) % SHARDS as u64) as usize
}

/// The shard of a node's own lease.
pub fn shard(node: &str) -> String {
    format!("{:02x}", number(node))
}

/// Selects the shards that a node reads in a cluster of so many.
pub fn selector(node: &str, count: usize) -> String {
    let shards = (WANTED * SHARDS).div_ceil(count.max(1)).clamp(1, SHARDS);
    let first = number(&format!("{node} reads"));
    let names: Vec<String> = (0..shards).map(|next| format!("{:02x}", (first + next) % SHARDS)).collect();
    format!("{SHARD_LABEL} in ({})", names.join(","))
}

/// Leases that are kept while pages go by.
pub struct Sample<'a> {
    node: &'a str,
    fellows: bool,
    most: usize,
    whole: bool,
    kept: Vec<StoredLease>,
    control_plane: Vec<StoredLease>,
}

impl<'a> Sample<'a> {
    /// Of pages that hold what was selected.
    pub fn of_shards(node: &'a str) -> Self {
        Self { node, fellows: false, most: MOST, whole: false, kept: Vec::new(), control_plane: Vec::new() }
    }

    /// Of pages that hold every lease: as many as of a small cluster, and with `fellows` those of the control plane.
    pub fn of_all(node: &'a str, fellows: bool) -> Self {
        Self { node, fellows, most: SMALL, whole: true, kept: Vec::new(), control_plane: Vec::new() }
    }

    /// The next page.
    pub fn take(&mut self, page: impl Iterator<Item = StoredLease>) {
        for lease in page {
            let exempt = |lease: &StoredLease| {
                lease.view().ok().and_then(|view| view.record).is_some_and(|record| record.terms.claims.may_exempt)
            };
            if self.fellows && exempt(&lease) { self.control_plane.push(lease) } else { self.kept.push(lease) }
        }
        if self.kept.len() > self.most {
            let node = self.node;
            self.kept.sort_by_cached_key(|lease| hash(&format!("{node} {}", lease.node)));
            self.kept.truncate(self.most);
        }
    }

    /// Further pages would change nothing that is needed.
    pub fn is_full(&self) -> bool {
        !self.whole && self.kept.len() >= self.most
    }

    /// In the order of their names.
    pub fn leases(mut self) -> Vec<StoredLease> {
        self.kept.append(&mut self.control_plane);
        self.kept.sort_by(|a, b| a.node.cmp(&b.node));
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use palisade_core::fencing::record::{AgentRecord, BootId, Claims, RECORD, Terms, encode};

    use super::*;

    fn lease(node: &str, may_exempt: bool) -> StoredLease {
        let record = AgentRecord {
            node: node.into(),
            boot_id: BootId::new("b").unwrap(),
            sequence: 1,
            address: "a:1".into(),
            terms: Terms {
                time_to_live_millis: 1,
                watchdog: None,
                reset_steps_millis: 1,
                jury: vec![],
                min_peers: 1,
                claims: Claims { self_fences: true, may_exempt },
            },
            generation: 1,
            acknowledged: None,
            disarmed: false,
        };
        let annotations = BTreeMap::from([(RECORD.to_owned(), encode(&record))]);
        StoredLease { node: node.into(), annotations, ..StoredLease::default() }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("ip-10-0-{}-{}.internal", number / 256, number % 256)).collect()
    }

    fn read_by(node: &str, all: &[String]) -> BTreeSet<String> {
        let selector = selector(node, all.len());
        let shards = selector.split_once('(').unwrap().1.trim_end_matches(')');
        let shards: BTreeSet<&str> = shards.split(',').collect();
        all.iter().filter(|name| shards.contains(shard(name).as_str())).cloned().collect()
    }

    #[test]
    fn a_sample_does_not_grow_with_the_cluster_and_is_spread_over_it() {
        for size in [200, 1_000, 5_000, 15_000] {
            let all = names(size);
            let mut readers: BTreeMap<String, usize> = BTreeMap::new();
            for node in all.iter().step_by(size / 200) {
                let read = read_by(node, &all);
                assert!(read.len() >= ENOUGH && read.len() <= MOST, "{} of {size}", read.len());
                for name in read {
                    *readers.entry(name).or_default() += 1;
                }
            }
            // Nobody is read by half of them, as the head of the alphabet would be, unless half of all are read.
            let most = readers.values().max().unwrap();
            assert!(size < 400 || *most < 100, "{most} of 200 read the same one of {size}");
        }
    }

    #[test]
    fn one_more_node_changes_little() {
        let (before, after) = (names(4_999), names(5_000));
        for node in ["a", "b", "c"] {
            let (before, after) = (read_by(node, &before), read_by(node, &after));
            assert!(before.symmetric_difference(&after).count() <= 40, "a shard at most");
        }
    }

    #[test]
    fn pages_of_everybody_keep_a_bounded_sample_that_differs_by_node_and_every_fellow() {
        // given 1,000 leases, three of control-plane nodes, in pages of 100
        let all: Vec<StoredLease> =
            names(1_000).iter().enumerate().map(|(index, name)| lease(name, index % 400 == 7)).collect();
        let sampled = |node: &str, fellows: bool| {
            let mut sample = Sample::of_all(node, fellows);
            for page in all.chunks(100) {
                sample.take(page.iter().cloned());
                assert!(!sample.is_full(), "a fellow may be on the last page");
            }
            sample.leases().into_iter().map(|lease| lease.node).collect::<Vec<_>>()
        };
        // then
        let (one, other) = (sampled("one", true), sampled("other", true));
        assert_eq!((one.len(), other.len()), (SMALL + 3, SMALL + 3));
        assert_ne!(one, other);
        assert!(one.is_sorted());
        for fellow in all.iter().skip(7).step_by(400) {
            assert!(one.contains(&fellow.node) && other.contains(&fellow.node));
        }
        assert_eq!(sampled("one", false).len(), SMALL);
    }
}
