//! A log of requests for assertions: who did what to which object, and what the answer was.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// One answered request. A watch is logged when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `apply`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group.
    pub group: String,
    /// Plural resource name.
    pub resource: String,
    /// `status` and the like, empty for the object itself.
    pub subresource: String,
    /// Namespace, empty for cluster-scoped objects and lists over all namespaces.
    pub namespace: String,
    /// Object name, empty for lists.
    pub name: String,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The `Impersonate-User` header.
    pub impersonated: String,
    /// HTTP status code.
    pub code: u16,
}

/// The newest entries, none unless switched on.
#[derive(Debug, Default)]
pub struct Audit {
    entries: Mutex<VecDeque<AuditEntry>>,
    limit: usize,
}

impl Audit {
    /// Keeps up to `limit` entries.
    pub fn new(limit: usize) -> Self {
        Self { entries: Mutex::default(), limit }
    }

    /// Whether anything is kept.
    pub fn enabled(&self) -> bool {
        self.limit > 0
    }

    /// Adds an entry.
    pub fn record(&self, entry: AuditEntry) {
        if !self.enabled() {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.limit {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// All kept entries, oldest first.
    pub fn entries(&self) -> Vec<AuditEntry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
