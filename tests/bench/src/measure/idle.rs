//! What a healthy, beating cluster costs the controller.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::usage::Usage;
use super::{Field, Options, Report};
use crate::controller;

/// Measures and prints.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::begin();
    for &nodes in &options.nodes {
        let field = Field::of(options, nodes).await?;
        super::stock::load(&field.stand).await?;
        field.stand.settled().await?;
        measure(&field, options, &mut report).await?;
        field.end().await;
    }
    report.print(options.json)
}

async fn measure(field: &Field, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let nodes = field.fleet.machines().len();
    let pid = field.controller.pid().context("the controller has ended")?;
    let (mut resident, mut cpu, mut requests, mut others) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let (before, mark, begun) = (Usage::of(pid)?, field.stand.plane.audit.mark()?, Instant::now());
        tokio::time::sleep(Duration::from_secs(options.seconds)).await;
        let (after, took) = (Usage::of(pid)?, begun.elapsed().as_secs_f64());
        let minutes = took / 60.0;
        resident.push(after.resident as f64 / 1024.0);
        cpu.push((after.cpu.saturating_sub(before.cpu)).as_secs_f64() / took * 100.0);
        requests.push(field.stand.asked_since(mark)?.count() as f64 / minutes);
        let all = field.stand.plane.audit.since(mark)?.by_user(controller::USER).count();
        others.push(all as f64 / minutes);
    }
    report.add(nodes, "resident memory, seven components loaded", "MiB", resident)?;
    report.add(nodes, "CPU", "% of one", cpu)?;
    report.add(nodes, "requests besides watches and leader election", "/min", requests)?;
    report.add(nodes, "requests, all", "/min", others)
}
