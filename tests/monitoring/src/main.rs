//! `palisade-monitoring-test`: a real Prometheus with the shipped alerts scrapes two installed controllers on a real control
//! plane, while a node fails, people are asked, and policies are wrong. Alerts fire and are over again; every query of the
//! dashboard is asked. The rules are the shipped ones but that `for` is a second: how long each waits, promtool tests.

mod dashboard;
mod prometheus;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use palisade_bench::controller::{Controller, NAMESPACE, Settings as Options};
use palisade_bench::fleet::{self, Fault, Fleet};
use palisade_bench::plane::{Parts, Plane, Settings};
use palisade_bench::wait;
use palisade_sandbox::lab::port;
use prometheus::Prometheus;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// For everything that takes seconds on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_mins(3);
/// Nodes.
const NODES: usize = 5;

/// Installs, breaks things, watches.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with manifests, rules, dashboard and runbooks.
    #[arg(long, value_name = "FOLDER", default_value = "deploy")]
    deploy: PathBuf,
    /// Prometheus.
    #[arg(long, value_name = "FILE")]
    prometheus: PathBuf,
    /// Not used here; accepted so that all black-box programs are started the same way.
    #[arg(long, value_name = "FILE", hide = true)]
    agent: Option<PathBuf>,
    /// Leave logs, data and control plane files where they are.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    parts: Parts,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::OFF).init();
    let keep = arguments.keep;
    palisade_sandbox::program::run_in_folder("palisade-monitoring-test", keep, async |dir| play(&arguments, dir).await)
}

