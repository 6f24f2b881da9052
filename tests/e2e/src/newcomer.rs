//! The chapter "Play with it" of the README: a cluster that is served, a fault that is typed, and what `palisade` says of
//! it in another terminal.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::suite::Suite;

const PATIENCE: Duration = Duration::from_mins(3);
/// Between two questions; a person is slower.
const PAUSE: Duration = Duration::from_millis(500);

/// Plays it.
pub async fn breaks_a_node_and_asks_why(suite: &mut Suite) {
    let started = Instant::now();
    let result = Box::pin(play(suite)).await;
    suite.note(
        "a newcomer serves a cluster, isolates a node, has it explained, and sees it come back",
        started,
        result,
    );
}

struct Served {
    _process: Child,
    orders: ChildStdin,
    palisade: std::path::PathBuf,
    kubeconfig: std::path::PathBuf,
}

async fn play(suite: &Suite) -> Result<(), String> {
    let mut served = serve(suite).await?;
    served.says("explain", "node-1", &["healthy"]).await?;
    served.order("isolate node-1").await?;
    served.says("explain", "node-1", &["being remediated by SelfNodeRemediation"]).await?;
    served.says("history", "node-1", &["Proven", "LeaseExpired"]).await?;
    served.order("heal").await?;
    served.says("explain", "node-1", &["healthy"]).await?;
    served.order("end").await
}

async fn serve(suite: &Suite) -> Result<Served, String> {
    let text = |error: std::io::Error| error.to_string();
    let parts = &suite.stand.parts;
    let kubeconfig = suite.stand.dir.join("served.kubeconfig");
    let mut command = Command::new(&parts.palisade);
    command.args(["sandbox", "serve", "--kubeconfig"]).arg(&kubeconfig);
    command
        .arg("--agent")
        .arg(&parts.agent)
        .arg("--remediators")
        .arg(&parts.remediators)
        .arg("--crds")
        .arg(&parts.crds);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut process = command.spawn().map_err(text)?;
    let orders = process.stdin.take().ok_or("no standard input")?;
    let mut lines = BufReader::new(process.stdout.take().ok_or("no standard output")?).lines();
    let up = async {
        while let Some(line) = lines.next_line().await.map_err(text)? {
            if line.contains("export KUBECONFIG=") {
                return Ok(());
            }
        }
        Err("it ended before it was up".to_owned())
    };
    tokio::time::timeout(PATIENCE, up).await.map_err(|_| "it does not come up")??;
    // Somebody reads on, or the cluster would wait for it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(Served { _process: process, orders, palisade: parts.palisade.clone(), kubeconfig })
}

impl Served {
    async fn order(&mut self, order: &str) -> Result<(), String> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.map_err(|error| error.to_string())
    }

    /// Asks until the answer contains all of these.
    async fn says(&self, command: &str, node: &str, words: &[&str]) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut ask = Command::new(&self.palisade);
            ask.args([command, node, "--output", "json", "--kubeconfig"]).arg(&self.kubeconfig).kill_on_drop(true);
            let output = ask.output().await.map_err(|error| error.to_string())?;
            let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let said = said.to_string();
            if words.iter().all(|word| said.contains(word)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("palisade {command} {node} does not say {words:?}, but {said}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
