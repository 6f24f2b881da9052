//! D.5: people approve the action, and confirm the isolation. Who they are is the API server's to say, so that only the
//! real one can show it.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;
use palisade_sandbox::lab::kubeconfig;
use serde_json::{Value, json};

use super::subject::Subject;
use crate::case::Tag::Keep;
use crate::case::{Case, Draft, case};
use crate::node::Node;
use crate::node::State::{Fine, Sick};
use crate::plane::NAMESPACE;
use crate::world::{SOON, World};

const SECTION: &str = "D.5";
const KIND: &str = "WasmRemediation";
const APPROVE: &str = "approval.palisade.dev/approve";
const CONFIRM: &str = "approval.palisade.dev/confirm-isolated";
const DENY: &str = "approval.palisade.dev/deny";
const BREAK_GLASS: &str = "approval.palisade.dev/break-glass";

fn ha(id: &'static str) -> Draft {
    case(id, Keep, SECTION).real("admission policies and identities")
}

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        ha("HA-01")
            .given("a new remediation")
            .then("a question is pending, an event and the status say what to check and how to answer")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                scene.subject.says("Processing", "True", "RemediationStarted").await?;
                scene.subject.says("Succeeded", "Unknown", "RemediationStarted").await?;
                let question = scene.asked("ApproveAction").await?;
                let message = question["message"].as_str().unwrap_or_default();
                ensure!(message.contains("palisade approve") && message.contains("kubectl annotate"), "{message}");
                scene.node.explained("people are asked").await?;
                scene.subject.event(KIND, &scene.subject.name, "ApprovalRequested").await.map(drop)
            }),
        ha("HA-02").given("nobody answers").then("no pod is touched, no taint is set, no lease is written").run(
            async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                scene.asked("ApproveAction").await?;
                tokio::time::sleep(Duration::from_secs(4)).await;
                scene.nothing_happened().await
            },
        ),
        ha("HA-04")
            .given("somebody approves the action, and nobody confirms the isolation")
            .then("the stateful pod is marked; nothing is released")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                scene.says(&scene.alice, "ApproveAction", APPROVE).await?;
                scene.asked("ConfirmIsolated").await?;
                tokio::time::sleep(Duration::from_secs(4)).await;
                ensure!(w.pod_now("web").await? == (true, false), "the stateless pod was touched");
                ensure!(w.pod_now("db-0").await? == (true, true), "the stateful pod is not marked, or is gone");
                let now = scene.subject.now().await?;
                ensure!(now["status"]["palisade"]["certificate"].is_null(), "there is a certificate");
                Ok(())
            }),
        ha("HA-05")
            .given("somebody approves, and somebody confirms, on a node without agent")
            .then("a certificate names person and reason, and only then the pods go")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                scene.says(&scene.alice, "ApproveAction", APPROVE).await?;
                scene.says(&scene.bob, "ConfirmIsolated", CONFIRM).await?;
                let done = scene.subject.says("Succeeded", "True", "").await?;
                let certificate = &done["status"]["palisade"]["certificate"];
                ensure!(certificate["proof"] == "HumanConfirmed", "it is {}", certificate["proof"]);
                let text = certificate["explanation"].as_str().unwrap_or_default();
                ensure!(text.contains(&scene.bob.name) && text.contains("looked at it"), "{text}");
                ensure!(w.pod_now("web").await? == (false, false) && w.pod_now("db-0").await? == (false, false));
                w.boots(&scene.node, "b2").await?;
                scene.node.becomes(Fine).await?;
                scene.subject.leaves().await?;
                ensure!(w.get("Lease", NAMESPACE, &scene.node.name).await?.is_none(), "its lease is left");
                Ok(())
            }),
        ha("HA-06")
            .given("somebody answers under somebody else's name, or may not answer at all")
            .then("the API server refuses, and names the remedy")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let code = scene.code("ApproveAction").await?;
                let forged = format!("by={}; code={code}; why=forged", scene.bob.name);
                let refusal = scene.alice.annotates(&scene, APPROVE, &forged).await.err();
                let refusal = refusal.map(|error| format!("{error:#}")).unwrap_or_default();
                ensure!(refusal.contains("under the own name"), "it is {refusal:?}");
                let own = format!("by={}; code={code}; why=mine", scene.carol.name);
                let refusal = scene.carol.annotates(&scene, APPROVE, &own).await.err();
                let refusal = refusal.map(|error| format!("{error:#}")).unwrap_or_default();
                ensure!(refusal.contains("grant the verb approve"), "it is {refusal:?}");
                tokio::time::sleep(Duration::from_secs(2)).await;
                scene.nothing_happened().await
            }),
        ha("HA-07")
            .given("whoever asked for the remediation approves it")
            .then("does not count, and is told; somebody else's approval does")
            .run(async |w| {
                let scene = Scene::asked_by(&w, json!({}), "", true).await?;
                scene.says(&scene.alice, "ApproveAction", APPROVE).await?;
                scene.subject.event(KIND, &scene.subject.name, "ApprovalRefused").await?;
                scene.asked("ApproveAction").await?;
                scene.nothing_happened().await?;
                scene.says(&scene.bob, "ApproveAction", APPROVE).await?;
                scene.asked("ConfirmIsolated").await.map(drop)
            }),
        ha("HA-09")
            .given("somebody says no")
            .then("both conditions False with a reason of its own; nothing was touched")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                scene.says(&scene.alice, "ApproveAction", DENY).await?;
                scene.subject.fails("RemediationRejectedByPerson", &[&scene.alice.name, "looked at it"]).await?;
                scene.nothing_happened().await
            }),
        ha("HA-11").given("an answer that comes after the question expired").then("no effect").run(async |w| {
            let scene = Scene::new(&w, json!({ "expiresAfterSeconds": 2 })).await?;
            let code = scene.code("ApproveAction").await?;
            scene.subject.fails("RemediationExpiredWithoutAnswer", &[]).await?;
            let late = format!("by={}; code={code}; why=late", scene.alice.name);
            scene.alice.annotates(&scene, APPROVE, &late).await?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            scene.nothing_happened().await
        }),
        ha("HA-12")
            .given("the node boots anew while the question is pending, then the old one is answered")
            .then("refused as stale")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let code = scene.code("ApproveAction").await?;
                w.boots(&scene.node, "b2").await?;
                scene.subject.fails("RemediationCannotApplyToThisBoot", &["b1"]).await?;
                let late = format!("by={}; code={code}; why=late", scene.alice.name);
                scene.alice.annotates(&scene, APPROVE, &late).await?;
                tokio::time::sleep(Duration::from_secs(2)).await;
                scene.nothing_happened().await
            }),
        ha("HA-14")
            .given("the node becomes healthy while the question is pending, and the remediation is deleted")
            .then("withdrawn, no effect, the object is gone")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                scene.asked("ApproveAction").await?;
                scene.node.becomes(Fine).await?;
                scene
                    .subject
                    .until("a withdrawn question", |object| {
                        let state = &object["status"]["palisade"]["questions"][0]["state"];
                        if state == "Withdrawn" { Ok(()) } else { Err(format!("it is {state}")) }
                    })
                    .await?;
                scene.nothing_happened().await?;
                scene.subject.leaves().await
            }),
        ha("HA-15")
            .given("the time-out annotation and the confirmation come at once, in six orders")
            .then("one wins; after a stored stop nothing is released")
            .run(async |w| {
                let rounds = [0, 0, 50, 200, -50, -200].into_iter().enumerate();
                let rounds = rounds.map(|(round, ahead)| race(&w, round, ahead));
                futures::future::try_join_all(rounds).await.map(drop)
            }),
        ha("HA-19")
            .given("somebody breaks the glass where two would have to confirm")
            .then("an event of its own warns, and it counts for this boot")
            .run(async |w| {
                let scene = Scene::new(&w, json!({ "confirmations": 2 })).await?;
                scene.says(&scene.alice, "ApproveAction", APPROVE).await?;
                scene.says(&scene.alice, "ConfirmIsolated", BREAK_GLASS).await?;
                let event = scene.subject.event(KIND, &scene.subject.name, "ApprovalBreakGlass").await?;
                ensure!(event["type"] == "Warning", "it is {}", event["type"]);
                scene.subject.says("Succeeded", "True", "").await.map(drop)
            }),
        ha("HA-20")
            .given("after the approval somebody makes the remediation name another node")
            .then("it stays with its node: the other one is not touched")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let other = w.booted().await?;
                w.pod(&other, "elsewhere", "ReplicaSet", json!([])).await?;
                other.becomes(Sick).await?;
                scene.says(&scene.alice, "ApproveAction", APPROVE).await?;
                scene.asked("ConfirmIsolated").await?;
                scene.subject.annotate("remediation.medik8s.io/node-name", &other.name).await?;
                scene.says(&scene.bob, "ConfirmIsolated", CONFIRM).await?;
                let done = scene.subject.says("Succeeded", "True", "").await?;
                ensure!(
                    done["status"]["palisade"]["node"] == *scene.node.name,
                    "{}",
                    done["status"]["palisade"]["node"]
                );
                ensure!(w.pod_now("web").await? == (false, false), "its pod is left");
                ensure!(w.pod_now("elsewhere").await? == (true, false), "a pod of the other node was touched");
                let node = w.get("Node", "", &other.name).await?.unwrap_or_default();
                ensure!(node["spec"]["taints"].is_null(), "the other node was marked");
                Ok(())
            }),
        ha("HA-B1")
            .given("two persons have to confirm, and one does so twice; then another one does")
            .then("the first alone releases nothing")
            .run(async |w| {
                let scene = Scene::new(&w, json!({ "confirmations": 2 })).await?;
                scene.says(&scene.alice, "ApproveAction", APPROVE).await?;
                scene.says(&scene.alice, "ConfirmIsolated", CONFIRM).await?;
                tokio::time::sleep(Duration::from_secs(4)).await;
                ensure!(w.pod_now("web").await? == (true, false), "one person was enough");
                scene.says(&scene.bob, "ConfirmIsolated", CONFIRM).await?;
                scene.subject.says("Succeeded", "True", "").await.map(drop)
            }),
    ]
}