async fn play(arguments: &Arguments, dir: &Path) -> anyhow::Result<()> {
    let read = |name: &str| {
        let path = arguments.deploy.join(name);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let begun = Instant::now();
    let tell = |what: &str| eprintln!("    {what}: {:.1} s", begun.elapsed().as_secs_f64());

    // Given two installed controllers, a fleet that is well, and Prometheus.
    // Nobody is to be taken for dead because this machine is busy: who fails here says so.
    let settings = Settings { node_grace: Some(Duration::from_hours(2)), ..Settings::default() };
    let plane = Plane::start(&arguments.parts, dir, &settings).await?;
    eprintln!("Kubernetes {} ready after {:.1} s", plane.version, plane.ready_seconds);
    let manifest = arguments.deploy.join("palisade.yaml");
    kubectl(&plane, &["apply", "--server-side", "-f", &manifest.to_string_lossy()], None).await?;
    kubectl(&plane, &["apply", "-f", "-"], Some(include_str!("../policies.yaml"))).await?;
    let client = plane.user(fleet::USER, "system:masters", fleet::AGENT).await?;
    let fleet = Fleet::start(client, fleet::Spec::new("fleet", NODES)).await?;
    let mut controllers = Vec::new();
    let mut addresses = Vec::new();
    for name in ["controller-1", "controller-2"] {
        let address = port::free(Ipv4Addr::LOCALHOST.into())?;
        let listen = format!("--listen={address}");
        let options = ["--no-rollout", "--leader-elect", "--log-format=json", &listen].map(str::to_owned).to_vec();
        let log = "info".to_owned();
        controllers.push(Controller::start(&arguments.parts, &plane, dir, name, &Options { options, log }).await?);
        addresses.push(address);
    }
    let mut cluster = Cluster { plane, controllers };
    let rules = read("monitoring/rules.yaml")?;
    let mut watched = Prometheus::start(&arguments.parts, &arguments.prometheus, dir, &rules, &addresses).await?;
    cluster.ready(&addresses).await?;
    let healthy =
        format!("sum(palisade_nodes_healthy{{policy=\"workers\"}}) == {NODES} and on () sum(palisade_leader) == 1");
    cluster.becomes(&mut watched, &healthy).await?;
    cluster.becomes(&mut watched, "sum(up{job=\"palisade\"}) == 2").await?;
    cluster.alerts(&mut watched, &[]).await?;
    tell("two controllers ready, one leads, nothing fires");

    // When policies are wrong, a node fails, and another one fails of which somebody said that it be left alone,
    kubectl(&cluster.plane, &["apply", "-f", "-"], Some(include_str!("../mistakes.yaml"))).await?;
    let (sick, excluded) = (fleet.machine(0), fleet.machine(1));
    let label = "remediation.medik8s.io/exclude-from-remediation=true";
    kubectl(&cluster.plane, &["label", "node", excluded.name(), label], None).await?;
    sick.fail(Fault::NotReady);
    excluded.fail(Fault::NotReady);
    let remediation = format!("wasmremediation/{}", sick.name());
    // then the alerts about them fire, and say about whom.
    let expected = [
        ("PalisadePolicyDisabled", "Policy broken is disabled (RemediationTemplateNotFound)."),
        ("PalisadePolicyPaused", "Policy forgotten has been paused for a day."),
        ("PalisadeNodeHeldByPeople", "workers"),
        ("PalisadeApprovalPending", "A remediation asks people (ApproveAction)."),
        // An hour in the rules as shipped.
        ("PalisadeRemediationLongRunning", sick.name()),
    ];
    cluster.alerts(&mut watched, &expected).await?;
    tell("five alerts fire");

    // When people answer,
    let yes = ["approve", &remediation, "--why", "seen it"];
    cluster.palisade(&arguments.parts, &yes).await?;
    cluster.becomes(&mut watched, "palisade_questions_pending{question=\"ConfirmIsolated\"} == 1").await?;
    let isolated = ["approve", &remediation, "--confirm-isolated", "--why", "pulled its cables"];
    cluster.palisade(&arguments.parts, &isolated).await?;
    // then the proof is counted by its kind;
    cluster.becomes(&mut watched, "sum(palisade_time_to_fence_seconds_count{proof=\"HumanConfirmed\"}) == 1").await?;
    // and when nodes and policies are well again, every alert is over, and the fleet as it was.
    sick.reboot();
    excluded.recover();
    kubectl(&cluster.plane, &["delete", "nodehealthcheck", "broken", "forgotten", "--timeout=2m"], None).await?;
    cluster.becomes(&mut watched, &healthy).await?;
    cluster.alerts(&mut watched, &[]).await?;
    tell("approved, proven, recovered, every alert is over");

    dashboard::ask_everything(&watched, &read("monitoring/dashboard.json")?).await?;
    cluster.counted(&mut watched).await?;
    commands(&arguments.parts, &arguments.deploy.join("runbooks")).await?;
    tell("dashboard and runbooks");
    watched.stop().await;
    let mut log = String::new();
    for controller in cluster.controllers {
        let file = controller.log.clone();
        controller.stop().await;
        log += &std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    }
    spoken_of(&log, sick.name())?;
    drop(fleet);
    cluster.plane.stop().await;
    Ok(())
}

/// What is watched.
struct Cluster {
    plane: Plane,
    controllers: Vec<Controller>,
}

impl Cluster {
    fn ensure_alive(&mut self, watched: &mut Prometheus) -> anyhow::Result<()> {
        watched.ensure_alive()?;
        self.controllers.iter_mut().try_for_each(Controller::ensure_alive)
    }

    /// Waits until every controller says that it is ready.
    async fn ready(&mut self, addresses: &[SocketAddr]) -> anyhow::Result<()> {
        for address in addresses {
            wait::until(PATIENCE, "a controller is ready", async || {
                self.controllers.iter_mut().try_for_each(Controller::ensure_alive)?;
                Ok(prometheus::get(*address, "/readyz").await.map(drop).map_err(|error| format!("{error:#}")))
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until the query gives something.
    async fn becomes(&mut self, watched: &mut Prometheus, query: &str) -> anyhow::Result<()> {
        wait::until(PATIENCE, query, async || {
            self.ensure_alive(watched)?;
            let found = watched.query(query).await?;
            Ok(if found.is_empty() { Err("no such sample".to_owned()) } else { Ok(()) })
        })
        .await
    }

    /// Waits until exactly these fire, each with its text in the summary.
    async fn alerts(&mut self, watched: &mut Prometheus, expected: &[(&str, &str)]) -> anyhow::Result<()> {
        let names = |alerts: &[(&str, &str)]| alerts.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        let mut wanted = names(expected);
        wanted.sort();
        wait::until(PATIENCE, &format!("exactly {wanted:?} fire"), async || {
            self.ensure_alive(watched)?;
            let firing = watched.firing().await?;
            let mut now: Vec<String> = firing.iter().map(|(name, _)| name.clone()).collect();
            now.sort();
            if now != wanted {
                return Ok(Err(format!("{firing:?} fire")));
            }
            for (name, annotations) in &firing {
                let (summary, url) = (&annotations["summary"], &annotations["runbook_url"]);
                let says = expected.iter().find(|(known, _)| known == name).map_or("", |(_, says)| says);
                ensure!(summary.as_str().is_some_and(|text| text.contains(says)), "{name} says {summary}");
                ensure!(url.as_str().is_some_and(|url| url.ends_with(&format!("/{name}.md"))), "{name} leads to {url}");
            }
            Ok(Ok(()))
        })
        .await
    }

    /// The command line, as an administrator.
    async fn palisade(&self, parts: &Parts, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(parts.palisade());
        command.args(arguments).args(["--namespace", NAMESPACE]).arg("--kubeconfig").arg(&self.plane.admin_kubeconfig);
        output(&mut command, None).await.map(drop)
    }

    /// Both replicas are scraped, and nothing is counted twice or by the wrong one.
    ///
    /// The replicas are scraped at different moments: only what the later one says tells how it ended.
    async fn counted(&mut self, watched: &mut Prometheus) -> anyhow::Result<()> {
        for (query, wanted) in [
            ("sum(palisade_nodes_observed{policy=\"workers\"})", "5"),
            ("sum(palisade_remediations_created_total{policy=\"workers\"})", "1"),
            ("count(palisade_policy_phase{policy=\"workers\",phase=\"Enabled\"})", "2"),
            ("sum(palisade_remediations) or vector(0)", "0"),
            ("sum(palisade_module_calls_total{result=\"answered\"}) > bool 0", "1"),
            ("sum(palisade_module_calls_total{result=\"failed\"}) or vector(0)", "0"),
            ("sum(palisade_time_to_detect_seconds_count)", "1"),
            ("sum(palisade_time_to_recover_seconds_count)", "1"),
            ("count(palisade_api_requests_total{verb=\"watch\",code=\"200\"})", "2"),
        ] {
            wait::until(PATIENCE, query, async || {
                self.ensure_alive(watched)?;
                let found = watched.query(query).await?;
                let value = found.first().map(|sample| sample["value"][1].clone()).unwrap_or_default();
                Ok(if value == wanted { Ok(()) } else { Err(format!("it is {value}, not {wanted}")) })
            })
            .await?;
        }
        Ok(())
    }
}

/// Every line of the log is an object, and what is said during a remediation says of which.
fn spoken_of(log: &str, node: &str) -> anyhow::Result<()> {
    let mut about = 0;
    for line in log.lines() {
        let said: Value = serde_json::from_str(line).with_context(|| format!("a line that is no JSON: {line}"))?;
        if said["fields"]["message"] == "fence intent cleared" {
            let span = &said["span"];
            ensure!(span["kind"] == "WasmRemediation" && span["node"] == node, "said of nothing: {line}");
            about += 1;
        }
    }
    ensure!(about > 0, "nobody told of the end of the fencing");
    Ok(())
}

/// Commands of ours that runbooks name exist.
async fn commands(parts: &Parts, folder: &Path) -> anyhow::Result<()> {
    let mut known = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let page = std::fs::read_to_string(entry?.path())?;
        for line in page.lines() {
            let starts = line.strip_prefix("palisade ").into_iter().chain(line.split("`palisade ").skip(1));
            known.extend(starts.map(|rest| {
                let words =
                    rest.split(['`', ' ']).take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
                words.take(if rest.starts_with("remediator") { 2 } else { 1 }).map(str::to_owned).collect::<Vec<_>>()
            }));
        }
    }
    ensure!(known.len() > 5, "runbooks name only {known:?}");
    for words in &known {
        output(Command::new(parts.palisade()).args(words).arg("--help"), None).await?;
    }
    Ok(())
}

async fn kubectl(plane: &Plane, arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(&plane.admin_kubeconfig).args(arguments);
    output(&mut command, input).await
}

async fn output(command: &mut Command, input: Option<&str>) -> anyhow::Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    // Whoever reads nothing closes it.
    let _ = stdin.write_all(input.unwrap_or_default().as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.context("it takes too long")??;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {complaint}");
    Ok(String::from_utf8(output.stdout)?)
}
