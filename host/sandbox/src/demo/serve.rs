//! `palisade sandbox serve`: the small cluster alone, to play with.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::options::{BackendKind, Parts, Scenario};
use super::timeline::{Style, Timeline, Word};
use crate::lab::fault::Fault;

/// `palisade sandbox serve`.
#[derive(Debug, Clone)]
pub struct Serve {
    /// What the nodes register with.
    pub backend: BackendKind,
    /// Number of nodes.
    pub nodes: u8,
    /// Port of the API; 0 chooses one.
    pub port: u16,
    /// Programs and files.
    pub parts: Parts,
    /// Write the kubeconfig here too.
    pub kubeconfig: Option<PathBuf>,
}

/// Starts back end, nodes, agents, controller and workload, and keeps them until Ctrl-C.
pub async fn serve(serve: Serve) -> anyhow::Result<()> {
    super::check_parts(&serve.parts, serve.backend)?;
    let dir = super::work_dir()?;
    let timeline = Timeline::new(Style::of_stdout(false));
    let mut scenario = Scenario::new(Fault::Isolate, "Automatic");
    scenario.nodes = serve.nodes;
    let up = async {
        let timings = scenario.effective_timings();
        let stand = super::stand(serve.backend, &serve.parts, &dir, serve.port, &timings, &timeline).await?;
        let running = stand.prepare(scenario.clone(), &dir.join("lab"), timeline.clone()).await?;
        anyhow::Ok((stand, running))
    };
    let (stand, running) = tokio::select! {
        up = up => up.inspect_err(|_| super::show_logs(&dir))?,
        interrupted = tokio::signal::ctrl_c() => return interrupted.context("waiting for Ctrl-C"),
    };
    let mut shown = stand.backend.admin_kubeconfig.clone();
    if let Some(path) = &serve.kubeconfig {
        std::fs::copy(&shown, path).with_context(|| path.display().to_string())?;
        shown.clone_from(path);
    }
    timeline.say(Word::Setup, "the cluster is up; Ctrl-C ends it", None);
    println!("\nexport KUBECONFIG={}\nLogs: {}\n", shown.display(), dir.display());
    tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")?;
    // Children end in order if that is quick, and with us otherwise.
    let _ = tokio::time::timeout(Duration::from_secs(20), async {
        Box::pin(running.stop(false)).await;
        stand.backend.stop().await;
    })
    .await;
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}
