//! `palisade drill` against a real agent: refused where it should be, then played to the end.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::leftovers;
use crate::story::{Stand, chapter};

/// Given a cluster that is well and a workload on one node, that node is fenced for an exercise and comes back.
pub async fn play(stand: &Stand, dir: &Path) -> anyhow::Result<()> {
    chapter("a drill: a node that is well is fenced, and the report says how it went");
    let node = stand.runs_on(None).await?;
    let file = dir.join("drill.json");
    let drill = async |more: &str| {
        let line = format!("{} drill --node {node} {more}", stand.palisade.display());
        stand.readme.try_shell(&line).await
    };
    let (code, said) = drill("--dry-run").await?;
    ensure!(code == Some(0) && said.contains("shop/ledger-0"), "the plan ended with {code:?}:\n{said}");
    let (code, said) = drill("--confirm other").await?;
    ensure!(code == Some(1) && said.contains("nothing was done"), "the wrong name ended with {code:?}:\n{said}");
    // A person who works on the node keeps it from beginning.
    let veto = format!("{} veto node/{node} --why 'the disk is looked at'", stand.palisade.display());
    stand.readme.shell(&veto).await?;
    let (code, said) = drill(&format!("--confirm {node}")).await?;
    ensure!(code == Some(3) && said.contains("has a veto"), "with a veto it ended with {code:?}:\n{said}");
    stand.readme.shell(&format!("{} veto node/{node} --lift", stand.palisade.display())).await?;

    let (code, said) = drill(&format!("--confirm {node} --report {} --limit 5m", file.display())).await?;
    ensure!(code == Some(0) && said.contains("passed"), "it ended with {code:?}:\n{said}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).context("the report")?)?;
    ensure!(report["verdict"] == "passed", "{report:#}");
    ensure!(report["remediation"]["certificate"]["grade"] == "Certain", "{report:#}");
    let pods = report["pods"].as_array().context("no pods in the report")?;
    let ledger = pods.iter().find(|pod| pod["pod"] == "shop/ledger-0").context("the workload is not in the report")?;
    ensure!(ledger["now"].as_array().is_some_and(|now| !now.is_empty()), "{report:#}");
    let seconds = |field: &str| report[field].as_i64().unwrap_or(-1);
    eprintln!(
        "    {node}: proven {} s after the intent (bound {} s), released after {} s, back after {} s",
        seconds("proofSeconds"),
        seconds("boundSeconds"),
        seconds("releaseSeconds"),
        seconds("backSeconds")
    );
    leftovers::on_nodes(&stand.readme, false).await
}
