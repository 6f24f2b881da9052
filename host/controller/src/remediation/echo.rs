//! Own writes, as the watch shows them again.
//!
//! What a pass wrote itself makes nothing due: it has said when the next look is, and that is soon if the component came a
//! step further. To look again because of every write would cost as many requests as the pass that wrote it.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use serde_json::Value;

use super::kind::Remediation;

/// So many are remembered of each object; one that is forgotten costs a pass.
const REMEMBERED: usize = 8;

/// What was written and not to be looked at again, by UID.
#[derive(Debug, Default)]
pub struct Echoes {
    known: Mutex<HashMap<String, VecDeque<u64>>>,
}

impl Echoes {
    /// An object that is about to be written like this. Before it is sent: the watch may be faster than the answer.
    pub fn expect<K: Remediation>(&self, object: &K) {
        let Some(print) = print(object) else { return };
        let mut known = self.lock();
        let prints = known.entry(object.uid().unwrap_or_default()).or_default();
        prints.push_back(print);
        if prints.len() > REMEMBERED {
            prints.pop_front();
        }
    }

    /// Whether the object as the watch shows it is exactly what was written here. Once: if it is so again later, somebody
    /// has changed it and changed it back.
    pub fn is_one<K: Remediation>(&self, object: &K) -> bool {
        let uid = object.uid().unwrap_or_default();
        let mut known = self.lock();
        if object.deleting() {
            known.remove(&uid);
            return false;
        }
        let Some(prints) = known.get_mut(&uid) else { return false };
        let at = print(object).and_then(|print| prints.iter().position(|known| *known == print));
        // What was written before is not shown any more.
        at.map(|at| drop(prints.drain(..=at))).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, VecDeque<u64>>> {
        // Plain values, never left half written.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of it but what the API server counts.
fn print<K: Remediation>(object: &K) -> Option<u64> {
    let mut value = serde_json::to_value(object).ok()?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use palisade_api::SelfNodeRemediation;

    use super::*;
    use crate::remediation::kind::Status;

    fn written() -> SelfNodeRemediation {
        let mut object = SelfNodeRemediation::default();
        object.metadata.uid = Some("u".into());
        object.metadata.resource_version = Some("7".into());
        object.status = Some(Status { last_error: Some("told".into()), ..Status::default() });
        object
    }

    #[test]
    fn what_was_written_comes_back_under_a_later_version() {
        let echoes = Echoes::default();
        echoes.expect(&written());
        let mut seen = written();
        seen.metadata.resource_version = Some("8".into());
        assert!(echoes.is_one(&seen));
        // Changed, and changed back
        assert!(!echoes.is_one(&seen));
    }

    #[test]
    fn what_somebody_else_changed_is_no_echo() {
        let echoes = Echoes::default();
        echoes.expect(&written());
        let mut annotated = written();
        annotated.annotations_mut().insert("remediation.medik8s.io/nhc-timed-out".into(), String::new());
        assert!(!echoes.is_one(&annotated));
        let mut deleted = written();
        deleted.metadata.deletion_timestamp = Some(crate::clock::wall());
        assert!(!echoes.is_one(&deleted));
        let mut another = written();
        another.metadata.uid = Some("v".into());
        assert!(!echoes.is_one(&another));
    }
}
