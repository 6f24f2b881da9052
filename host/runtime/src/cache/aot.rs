//! The one place where compiled code is taken from bytes: `unsafe`, because the engine runs what it is given.
#![allow(unsafe_code)]

use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes that this process, or an earlier one of the same user, compiled itself. Only the cache can make the value, after
/// it checked owner, mode, engine and digest of the file.
pub(crate) struct OwnCode(Vec<u8>);

impl OwnCode {
    /// The caller vouches that the bytes are the unchanged output of `Component::serialize`.
    pub(super) fn vouched_for(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` asks for unchanged output of `Component::serialize`. `OwnCode` is only made by the
        // cache module from a file in a directory that nobody but this user can enter, whose digest matches the one
        // written with it, and whose name contains the hash of this engine's settings. wasmtime itself checks version
        // and settings once more. Files from elsewhere never come here: `Host::load` compiles what it is given.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
