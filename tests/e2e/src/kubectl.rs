//! What a user does with kubectl.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::suite::Suite;

/// Given a bare cluster, when the manifests are applied, then all kinds are served, with columns and short names.
pub async fn definitions_install(suite: &mut Suite) {
    let name = "kubectl: the CRDs install, and `get nhc,snr -o wide` shows useful columns";
    let started = Instant::now();
    let result = install(suite).await;
    suite.note(name, started, result);
}

async fn install(suite: &Suite) -> Result<(), String> {
    let folder = suite.stand.parts.crds.display().to_string();
    suite.kubectl(&["apply", "--server-side", "-f", &folder]).await?;
    suite.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).await?;
    // Client-side apply stores a copy in an annotation with a limit of its own: people use it all the same.
    suite.kubectl(&["apply", "-f", &folder]).await?;
    let check = suite.manifest("columns", COLUMNS)?;
    suite.kubectl(&["apply", "-f", &check.display().to_string()]).await?;
    let table = suite.kubectl(&["get", "nhc,snr", "-A", "-o", "wide"]).await?;
    for part in ["PHASE", "HEALTHY", "NODE", "STRATEGY", "PROOF", "SUCCEEDED", "GRADE", "WAITING FOR", "REASON", "AGE"]
    {
        if !table.contains(part) {
            return Err(format!("no column {part} in:\n{table}"));
        }
    }
    for part in ["columns-check", "columns-node", "OutOfServiceTaint"] {
        if !table.contains(part) {
            return Err(format!("{part} is not in:\n{table}"));
        }
    }
    suite.kubectl(&["get", "remediations", "-A"]).await?;
    suite.kubectl(&["delete", "-f", &check.display().to_string()]).await?;
    Ok(())
}

const COLUMNS: &str = r#"
apiVersion: remediation.medik8s.io/v1alpha1
kind: NodeHealthCheck
metadata: {name: columns-check}
spec:
  selector: {matchLabels: {none: such}}
  minHealthy: "51%"
  remediationTemplate:
    apiVersion: self-node-remediation.medik8s.io/v1alpha1
    kind: SelfNodeRemediationTemplate
    name: t
    namespace: default
---
apiVersion: self-node-remediation.medik8s.io/v1alpha1
kind: SelfNodeRemediation
metadata: {name: columns-node, namespace: default}
spec: {remediationStrategy: OutOfServiceTaint}
"#;

/// Given the CRDs, when a health check is wrong, then it is refused and the field is named.
pub async fn invalid_health_checks_name_their_field(suite: &mut Suite) {
    for (name, spec, expected) in INVALID {
        let started = Instant::now();
        let manifest = format!(
            "apiVersion: remediation.medik8s.io/v1alpha1\nkind: NodeHealthCheck\nmetadata: {{name: invalid}}\nspec:\n{spec}"
        );
        let result = refused(suite, &manifest, expected).await;
        suite.note(&format!("kubectl: a NodeHealthCheck with {name} is refused by name of the field"), started, result);
    }
    let started = Instant::now();
    let strategy = "apiVersion: self-node-remediation.medik8s.io/v1alpha1\nkind: SelfNodeRemediation\n\
        metadata: {name: invalid, namespace: default}\nspec: {remediationStrategy: NodeDeletion}\n";
    let result = refused(suite, strategy, "spec.remediationStrategy").await;
    suite.note("kubectl: an unknown strategy is refused by name of the field", started, result);
}

const INVALID: [(&str, &str, &str); 5] = [
    (
        "both thresholds",
        "  selector: {matchLabels: {a: b}}\n  minHealthy: 1\n  maxUnhealthy: 1\n  remediationTemplate: {apiVersion: a/v1, kind: BTemplate, name: c, namespace: d}\n",
        "minHealthy",
    ),
    (
        "a negative threshold",
        "  selector: {matchLabels: {a: b}}\n  minHealthy: -1\n  remediationTemplate: {apiVersion: a/v1, kind: BTemplate, name: c, namespace: d}\n",
        "spec.minHealthy",
    ),
    (
        "an empty selector",
        "  selector: {}\n  minHealthy: 1\n  remediationTemplate: {apiVersion: a/v1, kind: BTemplate, name: c, namespace: d}\n",
        "spec.selector",
    ),
    ("no template", "  selector: {matchLabels: {a: b}}\n  minHealthy: 1\n", "remediationTemplate"),
    (
        "a duration that is none",
        "  selector: {matchLabels: {a: b}}\n  minHealthy: 1\n  unhealthyConditions: [{type: Ready, status: \"False\", duration: soon}]\n  remediationTemplate: {apiVersion: a/v1, kind: BTemplate, name: c, namespace: d}\n",
        "spec.unhealthyConditions[0].duration",
    ),
];

async fn refused(suite: &Suite, manifest: &str, field: &str) -> Result<(), String> {
    let path = suite.manifest("invalid", manifest)?;
    match suite.kubectl(&["apply", "-f", &path.display().to_string()]).await {
        Ok(said) => Err(format!("it was accepted: {said}")),
        Err(said) if said.contains("is invalid") && said.contains(field) => Ok(()),
        Err(said) => Err(format!("{field} is not named: {said}")),
    }
}

/// Given the CRDs, when the stock samples are applied, then all are accepted.
pub async fn samples_apply(suite: &mut Suite, fixtures: &Path) {
    let name = "kubectl: the stock samples apply";
    let started = Instant::now();
    let result = apply_samples(suite, &fixtures.join("medik8s")).await;
    suite.note(name, started, result);
}

async fn apply_samples(suite: &Suite, fixtures: &Path) -> Result<(), String> {
    let samples = samples(fixtures).map_err(|error| format!("samples in {}: {error}", fixtures.display()))?;
    if samples.is_empty() {
        return Err(format!("no samples in {}: let --fixtures name the folder that has medik8s", fixtures.display()));
    }
    for sample in &samples {
        let text = std::fs::read_to_string(sample).map_err(|error| format!("{}: {error}", sample.display()))?;
        for namespace in text.lines().filter_map(|line| line.trim().strip_prefix("namespace: ")) {
            let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {}}}\n", namespace.trim());
            let path = suite.manifest("namespace", &namespace)?;
            suite.kubectl(&["apply", "-f", &path.display().to_string()]).await?;
        }
        suite.kubectl(&["apply", "-f", &sample.display().to_string()]).await?;
    }
    for sample in &samples {
        suite.kubectl(&["delete", "--wait=false", "-f", &sample.display().to_string()]).await?;
    }
    Ok(())
}

fn samples(fixtures: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for operator in std::fs::read_dir(fixtures)? {
        let folder = operator?.path().join("samples");
        if folder.is_dir() {
            for entry in std::fs::read_dir(folder)? {
                found.push(entry?.path());
            }
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    found.sort();
    Ok(found)
}
