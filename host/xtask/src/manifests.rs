//! `deploy/palisade.yaml` is rendered from the chart: one source, two ways to install it. So are what only watches, and the
//! objects of the Prometheus operator for those who install the one file.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::Context;

use crate::workspace::{Workspace, cargo};
use crate::{shell, tools};

/// A file that the chart gives.
struct Rendering {
    path: &'static str,
    /// How it begins.
    about: &'static str,
    /// What it is for; the chart's defaults otherwise.
    options: &'static [&'static str],
}

const RENDERINGS: &[Rendering] = &[
    Rendering {
        path: MANIFEST,
        about: "# Palisade in one file. Rendered from deploy/chart by `cargo xtask manifests`; change it there.\n\
                # Set your registry before you apply it: deploy/README.md says how.\n",
        options: &["--include-crds", "--set", "namespace.render=true", "--set", "openshift=false"],
    },
    // Without definitions, because those that are there are watched.
    Rendering {
        path: "deploy/watch-only.yaml",
        about: "# Palisade beside operators that act: it only watches, and tells what it would do (migration.md). Rendered from\n\
                # deploy/chart by `cargo xtask manifests`; change it there.\n\
                # Set your registry before you apply it: deploy/README.md says how.\n",
        options: &[
            "--set",
            "namespace.render=true",
            "--set",
            "openshift=false",
            "--set",
            "controller.run=watch",
            "--set",
            "page.enabled=false",
            "--set",
            "networkPolicy.enabled=false",
        ],
    },
    Rendering {
        path: "deploy/monitoring/prometheus-operator.yaml",
        about: "# Scraping and alerts for the Prometheus operator. Rendered from deploy/chart by `cargo xtask manifests`; change it\n\
                # there. Set the labels that your Prometheus selects by, and where you serve deploy/runbooks.\n",
        options: &[
            "--show-only",
            "templates/monitoring.yaml",
            "--set",
            "monitoring.enabled=true",
            "--set",
            "monitoring.dashboard=false",
        ],
    },
];
/// Namespace of the one-file manifest.
const NAMESPACE: &str = "palisade-system";
/// The version that is rendered for; nothing in the chart depends on it but its lower bound.
const KUBERNETES: &str = "1.36.0";
const MANIFEST: &str = "deploy/palisade.yaml";
/// Kinds in the order in which an API server takes them without complaint; what is not named comes after.
const ORDER: &[&str] = &["Namespace", "CustomResourceDefinition", "ServiceAccount"];

/// Writes the manifests, or fails when one differs from what the chart gives.
pub fn run(workspace: &Workspace, check: bool) -> anyhow::Result<()> {
    for rendering in RENDERINGS {
        compare(workspace, rendering, check)?;
    }
    if check { lint(workspace) } else { Ok(()) }
}

/// Writes the tables of `deploy/docs`: the tests that compare them write them.
pub fn docs(workspace: &Workspace) -> anyhow::Result<()> {
    let mut test =
        shell::command(&workspace.root, &cargo(), &["test", "--package", "palisade-core", "--lib", "documented"]);
    shell::step("writing the tables of deploy/docs", test.env("PALISADE_WRITE_DOCS", "1"))
}

fn compare(workspace: &Workspace, rendering: &Rendering, check: bool) -> anyhow::Result<()> {
    let rendered = render(workspace, rendering)?;
    let name = rendering.path;
    let path = workspace.root.join(name);
    if !check {
        std::fs::write(&path, &rendered).with_context(|| format!("writing {}", path.display()))?;
        eprintln!("    {name}: {} objects", rendered.matches("\nkind: ").count());
        return Ok(());
    }
    let stored = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let differs = stored.lines().zip(rendered.lines()).position(|(one, other)| one != other);
    anyhow::ensure!(
        stored == rendered,
        "{name} is not what deploy/chart gives, from line {} on; run `cargo xtask manifests`",
        differs.unwrap_or_else(|| stored.lines().count().min(rendered.lines().count())) + 1
    );
    Ok(())
}

fn render(workspace: &Workspace, rendering: &Rendering) -> anyhow::Result<String> {
    let helm = tools::helm(workspace)?;
    let mut command = Command::new(helm);
    command.args(["template", "palisade", "deploy/chart", "--namespace", NAMESPACE]);
    // Built from source, Helm takes every cluster for an ancient one unless it is told.
    command.args(["--kube-version", KUBERNETES]);
    command.args(rendering.options).current_dir(&workspace.root);
    let mut documents = documents(&shell::output(&mut command)?);
    documents.sort_by_key(|document| {
        let kind = document.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap_or_default();
        ORDER.iter().position(|known| *known == kind).unwrap_or(ORDER.len())
    });
    let mut text = rendering.about.to_owned();
    for document in documents {
        write!(text, "---\n{document}\n")?;
    }
    Ok(text)
}

/// The documents of a rendered chart, without Helm's remarks about where they come from.
fn documents(rendered: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in rendered.lines() {
        match line {
            "---" => documents.push(String::new()),
            line if line.starts_with("# Source: ") => {}
            line => {
                if let Some(document) = documents.last_mut() {
                    document.push_str(line.trim_end());
                    document.push('\n');
                }
            }
        }
    }
    let has_content = |document: &&str| document.lines().any(|line| !line.is_empty() && !line.starts_with('#'));
    documents.iter().map(|document| document.trim()).filter(has_content).map(str::to_owned).collect()
}

/// The chart by Helm's own judgement, and the kustomize base: it builds, and is the same objects.
fn lint(workspace: &Workspace) -> anyhow::Result<()> {
    let mut lint = Command::new(tools::helm(workspace)?);
    lint.args(["lint", "--strict", "--quiet", "deploy/chart"]).current_dir(&workspace.root);
    shell::run(&mut lint)?;
    tools::kubectl(workspace)?;
    let built = shell::output(&mut shell::command(&workspace.root, "kubectl", &["kustomize", "deploy"]))?;
    let stored = std::fs::read_to_string(workspace.root.join(MANIFEST))?;
    let kinds = |text: &str| text.lines().filter(|line| line.starts_with("kind: ")).count();
    anyhow::ensure!(
        kinds(&built) == kinds(&stored),
        "kubectl kustomize deploy gives {} objects, but {MANIFEST} has {}",
        kinds(&built),
        kinds(&stored)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_and_empty_documents_are_left_out() {
        let rendered = "---\n# Source: a/b.yaml\n# why\nkind: A\n---\n# Source: a/c.yaml\n\n---\n# only a remark\n---\nkind: B  \nspec:\n  x: 1\n";
        assert_eq!(documents(rendered), ["# why\nkind: A", "kind: B\nspec:\n  x: 1"]);
    }
}
