//! A running agent follows the `SelfNodeRemediationConfig`, through a real client.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use palisade_agent::configuration::follow;
use palisade_agent::diagnose::SelfDiagnosis;
use palisade_agent::options::Options;
use palisade_api::SelfNodeRemediationConfig;
use palisade_core::fencing::agent::Settings;
use palisade_sandbox::api::{ApiStore, Settings as Sandbox};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const NAME: &str = "self-node-remediation-config";
const DEADLINE: Duration = Duration::from_mins(1);

struct Following {
    configs: Api<SelfNodeRemediationConfig>,
    told: mpsc::UnboundedReceiver<Settings>,
}

impl Following {
    /// An agent that was started with the flags of this configuration, short intervals apart.
    async fn start() -> Self {
        let store = ApiStore::new(Sandbox::default());
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds")).unwrap() {
            store.apply_yaml(&std::fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
        }
        store
            .apply_value(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "palisade-system" } }))
            .unwrap();
        let configs: Api<SelfNodeRemediationConfig> = Api::namespaced(store.client(), "palisade-system");
        let spec = serde_json::from_value(json!({ "apiCheckInterval": "1s" })).unwrap();
        configs.create(&PostParams::default(), &SelfNodeRemediationConfig::new(NAME, spec)).await.unwrap();
        let options = Options::parse_from([
            "palisade-agent",
            "--node-name=n1",
            "--node-ip=10.0.0.1",
            "--api-check-interval=1s",
            "--config-generation=1",
            "--follow-config=self-node-remediation-config",
        ]);
        let (tell, told) = mpsc::unbounded_channel();
        let tell = move |settings| drop(tell.send(settings));
        tokio::spawn(follow(store.client(), options, tell, Arc::new(SelfDiagnosis::new(None))));
        Self { configs, told }
    }

    async fn change(&self, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.configs.patch(NAME, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn next(&mut self) -> Settings {
        tokio::time::timeout(DEADLINE, self.told.recv()).await.expect("a change is told").unwrap()
    }
}

#[tokio::test]
async fn what_changes_reaches_the_running_agent() {
    let mut following = Following::start().await;
    // What it was started with is no news: the first thing it is told is the change.
    following.change(json!({ "isSoftwareRebootEnabled": false, "controlPlanePolicy": "Diagnose" })).await;
    let settings = following.next().await;
    assert!(!settings.software_reboot && settings.diagnose);
    assert_eq!(settings.generation, 2);
    // A change of something that needs a new process is told, and the generation stays that of this one.
    following.change(json!({ "hostPort": 30_002, "minPeersForRemediation": 0 })).await;
    let settings = following.next().await;
    assert_eq!((settings.min_peers, settings.generation), (0, 1));
}
