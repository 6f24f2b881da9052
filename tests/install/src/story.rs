//! Installed, used, removed; then once more by Helm.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use palisade_api::{NodeHealthCheck, SelfNodeRemediation, Stage};
use palisade_bench::controller::{self, Controller, NAMESPACE};
use palisade_bench::plane::{Plane, Settings};
use palisade_bench::wait;
use palisade_core::fencing::record::LeaseView;
use palisade_sandbox::lab::machine::Order;
use palisade_sandbox::lab::timings::{Timings, go};
use palisade_sandbox::lab::{Lab, LabSpec, workload};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::readme::Readme;
use crate::{Arguments, agents, audit, commands, docs, drill, leftovers, migration};

/// For everything that takes seconds on a machine with nothing else to do.
pub(crate) const PATIENCE: Duration = Duration::from_mins(4);
const NODES: u8 = 4;
/// Where the workload of the story lives.
const SHOP: &str = "shop";

pub(crate) struct Stand {
    pub plane: Plane,
    admin: Client,
    pub readme: Readme,
    pub palisade: PathBuf,
}

/// The story.
pub async fn play(arguments: &Arguments, dir: &Path) -> anyhow::Result<()> {
    let timings = Timings::default();
    let settings = Settings {
        node_grace: Some(timings.node_grace),
        extra: vec!["--controller-manager-arg=--attach-detach-reconcile-sync-period=3s".to_owned()],
        ..Settings::default()
    };
    let plane = Plane::start(&arguments.parts, dir, &settings).await?;
    eprintln!("Kubernetes {} ready after {:.1} s", plane.version, plane.ready_seconds);
    let palisade = arguments.parts.palisade();
    let readme = Readme::read(&arguments.deploy, &plane.admin_kubeconfig, &[&arguments.helm, &palisade])?;
    let stand = Stand { admin: plane.admin().await?, plane, readme, palisade };

    chapter("installed by one file");
    stand.readme.run("install").await?;
    stand.readme.run("install").await.context("the same again, as an upgrade does it")?;
    let (lab, controllers, tokens) = people(arguments, &stand, dir, timings).await?;
    stand.readme.run("wait").await?;
    let unhealthy_for = go(timings.unhealthy_for);
    stand
        .readme
        .run_with("policy", |block| block.replace("duration: 300s", &format!("duration: {unhealthy_for}")))
        .await?;
    agents_are_up(&stand, usize::from(NODES)).await?;
    workload::create(&stand.admin, SHOP, 1, &lab.spec.name).await?;
    let node = stand.runs_on(None).await?;
    looker(&stand, dir).await?;
    stand.ask(dir, &["explain", &node], 0, "healthy").await?;

    chapter("a failure is remediated with the installed rights");
    commands::held_back(&stand, dir, &lab, &node).await?;
    stand.remediation(&node, Stage::Started).await?;
    let asked = stand.ask(dir, &["explain", &node], 3, "SelfNodeRemediation").await?;
    ensure!(asked.contains("being remediated by SelfNodeRemediation"), "explain said:\n{asked}");
    stand.remediation(&node, Stage::Released).await?;
    stand.ask(dir, &["explain", &node], 3, "proven to have ended").await?;
    stand.ask(dir, &["history", &node], 0, "Proven").await?;
    commands::proof(&stand, dir, &node).await?;
    commands::seconds(&stand, dir).await?;
    commands::bundle(&stand, dir, &node).await?;
    let other = stand.runs_on(Some(&node)).await?;
    eprintln!("    the workload moved from {node} to {other}");
    lab.heal().await;
    stand.settled().await?;
    leftovers::on_nodes(&stand.readme, false).await?;
    stand.ask(dir, &["explain", &node], 0, "healthy").await?;
    stand.ask(dir, &["history", &node], 0, "RemediationCreated").await?;
    stand.ask(dir, &["status"], 0, "4 of 4 nodes are Ready").await?;
    what_is_nobodys(&stand, dir, &node).await?;
    docs::yaml(&arguments.deploy, &stand.readme).await?;
    docs::commands(&arguments.deploy, &stand.readme, &node).await?;
    drill::play(&stand, dir).await?;

    chapter("what was used of the rights");
    audit::judge(&stand.admin, &stand.plane.audit.all()?).await?;

    chapter("removed while a node is being remediated");
    lab.order(&other, Order::PowerOff).await;
    stand.remediation(&other, Stage::Marked).await?;
    stand.readme.run("uninstall-stop").await?;
    leftovers::on_nodes(&stand.readme, false).await.context("after remediations were given up")?;
    lab.heal().await;
    // What the first line of the next block does to real ones.
    for controller in controllers {
        controller.stop().await;
    }
    stand.readme.run("uninstall-remove").await?;
    leftovers::on_nodes(&stand.readme, true).await?;
    leftovers::anywhere(&stand.readme).await?;

    chapter("installed and removed by Helm");
    stand.readme.run("helm-install").await?;
    let manifest = stand
        .readme
        .block("install")?
        .replace("kubectl apply --server-side", "kubectl diff --server-side --force-conflicts");
    let (code, said) = stand.readme.try_shell(&manifest).await?;
    ensure!(code == Some(0), "what Helm installed differs from the one file ({code:?}):\n{said}");
    stand.readme.run("helm-uninstall").await?;
    leftovers::anywhere(&stand.readme).await?;

    migration::play(arguments, &stand, dir, &lab, usize::from(NODES)).await?;
    drop(tokens);
    lab.stop().await;
    stand.plane.stop().await;
    Ok(())
}

