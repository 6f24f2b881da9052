//! The one place where compiled code is taken from a file: `unsafe`, because the engine runs what it is given.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use wasmtime::Engine;
use wasmtime::component::Component;

/// An open file with code that this process, or an earlier one of the same user, compiled itself. Only the cache can make
/// the value, after it checked owner, mode, engine and digest of the file.
pub(crate) struct OwnCode(File);

impl OwnCode {
    /// The caller vouches that the file begins with the unchanged output of `Component::serialize`.
    pub(super) fn vouched_for(file: File) -> Self {
        Self(file)
    }

    /// Maps the file: of a large component only those parts get into memory that run.
    pub(crate) fn load(&mut self, engine: &Engine) -> wasmtime::Result<Component> {
        // By descriptor: it is the very file that was checked, whatever its name stands for now.
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        // SAFETY: `deserialize_file` and `deserialize` ask for unchanged output of `Component::serialize`. `OwnCode` is
        // only made by the cache module from a file in a directory that nobody but this user can enter, whose digest
        // matches the one written with it, and whose name contains the hash of this engine's settings. Nothing ever
        // writes into such a file: it is written aside and renamed. wasmtime itself checks version and settings once
        // more. Files from elsewhere never come here: `Host::load` compiles what it is given.
        match unsafe { Component::deserialize_file(engine, &path) } {
            Ok(component) => Ok(component),
            // A volume that is mounted `noexec`, or no `/proc`: then the code is copied.
            Err(error) => {
                tracing::debug!(%error, "compiled component not mapped");
                let mut code = Vec::new();
                self.0.rewind()?;
                self.0.read_to_end(&mut code)?;
                // SAFETY: as above.
                unsafe { Component::deserialize(engine, &code) }
            }
        }
    }
}
