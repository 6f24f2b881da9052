//! What the suites start and read, from the command line.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Programs and files.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The `palisade` program.
    pub palisade: PathBuf,
    /// Folder of the built-in remediators.
    pub remediators: PathBuf,
    /// Folder of the CRD manifests.
    pub crds: PathBuf,
    /// Folder of the manifests that come with an installation.
    pub deploy: PathBuf,
    /// The real control plane program.
    pub controlplane: Option<PathBuf>,
    /// Folder with the definitions of others.
    pub fixtures: PathBuf,
    /// Folder for everything that the suite writes.
    pub dir: PathBuf,
}

/// The same on the command line; the commands of `cargo xtask` build them and fill these in.
#[derive(Debug, Clone, clap::Args)]
pub struct PartArguments {
    /// The `palisade` program; beside this one if not given.
    #[arg(long, value_name = "FILE")]
    palisade: Option<PathBuf>,
    /// Not used here; accepted so that all black-box programs are started the same way.
    #[arg(long, value_name = "FILE", hide = true)]
    agent: Option<PathBuf>,
    /// Folder of the built-in remediators; `../guests` from this program if not given.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_REMEDIATORS")]
    remediators: Option<PathBuf>,
    /// Folder of the CRD manifests.
    #[arg(long, value_name = "FOLDER", default_value = "crds")]
    crds: PathBuf,
    /// Folder of the manifests that come with an installation.
    #[arg(long, value_name = "FOLDER", default_value = "deploy")]
    deploy: PathBuf,
    /// The real control plane program.
    #[arg(long, value_name = "FILE", env = "PALISADE_CONTROLPLANE")]
    controlplane: Option<PathBuf>,
    /// Folder with the definitions of OpenShift and others.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_FIXTURES", default_value = "../shared/fixtures")]
    fixtures: PathBuf,
}

impl PartArguments {
    /// The parts, with what was not given taken from beside this program.
    pub fn parts(self, dir: &Path) -> anyhow::Result<Parts> {
        let here = std::env::current_exe().context("path of this program")?;
        let folder = here.parent().map(PathBuf::from).unwrap_or_default();
        Ok(Parts {
            palisade: self.palisade.unwrap_or_else(|| folder.join("palisade")),
            remediators: self.remediators.unwrap_or_else(|| folder.join("../guests")),
            crds: self.crds,
            deploy: self.deploy,
            controlplane: self.controlplane,
            fixtures: self.fixtures,
            dir: dir.to_owned(),
        })
    }
}