/// Somebody with an account.
struct Person {
    name: String,
    kubeconfig: PathBuf,
}

impl Person {
    async fn annotates(&self, scene: &Scene, key: &str, value: &str) -> anyhow::Result<()> {
        let client = kubeconfig::client_of(&self.kubeconfig).await?;
        let resource = scene.world.plane.resource(KIND)?;
        let api: kube::Api<kube::core::DynamicObject> =
            kube::Api::namespaced_with(client, &scene.world.name, &resource);
        let patch = kube::api::Patch::Merge(json!({ "metadata": { "annotations": { key: value } } }));
        api.patch(&scene.subject.name, &kube::api::PatchParams::default(), &patch).await?;
        Ok(())
    }
}

/// A sick node without agent, with two pods, its remediation, and three persons: two may answer, the third may not.
struct Scene {
    world: Rc<World>,
    node: Node,
    subject: Subject,
    alice: Person,
    bob: Person,
    carol: Person,
    web: String,
    db: String,
}

impl Scene {
    async fn new(w: &Rc<World>, parameters: Value) -> anyhow::Result<Self> {
        Self::asked_by(w, parameters, "", false).await
    }

    /// The same with a suffix to all names; asked for by Alice, or by an administrator.
    async fn asked_by(w: &Rc<World>, parameters: Value, suffix: &str, by_alice: bool) -> anyhow::Result<Self> {
        prepare(w).await?;
        let [alice, bob, carol] =
            [person(w, "alice", true).await?, person(w, "bob", true).await?, person(w, "carol", false).await?];
        let node = w.booted().await?;
        let (web, db) = (format!("web{suffix}"), format!("db-0{suffix}"));
        w.pod(&node, &web, "ReplicaSet", json!([])).await?;
        w.pod(&node, &db, "StatefulSet", json!([])).await?;
        node.becomes(Sick).await?;
        let mut about = json!({ "annotations": { "remediation.medik8s.io/node-name": node.name } });
        let spec = json!({ "remediator": "meatware", "parameters": parameters });
        let name = format!("wr{suffix}");
        let subject = if by_alice {
            about["annotations"]["approval.palisade.dev/requested-by"] = json!(alice.name);
            about["name"] = json!(name);
            let object =
                json!({ "apiVersion": "palisade.dev/v1alpha1", "kind": KIND, "metadata": about, "spec": spec });
            w.asks_as(kubeconfig::client_of(&alice.kubeconfig).await?, KIND, object).await?
        } else {
            w.asks(KIND, "palisade.dev/v1alpha1", &name, about, spec).await?
        };
        Ok(Self { world: Rc::clone(w), node, subject, alice, bob, carol, web, db })
    }

