//! `palisade-page-test`: the operator's page as the installed controller serves it, with the installed rights, on a real
//! control plane with 5,000 nodes, driven in a real Chromium by `scenario.mjs`. What was clicked is looked for afterwards in
//! the objects.

mod fleet;
mod people;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use kube::api::{Api, DynamicObject};
use palisade_bench::audit::{Entry, Query};
use palisade_bench::controller::{Controller, NAMESPACE, Settings as Options};
use palisade_bench::plane::{Parts, Plane, Settings};
use palisade_bench::wait;
use palisade_sandbox::lab::port;
use serde_json::Value;
use tokio::process::Command;

/// For everything that takes seconds on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_mins(3);

/// Who answers.
const ALICE: &str = "system:serviceaccount:people:alice";
/// How the annotations begin that are answers.
const ANSWERS: &str = "approval.palisade.dev/";

/// Installs, breaks nodes, looks at the page.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with the manifests.
    #[arg(long, value_name = "FOLDER", default_value = "deploy")]
    deploy: PathBuf,
    /// The script that drives the browser.
    #[arg(long, value_name = "FILE", default_value = "tests/page/scenario.mjs")]
    scenario: PathBuf,
    /// The browser.
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/chromium")]
    chromium: PathBuf,
    /// Folder for the screenshots.
    #[arg(long, value_name = "FOLDER")]
    screenshots: PathBuf,
    /// Number of nodes.
    #[arg(long, default_value_t = 5_000)]
    nodes: usize,
    /// Not used here; accepted so that all black-box programs are started the same way.
    #[arg(long, value_name = "FILE", hide = true)]
    agent: Option<PathBuf>,
    /// Leave logs and control plane files where they are.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    parts: Parts,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::OFF).init();
    let keep = arguments.keep;
    palisade_sandbox::program::run_in_folder("palisade-page-test", keep, async |dir| play(&arguments, dir).await)
}

async fn play(arguments: &Arguments, dir: &Path) -> anyhow::Result<()> {
    // Nobody sends heartbeats here, and nobody is to be taken for dead who is not.
    let settings = Settings { node_grace: Some(Duration::from_hours(2)), ..Settings::default() };
    let plane = Plane::start(&arguments.parts, dir, &settings).await?;
    eprintln!("Kubernetes {} ready after {:.1} s", plane.version, plane.ready_seconds);
    let admin = plane.admin().await?;
    let begun = Instant::now();
    let manifest = arguments.deploy.join("palisade.yaml");
    let people = async {
        people::kubectl(&plane, &["apply", "--server-side", "-f", &manifest.to_string_lossy()], None).await?;
        people::kubectl(&plane, &["apply", "-f", "-"], Some(&people::ACCOUNTS.replace("NAMESPACE", NAMESPACE))).await?;
        people::kubectl(&plane, &["apply", "-f", "-"], Some(fleet::POLICIES)).await
    };
    futures::try_join!(people, fleet::create(&admin, arguments.nodes))?;
    eprintln!("    installed, {} nodes: {:.1} s", arguments.nodes, begun.elapsed().as_secs_f64());

    let port = port::free(Ipv4Addr::LOCALHOST.into())?.port();
    let options = Options {
        options: vec!["--no-rollout".to_owned(), format!("--page-address=127.0.0.1:{port}")],
        log: "warn,palisade_page=trace,kube_client=debug".to_owned(),
    };
    let mut controller = Controller::start(&arguments.parts, &plane, dir, "controller-1", &options).await?;
    let remediations = Api::<DynamicObject>::namespaced_with(admin.clone(), NAMESPACE, &fleet::remediation());
    for node in fleet::ASKED {
        wait::until(PATIENCE, "a remediation that asks", async || {
            controller.ensure_alive()?;
            let found = remediations.get_opt(node).await?;
            let asks = found.as_ref().is_some_and(|found| question(&found.data, "ApproveAction").is_some());
            Ok(if asks {
                Ok(())
            } else {
                Err(format!("{node}: {:?}", found.map(|found| found.data["status"].clone())))
            })
        })
        .await?;
    }
    eprintln!("    two remediations ask people: {:.1} s", begun.elapsed().as_secs_f64());

    let tokens = people::tokens(&plane).await?;
    std::fs::create_dir_all(&arguments.screenshots)?;
    let mut browser = Command::new("node");
    browser.arg(&arguments.scenario).kill_on_drop(true);
    browser.env("PAGE_URL", format!("http://127.0.0.1:{port}/")).env("PAGE_NODES", arguments.nodes.to_string());
    browser.env("PAGE_CHROMIUM", &arguments.chromium).env("PAGE_SCREENSHOTS", &arguments.screenshots);
    browser.env("PAGE_ASKED", fleet::ASKED.join(",")).env("PAGE_NAMESPACE", NAMESPACE);
    browser.envs(tokens.iter().map(|(name, token)| (format!("PAGE_TOKEN_{}", name.to_uppercase()), token)));
    let status = tokio::time::timeout(PATIENCE * 4, browser.status()).await.context("the browser took too long")??;
    controller.ensure_alive()?;
    ensure!(status.success(), "the browser's part ended with {status}");

    answered(&remediations).await?;
    let log = controller.log.clone();
    controller.stop().await;
    let written = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    ensure!(written.contains("answered on the page"), "{}: no word of what was answered", log.display());
    for (name, token) in &tokens {
        // The signature is what makes it a secret.
        let secret = token.rsplit('.').next().unwrap_or(token);
        ensure!(!written.contains(secret), "{}: the token of {name}", log.display());
    }
    wrote(&plane.audit.all()?)?;
    plane.stop().await;
    Ok(())
}

