//! Control planes and controllers of the suite.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use palisade_sandbox::api::{ApiServer, ApiStore, Settings};
use palisade_sandbox::demo::BackendKind;
use palisade_sandbox::lab::process::{self, Launcher, Process, Program};
use palisade_sandbox::lab::{kubeconfig, port};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::definitions::{self, Scope};
use crate::eyes::Eyes;
use crate::parts::Parts;

/// Longest start of the real control plane on a busy machine.
const START_LIMIT: Duration = Duration::from_mins(3);
/// How long the API server may take to serve a definition that it accepted.
const SERVED_LIMIT: Duration = Duration::from_mins(1);
/// How long a process may take to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Namespace of the controllers.
pub const NAMESPACE: &str = "palisade-system";
/// Field manager of the suite.
const MANAGER: &str = "palisade-conformance";

enum Running {
    Sandbox { _server: ApiServer, _store: ApiStore },
    Real(Box<Process>),
}

/// A running control plane, what is known of it, and how to ask it.
pub struct Plane {
    /// Which back end.
    pub kind: BackendKind,
    /// Client of an administrator.
    pub client: Client,
    /// Everything that was seen.
    pub eyes: Rc<Eyes>,
    /// Programs and files.
    pub parts: Parts,
    /// Kubeconfig of an administrator.
    pub kubeconfig: PathBuf,
    /// Folder of this plane.
    pub dir: PathBuf,
    launcher: Launcher,
    resources: RefCell<HashMap<String, ApiResource>>,
    running: RefCell<Option<Running>>,
}

/// How to start a controller.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Name of the process, of its log and in events.
    pub name: String,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
    /// More options.
    pub args: Vec<String>,
    /// Kubeconfig; the administrator's if not given.
    pub kubeconfig: Option<PathBuf>,
}

impl Plane {
    /// Starts a control plane and waits until it answers.
    pub async fn start(kind: BackendKind, name: &str, parts: &Parts) -> anyhow::Result<Rc<Self>> {
        let dir = parts.dir.join(format!("{kind}-{name}"));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        crate::remediators::devices::install(&dir)?;
        let launcher = Launcher { palisade: parts.palisade.clone(), logs: dir.join("logs") };
        let (running, kubeconfig) = match kind {
            BackendKind::Sandbox => sandbox(&dir).await?,
            BackendKind::Real => real(&dir, parts, &launcher).await?,
        };
        let client = kubeconfig::client_of(&kubeconfig).await?;
        let plane = Rc::new(Self {
            kind,
            eyes: Eyes::new(client.clone()),
            client,
            parts: parts.clone(),
            kubeconfig,
            dir,
            launcher,
            resources: RefCell::default(),
            running: RefCell::new(Some(running)),
        });
        plane.learn_builtin();
        Ok(plane)
    }

    fn learn_builtin(&self) {
        const BUILTIN: [(&str, &str, &str, &str); 15] = [
            ("", "v1", "Node", "nodes"),
            ("", "v1", "Namespace", "namespaces"),
            ("", "v1", "Event", "events"),
            ("", "v1", "Pod", "pods"),
            ("", "v1", "ServiceAccount", "serviceaccounts"),
            ("", "v1", "Secret", "secrets"),
            ("", "v1", "ConfigMap", "configmaps"),
            ("batch", "v1", "CronJob", "cronjobs"),
            ("batch", "v1", "Job", "jobs"),
            ("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments"),
            ("coordination.k8s.io", "v1", "Lease", "leases"),
            ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles"),
            ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings"),
            ("remediation.medik8s.io", "v1alpha1", "NodeHealthCheck", "nodehealthchecks"),
        ];
        for (group, version, kind, plural) in BUILTIN {
            self.learn(group, version, kind, plural);
        }
        self.learn("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
    }

    /// Remembers how a kind is asked for.
    pub fn learn(&self, group: &str, version: &str, kind: &str, plural: &str) {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        self.resources.borrow_mut().insert(kind.to_owned(), resource);
    }

    /// How a kind is asked for.
    pub fn resource(&self, kind: &str) -> anyhow::Result<ApiResource> {
        self.resources.borrow().get(kind).cloned().with_context(|| format!("kind {kind} is not known to this plane"))
    }

    /// Access to the objects of a kind; an empty namespace means those without, or all of them.
    pub fn api(&self, kind: &str, namespace: &str) -> anyhow::Result<Api<DynamicObject>> {
        let resource = self.resource(kind)?;
        Ok(if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        })
    }

    /// Creates an object; kind and place follow from what it says.
    pub async fn create(&self, object: &Value) -> anyhow::Result<Value> {
        let kind = object["kind"].as_str().context("an object without kind")?;
        let api = self.api(kind, object["metadata"]["namespace"].as_str().unwrap_or_default())?;
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let made = api.create(&PostParams::default(), &object).await?;
        Ok(serde_json::to_value(made)?)
    }

