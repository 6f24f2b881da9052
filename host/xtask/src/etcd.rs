//! The guard of etcd's quorum against a real etcd of three members, which is part of the control plane program.

use std::process::Command;

use crate::workspace::{self, Workspace};
use crate::{controlplane, shell};

/// Runs the test that needs it.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let program = controlplane::build(workspace)?;
    let mut test = Command::new(workspace::cargo());
    test.args(["test", "--workspace", "--test", "etcd", "--", "--ignored", "--nocapture"])
        .env("PALISADE_CONTROLPLANE", program)
        .current_dir(&workspace.root);
    shell::step("the quorum guard against three real members of etcd with TLS (about ten seconds)", &mut test)
}
