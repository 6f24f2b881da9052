//! Figures: how fast the controller is and what it costs, on a real control plane with a beating fleet, and its parts by
//! themselves. No test fails by them; every figure comes from several runs and is shown with the machine that it was measured on.

pub mod agent;
pub mod concurrent;
pub mod core;
pub mod detect;
pub mod failover;
pub mod idle;
pub mod instructions;
mod kernel;
pub mod page;
mod report;
pub mod sandbox;
mod stock;
mod usage;
pub mod wasm;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::assertions::Stand;
use crate::controller::Controller;
use crate::fleet::{self, Fleet};
use crate::install::{counted_policy, policy};
use crate::plane::Parts;

pub use report::Report;

/// How large, how often, how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Sizes of the cluster, separated by commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [100, 1_000])]
    pub nodes: Vec<usize>,
    /// Measurements of each figure that is taken more than once.
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// How long a healthy cluster is looked at, in seconds.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// So many percent of the nodes fail at once; 0 leaves it out.
    #[arg(long, value_name = "PERCENT", default_value_t = 40, value_parser = clap::value_parser!(u8).range(0..=48))]
    pub burst: u8,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// The programs.
    #[command(flatten)]
    pub parts: Parts,
}

/// A cluster with a controller that has counted its nodes and is at rest.
struct Field {
    stand: Stand,
    fleet: Fleet,
    controller: Controller,
    /// How long a node is unhealthy before it is due.
    after: Duration,
}

impl Field {
    /// The fleet belongs to one policy.
    async fn of(options: &Options, nodes: usize) -> anyhow::Result<Self> {
        let lease_period = fleet::lease_period(nodes);
        let stand = Stand::start(&options.parts, fleet::node_grace(lease_period)).await?;
        let begun = Instant::now();
        let fleet = stand.fleet(fleet::Spec::new("measured", nodes)).await?;
        eprintln!("       {nodes} nodes registered after {:.1} s", begun.elapsed().as_secs_f64());
        let controller = stand.controller("measured", &["--leader-elect"]).await?;
        // When many fail at once, all of them must have said so before the first is due.
        let after = Duration::from_secs((nodes as u64).div_ceil(200).max(5));
        let policy = policy("workers", "measured", after, &json!({}));
        counted_policy(&stand.admin, &policy, nodes, Duration::from_mins(5)).await?;
        stand.settled().await?;
        Ok(Self { stand, fleet, controller, after })
    }

    async fn end(self) {
        self.controller.stop().await;
        drop(self.fleet);
        self.stand.finish(true).await;
    }
}