    /// The same, unless it exists.
    pub async fn ensure(&self, object: &Value) -> anyhow::Result<()> {
        match self.create(object).await {
            Err(error) if refusal_code(&error) == Some(409) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Every object of a kind as the server has it now.
    pub async fn list(&self, kind: &str, namespace: &str) -> anyhow::Result<Vec<Value>> {
        let list = self.api(kind, namespace)?.list(&ListParams::default()).await?;
        list.items.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
    }

    /// Brings our definitions and the kinds of the imaginary remediator.
    pub async fn install(self: &Rc<Self>) -> anyhow::Result<()> {
        palisade_sandbox::demo::apply_crds(&self.client, &self.parts.crds).await?;
        self.ensure(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})).await?;
        for kind in ["Foo", "Bar"] {
            self.kind(kind, Scope::Namespaced).await?;
            self.kind(&format!("{kind}Template"), Scope::Namespaced).await?;
        }
        for kind in ["Node", "NodeHealthCheck", "Lease", "Event"] {
            self.eyes.watch(&self.resource(kind)?).await?;
        }
        Ok(())
    }

    /// Brings a kind of the imaginary remediator and watches it.
    pub async fn kind(self: &Rc<Self>, kind: &str, scope: Scope) -> anyhow::Result<()> {
        let plural = definitions::plural(kind);
        let definition = definitions::anything(definitions::GROUP, "v1", kind, &plural, scope);
        self.define(&definition).await?;
        self.eyes.watch(&self.resource(kind)?).await
    }