    async fn asked(&self, question: &str) -> anyhow::Result<Value> {
        let find = |object: &Value| {
            let all = object["status"]["palisade"]["questions"].as_array().cloned().unwrap_or_default();
            all.into_iter().find(|one| one["question"] == question && one["state"] == "Pending")
        };
        let object = self
            .subject
            .until(&format!("question {question}"), |object| {
                find(object).map(drop).ok_or_else(|| crate::value::brief(&object["status"]))
            })
            .await?;
        Ok(find(&object).unwrap_or_default())
    }

    async fn code(&self, question: &str) -> anyhow::Result<String> {
        Ok(self.asked(question).await?["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Answers as soon as it is asked.
    async fn says(&self, person: &Person, question: &str, key: &str) -> anyhow::Result<()> {
        let code = self.code(question).await?;
        person.annotates(self, key, &format!("by={}; code={code}; why=looked at it", person.name)).await
    }

    async fn nothing_happened(&self) -> anyhow::Result<()> {
        let w = &self.world;
        ensure!(
            w.pod_now(&self.web).await? == (true, false) && w.pod_now(&self.db).await? == (true, false),
            "a pod was touched"
        );
        let node = w.get("Node", "", &self.node.name).await?.unwrap_or_default();
        ensure!(node["spec"]["taints"].is_null(), "it has taints: {}", node["spec"]["taints"]);
        ensure!(w.get("Lease", NAMESPACE, &self.node.name).await?.is_none(), "its lease was written");
        Ok(())
    }
}

/// The confirmation comes so many milliseconds after the time-out annotation, or before it.
async fn race(w: &Rc<World>, round: usize, after: i64) -> anyhow::Result<()> {
    let scene = Scene::asked_by(w, json!({}), &format!("-{round}"), false).await?;
    scene.says(&scene.alice, "ApproveAction", APPROVE).await?;
    let code = scene.code("ConfirmIsolated").await?;
    let answer = format!("by={}; code={code}; why=looked at it", scene.bob.name);
    let pause = |wanted: bool| Duration::from_millis(if wanted { after.unsigned_abs() } else { 0 });
    let confirm = async {
        tokio::time::sleep(pause(after > 0)).await;
        scene.bob.annotates(&scene, CONFIRM, &answer).await
    };
    let stop = async {
        tokio::time::sleep(pause(after < 0)).await;
        scene.subject.annotate("remediation.medik8s.io/nhc-timed-out", "2026-01-01T00:00:00Z").await
    };
    let (confirmed, stopped) = futures::join!(confirm, stop);
    confirmed?;
    stopped?;
    let over = |object: &Value| match crate::value::condition(&object["status"], "Succeeded")["status"].as_str() {
        Some("True" | "False") => Ok(()),
        _ => Err(crate::value::brief(&object["status"]["conditions"])),
    };
    let first = scene.subject.until("to be over", over).await?;
    let won = crate::value::condition(&first["status"], "Succeeded")["status"] == "True";
    tokio::time::sleep(Duration::from_secs(2)).await;
    let last = scene.subject.now().await?;
    let still = crate::value::condition(&last["status"], "Succeeded")["status"] == "True";
    ensure!(won == still, "both won, one after the other: {}", last["status"]["conditions"]);
    let there = w.pod_now(&scene.web).await? == (true, false);
    ensure!(there != won, "stopped: {}, and its pod is {}", !won, if there { "there" } else { "gone" });
    Ok(())
}

/// Brings the kinds, the remediator and the policies that vouch for whoever answers.
pub async fn prepare(w: &Rc<World>) -> anyhow::Result<()> {
    let plane = &w.plane;
    plane.learn("palisade.dev", "v1alpha1", KIND, "wasmremediations");
    plane.learn("palisade.dev", "v1alpha1", "Remediator", "remediators");
    plane.learn("rbac.authorization.k8s.io", "v1", "Role", "roles");
    plane.learn("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings");
    for kind in [KIND, "Event", "Node"] {
        plane.eyes.watch(&plane.resource(kind)?).await?;
    }
    plane.apply_file(&plane.parts.deploy.join("admission/approvals.yaml")).await?;
    plane
        .ensure(&json!({
            "apiVersion": "palisade.dev/v1alpha1", "kind": "Remediator", "metadata": { "name": "meatware" },
            "spec": { "source": { "builtin": "meatware" }, "capabilities": ["approval", "fencing", "workloads", "report"] },
        }))
        .await?;
    in_force(w).await
}

/// Admission policies take a moment until they are in force.
async fn in_force(w: &Rc<World>) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "palisade.dev/v1alpha1", "kind": KIND,
        "metadata": { "name": "probe", "namespace": w.name, "annotations": { APPROVE: "by=nobody; code=x; why=probe" } },
        "spec": { "remediator": "meatware" },
    });
    let object: kube::core::DynamicObject = serde_json::from_value(object)?;
    let dry = kube::api::PostParams { dry_run: true, ..kube::api::PostParams::default() };
    let begun = std::time::Instant::now();
    while w.plane.api(KIND, &w.name)?.create(&dry, &object).await.is_ok() {
        ensure!(begun.elapsed() < w.eyes().limit(SOON), "the admission policy is not in force");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// An account that may write remediations, and answer if so wanted.
async fn person(w: &Rc<World>, name: &str, may_answer: bool) -> anyhow::Result<Person> {
    let meta = |name: &str| json!({ "name": name, "namespace": w.name });
    w.plane.ensure(&json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(name) })).await?;
    let mut rules = vec![
        json!({ "apiGroups": ["palisade.dev"], "resources": ["wasmremediations"], "verbs": ["get", "create", "patch"] }),
    ];
    if may_answer {
        rules.push(json!({ "apiGroups": ["palisade.dev"], "resources": ["approvals"],
            "verbs": ["approve", "confirm", "deny", "break-glass"] }));
    }
    let rbac = "rbac.authorization.k8s.io";
    w.plane
        .ensure(&json!({ "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": meta(name), "rules": rules }))
        .await?;
    w.plane
        .ensure(&json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": meta(name),
            "roleRef": { "apiGroup": rbac, "kind": "Role", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": w.name }],
        }))
        .await?;
    let kubeconfig = w.plane.service_account(&w.name, name).await?;
    ensure!(Path::new(&kubeconfig).exists(), "no kubeconfig of {name}");
    Ok(Person { name: format!("system:serviceaccount:{}:{name}", w.name), kubeconfig })
}
