//! Real fence agents against simulators of management controllers, installed from Debian and `PyPI`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::workspace::{self, Workspace};
use crate::{shell, tools};

/// What the emulator of Redfish is pinned to.
const SUSHY_TOOLS: &str = "2.2.0";
/// Programs of Debian packages.
const PACKAGES: [(&str, &str); 3] =
    [("fence_ipmilan", "fence-agents"), ("ipmitool", "ipmitool"), ("ipmi_sim", "openipmi")];

/// Runs the tests that need them.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    for (program, package) in PACKAGES {
        tools::debian_package(workspace, program, package)?;
    }
    let emulator = emulator(workspace)?;
    let mut test = Command::new(workspace::cargo());
    test.args(["test", "--workspace", "--test", "power", "--", "--ignored", "--nocapture"])
        .env("PALISADE_POWER_TOOLS", emulator)
        .current_dir(&workspace.root);
    shell::step("real fence agents against IPMI and Redfish simulators (about a minute)", &mut test)
}

/// Folder of the programs of sushy-tools, in an environment of its own.
fn emulator(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folder = workspace.cache.join(format!("sushy-tools-{SUSHY_TOOLS}"));
    let programs = folder.join("bin");
    if !programs.join("complete").exists() {
        // One that was begun and not finished is of no use.
        std::fs::remove_dir_all(&folder).ok();
        let mut make = shell::command(&workspace.root, "python3", &["-m", "venv"]);
        shell::step("making a Python environment", make.arg(&folder))?;
        let mut install = Command::new(programs.join("pip"));
        install.args(["install", "--quiet", "--disable-pip-version-check"]).arg(format!("sushy-tools=={SUSHY_TOOLS}"));
        shell::step("installing the Redfish emulator sushy-tools (15 MB, once per machine)", &mut install)?;
        std::fs::write(programs.join("complete"), "")
            .with_context(|| format!("writing into {}", programs.display()))?;
    }
    Ok(programs)
}
