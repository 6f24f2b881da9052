//! A cluster to work with by hand: N fake nodes on a real control plane.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use palisade_bench::fleet::{self, Fault, Fleet};
use palisade_bench::install;
use palisade_bench::plane::{self, Parts, Plane};
use tokio::sync::mpsc;

/// Options of the cluster.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many fake nodes.
    #[arg(long, default_value_t = 100)]
    nodes: usize,
    /// Folder of the cluster.
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// Go on with what is in the folder, and leave it there at the end. Without it every start is a new cluster.
    #[arg(long)]
    keep: bool,
    /// Port of the API server; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Silence after which a node is Unknown, in seconds; if not given Kubernetes' own default, and more for fleets that
    /// renew less often than every ten seconds.
    #[arg(long, value_name = "SECONDS")]
    node_grace: Option<u64>,
    /// Pause between renewals of a node's lease, in seconds; if not given as long as the number of nodes asks for: 10,
    /// from 1,000 nodes on more, 40 at most.
    #[arg(long, value_name = "SECONDS")]
    lease_period: Option<u64>,
    /// Ends by itself: waits until every node is Ready, watches for so many seconds that all stay so, and fails if one
    /// does not.
    #[arg(long, value_name = "SECONDS")]
    hold: Option<u64>,
    /// Pause between status reports of a node, in seconds.
    #[arg(long, default_value_t = 300)]
    status_period: u64,
    /// Zones over which the nodes are spread.
    #[arg(long, default_value_t = 3)]
    zones: usize,
    /// The programs.
    #[command(flatten)]
    parts: Parts,
    /// More options of the control plane program.
    #[arg(last = true)]
    extra: Vec<String>,
}

/// Runs until interrupted or told to quit.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let lived_before = options.dir.join("controlplane").exists();
    if lived_before && !options.keep {
        // Only what an earlier run of ours left.
        std::fs::remove_dir_all(options.dir.join("controlplane")).context("removing the cluster of an earlier run")?;
    }
    std::fs::create_dir_all(&options.dir).with_context(|| options.dir.display().to_string())?;
    let lease_period = options
        .lease_period
        .map_or_else(|| fleet::lease_period(options.nodes), |period| Duration::from_secs(period.max(1)));
    let settings = plane::Settings {
        port: options.port,
        node_grace: options.node_grace.map(Duration::from_secs).or_else(|| fleet::node_grace(lease_period)),
        extra: options.extra.clone(),
    };
    let plane = Plane::start(&options.parts, &options.dir, &settings).await?;
    install::everything(&plane.admin().await?, &options.parts.crds).await?;
    let begun = Instant::now();
    let mut spec = fleet::Spec::new("node", options.nodes);
    spec.lease_period = lease_period;
    spec.status_period = Duration::from_secs(options.status_period.max(1));
    spec.zones = options.zones;
    spec.pods = true;
    let client = plane.user(fleet::USER, "system:masters", fleet::AGENT).await?;
    let fleet = Fleet::start(client, spec).await?;
    eprintln!(
        "Kubernetes {} ready after {:.1} s, {} nodes after {:.1} s more; Palisade's CRDs are installed",
        plane.version,
        plane.ready_seconds,
        options.nodes,
        begun.elapsed().as_secs_f64()
    );
    println!("export KUBECONFIG={}", plane.admin_kubeconfig.display());
    eprintln!("audit log: {}", plane.audit.path().display());
    let faults = Fault::ALL.map(|(name, _)| name).join(", ");
    eprintln!("orders: {faults}, recover, reboot, each with a node's number or name; status; quit or Ctrl-C");
    let (plane, interrupted) = match options.hold {
        Some(seconds) => hold(plane, options.nodes, Duration::from_secs(seconds)).await?,
        None => obey(plane, &fleet).await?,
    };
    drop(fleet);
    plane.stop().await;
    if !options.keep {
        let _ = std::fs::remove_dir_all(options.dir.join("controlplane"));
    }
    match interrupted {
        Some(why) => anyhow::bail!(why),
        None => Ok(()),
    }
}

/// Watches that every node is Ready and stays so; the text says why not.
async fn hold(mut plane: Plane, nodes: usize, length: Duration) -> anyhow::Result<(Plane, Option<String>)> {
    let watched = fleet::ready::watch(plane.admin().await?, "node", nodes, length);
    let seen = tokio::select! {
        seen = watched => seen,
        how = plane.ended() => return Ok((plane, Some(format!("the control plane ended: {how}")))),
    };
    let problem = match seen {
        Err(error) => Some(format!("{error:#}")),
        Ok(seen) if seen.lost.is_empty() => {
            let after = seen.ready_after.as_secs_f64();
            eprintln!("all {nodes} nodes were Ready after {after:.1} s more, and stayed so for {length:?}");
            None
        }
        Ok(seen) => {
            let some: Vec<&str> = seen.lost.iter().take(5).map(String::as_str).collect();
            Some(format!("{} of {nodes} nodes did not stay Ready, such as {}", seen.lost.len(), some.join(", ")))
        }
    };
    Ok((plane, problem))
}

async fn obey(mut plane: Plane, fleet: &Fleet) -> anyhow::Result<(Plane, Option<String>)> {
    let mut lines = typed();
    let mut listening = true;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok((plane, None)),
            how = plane.ended() => return Ok((plane, Some(format!("the control plane ended: {how}")))),
            line = lines.recv(), if listening => match line {
                // No terminal: then only a signal ends it.
                None => listening = false,
                Some(line) if line.trim() == "quit" => return Ok((plane, None)),
                Some(line) => match order(fleet, line.trim()) {
                    Ok(said) => eprintln!("{said}"),
                    Err(error) => eprintln!("{error:#}"),
                },
            },
        }
    }
}

/// Lines of standard input, read by a thread that ends with the process.
fn typed() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn order(fleet: &Fleet, line: &str) -> anyhow::Result<String> {
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap_or_default();
    if verb.is_empty() {
        return Ok(String::new());
    }
    if verb == "status" {
        let failed = fleet.machines().iter().filter_map(|machine| Some((machine.name(), machine.fault()?)));
        let failed: Vec<String> = failed.map(|(name, fault)| format!("{name}: {fault:?}")).collect();
        let overlaps = fleet.ledger().overlaps().len();
        return Ok(format!("failed: [{}]; pods that ran twice: {overlaps}", failed.join(", ")));
    }
    let named: Vec<&str> = words.collect();
    anyhow::ensure!(!named.is_empty(), "{verb}: name a node, for example `{verb} 3`");
    for name in &named {
        let by_number = name.parse::<usize>().ok().and_then(|index| fleet.machines().get(index));
        let machine = by_number.or_else(|| fleet.named(name)).with_context(|| format!("no node {name:?}"))?;
        let fault = Fault::ALL.iter().find(|(known, _)| *known == verb);
        match (verb, fault) {
            ("recover", _) => machine.recover(),
            ("reboot", _) => machine.reboot(),
            (_, Some((_, fault))) => machine.fail(*fault),
            _ => anyhow::bail!(
                "no order {verb:?}; there are {}, recover, reboot, status, quit",
                Fault::ALL.map(|(name, _)| name).join(", ")
            ),
        }
    }
    Ok(format!("{verb}: {}", named.join(", ")))
}
