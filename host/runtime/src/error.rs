//! Why a file is not accepted as a remediator. Every message says what was found and what to do about it.

use crate::capability::{Capability, UnknownCapability, names};
use crate::manifest::{CONTRACTS, SECTION};

/// The engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Wasmtime refused the settings, or the address space is too small for the pool.
    #[error("the Wasm engine could not be set up: {0}")]
    Engine(String),
}

/// Why a component was not loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file is too large.
    #[error("the file has {size} bytes, the limit is {limit}; build it for size (opt-level \"s\", stripped)")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Not a Wasm file at all.
    #[error("this is not a WebAssembly file (it does not begin with \"\\0asm\")")]
    NotWasm,
    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component; link it with wasm-component-ld (see the SDK's template)"
    )]
    CoreModule,
    /// Damaged, truncated, or using features this host does not accept.
    #[error("the component is damaged or incomplete: {detail}")]
    Malformed {
        /// What the parser said.
        detail: String,
    },
    /// It wants WASI.
    #[error(
        "the component imports WASI ({}), which this host does not offer: a remediator has no clock, network, files or \
         random numbers; build it for wasm32-unknown-unknown", imports.join(", ")
    )]
    WasiImports {
        /// The WASI imports.
        imports: Vec<String>,
    },
    /// It was built for another world, or another version of ours.
    #[error(
        "the component was built for another world: it imports {}; this host offers {}", found.join(", "), offered.join(", ")
    )]
    WrongWorld {
        /// Imports this host does not know.
        found: Vec<String>,
        /// What it offers.
        offered: Vec<String>,
    },
    /// It exports no `reconcile`.
    #[error("the component does not export the function \"reconcile\"; it exports: {}", list(exports))]
    NoReconcile {
        /// What it exports.
        exports: Vec<String>,
    },
    /// The manifest names a contract this host does not serve.
    #[error("contract {found:?} is not served by this host; it serves: {}", CONTRACTS.join(", "))]
    UnknownContract {
        /// The contract asked for.
        found: String,
    },
    /// No manifest.
    #[error("the component has no manifest (custom section {SECTION:?}); the SDK's remediator! macro writes it")]
    NoManifest,
    /// More than one manifest.
    #[error(
        "the component has {count} manifests (custom section {SECTION:?}), it must have one; is remediator! used twice?"
    )]
    TwoManifests {
        /// How many.
        count: usize,
    },
    /// The manifest cannot be understood.
    #[error("the manifest (custom section {SECTION:?}) is not valid: {detail}")]
    BadManifest {
        /// Why.
        detail: String,
    },
    /// The manifest asks for a capability that does not exist.
    #[error("the manifest asks for something that does not exist: {0}")]
    UnknownCapability(#[from] UnknownCapability),
    /// It imports an interface that its manifest does not ask for.
    #[error(
        "the component imports {} but its manifest does not ask for it; add it to the capabilities",
        names(missing)
    )]
    UndeclaredCapability {
        /// What is missing in the manifest.
        missing: Vec<Capability>,
    },
    /// The compiler refused it.
    #[error("the component could not be compiled: {detail}")]
    Compile {
        /// What the compiler said.
        detail: String,
    },
    /// Its types do not fit the contract, or its start code failed.
    #[error(
        "a trial instantiation failed: {detail}; was it built with another version of the contract than its manifest says?"
    )]
    TrialFailed {
        /// What happened.
        detail: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}
