//! D.6: jobs of the administrator. Nobody runs them here: the case plays the controller of jobs.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::subject::Subject;
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Draft, Place, case};
use crate::node::Node;
use crate::node::State::Sick;
use crate::plane::NAMESPACE;
use crate::world::World;

const SECTION: &str = "D.6";
const KIND: &str = "CustomizedUserRemediation";
const GROUP: &str = "customized-user-remediation.medik8s.io";
const OF: &str = "palisade.dev/remediation-uid";
const NO_JOB: &str = "RemediationCannotStartNoJob";

fn cs(id: &'static str, tag: crate::case::Tag) -> Draft {
    case(id, tag, SECTION)
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let mut cases = once();
    cases.extend(shape());
    cases.extend(ends());
    cases
}

fn once() -> Vec<Case> {
    vec![
        cs("CS-02", Fix)
            .given("twenty changes of the metadata and three controllers killed, while the job waits for its pod")
            .then("one Job in all (weakness B.3 #2)")
            .at(Place::Alone)
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let mut controller = w.controller()?;
                let cur = scene.run("job").await?;
                scene.job(&cur).await?;
                for round in 0..20 {
                    cur.annotate("example.com/note", &round.to_string()).await?;
                    if round % 7 == 6 {
                        controller.kill().await;
                        controller = w.controller()?;
                    }
                }
                scene.finish(&cur, "Complete").await?;
                cur.says("Succeeded", "True", "").await?;
                ensure!(scene.made(&cur).await?.len() == 1, "there are {} jobs", scene.made(&cur).await?.len());
                controller.kill().await;
                Ok(())
            }),
        cs("CS-04", Fix)
            .given("the pod of the job does not start for longer than a look at it takes")
            .then("no second Job (weakness B.3 #2)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let cur = scene.run("job").await?;
                scene.job(&cur).await?;
                // Two looks, three seconds apart.
                tokio::time::sleep(Duration::from_secs(7)).await;
                ensure!(scene.made(&cur).await?.len() == 1, "it was run again");
                cur.says("Succeeded", "Unknown", "").await.map(drop)
            }),
        cs("CS-07", Fix)
            .given("the text of a script, a name that is not on the list, and no script at all")
            .then("refused, and nothing runs: no root by whoever may create a remediation (weakness B.3 #1, #7)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                for (index, (script, word)) in
                    [("#!/bin/bash\nreboot -f", "names no job"), ("nobody", "nobody"), ("", "names no job")]
                        .iter()
                        .enumerate()
                {
                    let cur = scene.ask(&format!("text-{index}"), script).await?;
                    cur.fails(NO_JOB, &[word]).await?;
                    ensure!(scene.made(&cur).await?.is_empty(), "a job was made for {script:?}");
                }
                Ok(())
            }),
        cs("CS-13", Keep)
            .given("a job without declared trust ends with success")
            .then("success, but no evidence: nothing is released")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                w.pod(&scene.node, "web", "ReplicaSet", json!([])).await?;
                let cur = scene.run("job").await?;
                scene.job(&cur).await?;
                scene.finish(&cur, "Complete").await?;
                let done = cur.says("Succeeded", "True", "").await?;
                ensure!(done["status"]["palisade"]["certificate"].is_null(), "there is a certificate");
                ensure!(w.pod_now("web").await? == (true, false), "its pod was touched");
                let node = w.get("Node", "", &scene.node.name).await?.unwrap_or_default();
                ensure!(node["spec"]["taints"].is_null(), "it was marked: {}", node["spec"]["taints"]);
                Ok(())
            }),
        cs("CS-B-evidence", Keep)
            .given("a job that the administrator declares to be evidence of a machine that is off")
            .then("the pods are marked before it runs, and released when it ended with success")
            .run(async |w| {
                let scene = Scene::new(&w, json!({ "palisade.dev/evidence": "powered-off" })).await?;
                w.pod(&scene.node, "web", "ReplicaSet", json!([])).await?;
                w.pod(&scene.node, "db-0", "StatefulSet", json!([])).await?;
                let cur = scene.run("job").await?;
                let job = scene.job(&cur).await?;
                ensure!(w.pod_now("db-0").await? == (true, true), "the stateful pod is not marked before the job runs");
                ensure!(w.pod_now("web").await? == (true, false), "the stateless pod is touched before the proof");
                let intent = &job["metadata"]["annotations"]["palisade.dev/fence-intent"];
                ensure!(intent.as_str().is_some_and(|intent| !intent.is_empty()), "it names no intent");
                scene.finish(&cur, "Complete").await?;
                let done = cur.says("Succeeded", "True", "").await?;
                ensure!(
                    done["status"]["palisade"]["certificate"]["proof"] == "PoweredOff",
                    "{}",
                    done["status"]["palisade"]
                );
                ensure!(w.pod_now("web").await? == (false, false) && w.pod_now("db-0").await? == (false, false));
                Ok(())
            }),
    ]
}

