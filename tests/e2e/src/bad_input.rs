//! Mistakes of administrators: each is answered by a status that names object, field and remedy.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::suite::Suite;

/// How long the controller may take to notice a mistake.
const LIMIT: Duration = Duration::from_mins(2);

struct Mistake {
    name: &'static str,
    manifest: String,
    /// Where the answer is read, for kubectl.
    object: &'static str,
    /// Texts that the status has to contain.
    expected: &'static [&'static str],
}

/// Given a running controller, when something wrong is applied, then its status explains it.
pub async fn is_explained(suite: &mut Suite) {
    let mistakes = match mistakes(suite) {
        Ok(mistakes) => mistakes,
        Err(failure) => return suite.note("bad input", Instant::now(), Err(failure)),
    };
    for mistake in mistakes {
        let started = Instant::now();
        let result = answered(suite, &mistake).await;
        suite.note(&format!("bad input: {}", mistake.name), started, result);
    }
}

fn mistakes(suite: &Suite) -> Result<Vec<Mistake>, String> {
    let text = suite.stand.dir.join("not-a-component.wasm");
    let empty = suite.stand.dir.join("empty-component.wasm");
    let hostile = suite.stand.parts.remediators.join("hostile.wasm");
    let write = |path: &std::path::Path, bytes: &[u8]| std::fs::write(path, bytes).map_err(|error| error.to_string());
    write(&text, b"this is not WebAssembly")?;
    // The header of a component, layer 1, and nothing in it: valid, but of another world.
    write(&empty, b"\0asm\x0d\x00\x01\x00")?;
    let remediator = |name: &str, file: &std::path::Path, capabilities: &str| {
        format!(
            "apiVersion: palisade.dev/v1alpha1\nkind: Remediator\nmetadata: {{name: {name}}}\n\
             spec: {{source: {{file: {}}}, capabilities: [{capabilities}]}}\n---\n{}",
            file.display(),
            remediation(name)
        )
    };
    Ok(vec![
        Mistake {
            name: "a health check whose template is missing",
            manifest: health_check(
                "no-template",
                "self-node-remediation.medik8s.io/v1alpha1",
                "SelfNodeRemediationTemplate",
            ),
            object: "nhc/no-template",
            expected: &["RemediationTemplateNotFound", "no-template"],
        },
        Mistake {
            name: "a health check with a template of a kind that nobody serves",
            manifest: health_check("foreign", "foreign.example.com/v1", "ForeignTemplate"),
            object: "nhc/foreign",
            expected: &["\"Disabled\"", "ForeignTemplate of foreign.example.com/v1"],
        },
        Mistake {
            name: "a remediation by a remediator that does not exist",
            manifest: remediation("nobody"),
            object: "wasmremediation/nobody",
            expected: &["nobody", "spec.remediator"],
        },
        Mistake {
            name: "a component that is no component",
            manifest: remediator("no-component", &text, ""),
            object: "wasmremediation/no-component",
            expected: &["no-component"],
        },
        Mistake {
            name: "a component of another world",
            manifest: remediator("other-world", &empty, ""),
            object: "wasmremediation/other-world",
            expected: &["other-world"],
        },
        Mistake {
            name: "a component that asks for what was not granted",
            manifest: remediator("greedy", &hostile, "report"),
            object: "wasmremediation/greedy",
            expected: &["greedy", "fencing", "capabilities"],
        },
    ])
}

fn remediation(remediator: &str) -> String {
    format!(
        "apiVersion: palisade.dev/v1alpha1\nkind: WasmRemediation\n\
         metadata: {{name: {remediator}, namespace: palisade-system, annotations: \
         {{remediation.medik8s.io/node-name: node-1}}}}\nspec: {{remediator: {remediator}}}\n"
    )
}

fn health_check(name: &str, version: &str, kind: &str) -> String {
    format!(
        "apiVersion: remediation.medik8s.io/v1alpha1\nkind: NodeHealthCheck\nmetadata: {{name: {name}}}\n\
         spec:\n  selector: {{matchLabels: {{none: such}}}}\n  minHealthy: 1\n  remediationTemplate: \
         {{apiVersion: {version}, kind: {kind}, name: {name}, namespace: palisade-system}}\n"
    )
}

async fn answered(suite: &Suite, mistake: &Mistake) -> Result<(), String> {
    let slug = mistake.object.replace('/', "-");
    let path = suite.manifest(&slug, &mistake.manifest)?.display().to_string();
    suite.kubectl(&["apply", "-f", &path]).await?;
    let deadline = Instant::now() + LIMIT;
    let mut status = String::new();
    while Instant::now() < deadline {
        let said = suite.kubectl(&["get", "-n", "palisade-system", mistake.object, "-o", "json"]).await?;
        let object: Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
        status = object["status"].to_string();
        if mistake.expected.iter().all(|text| status.contains(text)) {
            return suite.kubectl(&["delete", "--wait=false", "-f", &path]).await.map(drop);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(format!("the status of {} does not say {:?}: {status}", mistake.object, mistake.expected))
}
