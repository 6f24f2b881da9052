//! A remediator that means harm, on ten nodes at once, while another node really fails.

use std::fmt::Write;
use std::time::Instant;

use palisade_sandbox::demo::Running;
use serde_json::Value;

use crate::suite::Suite;

/// Attacks of `hostile.wasm`; all of them have to end in an error that names the component.
const ATTACKS: [&str; 10] = [
    "loop",
    "allocate",
    "recurse",
    "recurse-wide",
    "panic-after-effects",
    "error-after-effects",
    "loop-after-effects",
    "forge-proof",
    "huge-string",
    "huge-memory",
];

/// Given hostile remediations of other nodes, when one node is isolated, then it is remediated as ever, and nothing comes
/// of the attacks.
pub async fn others_are_remediated_meanwhile(suite: &mut Suite, running: &mut Running) {
    let started = Instant::now();
    let result = attack_and_play(suite, running).await;
    suite.note("hostile: a node is remediated while ten attacks run", started, result);
    let started = Instant::now();
    let result = contained(suite).await;
    suite.note("hostile: every attack ends in an error that names the component, and has no effect", started, result);
}

async fn attack_and_play(suite: &Suite, running: &mut Running) -> Result<(), String> {
    let file = suite.stand.parts.remediators.join("hostile.wasm");
    let mut manifest = format!(
        "apiVersion: palisade.dev/v1alpha1\nkind: Remediator\nmetadata: {{name: hostile}}\nspec: {{source: {{file: {}}}, \
         capabilities: [target, agent, fencing, workloads, machines, power, approval, jobs, scheduling, report]}}\n",
        file.display()
    );
    for attack in ATTACKS {
        // A node for each, because of several that act on one node from outside all but one wait. It only has to exist.
        // Writing to a String cannot fail.
        let _ = write!(
            manifest,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: attacked-{attack}}}\nspec: {{unschedulable: true}}\n\
             ---\napiVersion: palisade.dev/v1alpha1\nkind: WasmRemediation\nmetadata: {{name: attack-{attack}, namespace: \
             palisade-system, annotations: {{remediation.medik8s.io/node-name: attacked-{attack}}}}}\n\
             spec: {{remediator: hostile, parameters: {{attack: {attack}}}}}\n"
        );
    }
    let path = suite.manifest("attacks", &manifest)?.display().to_string();
    suite.kubectl(&["apply", "-f", &path]).await?;
    let played = running.play().await.map_err(|error| format!("{error:#}"));
    let outcome = running.outcome(played, 0.0);
    if outcome.passed { Ok(()) } else { Err(outcome.failures.join("; ")) }
}

async fn contained(suite: &Suite) -> Result<(), String> {
    let mut failures = Vec::new();
    for attack in ATTACKS {
        let name = format!("wasmremediation/attack-{attack}");
        let said = suite.kubectl(&["get", "-n", "palisade-system", &name, "-o", "json"]).await?;
        let object: Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
        let status = object["status"].to_string();
        if !status.contains("hostile") {
            failures.push(format!("{attack}: nothing in the status names the component: {status}"));
        }
        for field in ["certificate", "pending", "applied"] {
            let value = &object["status"]["palisade"][field];
            if !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) {
                failures.push(format!("{attack}: status.palisade.{field} is {value}"));
            }
        }
    }
    let all = ["delete", "wasmremediation", "-n", "palisade-system", "--all", "--timeout=30s"];
    if let Err(failure) = suite.kubectl(&all).await {
        failures.push(format!("the attacks cannot be deleted: {failure}"));
    }
    let nodes = ATTACKS.map(|attack| format!("attacked-{attack}"));
    let delete: Vec<&str> = ["delete", "node"].into_iter().chain(nodes.iter().map(String::as_str)).collect();
    if let Err(failure) = suite.kubectl(&delete).await {
        failures.push(format!("their nodes cannot be deleted: {failure}"));
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n        ")) }
}
