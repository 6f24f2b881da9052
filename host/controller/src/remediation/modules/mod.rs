//! Which component serves a remediation, and getting it loaded.
//!
//! [`source`] brings bytes, [`check`] asks whether the Remediator object allows them, [`current`] keeps the last good
//! component of an object when a newer one cannot be used, [`serve`] chooses for one remediation.

mod check;
mod current;
mod oci;
mod serve;
mod source;
mod stats;
mod store;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use palisade_oci::Artifact;
use palisade_runtime::{
    Breaker, BreakerState, Compiler, EngineSettings, Granted, Host, HostError, Limits, LoadError, Module,
};
use serde_json::Value;

use crate::clock;

pub use current::{Current, current};
pub use oci::Look;
pub use serve::serve;
pub use stats::Figures;

/// Failures in a row that open the breaker of a module, and the pause until it is tried again.
const BREAKER: (u32, Duration) = (5, Duration::from_mins(1));

/// A component on disk that nobody uses goes after so long.
const UNUSED: Duration = Duration::from_hours(24);

/// A module, ready to be called.
#[derive(Debug, Clone)]
pub struct Served {
    /// Name of the Remediator, or of the built-in component.
    pub remediator: String,
    /// The module.
    pub module: Arc<Module>,
    /// What it may do.
    pub granted: Granted,
    /// Limits of a call.
    pub limits: Limits,
    /// Parameters, checked.
    pub parameters: Value,
    /// What the registry said about it, if it came from one.
    pub artifact: Option<Arc<Artifact>>,
    /// Why the version that a remediation began with is not used any more.
    pub instead: Option<String>,
}

/// Why there is none: names object, field and remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unserved {
    /// Machine-readable, for conditions.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Reasons of the condition Ready of a Remediator.
pub mod reason {
    /// The component is loaded.
    pub const LOADED: &str = "Loaded";
    /// What the source gives cannot be used; the component before stays in use.
    pub const KEEPS_EARLIER: &str = "KeepsEarlier";
    /// It fails so often that it is not called.
    pub const BREAKER_OPEN: &str = "BreakerOpen";
    /// The source cannot be read.
    pub const SOURCE: &str = "SourceUnavailable";
    /// The component has another digest than wanted.
    pub const DIGEST: &str = "DigestMismatch";
    /// Nobody vouches for it.
    pub const SIGNATURE: &str = "NotSigned";
    /// It is larger than allowed.
    pub const SIZE: &str = "TooLarge";
    /// It was built for another world or another version of the contract.
    pub const CONTRACT: &str = "WrongContract";
    /// It asks for more than is granted.
    pub const CAPABILITIES: &str = "CapabilityNotGranted";
    /// It is no component, or damaged.
    pub const INVALID: &str = "Invalid";
}

impl Unserved {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }

    /// What is wrong with a field of a Remediator, and what to do.
    fn of(reason: &'static str, name: &str, field: &str, detail: &str, remedy: &str) -> Self {
        Self::new(reason, format!("Remediator {name}, {field}: {detail}; {remedy}"))
    }
}

