//! The guard against a real etcd 3.6 of three members with TLS on this machine: one member goes, comes back, and goes
//! with another. Needs the control plane program, which holds etcd: `cargo xtask etcd` builds it and runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests outside test functions")]

mod health_support;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use health_support::{Cluster, eventually};
use palisade_api::NodeHealthCheck;
use palisade_controller::etcd::Guard;
use palisade_controller::health::ControlPlaneGuard;
use palisade_core::health::{GuardAnswer, NodeView};
use palisade_sandbox::lab::port;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

const MEMBERS: [&str; 3] = ["cp0", "cp1", "cp2"];

/// Three members, each a process of its own.
struct Etcd {
    folder: tempfile::TempDir,
    program: PathBuf,
    ports: Vec<(u16, u16)>,
    processes: Vec<Option<Child>>,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn free_port() -> u16 {
    port::free(Ipv4Addr::LOCALHOST.into()).unwrap().port()
}

impl Etcd {
    fn start() -> Self {
        let program = std::env::var_os("PALISADE_CONTROLPLANE").map(PathBuf::from);
        let program = program.expect("PALISADE_CONTROLPLANE names the control plane program; run `cargo xtask etcd`");
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let ports = MEMBERS.iter().map(|_| (free_port(), free_port())).collect();
        let mut etcd = Self { folder, program, ports, processes: vec![None, None, None] };
        (0..3).for_each(|index| etcd.run(index));
        etcd
    }

