//! `cargo xtask demo`: builds what the demo needs and hands over to it.

use std::path::PathBuf;
use std::process::Command;

use crate::workspace::Workspace;
use crate::{build, controlplane, guests, shell};

/// Paths of everything that a scenario starts, as options of `palisade sandbox …`.
pub struct Parts {
    palisade: PathBuf,
    options: Vec<(&'static str, PathBuf)>,
}

impl Parts {
    /// Builds components and programs; the real control plane only when it is asked for.
    pub fn build(workspace: &Workspace, real: bool) -> anyhow::Result<Self> {
        let guests = guests::build(workspace)?;
        build::programs(workspace)?;
        let mut options = vec![
            ("--agent", workspace.program("palisade-agent")),
            ("--remediators", guests),
            ("--crds", workspace.root.join("crds")),
        ];
        if real {
            options.push(("--controlplane", controlplane::build(workspace)?));
        }
        Ok(Self { palisade: workspace.program("palisade"), options })
    }

    /// A `palisade sandbox` command with these parts.
    pub fn command(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = Command::new(&self.palisade);
        command.args(["sandbox", subcommand]);
        self.complete(workspace, command)
    }

    /// Another program of the workspace that takes these parts.
    pub fn program(&self, workspace: &Workspace, name: &str) -> Command {
        self.complete(workspace, Command::new(workspace.program(name)))
    }

    fn complete(&self, workspace: &Workspace, mut command: Command) -> Command {
        command.current_dir(&workspace.root);
        for (option, path) in &self.options {
            command.arg(option).arg(path);
        }
        command
    }
}

/// Builds and becomes the demo, or the cluster to play with.
pub fn run(workspace: &Workspace, subcommand: &str, options: &[String]) -> anyhow::Result<()> {
    let real = options.windows(2).any(|pair| pair == ["--backend", "real"])
        || options.iter().any(|option| option == "--backend=real");
    let parts = Parts::build(workspace, real)?;
    Err(shell::exec(parts.command(workspace, subcommand).args(options)))
}
