//! Every limit on a call, in one value without which no store can be built.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Largest memory that one call may leave to the next. It is stored in the status of the remediation.
pub const MEMORY_LIMIT: usize = 4 * 1024;

/// Limits of one call. All apply always; there is no "unlimited".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Instructions, roughly. Deterministic, so that a replay ends at the same place. An honest step needs 0.1 million.
    pub fuel: u64,
    /// Wall-clock bound for what fuel does not see; rounded up to ticks of 10 ms.
    pub deadline_millis: u64,
    /// Linear memory, all memories of the instance together are bounded by `memories` times this.
    pub memory_bytes: usize,
    /// Linear memories.
    pub memories: usize,
    /// Entries of one table.
    pub table_elements: usize,
    /// Tables.
    pub tables: usize,
    /// Core instances inside the component.
    pub instances: usize,
    /// What one crossing between guest and host may make the host allocate; wasmtime's own default is 128 MiB.
    pub crossing_bytes: usize,
    /// Host calls: the host's work is not paid in fuel, so it is bounded by number and size.
    pub host_calls: u32,
    /// Staged effects.
    pub effects: usize,
    /// All texts of staged effects together.
    pub effect_bytes: usize,
    /// Log text; what is longer is cut.
    pub log_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 20_000_000,
            deadline_millis: 1_000,
            memory_bytes: 8 << 20,
            memories: 2,
            table_elements: 4_096,
            tables: 4,
            instances: 16,
            crossing_bytes: 1 << 20,
            host_calls: 1_000,
            effects: 64,
            effect_bytes: 64 << 10,
            log_bytes: 16 << 10,
        }
    }
}

impl Limits {
    /// The most that an administrator can raise limits to: room for the engines that other languages bring along
    /// (JavaScript needs 3 MiB and 12,000 table entries, Python 6 MiB).
    pub fn most() -> Self {
        Self {
            fuel: 4_000_000_000,
            deadline_millis: 10_000,
            memory_bytes: 64 << 20,
            table_elements: 32_768,
            tables: 8,
            instances: 32,
            ..Self::default()
        }
    }

    /// The limits of a call where an administrator named some. Who needs more memory than the default brings an engine
    /// along, and gets its tables and instances too.
    pub fn named(fuel: Option<u64>, memory_bytes: Option<usize>, deadline_millis: Option<u64>) -> Self {
        let (usual, most) = (Self::default(), Self::most());
        let engine = memory_bytes.is_some_and(|bytes| bytes > usual.memory_bytes);
        let structure = if engine { most } else { usual.clone() };
        Self {
            fuel: fuel.unwrap_or(usual.fuel),
            memory_bytes: memory_bytes.unwrap_or(usual.memory_bytes),
            deadline_millis: deadline_millis.unwrap_or(usual.deadline_millis),
            ..structure
        }
    }

    /// The same limits, never above what the engine's pool was built for.
    #[must_use]
    pub fn within(&self, ceiling: &Self) -> Self {
        Self {
            fuel: self.fuel.min(ceiling.fuel),
            deadline_millis: self.deadline_millis.min(ceiling.deadline_millis),
            memory_bytes: self.memory_bytes.min(ceiling.memory_bytes),
            memories: self.memories.min(ceiling.memories),
            table_elements: self.table_elements.min(ceiling.table_elements),
            tables: self.tables.min(ceiling.tables),
            instances: self.instances.min(ceiling.instances),
            crossing_bytes: self.crossing_bytes.min(ceiling.crossing_bytes),
            host_calls: self.host_calls.min(ceiling.host_calls),
            effects: self.effects.min(ceiling.effects),
            effect_bytes: self.effect_bytes.min(ceiling.effect_bytes),
            log_bytes: self.log_bytes.min(ceiling.log_bytes),
        }
    }

    /// The wall-clock bound.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_millis)
    }
}
