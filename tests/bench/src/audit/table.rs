//! Counted requests.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::entry::Entry;

/// Requests by program, verb and resource.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Table {
    /// Rows, most frequent first.
    pub rows: Vec<Row>,
}

/// One kind of request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// User agent up to its first space.
    pub program: String,
    /// Verb.
    pub verb: String,
    /// Resource with subresource and group.
    pub kind: String,
    /// How many.
    pub count: usize,
}

impl Table {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut counts: BTreeMap<(String, String, String), usize> = BTreeMap::new();
        for entry in entries {
            let program = entry.user_agent.split(' ').next().unwrap_or_default().to_owned();
            *counts.entry((program, entry.verb.clone(), entry.kind())).or_default() += 1;
        }
        let mut rows: Vec<Row> =
            counts.into_iter().map(|((program, verb, kind), count)| Row { program, verb, kind, count }).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        Self { rows }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return writeln!(f, "  no requests");
        }
        for row in &self.rows {
            writeln!(f, "  {:>6}  {:<8} {:<50} {}", row.count, row.verb, row.kind, row.program)?;
        }
        Ok(())
    }
}
