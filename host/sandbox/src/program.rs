//! What the programs that play with clusters share: their parts on the command line, and how they end.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::demo::Parts;

/// Programs and files; the commands of `cargo xtask` build them and fill these in.
#[derive(Debug, Clone, Args)]
pub struct PartArguments {
    /// The `palisade` program; this one or beside it if not given.
    #[arg(long, value_name = "FILE", env = "PALISADE_PROGRAM")]
    palisade: Option<PathBuf>,
    /// The agent program; beside this program if not given.
    #[arg(long, value_name = "FILE", env = "PALISADE_AGENT")]
    agent: Option<PathBuf>,
    /// Folder of the built-in remediators; `../guests` from this program if not given.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_REMEDIATORS")]
    remediators: Option<PathBuf>,
    /// Folder of the CRD manifests.
    #[arg(long, value_name = "FOLDER", default_value = "crds", env = "PALISADE_CRDS")]
    crds: PathBuf,
    /// The real control plane program; for `--backend real` only.
    #[arg(long, value_name = "FILE", env = "PALISADE_CONTROLPLANE")]
    controlplane: Option<PathBuf>,
}

impl PartArguments {
    /// The parts, with what was not given taken from beside this program.
    pub fn parts(self) -> anyhow::Result<Parts> {
        let here = std::env::current_exe().context("path of this program")?;
        let folder = here.parent().map(PathBuf::from).unwrap_or_default();
        Ok(Parts {
            palisade: self.palisade.unwrap_or_else(|| folder.join("palisade")),
            agent: self.agent.unwrap_or_else(|| folder.join("palisade-agent")),
            remediators: self.remediators.unwrap_or_else(|| folder.join("../guests")),
            crds: self.crds,
            controlplane: self.controlplane,
        })
    }
}

/// Runs `work` to its end: success if it says true, failure if it says false or why it could not.
pub fn run(name: &str, work: impl Future<Output = anyhow::Result<bool>>) -> ExitCode {
    run_on(name, tokio::runtime::Builder::new_multi_thread().enable_all(), |runtime| runtime.block_on(work))
}

/// Runs `work` in a folder of its own, which is kept if it fails, or if that is wanted.
pub fn run_in_folder(name: &str, keep: bool, work: impl AsyncFnOnce(&Path) -> anyhow::Result<()>) -> ExitCode {
    run(name, async {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let played = work(&folder).await;
        if played.is_ok() && !keep {
            let _ = std::fs::remove_dir_all(&folder);
        } else {
            eprintln!("everything is kept in {}", folder.display());
        }
        played.map(|()| true)
    })
}

/// As [`run`], for work that lives on one thread; servers and clients that it spawns have two others.
pub fn run_local(name: &str, work: impl Future<Output = anyhow::Result<bool>>) -> ExitCode {
    run_on(name, tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all(), |runtime| {
        tokio::task::LocalSet::new().block_on(runtime, work)
    })
}

fn run_on(
    name: &str,
    builder: &mut tokio::runtime::Builder,
    play: impl FnOnce(&tokio::runtime::Runtime) -> anyhow::Result<bool>,
) -> ExitCode {
    // Fails only when a provider is installed already, and nobody came before us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let result = builder.build().map_err(anyhow::Error::from).and_then(|runtime| {
        let result = play(&runtime);
        // Blocked system calls of detached tasks must not hold up the end.
        runtime.shutdown_background();
        result
    });
    ended(name, result)
}

/// The exit code, after the reason was told.
pub fn ended(name: &str, result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
