//! The contracts this host serves: one module each, all ending in the same [`CallState`] and [`Answer`].
//!
//! Supporting an older contract is a module here and an arm in [`Linked`].

mod v0_1;
mod v0_1_convert;
mod v0_1_convert_outside;
mod v0_1_outside;

use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use crate::journal::JournalInput;
use crate::report::Outcome;
use crate::state::CallState;

/// A component linked to the contract its manifest names.
#[derive(Clone)]
pub(crate) enum Linked {
    V01(v0_1::RemediatorPre<CallState>),
}

/// What `reconcile` returned, in the host's own words.
pub(crate) enum Answer {
    Done { outcome: Outcome, step: String, memory: Vec<u8> },
    BadMemory(String),
    Error(String),
}

impl Linked {
    /// Links; fails when the component does not fit the contract.
    pub(crate) fn new(engine: &Engine, component: &Component) -> wasmtime::Result<Self> {
        // One contract so far, and the manifest's name was already checked against the list of those served.
        let mut linker = Linker::new(engine);
        v0_1::add_to_linker(&mut linker)?;
        v0_1::RemediatorPre::new(linker.instantiate_pre(component)?).map(Self::V01)
    }

    /// Instantiates and drops: types are compared only then.
    pub(crate) fn instantiate(&self, store: &mut Store<CallState>) -> wasmtime::Result<()> {
        match self {
            Self::V01(pre) => pre.instantiate(store).map(drop),
        }
    }

    /// Instantiates and calls `reconcile`.
    pub(crate) fn reconcile(&self, store: &mut Store<CallState>, input: &JournalInput) -> wasmtime::Result<Answer> {
        match self {
            Self::V01(pre) => {
                let instance = pre.instantiate(&mut *store)?;
                let remediation = v0_1_convert::remediation(&input.remediation);
                instance.call_reconcile(store, &remediation).map(v0_1_convert::answer)
            }
        }
    }
}
