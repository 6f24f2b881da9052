//! Who wrote when: a pod writes from its start to the end of its container, without a gap.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// One container of a pod, running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenure {
    /// UID of the pod.
    pub uid: String,
    /// Node on which it ran.
    pub node: String,
    /// Boot in which it ran.
    pub boot: String,
    /// First write.
    pub from: Instant,
    /// Last write; `None` while it writes.
    pub until: Option<Instant>,
}

/// Two containers of one identity at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// Namespace and name of the pod.
    pub identity: String,
    /// The one that started first.
    pub first: Tenure,
    /// The one that started while it ran.
    pub second: Tenure,
}

/// All tenures by identity, which is namespace and name of the pod.
#[derive(Debug, Default)]
pub struct Ledger {
    tenures: Mutex<BTreeMap<String, Vec<Tenure>>>,
}

impl Ledger {
    pub(super) fn begin(&self, identity: &str, uid: &str, node: &str, boot: &str) {
        let tenure = Tenure {
            uid: uid.to_owned(),
            node: node.to_owned(),
            boot: boot.to_owned(),
            from: Instant::now(),
            until: None,
        };
        self.lock().entry(identity.to_owned()).or_default().push(tenure);
    }

    pub(super) fn end(&self, identity: &str, uid: &str) {
        if let Some(tenures) = self.lock().get_mut(identity) {
            let open = tenures.iter_mut().filter(|tenure| tenure.uid == uid && tenure.until.is_none());
            open.for_each(|tenure| tenure.until = Some(Instant::now()));
        }
    }

    /// Every write of every identity so far.
    pub fn tenures(&self) -> BTreeMap<String, Vec<Tenure>> {
        self.lock().clone()
    }

    /// Identities that ran twice at once.
    pub fn overlaps(&self) -> Vec<Overlap> {
        let mut found = Vec::new();
        for (identity, tenures) in self.lock().iter() {
            for (index, second) in tenures.iter().enumerate() {
                let running =
                    |first: &&Tenure| first.uid != second.uid && first.until.is_none_or(|until| until > second.from);
                if let Some(first) = tenures[..index].iter().find(running) {
                    let (identity, first, second) = (identity.clone(), first.clone(), second.clone());
                    found.push(Overlap { identity, first, second });
                }
            }
        }
        found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<Tenure>>> {
        // Plain values, never left half written.
        self.tenures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_that_starts_too_early_is_seen() {
        let ledger = Ledger::default();
        ledger.begin("shop/db-0", "1", "n1", "a");
        ledger.begin("shop/db-0", "2", "n2", "b");
        ledger.end("shop/db-0", "1");
        assert_eq!(ledger.overlaps().len(), 1);
        assert_eq!(ledger.overlaps()[0].second.node, "n2");
    }

    #[test]
    fn one_after_the_other_is_fine() {
        let ledger = Ledger::default();
        ledger.begin("shop/db-0", "1", "n1", "a");
        ledger.end("shop/db-0", "1");
        ledger.begin("shop/db-0", "2", "n2", "b");
        assert_eq!(ledger.overlaps(), []);
    }
}
