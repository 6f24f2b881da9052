//! Compiling in a process of its own: the compiler is by far the largest part of the program and works once for each
//! component, so its code and its memory leave with that process instead of staying with the controller.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that compiles components into a cache: it is given the folder of the cache as its last argument and the
/// component on standard input.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// Arguments that come before the folder.
    pub arguments: Vec<String>,
}

impl Compiler {
    /// Compiles a component into the cache in this folder; blocks until it is done.
    pub(crate) fn compile(&self, cache: &Path, component: &[u8]) -> io::Result<()> {
        let mut process = Command::new(&self.program)
            .args(&self.arguments)
            .arg(cache)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        // One that ends before it has read everything tells why when it is waited for.
        let written = process.stdin.take().map_or(Ok(()), |mut input| input.write_all(component));
        let output = process.wait_with_output()?;
        if output.status.success() {
            return written;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{} ended with {}: {}", self.program.display(), output.status, said.trim())))
    }
}
