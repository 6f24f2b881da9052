//! The commands of `deploy/README.md`, run as they stand there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::process::Command;

/// No block takes longer.
const LIMIT: Duration = Duration::from_mins(12);

/// The page, and where its commands run.
pub struct Readme {
    text: String,
    root: PathBuf,
    kubeconfig: PathBuf,
    path: String,
}

impl Readme {
    /// Reads the page; its commands run beside the folder, with these programs.
    pub fn read(deploy: &Path, kubeconfig: &Path, programs: &[&Path]) -> anyhow::Result<Self> {
        let text = text(deploy, "README.md")?;
        let deploy = deploy.canonicalize().with_context(|| deploy.display().to_string())?;
        let folders = programs.iter().filter_map(|program| program.parent()).map(|folder| folder.display().to_string());
        let path = folders.chain(std::env::var("PATH")).collect::<Vec<_>>().join(":");
        let root = deploy.parent().context("the folder of the manifests has no parent")?.to_owned();
        Ok(Self { text, root, kubeconfig: kubeconfig.to_owned(), path })
    }

    /// Another page of the folder, whose commands run in the same place.
    pub fn page(&self, deploy: &Path, name: &str) -> anyhow::Result<Self> {
        let (root, kubeconfig, path) = (self.root.clone(), self.kubeconfig.clone(), self.path.clone());
        Ok(Self { text: text(deploy, name)?, root, kubeconfig, path })
    }

    /// The block after the mark `<!-- test: NAME -->`.
    pub fn block(&self, name: &str) -> anyhow::Result<&str> {
        let mark = format!("<!-- test: {name} -->");
        let (_, after) = self.text.split_once(&mark).with_context(|| format!("the page has no mark {mark}"))?;
        let (_, body) = after.split_once("```sh\n").with_context(|| format!("no block of sh follows {mark}"))?;
        let (body, _) = body.split_once("```").with_context(|| format!("the block of {mark} does not end"))?;
        Ok(body)
    }

    /// Runs a block, with `change` made to its text.
    pub async fn run_with(&self, name: &str, change: impl Fn(&str) -> String) -> anyhow::Result<String> {
        let script = change(self.block(name)?);
        let started = Instant::now();
        let output = self.shell(&script).await.with_context(|| format!("block {name:?} of the page"))?;
        eprintln!("    {name}: {:.1} s", started.elapsed().as_secs_f64());
        Ok(output)
    }

    /// Runs a block as it is.
    pub async fn run(&self, name: &str) -> anyhow::Result<String> {
        self.run_with(name, str::to_owned).await
    }

    /// Runs other commands in the same place.
    pub async fn shell(&self, script: &str) -> anyhow::Result<String> {
        let (code, said) = self.try_shell(script).await?;
        ensure!(code == Some(0), "{script}\nended with {code:?}:\n{said}");
        Ok(said)
    }

    /// The same, whatever the exit code: both streams.
    pub async fn try_shell(&self, script: &str) -> anyhow::Result<(Option<i32>, String)> {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]).current_dir(&self.root).kill_on_drop(true);
        command.env("KUBECONFIG", &self.kubeconfig).env("PATH", &self.path);
        let output = tokio::time::timeout(LIMIT, command.output()).await.context("it took too long")??;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok((output.status.code(), said))
    }
}

fn text(deploy: &Path, name: &str) -> anyhow::Result<String> {
    let page = deploy.join(name);
    std::fs::read_to_string(&page).with_context(|| page.display().to_string())
}
