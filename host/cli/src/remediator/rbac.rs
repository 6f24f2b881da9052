//! `palisade remediator rbac`: the roles without which the controller cannot serve a component.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use palisade_api::Remediator;
use palisade_controller::rights::{self, Place, Right};
use palisade_runtime::{Capability, Granted};
use serde_json::{Value, json};

use super::component::Which;
use super::output::Output;

/// Whose roles, for what.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    component: Which,
    /// Capabilities that are granted, separated by commas; all that the component asks for if not given.
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', conflicts_with = "remediator")]
    grant: Option<Vec<Capability>>,
    /// Remediator manifest that grants them.
    #[arg(long, value_name = "FILE")]
    remediator: Option<PathBuf>,
    /// Namespace of the controller.
    #[arg(long, value_name = "NAME", default_value = "palisade-system")]
    namespace: String,
    /// Account of the controller.
    #[arg(long, value_name = "NAME", default_value = "palisade-controller")]
    account: String,
    /// A manifest to apply, or the same objects as one JSON list.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Prints roles and bindings.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let component = arguments.component.read()?;
    let manifest = palisade_runtime::inspect(&component.bytes).with_context(|| component.path.display().to_string())?;
    let asked: Granted = manifest.capabilities.iter().copied().collect();
    let (granted, serves) = match (&arguments.grant, &arguments.remediator) {
        (Some(grant), _) => (grant.iter().copied().collect(), Vec::new()),
        (None, Some(file)) => read(file)?,
        (None, None) => (asked.clone(), Vec::new()),
    };
    let missing = granted.missing(&manifest.capabilities);
    let names: Vec<&str> = missing.iter().map(|capability| capability.name()).collect();
    ensure!(
        missing.is_empty(),
        "component {} asks for {}, which is not granted: the controller would refuse it; grant it, or use another component",
        manifest.name,
        names.join(", ")
    );
    // What is granted and not asked for is never used.
    let serves: Vec<&str> = serves.iter().map(String::as_str).collect();
    let rights = rights::of(&asked.and(&granted), &serves);
    let role = format!("palisade-remediator-{}", manifest.name);
    let objects = objects(&role, &rights, arguments);
    arguments.output.show(&json!({ "apiVersion": "v1", "kind": "List", "items": objects }), || {
        let capabilities: Vec<&str> = manifest.capabilities.iter().map(|capability| capability.name()).collect();
        text(&manifest.name, &capabilities.join(", "), &objects, &rights)
    });
    Ok(true)
}

fn read(file: &PathBuf) -> anyhow::Result<(Granted, Vec<String>)> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let remediator: Remediator =
        serde_yaml_ng::from_str(&text).with_context(|| format!("{} is no Remediator", file.display()))?;
    let listed = remediator.spec.capabilities.iter().filter_map(|name| name.as_str().parse().ok()).collect();
    Ok((listed, remediator.spec.serves.into_iter().map(|served| served.kind).collect()))
}

/// A role and its binding for each place where something is needed.
fn objects(role: &str, rights: &[Right], arguments: &Arguments) -> Vec<Value> {
    let mut objects = Vec::new();
    for (place, kind, namespace) in
        [(Place::Cluster, "ClusterRole", None), (Place::Own, "Role", Some(&arguments.namespace))]
    {
        let rules: Vec<Value> = rights.iter().filter(|right| right.place == place).map(Right::rule).collect();
        if rules.is_empty() {
            continue;
        }
        let mut metadata = json!({ "name": role });
        if let Some(namespace) = namespace {
            metadata["namespace"] = json!(namespace);
        }
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules,
        }));
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": arguments.account, "namespace": arguments.namespace }],
        }));
    }
    objects
}

/// The manifest, with the reason for each rule.
fn text(component: &str, capabilities: &str, objects: &[Value], rights: &[Right]) -> String {
    let mut text = format!("# What the controller needs to serve the component {component} ({capabilities}).\n");
    for object in objects {
        text.push_str("---\n");
        // Plain objects with string keys: serialisation has no failing case.
        for line in serde_yaml_ng::to_string(object).unwrap_or_default().lines() {
            let _ = writeln!(text, "{line}");
        }
    }
    text.push_str("# Why:\n");
    for right in rights {
        let groups: Vec<&str> =
            right.groups.iter().map(|group| if group.is_empty() { "core" } else { group }).collect();
        let _ =
            writeln!(text, "# {} {} ({}): {}", right.verbs.join(", "), right.resource, groups.join(", "), right.why);
    }
    text
}