fn shape() -> Vec<Case> {
    vec![
        cs("CS-08", Fix)
            .given("a job of the list, and one whose image has no digest")
            .then("no token and no host, one run, only by digest (weakness B.3 #1, #7)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let cur = scene.run("job").await?;
                let job = scene.job(&cur).await?;
                let (spec, pod) = (&job["spec"], &job["spec"]["template"]["spec"]);
                ensure!(pod["automountServiceAccountToken"] == false && pod["volumes"].is_null(), "{pod}");
                ensure!(pod["hostPID"].is_null() && pod["hostNetwork"].is_null(), "{pod}");
                ensure!(pod["containers"][0]["securityContext"].is_null(), "{pod}");
                ensure!(spec["backoffLimit"] == 0 && pod["restartPolicy"] == "Never", "{spec}");
                cur.leaves().await?;
                scene.listed("tagged", json!({}), "registry.example/power:1").await?;
                let refused = scene.run("tagged").await?;
                refused.fails(NO_JOB, &["has no digest"]).await?;
                ensure!(scene.made(&refused).await?.is_empty(), "it was run");
                Ok(())
            }),
        cs("CS-09", Keep)
            .given("a job of the list")
            .then("node, boot and remediation come as values of its environment, and its command is as it was written")
            .run(async |w| {
                let scene = Scene::new(&w, json!({ "palisade.dev/evidence": "powered-off" })).await?;
                let cur = scene.run("job").await?;
                let job = scene.job(&cur).await?;
                let container = &job["spec"]["template"]["spec"]["containers"][0];
                let env = container["env"].as_array().cloned().unwrap_or_default();
                let value = |name: &str| env.iter().find(|one| one["name"] == name).map(|one| one["value"].clone());
                let uid = cur.now().await?["metadata"]["uid"].clone();
                for (name, wanted) in [
                    ("PALISADE_NODE_NAME", json!(scene.node.name)),
                    ("PALISADE_BOOT_ID", json!("b1")),
                    ("PALISADE_REMEDIATION_UID", uid),
                ] {
                    ensure!(value(name) == Some(wanted.clone()), "{name} is {:?}, not {wanted}", value(name));
                }
                ensure!(container["command"] == json!(["cut"]), "{container}");
                Ok(())
            }),
        cs("CS-12", Keep)
            .given("jobs that run on the target and elsewhere; and one on the target that claims to be evidence")
            .then("placed so; the claim is refused, because it would need the node alive (weakness B.3 #6)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let on_target = json!({ "palisade.dev/run-on": "target-node" });
                scene.listed("on-target", on_target, DIGEST).await?;
                let claim = json!({ "palisade.dev/run-on": "target-node", "palisade.dev/evidence": "powered-off" });
                scene.listed("claims", claim, DIGEST).await?;
                for (entry, operator) in [("job", "NotIn"), ("on-target", "In")] {
                    let cur = scene.run(entry).await?;
                    let job = scene.job(&cur).await?;
                    let pod = &job["spec"]["template"]["spec"];
                    let affinity = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
                    let field = &affinity["nodeSelectorTerms"][0]["matchFields"][0];
                    ensure!(field["operator"] == operator && field["values"][0] == *scene.node.name, "{field}");
                    ensure!(pod["nodeName"].is_null(), "the scheduler is skipped");
                    cur.leaves().await?;
                }
                scene.run("claims").await?.fails(NO_JOB, &["cannot prove that it is off"]).await
            }),
        cs("CS-14", Fix)
            .given("the text of a script in a remediation")
            .then("it is in no event, condition or log (weakness B.3 #7)")
            .run(async |w| {
                let marker = "the-text-of-the-script-4711";
                let scene = Scene::new(&w, json!({})).await?;
                let cur = scene.ask("text", &format!("echo {marker}")).await?;
                cur.fails(NO_JOB, &[]).await?;
                let status = cur.now().await?["status"].to_string();
                let mut texts: Vec<String> = w.eyes().all("Event", |_| true).iter().map(ToString::to_string).collect();
                texts.push(status);
                let log = w.plane.dir.join("logs").join(format!("{}.log", crate::run::CONTROLLER));
                texts.push(std::fs::read_to_string(log)?);
                ensure!(texts.iter().all(|text| !text.contains(marker)), "it is shown");
                Ok(())
            }),
        cs("CS-15", Fix)
            .given("a job that fails, with the end of its output in its pod")
            .then("the reason tells the exit code; the Job has a deadline and is removed after its time (weakness B.3 #5)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let cur = scene.run("job").await?;
                let job = scene.job(&cur).await?;
                ensure!(job["spec"]["ttlSecondsAfterFinished"] == 3600, "{}", job["spec"]);
                ensure!(job["spec"]["activeDeadlineSeconds"] == 600, "{}", job["spec"]);
                let owner = &job["metadata"]["labels"][OF];
                ensure!(*owner == cur.now().await?["metadata"]["uid"], "it names no remediation");
                scene.finish(&cur, "Failed").await?;
                cur.fails("RemediationFailed", &["failed", "it took too long"]).await
            }),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        cs("CS-B3-3", Fix)
            .given("the remediation is deleted while its job runs")
            .then("the job is ended, and none is made again (weakness B.3 #3, #5)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let cur = scene.run("job").await?;
                scene.job(&cur).await?;
                let uid = cur.now().await?["metadata"]["uid"].clone();
                cur.leaves().await?;
                scene.ended(&uid).await
            }),
        cs("CS-B3-5", Fix)
            .given("the time-out annotation comes while the job runs")
            .then("the job is ended, none is made again, and both conditions are False (weakness B.3 #4, #5)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let cur = scene.run("job").await?;
                scene.job(&cur).await?;
                let uid = cur.now().await?["metadata"]["uid"].clone();
                cur.annotate("remediation.medik8s.io/nhc-timed-out", "2026-01-01T00:00:00Z").await?;
                cur.fails("RemediationTimeoutByNHC", &[]).await?;
                scene.ended(&uid).await?;
                cur.leaves().await
            }),
    ]
}

