//! From their operators to ours and back, by the commands of `deploy/migration.md`. Theirs are played: their definitions and
//! samples are real, their Deployments run nothing, and what they would write is written here.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use palisade_api::Stage;
use palisade_bench::controller::{self, Controller};
use palisade_bench::wait;
use palisade_sandbox::lab::Lab;
use palisade_sandbox::lab::fault::Fault;
use palisade_sandbox::lab::timings::{Timings, go};
use serde_json::Value;

use crate::readme::Readme;
use crate::story::{PATIENCE, Stand, agents_are_up, chapter};
use crate::{Arguments, leftovers};

/// Namespace of their operators, which their sample policy names.
const THEIRS: &str = "openshift-operators";
/// The sample's name.
const POLICY: &str = "nodehealthcheck-sample";
/// Their objects, which have to be the same at the end: what they say, and that they are the same ones.
const OBJECTS: &str = "kubectl get nodehealthchecks,selfnoderemediationtemplates,selfnoderemediationconfigs --all-namespaces \
    --output jsonpath='{range .items[*]}{.kind} {.metadata.namespace} {.metadata.name} {.metadata.uid} {.spec}{\"\\n\"}{end}'";

/// Names of everything of the kinds that an installation brings.
const LEFT: &str = "kubectl get namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,roles,rolebindings,\
    serviceaccounts,validatingadmissionpolicies,validatingadmissionpolicybindings,networkpolicies,poddisruptionbudgets,\
    configmaps,secrets,leases,services,deployments,daemonsets,pods --all-namespaces --output name";

struct Page {
    readme: Readme,
    head: String,
}

impl Page {
    async fn run(&self, block: &str) -> anyhow::Result<String> {
        self.readme.run_with(block, |text| format!("{}{text}", self.head)).await
    }
}