/// Why a component could not be loaded.
type NotLoaded = (&'static str, String);

/// Loaded components, by digest, and the breakers that keep a broken one from being called again and again.
#[derive(Debug)]
pub struct Modules {
    host: Arc<Host>,
    folder: PathBuf,
    store: Option<store::Store>,
    files: source::Files,
    pulled: oci::Pulled,
    good: current::LastGood,
    stats: stats::Stats,
    loaded: Mutex<HashMap<String, Result<Arc<Module>, NotLoaded>>>,
    breakers: Mutex<HashMap<String, Breaker>>,
    /// What remediations under way began with, by their UID.
    pins: Mutex<HashMap<String, String>>,
}

impl Modules {
    /// Sets up the engine.
    pub fn new(folder: PathBuf, cache_dir: Option<PathBuf>, compiler: Option<Compiler>) -> Result<Self, HostError> {
        let settings = EngineSettings { cache_dir: cache_dir.clone(), compiler, ..EngineSettings::default() };
        Ok(Self::around(Arc::new(Host::new(&settings)?), folder, cache_dir))
    }

    /// Over an engine that others use too.
    pub fn around(host: Arc<Host>, folder: PathBuf, cache_dir: Option<PathBuf>) -> Self {
        Self {
            host,
            folder,
            store: cache_dir.and_then(|folder| store::Store::open(&folder.join("components"))),
            files: source::Files::default(),
            pulled: oci::Pulled::default(),
            good: current::LastGood::default(),
            stats: stats::Stats::default(),
            loaded: Mutex::default(),
            breakers: Mutex::default(),
            pins: Mutex::default(),
        }
    }

    /// Why the module is not called at the moment, if its breaker is open.
    pub fn broken(&self, digest: &str) -> Option<String> {
        let mut breakers = lock(&self.breakers);
        match breakers.get_mut(digest)?.state(boottime()) {
            BreakerState::Open { reason, retry_in } => {
                Some(format!("{reason}; it is tried again in {}s at the latest", retry_in.as_secs().div_ceil(30) * 30))
            }
            BreakerState::Closed | BreakerState::HalfOpen => None,
        }
    }

    /// Notes how a call ended.
    pub fn called(&self, digest: &str, failure: Option<&str>) {
        let mut breakers = lock(&self.breakers);
        match failure {
            None => {
                if let Some(breaker) = breakers.get_mut(digest) {
                    breaker.succeeded();
                }
            }
            Some(message) => {
                let breaker = breakers.entry(digest.to_owned()).or_insert_with(|| Breaker::new(BREAKER.0, BREAKER.1));
                breaker.failed(boottime(), message);
            }
        }
    }

    /// Notes how long a call took, and whether it gave an answer.
    pub fn measured(&self, digest: &str, took: Duration, answered: bool) {
        self.stats.add(digest, took, answered);
    }

    /// What is known of the calls of a module.
    pub fn figures(&self, digest: &str) -> Option<Figures> {
        self.stats.of(digest)
    }

    /// A remediation is under way with this component: it stays loaded.
    pub fn pin(&self, remediation: &str, digest: &str) {
        lock(&self.pins).insert(remediation.to_owned(), digest.to_owned());
    }

    /// Lets go of what nobody uses: components of objects that are gone, and earlier ones that no remediation pins.
    pub fn tidy(&self, remediations: &HashSet<String>, remediators: &HashSet<String>) {
        self.good.keep(remediators);
        lock(&self.pins).retain(|uid, _| remediations.contains(uid));
        let mut used = self.good.digests();
        used.extend(lock(&self.pins).values().cloned());
        used.extend(self.files.digests());
        lock(&self.loaded).retain(|digest, _| used.contains(digest));
        lock(&self.breakers).retain(|digest, _| used.contains(digest));
        self.stats.keep(&used);
        if let Some(store) = &self.store {
            store.keep(&used, UNUSED);
        }
    }

    async fn load(&self, digest: &str, bytes: Arc<Vec<u8>>) -> Result<Arc<Module>, NotLoaded> {
        if let Some(known) = self.known(digest) {
            return known;
        }
        let host = self.host.clone();
        // Compiling takes a tenth of a second of CPU: not on a thread that others wait for.
        let loaded = crate::blocking::run(move || host.load(&bytes).map_err(|error| (kind(&error), error.to_string())))
            .await
            .unwrap_or_else(|| Err((reason::INVALID, "the compiler failed on it".to_owned())));
        lock(&self.loaded).insert(digest.to_owned(), loaded.clone());
        loaded
    }

    fn known(&self, digest: &str) -> Option<Result<Arc<Module>, NotLoaded>> {
        lock(&self.loaded).get(digest).cloned()
    }
}

fn kind(error: &LoadError) -> &'static str {
    match error {
        LoadError::TooLarge { .. } => reason::SIZE,
        LoadError::WasiImports { .. }
        | LoadError::WrongWorld { .. }
        | LoadError::NoReconcile { .. }
        | LoadError::UnknownContract { .. }
        | LoadError::UnknownCapability(_)
        | LoadError::TrialFailed { .. } => reason::CONTRACT,
        _ => reason::INVALID,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // The maps are never left half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn boottime() -> Duration {
    Duration::from_millis(clock::now().0)
}