    fn run(&mut self, index: usize) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (client, peer) = self.ports[index];
        let cluster: Vec<String> = MEMBERS
            .iter()
            .zip(&self.ports)
            .map(|(name, (_, peer))| format!("{name}=https://127.0.0.1:{peer}"))
            .collect();
        let mut command = Command::new(&self.program);
        command
            .args(["component", "etcd", "--name", MEMBERS[index], "--data-dir"])
            .arg(self.folder.path().join(MEMBERS[index]))
            .args(["--listen-client-urls", &format!("https://127.0.0.1:{client}")])
            .args(["--advertise-client-urls", &format!("https://127.0.0.1:{client}")])
            .args(["--listen-peer-urls", &format!("https://127.0.0.1:{peer}")])
            .args(["--initial-advertise-peer-urls", &format!("https://127.0.0.1:{peer}")])
            .args(["--initial-cluster", &cluster.join(",")])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(["--cert-file", &path("tls.crt"), "--key-file", &path("tls.key")])
            .args(["--trusted-ca-file", &path("ca.crt"), "--client-cert-auth"])
            .args(["--peer-cert-file", &path("tls.crt"), "--peer-key-file", &path("tls.key")])
            .args(["--peer-trusted-ca-file", &path("ca.crt"), "--peer-client-cert-auth"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.processes[index] = Some(command.spawn().unwrap());
    }

    fn kill(&mut self, index: usize) {
        let mut process = self.processes[index].take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn endpoints(&self) -> Vec<String> {
        self.ports.iter().map(|(client, _)| format!("https://127.0.0.1:{client}")).collect()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

/// An authority, and one certificate for servers and clients.
fn certificates(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    // With the name of the certificates that it signs it would be taken for one of them.
    authority.distinguished_name.push(DnType::CommonName, "authority of etcd");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).unwrap();
    std::fs::write(folder.join("ca.crt"), certificate.pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let member = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("tls.crt"), member.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
}

fn policy(etcd: &serde_json::Value) -> NodeHealthCheck {
    serde_json::from_value(json!({
        "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
        "metadata": { "name": "nhc" }, "spec": { "etcd": etcd },
    }))
    .unwrap()
}

#[allow(clippy::needless_pass_by_value)] // called with json!
fn secret(cluster: &Cluster, name: &str, data: serde_json::Value) {
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": "palisade-system" }, "data": data,
    }));
}

fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

async fn asked(guard: &Guard, policy: &NodeHealthCheck, node: &str) -> GuardAnswer {
    let node = NodeView { name: node.to_owned(), ..NodeView::default() };
    guard.ask(&node, policy).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the control plane program: cargo xtask etcd"]
async fn a_real_etcd_decides_who_may_go() {
    // Given a cluster of three members, and a Secret with a client certificate
    let mut etcd = Etcd::start();
    let cluster = Cluster::new();
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "palisade-system" } }));
    for name in MEMBERS {
        cluster.node(name, "True", 60).await;
        cluster.mark(name, json!({ "labels": { "node-role.kubernetes.io/control-plane": "" } })).await;
    }
    let part = |name: &str| encoded(&etcd.read(name));
    secret(
        &cluster,
        "client",
        json!({ "tls.crt": part("tls.crt"), "tls.key": part("tls.key"), "ca.crt": part("ca.crt") }),
    );
    let guard = Guard::new(cluster.client.clone(), "palisade-system");
    let client = policy(&json!({ "endpoints": etcd.endpoints(), "clientSecret": "client" }));

    // When all are well, each may go, and the members are named
    let answer = eventually("three well members", async || {
        let answer = asked(&guard, &client, "cp1").await;
        answer.counted.contains("(cp0: well, cp1: well, cp2: well)").then_some(answer)
    })
    .await;
    assert_eq!(answer.refused, None);
    assert!(answer.counted.contains("etcd has 3 voting members"), "{}", answer.counted);
    assert!(answer.counted.contains("cp1 runs member cp1 (well), and 2 well ones would be left (asked: etcd itself)"));

    // When another member is down, none of the two that are left may go, and the dead one may
    etcd.kill(2);
    let answer = eventually("a refusal", async || {
        let answer = asked(&guard, &client, "cp1").await;
        answer.refused.is_some().then_some(answer)
    })
    .await;
    let refused = answer.refused.unwrap();
    assert!(refused.why.contains("cp2: does not answer") && refused.why.contains("a quorum is 2"), "{}", refused.why);
    assert_eq!(asked(&guard, &client, "cp2").await.refused, None);

    // When two are down, the last one says itself that it is not well, and nobody else may be touched
    etcd.kill(1);
    let answer = eventually("no leader", async || {
        let answer = asked(&guard, &client, "cp1").await;
        answer.counted.contains("cp0: not well").then_some(answer)
    })
    .await;
    assert!(answer.refused.is_some(), "{}", answer.counted);

    // When both are back, everybody may go again
    etcd.run(1);
    etcd.run(2);
    eventually("three well members", async || asked(&guard, &client, "cp1").await.refused.is_none().then_some(()))
        .await;

    // A wrong certificate is no answer, and no answer is a no
    let stranger = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["stranger".to_owned()]).unwrap().self_signed(&stranger).unwrap();
    secret(
        &cluster,
        "stranger",
        json!({ "tls.crt": encoded(&own.pem()), "tls.key": encoded(&stranger.serialize_pem()), "ca.crt": encoded(&etcd.read("ca.crt")) }),
    );
    let strange = policy(&json!({ "endpoints": etcd.endpoints(), "clientSecret": "stranger" }));
    let refused = asked(&guard, &strange, "cp1").await.refused.unwrap();
    assert!(refused.why.contains("no endpoint of spec.etcd.endpoints lists its members"), "{}", refused.why);
    // And so is a Secret without a key
    secret(&cluster, "half", json!({ "tls.crt": encoded(&own.pem()) }));
    let half = policy(&json!({ "endpoints": etcd.endpoints(), "clientSecret": "half" }));
    let refused = asked(&guard, &half, "cp1").await.refused.unwrap();
    assert!(refused.why.contains("Secret palisade-system/half has no tls.key"), "{}", refused.why);
    // Switched off, nobody is asked
    let node = NodeView { name: "cp1".to_owned(), ..NodeView::default() };
    assert_eq!(guard.ask(&node, &policy(&json!({ "guard": "Off" }))).await, None);
}
