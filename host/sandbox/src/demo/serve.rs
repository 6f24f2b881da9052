//! `palisade sandbox serve`: the small cluster alone, to play with: what is typed goes wrong.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::options::{BackendKind, Parts, Scenario};
use super::orders::{self, Order};
use super::timeline::{Style, Timeline, Word};
use crate::lab::Lab;
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

/// Does what is typed, until somebody says that it is enough. Without anybody who types, for ever.
async fn obey(lab: &Lab) {
    let (typed, mut lines) = tokio::sync::mpsc::unbounded_channel();
    // A thread of its own, which nobody waits for: reading a terminal cannot be cancelled.
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| typed.send(line)));
    let nodes = lab.nodes();
    while let Some(line) = lines.recv().await {
        match Order::read(&line, &nodes) {
            Err(complaint) => println!("{complaint}"),
            Ok(order) => match order.obey(lab).await {
                Some(said) if said.is_empty() => {}
                Some(said) => println!("{said}"),
                None => return,
            },
        }
    }
    std::future::pending::<()>().await;
}

/// Starts back end, nodes, agents, controller and workload, and keeps them until Ctrl-C, or until it is told to end.
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
    println!("\nin another terminal:\n  export KUBECONFIG={}", shown.display());
    if let Some(folder) = serve.parts.palisade.parent() {
        println!("  export PATH={}:$PATH", folder.display());
    }
    println!("logs: {}\n{}\n", dir.display(), orders::help());
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("waiting for Ctrl-C")?,
        () = obey(&running.lab) => {}
    }
    // Children end in order if that is quick, and with us otherwise.
    let _ = tokio::time::timeout(Duration::from_secs(20), async {
        Box::pin(running.stop(false)).await;
        stand.backend.stop().await;
    })
    .await;
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}
