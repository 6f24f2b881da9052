//! The life of a module against a real registry: Debian's docker-registry with TLS and a password.

use std::process::Command;

use crate::workspace::{self, Workspace};
use crate::{guests, shell, tools};

/// Runs the tests that need it.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    tools::debian_package(workspace, "docker-registry", "docker-registry")?;
    let guests = guests::build(workspace)?;
    let mut test = Command::new(workspace::cargo());
    test.args(["test", "--workspace", "--test", "registry", "--", "--ignored"])
        .env("PALISADE_GUESTS", guests)
        .current_dir(&workspace.root);
    shell::step("modules of a real registry: pushed, signed, pulled, swapped, withdrawn, refused (a minute)", &mut test)
}