pub(crate) fn chapter(title: &str) {
    eprintln!("==> {title}");
}

/// Nodes, agents and two controllers, none of them an administrator.
async fn people(
    arguments: &Arguments,
    stand: &Stand,
    dir: &Path,
    timings: Timings,
) -> anyhow::Result<(Lab, Vec<Controller>, JoinSet<()>)> {
    let admin = std::fs::read_to_string(&stand.plane.admin_kubeconfig)?;
    let (happenings, mut happened) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { while happened.recv().await.is_some() {} });
    let lab_dir = dir.join("lab");
    let spec = LabSpec {
        name: String::new(),
        dir: lab_dir.clone(),
        nodes: NODES,
        zones: 3,
        timings,
        agent: arguments.agent.clone(),
        launcher: arguments.parts.launcher(dir),
        agent_kubeconfig: agents::kubeconfig(&admin)?,
        // The lab's own way for a controller is not used here.
        controller_kubeconfig: admin.clone(),
        admin_kubeconfig: admin,
        standins: false,
        wiring: None,
    };
    let lab = Lab::start(spec, happenings).await?;
    tasks.spawn(agents::hand_out_tokens(stand.admin.clone(), lab_dir));
    let options =
        ["--leader-elect", "--agent-image", "registry.example/palisade/agent:test"].map(str::to_owned).to_vec();
    let settings = controller::Settings { options, log: "info".to_owned() };
    let mut controllers = Vec::new();
    for name in ["controller-a", "controller-b"] {
        controllers.push(Controller::start(&arguments.parts, &stand.plane, dir, name, &settings).await?);
    }
    Ok((lab, controllers, tasks))
}

/// Every node's agent renews its lease by its own token, and claims to fence itself.
pub(crate) async fn agents_are_up(stand: &Stand, nodes: usize) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(stand.admin.clone(), NAMESPACE);
    wait::until(PATIENCE, "agents claim to fence themselves", async || {
        let found = leases.list(&ListParams::default()).await?;
        let claims = found.items.iter().filter(|lease| {
            let view = LeaseView::from_annotations(lease.annotations());
            view.is_ok_and(|view| {
                view.record
                    .is_some_and(|record| record.terms.claims.self_fences && record.terms.jury.len() == nodes - 1)
            })
        });
        let count = claims.count();
        Ok(if count == nodes { Ok(()) } else { Err(format!("{count} of {nodes}")) })
    })
    .await
}

/// Given a taint of ours that no remediation accounts for, then the doctor finds it, and takes it off when told to.
async fn what_is_nobodys(stand: &Stand, dir: &Path, node: &str) -> anyhow::Result<()> {
    stand.ask(dir, &["doctor"], 0, "").await?;
    stand.readme.shell(&format!("kubectl taint node {node} palisade.dev/released:NoSchedule")).await?;
    stand.ask(dir, &["doctor"], 4, "orphan-taint").await?;
    // As the administrator: who may only look may not mend.
    stand.readme.shell(&format!("{} doctor --fix --yes", stand.palisade.display())).await?;
    leftovers::on_nodes(&stand.readme, false).await?;
    stand.ask(dir, &["doctor"], 0, "").await.map(drop)
}

