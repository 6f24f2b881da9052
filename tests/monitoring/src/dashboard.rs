//! The queries of the shipped dashboard.

use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::prometheus::Prometheus;

/// One query of a panel.
struct Query {
    panel: String,
    text: String,
    /// Asked for now; otherwise only over the range that is shown.
    now: bool,
}

/// Panels that this day cannot fill.
const EMPTY: [&str; 0] = [];

/// Asks everything that the dashboard asks. Each query must be accepted, and give something.
pub async fn ask_everything(prometheus: &Prometheus, dashboard: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    let dashboard: Value = serde_json::from_str(dashboard).context("the dashboard is no JSON")?;
    let variables = dashboard["templating"]["list"].as_array().context("the dashboard has no variables")?;
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        // Grafana asks for the values of a label.
        let definition = variable["definition"].as_str().unwrap_or_default();
        let inside = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (metric, label) = inside.and_then(|inside| inside.split_once(", ")).context("a variable without labels")?;
        let found = prometheus.query(&format!("count by ({label}) ({metric})")).await?;
        ensure!(!found.is_empty(), "variable {}: no values", variable["name"]);
    }
    let queries = queries(&dashboard)?;
    let (mut silent, mut wrong) = (Vec::new(), Vec::new());
    for Query { panel, text, now } in &queries {
        // The day is over: what a table shows now may be nothing, but it has shown something.
        let accepted = if *now { prometheus.query(text).await.map(drop) } else { Ok(()) };
        let found = match accepted {
            Ok(()) => prometheus.graph(text).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(found) if found.is_empty() => silent.push(panel.as_str()),
            Ok(_) => {}
            Err(error) => wrong.push(format!("{panel}: {error:#}")),
        }
    }
    ensure!(wrong.is_empty(), "not accepted: {}", wrong.join("; "));
    ensure!(silent == EMPTY, "panels without data: {silent:?}; expected {EMPTY:?}");
    eprintln!("    {} queries of the dashboard: {:.1} s", queries.len(), begun.elapsed().as_secs_f64());
    Ok(())
}

fn queries(dashboard: &Value) -> anyhow::Result<Vec<Query>> {
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().context("the dashboard has no panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().with_context(|| format!("{}: no query", panel["title"]))?;
            let query = query.replace("$policy", ".*").replace("$__rate_interval", "1m").replace("$__range", "5m");
            ensure!(!query.contains('$'), "{}: a variable that nobody knows: {query}", panel["title"]);
            queries.push(Query {
                panel: panel["title"].as_str().unwrap_or_default().to_owned(),
                text: query,
                now: target["instant"] == true,
            });
        }
    }
    Ok(queries)
}
