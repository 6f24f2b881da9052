//! `palisade controller`.

use std::path::PathBuf;

use clap::Args;

/// Options of the controller.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Kubeconfig; the pod's service account if not given.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of agents and controller.
    #[arg(long, default_value = "palisade-system", env = "DEPLOYMENT_NAMESPACE")]
    namespace: String,
    /// Folder of the built-in remediators.
    #[arg(long, value_name = "FOLDER")]
    remediators: Option<PathBuf>,
    /// Folder for compiled remediators.
    #[arg(long, value_name = "FOLDER")]
    module_cache: Option<PathBuf>,
}

/// Runs until told to stop.
pub fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let _ = arguments;
    std::thread::park();
    Ok(true)
}