const DIGEST: &str = "registry.example/power@sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A sick node without agent, and a list with one job that this case may use.
pub struct Scene {
    world: Rc<World>,
    /// The node.
    pub node: Node,
}

impl Scene {
    /// All of it; the annotations are those of the job on the list.
    pub async fn new(w: &Rc<World>, annotations: Value) -> anyhow::Result<Self> {
        let node = w.booted().await?;
        node.becomes(Sick).await?;
        Self::of(w, node, annotations).await
    }

    /// About a node that is there.
    pub async fn of(w: &Rc<World>, node: Node, annotations: Value) -> anyhow::Result<Self> {
        w.plane.learn(GROUP, "v1alpha1", KIND, "customizeduserremediations");
        for kind in [KIND, "Event", "Node", "Job"] {
            w.plane.eyes.watch(&w.plane.resource(kind)?).await?;
        }
        let scene = Self { world: Rc::clone(w), node };
        scene.listed("job", annotations, DIGEST).await?;
        Ok(scene)
    }

    /// Name on the list.
    pub fn entry(&self, name: &str) -> String {
        format!("{}-{name}", self.world.name)
    }

    /// Puts a job on the list of the administrator.
    async fn listed(&self, name: &str, annotations: Value, image: &str) -> anyhow::Result<()> {
        let mut annotations = annotations;
        annotations["palisade.dev/allowed-namespaces"] = json!(self.world.name);
        let entry = json!({
            "apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": { "name": self.entry(name), "namespace": NAMESPACE, "annotations": annotations,
                "labels": { "palisade.dev/remediation-job": "true" } },
            "spec": { "schedule": "@yearly", "suspend": true, "jobTemplate": { "spec": { "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{ "name": "main", "image": image, "command": ["cut"] }] } } } } },
        });
        self.world.plane.create(&entry).await.map(drop)
    }

    /// Asks for the job of this name.
    pub async fn run(&self, name: &str) -> anyhow::Result<Subject> {
        self.ask(&format!("cur-{name}"), &self.entry(name)).await
    }

    /// Asks for whatever this says.
    async fn ask(&self, name: &str, script: &str) -> anyhow::Result<Subject> {
        let about = json!({ "annotations": { "remediation.medik8s.io/node-name": self.node.name } });
        self.ask_as(name, about, script).await
    }

    /// The same with this metadata.
    pub async fn ask_as(&self, name: &str, about: Value, script: &str) -> anyhow::Result<Subject> {
        self.world.asks(KIND, &format!("{GROUP}/v1alpha1"), name, about, json!({ "script": script })).await
    }

    /// Jobs of a remediation that are there now.
    pub async fn made(&self, cur: &Subject) -> anyhow::Result<Vec<Value>> {
        let uid = cur.now().await?["metadata"]["uid"].clone();
        let all = self.world.plane.list("Job", NAMESPACE).await?;
        Ok(all.into_iter().filter(|job| job["metadata"]["labels"][OF] == uid).collect())
    }

    /// Waits for its job.
    pub async fn job(&self, cur: &Subject) -> anyhow::Result<Rc<Value>> {
        let uid = cur.now().await?["metadata"]["uid"].clone();
        let eyes = self.world.eyes();
        let probe = || {
            let found = eyes.all("Job", |job| job["metadata"]["labels"][OF] == uid).into_iter().next();
            found.ok_or_else(|| "there is none".to_owned())
        };
        eyes.until(&format!("the job of {}", cur.name), crate::world::SOON, probe).await
    }

    /// What the controller of jobs writes when a job is over.
    pub async fn finish(&self, cur: &Subject, condition: &str) -> anyhow::Result<()> {
        let job = self.made(cur).await?.into_iter().next().context("there is no job")?;
        let now = crate::value::stamp(0);
        let first = if condition == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
        let of = |kind: &str| {
            json!({ "type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now,
                "reason": "Case", "message": "it took too long" })
        };
        let mut status = json!({ "startTime": now, "conditions": [of(first), of(condition)], "ready": 0,
            "uncountedTerminatedPods": {} });
        if condition == "Complete" {
            status["completionTime"] = json!(now);
            status["succeeded"] = json!(1);
        } else {
            status["failed"] = json!(1);
        }
        let name = job["metadata"]["name"].as_str().unwrap_or_default();
        self.world.patch_status("Job", NAMESPACE, name, status).await
    }

    /// The job of this remediation is gone, and there was one only.
    async fn ended(&self, uid: &Value) -> anyhow::Result<()> {
        let eyes = self.world.eyes();
        let of = |job: &Value| job["metadata"]["labels"][OF] == *uid;
        let probe = || if eyes.all("Job", of).is_empty() { Ok(()) } else { Err("it is there".to_owned()) };
        eyes.until("the job to be ended", crate::world::SOON, probe).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut uids: Vec<String> =
            eyes.history("Job", of).iter().map(|sight| sight.object["metadata"]["uid"].to_string()).collect();
        uids.sort();
        uids.dedup();
        ensure!(uids.len() == 1, "{} jobs were made", uids.len());
        Ok(())
    }
}
