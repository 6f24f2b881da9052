//! Every setting of the Wasm engine, in one function.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::aside::Compiler;
use crate::error::HostError;
use crate::limits::Limits;

/// What an administrator can choose about the engine.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// No call gets more than this; the pool is sized for it.
    pub ceiling: Limits,
    /// Calls that can run at the same time.
    pub concurrent_calls: u32,
    /// Largest component file.
    pub component_bytes: usize,
    /// Where compiled components are kept; `None` compiles at every start. Created with mode 0700 when missing.
    pub cache_dir: Option<PathBuf>,
    /// Who compiles what is not in the cache yet; this process itself if there is none, or no cache.
    pub compiler: Option<Compiler>,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            ceiling: Limits::most(),
            concurrent_calls: 32,
            // The JavaScript and Python toolchains make 12 to 19 MB; Rust makes 0.1.
            component_bytes: 24 << 20,
            cache_dir: None,
            compiler: None,
        }
    }
}

/// Stack of a guest. Honest remediators use a few KiB; threads that call guests must have clearly more than this.
const STACK_BYTES: usize = 512 << 10;

pub(crate) fn engine(settings: &EngineSettings) -> Result<Engine, HostError> {
    match build(settings, true) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            // Address space can be limited (ulimit -v, small containers); on demand costs 9 µs more per call.
            tracing::warn!(%error, "no instance pool, instances are allocated on demand");
            build(settings, false).map_err(|error| HostError::Engine(format!("{error:#}")))
        }
    }
}

fn build(settings: &EngineSettings, pooled: bool) -> wasmtime::Result<Engine> {
    let mut config = Config::new();

    // Both meters: fuel is deterministic and recorded, the epoch bounds wall-clock time whatever fuel does not see.
    config.consume_fuel(true).epoch_interruption(true);
    config.max_wasm_stack(STACK_BYTES);

    // No async, no fibers, no concurrency of the component model. Set on purpose, not left to features: compiled files
    // differ by it.
    config.concurrency_support(false);

    // The same input gives the same answer on every machine.
    config.cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true).wasm_relaxed_simd(false);

    // What no remediator needs is attack surface.
    config.wasm_memory64(false).wasm_component_model_memory64(false);

    // Names in messages about traps, no lookup of debug information.
    config.wasm_backtrace_max_frames(NonZeroUsize::new(8));
    config.native_unwind_info(false);

    if pooled {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings)));
    } else {
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    }
    Engine::new(&config)
}

/// Everything in the pool follows from two things: the ceiling of one call, and how many calls run at once.
fn pool(settings: &EngineSettings) -> PoolingAllocationConfig {
    let Limits { memory_bytes, memories, tables, table_elements, instances, .. } = settings.ceiling;
    let calls = settings.concurrent_calls.max(1);
    let count = |per_call: usize| u32::try_from(per_call).unwrap_or(u32::MAX).saturating_mul(calls);
    let each = |per_call: usize| u32::try_from(per_call).unwrap_or(u32::MAX);

    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(count(instances))
        .total_memories(count(memories))
        .total_tables(count(tables))
        .max_core_instances_per_component(each(instances))
        .max_memories_per_component(each(memories))
        .max_tables_per_component(each(tables))
        .max_memory_size(memory_bytes)
        .table_elements(table_elements)
        // A warm slot keeps this much mapped, so that the next call does not fault it in again.
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(4 << 10)
        .max_unused_warm_slots(4)
        // It depends on the kernel; the same behaviour everywhere is worth more.
        .pagemap_scan(Enabled::No);
    pool
}
