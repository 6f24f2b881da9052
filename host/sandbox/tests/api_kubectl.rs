//! The sandbox under `kubectl`, which is how people will look at it.
//!
//! Needs `kubectl` on the path (on Debian: package `kubernetes-client`). Without it the test says so and passes, except
//! where the environment variable `CI` is set.

// Helpers of tests may panic like the tests that call them.
#![allow(clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::{Command, Output};

use palisade_sandbox::api::{ApiServer, ApiStore};
use serde_json::json;

struct Kubectl {
    home: PathBuf,
    // Held so that the server lives as long as the test.
    _server: ApiServer,
}

impl Kubectl {
    async fn start(store: ApiStore, test: &str) -> Option<Self> {
        if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
            let message = "kubectl is not installed; on Debian: apt-get install kubernetes-client";
            assert!(std::env::var_os("CI").is_none(), "{message}");
            eprintln!("skipped: {message}");
            return None;
        }
        let server = ApiServer::start(store, ([127, 0, 0, 1], 0).into()).await.expect("listens");
        let home = std::env::temp_dir().join(format!("palisade-kubectl-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&home).expect("a home for kubectl's cache");
        server.write_kubeconfig(&home.join("config")).expect("written");
        Some(Self { home, _server: server })
    }

    async fn output(&self, arguments: &str, input: &str) -> Output {
        use tokio::io::AsyncWriteExt;
        let mut child = tokio::process::Command::new("kubectl")
            .args(arguments.split_whitespace())
            .env("KUBECONFIG", self.home.join("config"))
            .env("HOME", &self.home)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).await.expect("kubectl reads");
        drop(stdin);
        child.wait_with_output().await.expect("kubectl ends")
    }

    async fn run(&self, arguments: &str, input: &str) -> String {
        let output = self.output(arguments, input).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn fails(&self, arguments: &str, input: &str) -> String {
        let output = self.output(arguments, input).await;
        assert!(!output.status.success(), "kubectl {arguments} should fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Kubectl {
    fn drop(&mut self) {
        // Left-overs in the temporary folder harm nobody.
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

const OBJECTS: &str = r"
apiVersion: v1
kind: Node
metadata: {name: node-1}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: web}}
spec: {nodeName: node-1, containers: [{name: main, image: i}]}
";

#[tokio::test]
async fn kubectl_reads_and_changes_nodes_and_pods() {
    let store = ApiStore::default();
    let Some(kubectl) = Kubectl::start(store, "objects").await else { return };

    let applied = kubectl.run("apply -f -", OBJECTS).await;
    assert_eq!(applied, "node/node-1 created\npod/web-0 created\n");
    assert_eq!(kubectl.run("apply -f -", OBJECTS).await, "node/node-1 unchanged\npod/web-0 unchanged\n");

    kubectl.run("annotate node node-1 a=b", "").await;
    kubectl.run("label node node-1 zone=z1", "").await;
    kubectl.run("taint node node-1 k=v:NoExecute", "").await;
    kubectl.run("cordon node-1", "").await;
    let wide = kubectl.run("get nodes -l zone=z1 -o wide", "").await;
    assert!(wide.contains("SchedulingDisabled") && wide.contains("k:NoExecute"), "{wide}");
    assert!(kubectl.run("describe node node-1", "").await.contains("web-0"));

    let status =
        ["patch", "pod", "web-0", "--subresource=status", "--type=merge", "-p", r#"{"status":{"phase":"Running"}}"#];
    kubectl.run(&status.join(" "), "").await;
    kubectl.run("wait --for=jsonpath={.status.phase}=Running pod/web-0 --timeout=10s", "").await;
    kubectl.run("delete pod web-0 --wait=false", "").await;
    assert!(kubectl.run("get pods --field-selector spec.nodeName=node-1", "").await.contains("Terminating"));
    kubectl.run("delete pod web-0 --force", "").await;
    kubectl.run("wait --for=delete pod/web-0 --timeout=10s", "").await;
    assert!(kubectl.fails("get pod web-0", "").await.contains("pods \"web-0\" not found"));
}

#[tokio::test]
async fn kubectl_installs_our_definitions_and_shows_their_columns() {
    let store = ApiStore::default();
    let Some(kubectl) = Kubectl::start(store.clone(), "definitions").await else { return };
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds");

    kubectl.run(&format!("apply -f {crds}"), "").await;
    kubectl.run("wait --for=condition=Established crd --all --timeout=10s", "").await;
    let remediation = json!({
        "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediation",
        "metadata": {"name": "node-1"}, "spec": {"remediationStrategy": "OutOfServiceTaint"},
    });
    kubectl.run("apply -f -", &remediation.to_string()).await;

    let table = kubectl.run("get remediations", "").await;
    assert!(table.contains("STRATEGY") && table.contains("OutOfServiceTaint"), "{table}");
    assert!(kubectl.run("explain nhc.spec.minHealthy", "").await.contains("FIELD: minHealthy"));

    let invalid = json!({
        "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
        "metadata": {"name": "bad"}, "spec": {"minHealthy": "51 %"},
    });
    let refused = kubectl.fails("apply -f -", &invalid.to_string()).await;
    assert!(
        refused.contains("The NodeHealthCheck \"bad\" is invalid") && refused.contains("spec.minHealthy"),
        "{refused}"
    );
    let unknown = remediation.to_string().replace("remediationStrategy", "remediationStrategi");
    assert!(kubectl.fails("apply -f -", &unknown).await.contains("unknown field \"spec.remediationStrategi\""));

    kubectl.run("apply --server-side --force-conflicts -f -", &remediation.to_string()).await;
    kubectl.run("delete snr --all", "").await;
}
