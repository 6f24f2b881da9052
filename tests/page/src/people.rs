//! Who looks: a reader, somebody who may answer too, and nobody in particular.

use std::process::Stdio;

use anyhow::{Context, ensure};
use palisade_bench::plane::Plane;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Accounts with the shipped roles, as the documentation binds them.
pub const ACCOUNTS: &str = include_str!("../accounts.yaml");

/// A token of each.
pub async fn tokens(plane: &Plane) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut tokens = Vec::new();
    for name in ["looker", "alice", "stranger"] {
        let token = kubectl(plane, &["create", "token", name, "-n", "people", "--duration=1h"], None).await?;
        tokens.push((name, token.trim().to_owned()));
    }
    Ok(tokens)
}

/// kubectl as an administrator.
pub async fn kubectl(plane: &Plane, arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(&plane.admin_kubeconfig).args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("kubectl")?;
    let mut stdin = child.stdin.take().context("kubectl has no stdin")?;
    stdin.write_all(input.unwrap_or_default().as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {}: {complaint}", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}