/// Who wrote the answers, as the API server saw it: their givers, and never the controller.
fn wrote(audit: &Query) -> anyhow::Result<()> {
    let answers = |entry: &&Entry| {
        let annotations = entry.request_object.pointer("/metadata/annotations").and_then(Value::as_object);
        // Whoever writes a status sends the whole object along.
        entry.succeeded()
            && entry.object_ref.subresource.is_empty()
            && annotations.is_some_and(|all| all.keys().any(|key| key.starts_with(ANSWERS)))
    };
    let writers: Vec<&str> = audit.entries().iter().filter(answers).map(|entry| entry.user.username.as_str()).collect();
    ensure!(writers == [ALICE, ALICE], "answers were written by {writers:?}");
    eprintln!("    no token in the controller's log; both answers were written by their giver");
    Ok(())
}

/// What was clicked, in the objects.
async fn answered(remediations: &Api<DynamicObject>) -> anyhow::Result<()> {
    let [approved, other] = fleet::ASKED;
    let object = remediations.get(approved).await?;
    for key in ["approval.palisade.dev/approve", "approval.palisade.dev/confirm-isolated"] {
        let said = object.metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned().unwrap_or_default();
        ensure!(said.starts_with(&format!("by={ALICE}; code=")), "{key} of {approved} says {said:?}");
    }
    let approval = question(&object.data, "ApproveAction").unwrap_or_default();
    ensure!(approval["state"] == "Given" && approval["answers"][0]["who"] == ALICE, "{approved}: {approval}");
    let proof = &object.data["status"]["palisade"]["certificate"];
    ensure!(proof["proof"] == "HumanConfirmed", "{approved} has the certificate {proof}");
    let other = remediations.get(other).await?;
    let untouched = question(&other.data, "ApproveAction").unwrap_or_default();
    ensure!(untouched["state"] == "Pending" && untouched["answers"].is_null(), "somebody answered it: {untouched}");
    let annotated = other.metadata.annotations.unwrap_or_default();
    ensure!(!annotated.keys().any(|key| key.starts_with(ANSWERS)), "an answer was written: {annotated:?}");
    eprintln!("    approved and confirmed in the object by {ALICE}; the other remediation is untouched");
    Ok(())
}

fn question(object: &Value, name: &str) -> Option<Value> {
    let all = object.pointer("/status/palisade/questions")?.as_array()?;
    all.iter().find(|one| one["question"] == name).cloned()
}