    /// Applies a definition and waits until it is served.
    pub async fn define(&self, definition: &Value) -> anyhow::Result<()> {
        let name = definition["metadata"]["name"].as_str().context("a definition without name")?.to_owned();
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = text(&spec["versions"][0]["name"]);
        self.learn(&text(&spec["group"]), &version, &text(&spec["names"]["kind"]), &text(&spec["names"]["plural"]));
        let api = self.api("CustomResourceDefinition", "")?;
        let parameters = PatchParams::apply(MANAGER).force();
        api.patch(&name, &parameters, &Patch::Apply(definition)).await.with_context(|| format!("definition {name}"))?;
        let objects = self.api(&text(&spec["names"]["kind"]), "")?;
        let started = Instant::now();
        // Established is not yet served: only an answer is.
        while let Err(error) = objects.list(&ListParams::default().limit(1)).await {
            anyhow::ensure!(started.elapsed() < SERVED_LIMIT, "{name} is not served: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The definition of policies with those rules taken out that `remove` names; it is effective when this returns.
    pub async fn loosen(&self, remove: &dyn Fn(&str) -> bool, probe: &Value) -> anyhow::Result<()> {
        self.loosen_kind("remediation.medik8s.io", "nodehealthchecks", remove, probe).await
    }

    /// The same for another kind of ours; `probe` is an object that the whole definition refuses.
    pub async fn loosen_kind(
        &self,
        group: &str,
        plural: &str,
        remove: &dyn Fn(&str) -> bool,
        probe: &Value,
    ) -> anyhow::Result<()> {
        let path = self.parts.crds.join(format!("{group}_{plural}.yaml"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut definition: Value =
            serde_yaml_ng::from_str(&text).with_context(|| format!("definition in {}", path.display()))?;
        definitions::without_rules(&mut definition, remove);
        // Replaced and not merged: what is left out has to go.
        let api = self.api("CustomResourceDefinition", "")?;
        let spec = definition["spec"].take();
        let name = format!("{plural}.{group}");
        api.patch(&name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await?;
        let namespace = probe["metadata"]["namespace"].as_str().unwrap_or_default();
        let objects = self.api(probe["kind"].as_str().unwrap_or_default(), namespace)?;
        let probe: DynamicObject = serde_json::from_value(probe.clone())?;
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        let started = Instant::now();
        while let Err(error) = objects.create(&parameters, &probe).await {
            anyhow::ensure!(started.elapsed() < SERVED_LIMIT, "the looser definition is not effective: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Applies every object of a manifest that an installation brings.
    pub async fn apply_file(&self, path: &Path) -> anyhow::Result<()> {
        use serde::Deserialize as _;
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).with_context(|| path.display().to_string())?;
            if object.is_null() {
                continue;
            }
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (kind, api_version) = (text(&object["kind"]), text(&object["apiVersion"]));
            let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
            if self.resource(&kind).is_err() {
                let plural = if kind.ends_with('y') {
                    format!("{}ies", kind[..kind.len() - 1].to_lowercase())
                } else {
                    definitions::plural(&kind)
                };
                self.learn(group, version, &kind, &plural);
            }
            let api = self.api(&kind, &text(&object["metadata"]["namespace"]))?;
            let name = text(&object["metadata"]["name"]);
            let parameters = PatchParams::apply(MANAGER).force();
            api.patch(&name, &parameters, &Patch::Apply(&object)).await.with_context(|| format!("{kind} {name}"))?;
        }
        Ok(())
    }

    /// Starts a controller.
    pub fn controller(&self, start: &Start) -> anyhow::Result<Process> {
        let mut args: Vec<OsString> = vec!["controller".into()];
        let kubeconfig = start.kubeconfig.as_ref().unwrap_or(&self.kubeconfig);
        args.extend(["--kubeconfig".into(), kubeconfig.into(), "--namespace".into(), NAMESPACE.into()]);
        args.extend(["--remediators".into(), self.parts.remediators.clone().into()]);
        args.extend(["--module-cache".into(), self.parts.dir.join("module-cache").into()]);
        args.extend(["--observer".into(), start.name.clone().into()]);
        args.extend(["--fence-agent-folder".into(), crate::remediators::devices::agents(&self.dir).into()]);
        args.extend(start.args.iter().map(OsString::from));
        let log = std::env::var("PALISADE_LAB_LOG").unwrap_or_else(|_| "info,palisade=debug".to_owned());
        let mut env = vec![("RUST_LOG".to_owned(), log), ("NO_COLOR".to_owned(), "1".to_owned())];
        env.extend(start.env.iter().cloned());
        let program = Program { name: start.name.clone(), program: self.parts.palisade.clone(), args, env };
        Ok(self.launcher.start(&program, false)?)
    }

    /// Kubeconfig of a service account; the sandbox knows no identities.
    pub async fn service_account(&self, namespace: &str, name: &str) -> anyhow::Result<PathBuf> {
        let Some(program) = self.parts.controlplane.as_ref().filter(|_| self.kind == BackendKind::Real) else {
            return Ok(self.kubeconfig.clone());
        };
        let out = self.dir.join(format!("{namespace}-{name}.kubeconfig"));
        let output = tokio::process::Command::new(program)
            .args(["kubeconfig", "--namespace", namespace, "--service-account", name, "--out"])
            .arg(&out)
            .arg("--dir")
            .arg(self.dir.join("controlplane"))
            .output()
            .await?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "kubeconfig of service account {namespace}/{name}: {complaint}");
        Ok(out)
    }

    /// Ends it in order.
    pub async fn stop(&self) {
        let running = self.running.borrow_mut().take();
        if let Some(Running::Real(mut process)) = running {
            process.stop(STOP_LIMIT).await;
        }
    }
}

/// The HTTP status of an answer of the API server.
pub fn refusal_code(error: &anyhow::Error) -> Option<u16> {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// A port that nobody listens on.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(port::free(Ipv4Addr::LOCALHOST.into())?.port())
}

async fn sandbox(dir: &Path) -> anyhow::Result<(Running, PathBuf)> {
    // Owners are nobody's business here: the real plane runs without the garbage collector too.
    let store = ApiStore::new(Settings { collect_garbage: false, ..Settings::default() });
    let server = ApiServer::start(store.clone(), ([127, 0, 0, 1], 0).into()).await.context("API store")?;
    let kubeconfig = dir.join("admin.kubeconfig");
    server.write_kubeconfig(&kubeconfig).context("kubeconfig")?;
    Ok((Running::Sandbox { _server: server, _store: store }, kubeconfig))
}

async fn real(dir: &Path, parts: &Parts, launcher: &Launcher) -> anyhow::Result<(Running, PathBuf)> {
    let program = parts
        .controlplane
        .clone()
        .context("--backend real needs --controlplane; `cargo xtask conformance` gives it")?;
    let mut args: Vec<OsString> = vec!["--dir".into(), dir.join("controlplane").into(), "--exit-with-parent".into()];
    // Only what the cases need: nobody else may write nodes or collect what a case looks at.
    args.push("--controllers=serviceaccount-controller,clusterrole-aggregation-controller".into());
    let start = Program { name: "controlplane".to_owned(), program, args, env: Vec::new() };
    let mut process = launcher.start(&start, true)?;
    let stdout = process.take_stdout().context("the control plane has no stdout")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = match tokio::time::timeout(START_LIMIT, lines.next_line()).await {
        Ok(Ok(Some(line))) => line,
        Ok(_) => bail!("the control plane ended at once: {}", process::tail(&process.log, 15).join("\n")),
        Err(_) => bail!("the control plane was not ready after {START_LIMIT:?}; see {}", process.log.display()),
    };
    let ready: Value = serde_json::from_str(&line).with_context(|| format!("the control plane said {line:?}"))?;
    let kubeconfig = ready["kubeconfig"].as_str().context("the control plane named no kubeconfig")?;
    Ok((Running::Real(Box::new(process)), PathBuf::from(kubeconfig)))
}
