//! `deploy/container`: images by a builder without a daemon.
//!
//! What is shown is the recipe: nothing but the named files gets in, for each architecture, as the right user, twice the
//! same. The programs are stand-ins, static and tiny: release builds of the real ones take longer than all other checks
//! together, and whether they run is shown elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::workspace::Workspace;
use crate::{guests, shell, tools};

const REGISTRY: &str = "registry.example/palisade";
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];
const STAND_IN: &str = "package main\n\nimport \"os\"\n\nfunc main() { println(\"stand-in\", os.Getuid()) }\n";

/// Builds both images for two architectures, twice, and looks inside.
pub fn check(workspace: &Workspace) -> anyhow::Result<()> {
    tools::debian_package(workspace, "buildah", "buildah")?;
    let folder = workspace.target.join("images");
    std::fs::remove_dir_all(&folder).ok();
    let context = context(workspace, &folder)?;
    let storage = folder.join("storage.conf");
    let (runs, images) = (folder.join("run"), folder.join("storage"));
    let (runs, images) = (runs.display(), images.display());
    let text = format!("[storage]\ndriver = \"vfs\"\nrunroot = \"{runs}\"\ngraphroot = \"{images}\"\n");
    std::fs::write(&storage, text).with_context(|| storage.display().to_string())?;
    let builder = Builder { workspace, storage };
    let mut built = Vec::new();
    for tag in ["one", "two"] {
        let mut script = builder.command("deploy/container/build.sh");
        script.arg(&context).args([REGISTRY, tag]).args(ARCHITECTURES);
        let said = shell::output(&mut script)?;
        // Each build ends with the id of its image in a line of its own.
        let is_id = |line: &&str| line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        built.push(said.lines().filter(is_id).map(str::to_owned).collect::<Vec<_>>());
    }
    ensure!(built[0].len() == 4, "two images for two architectures were to be built: {:?}", built[0]);
    ensure!(built[0] == built[1], "the same files gave other images: {built:?}");
    let components = names(&context.join("remediators"))?;
    for (index, id) in built[0].iter().enumerate() {
        let (image, architecture) = (["controller", "agent"][index / 2], ARCHITECTURES[index % 2]);
        let mut expected: Vec<String> = match image {
            "controller" => components.iter().map(|name| format!("remediators/{name}")).collect(),
            _ => Vec::new(),
        };
        expected.push(if image == "controller" { "palisade" } else { "palisade-agent" }.to_owned());
        builder.inspect(id, image, architecture, &expected)?;
    }
    eprintln!(
        "    images for {}: two each, reproducible, {} components",
        ARCHITECTURES.join(" and "),
        components.len()
    );
    std::fs::remove_dir_all(&folder).ok();
    Ok(())
}

struct Builder<'a> {
    workspace: &'a Workspace,
    storage: PathBuf,
}

impl Builder<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = shell::command(&self.workspace.root, program, &[]);
        command.env("CONTAINERS_STORAGE_CONF", &self.storage).env("BUILDAH_ISOLATION", "chroot");
        command
    }

    fn buildah(&self, arguments: &[&str]) -> anyhow::Result<String> {
        Ok(shell::output(self.command("buildah").args(arguments))?.trim().to_owned())
    }

    /// What an image says about itself, and which files it has.
    fn inspect(&self, id: &str, image: &str, architecture: &str, expected: &[String]) -> anyhow::Result<()> {
        let said: serde_json::Value = serde_json::from_str(&self.buildah(&["inspect", "--type", "image", id])?)?;
        let about = &said["OCIv1"];
        ensure!(about["architecture"] == architecture, "{image}: architecture is {}", about["architecture"]);
        let user = if image == "controller" { "65532:65532" } else { "" };
        ensure!(about["config"]["User"].as_str().unwrap_or_default() == user, "{image}: {}", about["config"]);
        let container = self.buildah(&["from", "--pull-never", id])?;
        let mounted = PathBuf::from(self.buildah(&["mount", &container])?);
        let mut files = Vec::new();
        walk(&mounted, &mounted, &mut files)?;
        files.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        ensure!(files == expected, "{image} for {architecture} holds {files:?}, not {expected:?}");
        self.buildah(&["rm", &container]).map(drop)
    }
}

/// Stand-ins and the real components.
fn context(workspace: &Workspace, folder: &Path) -> anyhow::Result<PathBuf> {
    let context = folder.join("context");
    let remediators = context.join("remediators");
    std::fs::create_dir_all(&remediators).with_context(|| remediators.display().to_string())?;
    let guests = guests::build(workspace)?;
    for component in guests::stock(workspace)? {
        let name = format!("{component}.wasm");
        std::fs::copy(guests.join(&name), remediators.join(&name)).with_context(|| name.clone())?;
    }
    let source = folder.join("main.go");
    std::fs::write(&source, STAND_IN)?;
    for architecture in ARCHITECTURES {
        let program = context.join(architecture).join("palisade");
        let mut build = shell::command(&workspace.root, "go", &["build", "-trimpath", "-ldflags", "-s -w", "-o"]);
        build.arg(&program).arg(&source).envs([
            ("CGO_ENABLED", "0"),
            ("GOARCH", architecture),
            ("GOTOOLCHAIN", "local"),
        ]);
        shell::run(&mut build)?;
        std::fs::copy(&program, program.with_file_name("palisade-agent"))?;
    }
    Ok(context)
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else {
            files.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}