/// The story; nothing of ours is installed before, and nothing of ours is left after.
pub async fn play(arguments: &Arguments, stand: &Stand, dir: &Path, lab: &Lab, nodes: usize) -> anyhow::Result<()> {
    let head =
        format!("export THEIRS={THEIRS} REGISTRY=registry.example/palisade KEEP={}\n", dir.join("before").display());
    let page = Page { readme: stand.readme.page(&arguments.deploy, "migration.md")?, head };
    let shell = async |script: &str| stand.readme.shell(script).await;

    chapter("their operators run, and have left their traces");
    let node = stand.runs_on(None).await?;
    theirs(arguments, stand, &node).await?;
    let before = shell(OBJECTS).await?;
    let found = check(stand, 4).await?;
    for (name, about) in [
        ("operator-runs", "node-healthcheck-controller-manager"),
        ("operator-runs", "self-node-remediation-controller-manager"),
        ("agents-run", "self-node-remediation-ds"),
        ("webhook", "self-node-remediation-validating-webhook-configuration"),
        ("remediation-runs", "running"),
        ("remediation-left", "selfnoderemediation-sample"),
        ("node-lease", "node-"),
        ("leader", "e1f13584.medik8s.io"),
    ] {
        let named = found.get(name).is_some_and(|all| all.iter().any(|one| one.contains(about)));
        ensure!(named, "migrate --check does not name {name} of {about}: {found:#?}");
    }
    for name in ["definitions", "config-moves", "config-value", "rights-move"] {
        ensure!(found.contains_key(name), "migrate --check does not say {name}: {found:#?}");
    }
    page.run("keep").await?;

    chapter("watched beside them");
    let versions = "kubectl get nodehealthchecks,selfnoderemediations,nodes --all-namespaces --output \
        jsonpath='{range .items[*]}{.kind} {.metadata.name} {.metadata.labels}{.metadata.annotations}{.spec}{.status.phase}{\"\\n\"}{end}'";
    let seen = shell(versions).await?;
    page.run("watch").await?;
    let settings = |options: &[&str]| controller::Settings {
        options: ["--leader-elect"].iter().chain(options).map(|option| (*option).to_owned()).collect(),
        log: "info".to_owned(),
    };
    let watcher = settings(&["--run", "watch"]);
    let watcher = Controller::start(&arguments.parts, &stand.plane, dir, "watcher", &watcher).await?;
    page.run("compare").await?;
    // Their remediation of a node that is well: ours would take it away, and does not.
    let said = stand.ask(dir, &["explain", &node, "--watched"], 3, "would do").await?;
    ensure!(said.contains("because node") && said.contains("is healthy"), "explain --watched said:\n{said}");
    watcher.stop().await;
    ensure!(shell(versions).await? == seen, "something was changed while it was only watched");
    let writes = stand.plane.audit.all()?.by_agent("(watcher)").writes();
    // The name of what is created is not always in the path; there the kind has to be enough.
    let allowed = |kind: &str| matches!(kind, "leases.coordination.k8s.io" | "configmaps");
    let others = writes
        .except_object("leases", controller::NAMESPACE, "palisade-controller")
        .except_object("configmaps", controller::NAMESPACE, palisade_api::keys::palisade::WATCH_ONLY)
        .filter(|entry| !(entry.verb == "create" && allowed(&entry.kind())));
    ensure!(writes.count() > 0, "the watcher told nothing");
    ensure!(others.count() == 0, "the watcher wrote more than its report:\n{}", others.lines(20));

    chapter("theirs are stopped, ours are installed");
    page.run("pause").await?;
    end(stand, &node).await?;
    page.run("end").await?;
    page.run("stop").await?;
    check(stand, 0).await?;
    page.run("install").await?;
    let ours = settings(&["--agent-image", "registry.example/palisade/agent:test"]);
    let ours = Controller::start(&arguments.parts, &stand.plane, dir, "migrated", &ours).await?;
    page.run("wait").await?;
    agents_are_up(stand, nodes).await?;
    page.run("act").await?;
    let after = shell(OBJECTS).await?;
    let lost: Vec<&str> = before.lines().filter(|line| !after.contains(line)).collect();
    ensure!(lost.is_empty(), "objects of theirs are not as they were:\n{}\nbut:\n{after}", lost.join("\n"));
    let copied = shell(
        "kubectl --namespace palisade-system get selfnoderemediationconfigs --output jsonpath='{.items[*].spec}'",
    );
    let copied = copied.await?;
    ensure!(
        copied.contains(r#""safeTimeToAssumeNodeRebootedSeconds":1"#),
        "the configuration was not copied: {copied}"
    );
    shell(&format!(
        "kubectl label nodehealthchecks {POLICY} still=valid && kubectl label nodehealthchecks {POLICY} still-"
    ))
    .await?;

    chapter("a failure is remediated by ours, under their policy and template");
    let node = stand.runs_on(None).await?;
    lab.inject(Fault::Isolate, std::slice::from_ref(&node)).await?;
    stand.remediation(&node, Stage::Released).await?;
    lab.heal().await;
    stand.settled().await?;

    chapter("and back again");
    page.run("back").await?;
    ours.stop().await;
    leftovers::on_nodes(&stand.readme, true).await?;
    page.run("theirs").await?;
    // The long search, through every kind that is served, is made after both uninstallations.
    let left = shell(LEFT).await?;
    ensure!(!left.contains("palisade"), "something of ours is left:\n{left}");
    let after = shell(OBJECTS).await?;
    ensure!(before == after, "their objects are not as they were:\n{before}\nbut:\n{after}");
    let replicas =
        format!("kubectl --namespace {THEIRS} get deployments --output jsonpath='{{.items[*].spec.replicas}}'");
    let replicas = shell(&replicas).await?;
    ensure!(replicas.trim() == "2 2", "their operators were not started again");
    let rules = shell("kubectl get crd nodehealthchecks.remediation.medik8s.io --output jsonpath='{.spec}'").await?;
    ensure!(!rules.contains("wouldDo"), "the definition is still ours");
    Ok(())
}

/// Their definitions and samples, what runs of them, and what they left.
async fn theirs(arguments: &Arguments, stand: &Stand, node: &str) -> anyhow::Result<()> {
    let fixtures = arguments.fixtures.join("medik8s");
    let fixtures = fixtures
        .canonicalize()
        .with_context(|| format!("{}: no fixtures there; name their folder with --fixtures", fixtures.display()))?;
    let lab = go(Timings::default().unhealthy_for);
    let script = include_str!("theirs.sh");
    let head =
        format!("fixtures={} theirs={THEIRS} node={node} policy={POLICY} unhealthy_for={lab}\n", fixtures.display());
    stand.readme.shell(&(head + script)).await.map(drop)
}

/// What their manager does when what it did is over.
async fn end(stand: &Stand, node: &str) -> anyhow::Result<()> {
    let script = format!(
        "for one in $(kubectl --namespace {THEIRS} get selfnoderemediations --output name); do \
           kubectl --namespace {THEIRS} patch \"$one\" --type merge --patch '{{\"metadata\":{{\"finalizers\":null}}}}'; done\n\
         kubectl taint node {node} remediation.medik8s.io/self-node-remediation:NoSchedule-\n\
         kubectl --namespace medik8s-leases delete lease node-{node}"
    );
    stand.readme.shell(&script).await.map(drop)
}

/// What is found, by the name of the check; the text has to agree on the exit code.
async fn check(stand: &Stand, code: i32) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let line = format!("{} migrate --check", stand.palisade.display());
    let (ended, json) = wait::until(PATIENCE, "migrate --check ends as expected", async || {
        let (ended, json) = stand.readme.try_shell(&format!("{line} --output json")).await?;
        Ok(if ended == Some(code) { Ok((ended, json)) } else { Err(format!("exit code {ended:?}:\n{json}")) })
    })
    .await?;
    let (text_ended, text) = stand.readme.try_shell(&line).await?;
    ensure!(text_ended == ended, "as text it ended with {text_ended:?}:\n{text}");
    let read: Value = serde_json::from_str(&json).with_context(|| format!("no JSON: {json}"))?;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for section in ["blocks", "changes", "know"] {
        for item in read[section].as_array().with_context(|| format!("no {section}: {json}"))? {
            let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
            ensure!(text_of(&text, &["check", "about", "what"]), "an item says too little: {item}");
            found.entry(text("check")).or_default().push(text("about"));
        }
    }
    Ok(found)
}

fn text_of(text: &impl Fn(&str) -> String, fields: &[&str]) -> bool {
    fields.iter().all(|field| !text(field).is_empty())
}
