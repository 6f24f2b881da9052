//! The host: one engine, and the way from bytes to a module that can be called.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Store};

use crate::aside::Compiler;
use crate::cache::Cache;
use crate::capability::Granted;
use crate::contract::Linked;
use crate::engine::{self, EngineSettings};
use crate::error::{HostError, LoadError};
use crate::hex;
use crate::inspect::inspect;
use crate::journal::JournalInput;
use crate::limits::Limits;
use crate::module::Module;
use crate::places::{Place, Places};
use crate::report::CallInput;
use crate::state::{CallState, journal_input};
use crate::ticker::Ticker;

/// Loads and runs remediators. A process needs one.
#[derive(Debug)]
pub struct Host {
    shared: Arc<Shared>,
    component_bytes: usize,
    cache: Option<Cache>,
    compiler: Option<Compiler>,
}

/// What a module needs of its host.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) ceiling: Limits,
    pub(crate) ticker: Ticker,
    places: Places,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("ceiling", &self.ceiling).finish_non_exhaustive()
    }
}

impl Host {
    /// Sets up the engine. A cache directory that cannot be trusted is reported in the log and not used.
    pub fn new(settings: &EngineSettings) -> Result<Self, HostError> {
        let engine = engine::engine(settings)?;
        let ticker = Ticker::start(engine.weak()).map_err(|error| HostError::Engine(error.to_string()))?;
        let cache = settings.cache_dir.as_ref().and_then(|dir| {
            Cache::open(dir, &engine)
                .inspect_err(|error| tracing::warn!(%error, "compiled components are not cached"))
                .ok()
        });
        let places = Places::new(settings.concurrent_calls);
        let shared = Arc::new(Shared { engine, ceiling: settings.ceiling.clone(), ticker, places });
        Ok(Self { shared, component_bytes: settings.component_bytes, cache, compiler: settings.compiler.clone() })
    }

    /// Digest of a component file as it is named in objects and journals: `sha256:` and 64 hexadecimal digits.
    pub fn digest(bytes: &[u8]) -> String {
        format!("sha256:{}", hex::encode(&Sha256::digest(bytes)))
    }

    /// Checks, compiles (or takes from the cache), links and tries out a component. Blocks while compiling: a Rust
    /// component takes a tenth of a second with optimised Cranelift.
    pub fn load(&self, bytes: &[u8]) -> Result<Arc<Module>, LoadError> {
        let (size, limit) = (bytes.len(), self.component_bytes);
        if size > limit {
            return Err(LoadError::TooLarge { size, limit });
        }
        let manifest = inspect(bytes)?;
        let digest = Self::digest(bytes);
        let component = self.component(bytes, digest.trim_start_matches("sha256:"))?;
        let trial = |error: wasmtime::Error| LoadError::TrialFailed { detail: detail(&error) };
        let linked = Linked::new(&self.shared.engine, &component).map_err(trial)?;
        let (input, _) = journal_input(&CallInput::default(), self.shared.ceiling.clone(), Granted::default());
        let _place = self.shared.place(&self.shared.ceiling).map_err(trial)?;
        let mut store = self.shared.store(input).map_err(trial)?;
        let _ticking = self.shared.ticker.during_call();
        linked.instantiate(&mut store).map_err(trial)?;
        Ok(Arc::new(Module::new(self.shared.clone(), manifest, digest, linked)))
    }

    fn cached(&self, digest: &str) -> Option<Component> {
        let mut code = self.cache.as_ref()?.get(digest)?;
        code.load(&self.shared.engine)
            .inspect_err(|error| tracing::warn!(%error, "cached component refused by the engine, compiling again"))
            .ok()
    }

    fn component(&self, bytes: &[u8], digest: &str) -> Result<Component, LoadError> {
        if let Some(component) = self.cached(digest) {
            return Ok(component);
        }
        if let (Some(cache), Some(compiler)) = (&self.cache, &self.compiler) {
            match compiler.compile(cache.dir(), bytes) {
                Ok(()) => {
                    if let Some(component) = self.cached(digest) {
                        return Ok(component);
                    }
                }
                // Compiled here, whatever it was; if it is the component, the error has its name.
                Err(error) => tracing::warn!(%error, "no compilation in a process of its own"),
            }
        }
        let component = Component::from_binary(&self.shared.engine, bytes)
            .map_err(|error| LoadError::Compile { detail: detail(&error) })?;
        if let Some(cache) = &self.cache {
            match component.serialize() {
                Ok(code) => cache.put(digest, &code),
                Err(error) => tracing::warn!(%error, "compiled component cannot be cached"),
            }
        }
        Ok(component)
    }
}

impl Shared {
    /// A place in the pool, for as long as the store lives. Waits for one no longer than a call may take.
    pub(crate) fn place(&self, limits: &Limits) -> wasmtime::Result<Place<'_>> {
        let place = self.places.take(limits.deadline());
        place.ok_or_else(|| wasmtime::Error::msg("all places for calls stayed taken"))
    }

    /// The only way to a store: with every limit set.
    pub(crate) fn store(&self, input: JournalInput) -> wasmtime::Result<Store<CallState>> {
        let Limits { fuel, deadline_millis, crossing_bytes, host_calls, .. } = input.limits;
        let mut store = Store::new(&self.engine, CallState::new(input));
        store.limiter(|state| &mut state.limiter);
        store.set_fuel(fuel)?;
        let tick = u64::try_from(crate::ticker::TICK.as_millis()).unwrap_or(1);
        // One more, because the current tick has already begun.
        store.set_epoch_deadline(deadline_millis.div_ceil(tick) + 1);
        store.epoch_deadline_trap();
        store.set_hostcall_fuel(crossing_bytes);
        store.set_max_component_handles(host_calls as usize + 16);
        Ok(store)
    }
}

fn detail(error: &wasmtime::Error) -> String {
    let mut detail = format!("{error:#}");
    crate::state::cut(&mut detail, crate::failure::REASON_LIMIT);
    detail
}