/// Somebody who has the right to look, and no other.
async fn looker(stand: &Stand, dir: &Path) -> anyhow::Result<()> {
    stand
        .readme
        .shell(
            "kubectl create serviceaccount looker && kubectl create clusterrolebinding looker --clusterrole palisade-viewer \
             --serviceaccount default:looker",
        )
        .await?;
    std::fs::write(dir.join("looker.kubeconfig"), stand.plane.service_account("default", "looker").await?)?;
    Ok(())
}

impl Stand {
    /// Asks `palisade` as the one who may only look; both ways of answering have to agree on the exit code.
    pub async fn ask(&self, dir: &Path, words: &[&str], code: i32, says: &str) -> anyhow::Result<String> {
        let line = format!(
            "{} {} --kubeconfig {}",
            self.palisade.display(),
            words.join(" "),
            dir.join("looker.kubeconfig").display()
        );
        let (ended, said) = wait::until(PATIENCE, &format!("palisade {} says {says:?}", words.join(" ")), async || {
            let (ended, said) = self.readme.try_shell(&line).await?;
            Ok(if ended == Some(code) && said.contains(says) {
                Ok((ended, said))
            } else {
                Err(format!("exit code {ended:?}:\n{said}"))
            })
        })
        .await?;
        ensure!(!said.contains('\u{1b}'), "no colours off a terminal");
        let (_, json) = self.readme.try_shell(&format!("{line} --output json")).await?;
        let read: Value = serde_json::from_str(&json).with_context(|| format!("after {ended:?}: no JSON: {json}"))?;
        ensure!(read.is_object(), "{json}");
        Ok(said)
    }

    /// The node that the workload runs on, another one than `not`.
    pub async fn runs_on(&self, not: Option<&str>) -> anyhow::Result<String> {
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), SHOP);
        wait::until(PATIENCE, "the workload runs", async || {
            let Some(pod) = pods.get_opt("ledger-0").await? else { return Ok(Err("there is no pod".to_owned())) };
            let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
            let elsewhere = not.is_none_or(|not| node != not) && pod.metadata.deletion_timestamp.is_none();
            Ok(if running && elsewhere { Ok(node) } else { Err(format!("it is on {node:?}, running: {running}")) })
        })
        .await
    }

    /// Waits until the remediation of a node has come so far.
    pub async fn remediation(&self, node: &str, stage: Stage) -> anyhow::Result<()> {
        let api: Api<SelfNodeRemediation> = Api::all(self.admin.clone());
        let started = Instant::now();
        wait::until(PATIENCE, &format!("the remediation of {node} is {stage}"), async || {
            let all = api.list(&ListParams::default()).await?;
            let mut progress = all.items.iter().filter_map(|one| one.status.as_ref()?.palisade.as_ref());
            let Some(mine) = progress.rfind(|one| one.node.as_deref() == Some(node)) else {
                return Ok(Err("there is none".to_owned()));
            };
            let reached = mine.timeline.iter().any(|entry| entry.stage == stage);
            Ok(if reached { Ok(()) } else { Err(serde_json::to_string(&mine.fencing)?) })
        })
        .await?;
        eprintln!("    {node}: {stage} after {:.1} s more", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Waits until nothing is unhealthy and nothing is remediated.
    pub async fn settled(&self) -> anyhow::Result<()> {
        let remediations: Api<SelfNodeRemediation> = Api::all(self.admin.clone());
        let policies: Api<NodeHealthCheck> = Api::all(self.admin.clone());
        wait::until(PATIENCE, "everything is as before", async || {
            let left = remediations.list(&ListParams::default()).await?.items.len();
            let policies = policies.list(&ListParams::default()).await?.items;
            let sick: Vec<String> = policies
                .iter()
                .filter_map(|policy| policy.status.as_ref())
                .flat_map(|status| status.unhealthy_nodes.iter().map(|node| node.name.clone()))
                .collect();
            let healthy = policies.iter().all(|policy| {
                policy.status.as_ref().is_some_and(|status| status.healthy_nodes == Some(i64::from(NODES)))
            });
            let done = left == 0 && sick.is_empty() && healthy;
            Ok(if done { Ok(()) } else { Err(format!("{left} remediations, unhealthy: {}", sick.join(", "))) })
        })
        .await
    }
}
