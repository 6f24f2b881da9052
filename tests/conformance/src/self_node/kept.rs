//! Ids that the specification keeps back, as its sections 1 to 7 let expect them.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kube::client::Body;
use serde_json::{Value, json};

use super::bootstrap::{AGENTS, CONFIG, CONFIGS, GROUP, agents, agents_of, begin, clear, config, rolling, variable};
use super::know;
use super::subject::{OUT_OF_SERVICE, OWN};
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Place, case};
use crate::node::State::Sick;
use crate::plane::NAMESPACE;
use crate::value::brief;
use crate::world::{SOON, World};

const CERTIFICATES: &str = "self-node-remediation-certificates";

/// The cases.
pub fn cases() -> Vec<Case> {
    let mut cases = admission();
    cases.extend(rollout());
    cases.extend(manager());
    cases
}

fn admission() -> Vec<Case> {
    vec![
        case("C006", Keep, "9.1")
            .given("a configuration with spec {}")
            .then("every default is filled in")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let stored = w.plane.create(&config(json!({}))).await?;
                let wanted = json!({
                    "watchdogFilePath": "/dev/watchdog", "apiCheckInterval": "15s", "apiServerTimeout": "5s",
                    "maxApiErrorThreshold": 3, "peerApiServerTimeout": "5s", "peerUpdateInterval": "15m",
                    "peerDialTimeout": "5s", "peerRequestTimeout": "7s", "isSoftwareRebootEnabled": true,
                    "hostPort": 30001, "minPeersForRemediation": 1,
                });
                ensure!(stored["spec"] == wanted, "it is {}", brief(&stored["spec"]));
                clear(&w).await
            }),
        case("C007", Keep, "9.1")
            .given("maxApiErrorThreshold 0, hostPort 0, minPeersForRemediation -1, and several wrong lengths at once")
            .then("refused, and every wrong field is named")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let wrong = [
                    (json!({ "maxApiErrorThreshold": 0 }), vec!["maxApiErrorThreshold"]),
                    (json!({ "hostPort": 0 }), vec!["hostPort"]),
                    (json!({ "minPeersForRemediation": -1 }), vec!["minPeersForRemediation"]),
                    (
                        json!({ "apiCheckInterval": "1ms", "peerDialTimeout": "1ms", "peerUpdateInterval": "1s" }),
                        vec!["ApiCheckInterval", "1s", "PeerDialTimeout", "10ms", "PeerUpdateInterval", "10s"],
                    ),
                ];
                for (spec, words) in wrong {
                    let Err(error) = w.plane.create(&config(spec.clone())).await else {
                        anyhow::bail!("{spec} was accepted");
                    };
                    let complaint = format!("{error:#}");
                    for word in words {
                        ensure!(complaint.contains(word), "{word} is not in the refusal of {spec}: {complaint}");
                    }
                }
                // Neither a floor nor a sign is demanded of the wait, as before.
                w.plane.create(&config(json!({ "safeTimeToAssumeNodeRebootedSeconds": -5 }))).await?;
                clear(&w).await
            }),
        case("C014", Keep, "9.1")
            .given("a configuration of another name, and one in another namespace")
            .then("each is refused with what would be right")
            .real("admission policies")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let mut named = config(json!({}));
                named["metadata"]["name"] = json!("mine");
                let Err(error) = w.plane.create(&named).await else { anyhow::bail!("another name was accepted") };
                ensure!(format!("{error:#}").contains(CONFIG), "{error:#}");
                w.plane.apply_file(&w.plane.parts.deploy.join("admission").join(NAMESPACE_POLICY)).await?;
                let outcome = elsewhere(&w).await;
                withdraw(&w, "selfnoderemediationconfig-namespace.palisade.dev").await;
                outcome?;
                clear(&w).await
            }),
        case("C010", Keep, "9.1")
            .given("peerRequestTimeout below apiServerTimeout + 2s; and the configuration is deleted")
            .then(
                "allowed, with a warning that names both and the value used; and one that remediation is now disabled",
            )
            .real("admission policies")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let file = "selfnoderemediationconfig-warnings.yaml";
                w.plane.apply_file(&w.plane.parts.deploy.join("admission").join(file)).await?;
                let outcome = warnings(&w).await;
                for name in ["timings", "deletion"] {
                    withdraw(&w, &format!("selfnoderemediationconfig-{name}.palisade.dev")).await;
                }
                outcome?;
                clear(&w).await
            }),
    ]
}

fn rollout() -> Vec<Case> {
    vec![
        case("C024", Keep, "9.2")
            .given("a cluster without it, and a controller that rolls out agents")
            .then("Secret self-node-remediation-certificates: Opaque, immutable, caPem, certPem, keyPem; it outlives the configuration")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                w.delete("Secret", NAMESPACE, CERTIFICATES).await?;
                let _controller = w.controller_with(rolling(""))?;
                agents_of(&w).await?;
                let secret = w.get("Secret", NAMESPACE, CERTIFICATES).await?.context("there is no secret")?;
                ensure!(secret["type"] == "Opaque" && secret["immutable"] == true, "it is {}", brief(&secret));
                let data = secret["data"].as_object().context("no data")?;
                let keys: BTreeSet<&str> = data.keys().map(String::as_str).collect();
                ensure!(keys == BTreeSet::from(["caPem", "certPem", "keyPem"]), "it has {keys:?}");
                ensure!(secret["metadata"]["ownerReferences"].is_null(), "it goes with its owner");
                // That this is the shape agents of the stock product use is c105 and its neighbours in host/rpc.
                w.delete(CONFIGS, NAMESPACE, CONFIG).await?;
                ensure!(w.get("Secret", NAMESPACE, CERTIFICATES).await?.is_some(), "it went with the configuration");
                clear(&w).await
            }),
        case("C025", Keep, "9.2")
            .given("the Secret is there already")
            .then("not modified, and the agents get it")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                w.delete("Secret", NAMESPACE, CERTIFICATES).await?;
                let secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                    "metadata": { "name": CERTIFICATES, "namespace": NAMESPACE },
                    "stringData": { "caPem": "a", "certPem": "b", "keyPem": "c" } });
                let made = w.plane.create(&secret).await?;
                let _controller = w.controller_with(rolling(""))?;
                agents(&w, "the agents", |set| {
                    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array();
                    volumes.into_iter().flatten().any(|volume| {
                        volume["secret"]["secretName"] == CERTIFICATES && volume["secret"]["optional"] == true
                    })
                })
                .await?;
                let kept = w.get("Secret", NAMESPACE, CERTIFICATES).await?.context("it is gone")?;
                let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
                ensure!(version(&kept) == version(&made), "it was written");
                w.delete("Secret", NAMESPACE, CERTIFICATES).await?;
                clear(&w).await
            }),
        case("C026", Keep, "9.2")
            .given("a default configuration, and one more toleration")
            .then("the DaemonSet is the known one: name, labels, variables in nanoseconds, port without hostPort, privileges, tolerations")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let own = json!({ "key": "gpu", "operator": "Exists" });
                w.plane.create(&config(json!({ "customDsTolerations": [own] }))).await?;
                let _controller = w.controller_with(rolling(""))?;
                let set = agents(&w, "the agents", |_| true).await?;
                known(&set, &own)?;
                clear(&w).await
            }),
        case("C030", Keep, "9.2")
            .given("the DaemonSet is of another revision")
            .then("deleted and made anew; of the same revision it is only changed")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let _controller = w.controller_with(rolling(""))?;
                let first = agents(&w, "the agents", |_| true).await?;
                let uid = |set: &Value| set["metadata"]["uid"].clone();
                w.patch(CONFIGS, NAMESPACE, CONFIG, json!({ "spec": { "hostPort": 30_007 } })).await?;
                let same = agents(&w, "the port", |set| variable(set, "HOST_PORT") == "30007").await?;
                ensure!(uid(&same) == uid(&first), "it was made anew for a port");
                let key = "snr.medik8s.io/force-deletion-revision";
                ensure!(same["metadata"]["annotations"][key] == "1", "{}", brief(&same["metadata"]["annotations"]));
                let old = json!({ "metadata": { "annotations": { key: "0" } } });
                w.patch("DaemonSet", NAMESPACE, AGENTS, old).await?;
                agents(&w, "it is made anew", |set| uid(set) != uid(&first)).await?;
                clear(&w).await
            }),
        case("C032", Keep, "9.2")
            .given("a configuration in another namespace")
            .then("it changes nothing about the agents")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let _controller = w.controller_with(rolling(""))?;
                let first = agents(&w, "the agents", |_| true).await?;
                let mut other = config(json!({ "hostPort": 30_008 }));
                other["metadata"]["namespace"] = json!(w.name);
                w.plane.create(&other).await?;
                tokio::time::sleep(Duration::from_secs(5)).await;
                let now = w.get("DaemonSet", NAMESPACE, AGENTS).await?.context("the agents")?;
                ensure!(now["metadata"]["generation"] == first["metadata"]["generation"], "it was changed");
                w.delete(CONFIGS, &w.name, CONFIG).await?;
                clear(&w).await
            }),
    ]
}

fn manager() -> Vec<Case> {
    vec![
        case("C039", Keep, "9.3")
            .given("a remediation from its creation to its end, with pods in several namespaces")
            .then(
                "the known events on remediation and node, each message with its prefix; every pod of the node is gone",
            )
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                w.pod(&trio.victim.node, "web", "ReplicaSet", json!([])).await?;
                let elsewhere = pod_elsewhere(&w, &trio.victim.node.name).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                snr.reaches("Fencing-Completed").await?;
                ensure!(w.pod_now("web").await? == (false, false), "a pod is left");
                ensure!(w.get("Pod", &elsewhere, "far").await?.is_none(), "a pod of another namespace is left");
                trio.victim.comes_back("b2").await?;
                snr.delete().await?;
                snr.gone().await?;
                let on_it = ["RemediationStarted", "AddFinalizer", "UpdateTimeAssumedRebooted", "RemoveFinalizer"];
                for reason in on_it.into_iter().chain(["RemediationFinished"]) {
                    let event = snr.event("SelfNodeRemediation", &snr.name, reason).await?;
                    let message = event["message"].as_str().unwrap_or_default();
                    ensure!(event["type"] == "Normal" && message.starts_with("[remediation] "), "{}", brief(&event));
                }
                for reason in ["AddNoScheduleTaint", "DeleteResources", "RemoveNoScheduleTaint"] {
                    let event = snr.event("Node", &trio.victim.node.name, reason).await?;
                    ensure!(event["source"]["component"] == "SelfNodeRemediation", "{}", brief(&event));
                }
                w.delete("Namespace", "", &elsewhere).await
            }),
        case("C047", Keep, "9.3")
            .given("safeTimeToAssumeNodeRebootedSeconds longer than the protocol needs, and one that is shorter")
            .then("the longer one is a floor of the wait; the shorter one shortens nothing")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                w.plane.create(&config(json!({ "safeTimeToAssumeNodeRebootedSeconds": 9 }))).await?;
                let _controller = w.controller_with(rolling(""))?;
                agents_of(&w).await?;
                let took = waited(&w).await?;
                ensure!(took >= Duration::from_secs(9), "done after {took:?}");
                let short = json!({ "spec": { "safeTimeToAssumeNodeRebootedSeconds": 1 } });
                w.patch(CONFIGS, NAMESPACE, CONFIG, short).await?;
                let took = waited(&w).await?;
                ensure!(took >= Duration::from_millis(1_600), "done after {took:?}");
                ensure!(took < Duration::from_secs(9), "the old floor still counts: {took:?}");
                clear(&w).await
            }),
        case("C065", Keep, "9.3")
            .given("a detector owns it, and its name is generated")
            .then("the annotation names the node, whatever the owner's API group is; without it the name does")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                let owner = json!([{ "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
                    "name": "nhc", "uid": "nhc-uid" }]);
                trio.victim.node.becomes(Sick).await?;
                let annotation = json!({ "remediation.medik8s.io/node-name": trio.victim.node.name });
                let snr = w.remediate_as("generated-x7k2p", annotation, owner.clone(), "ResourceDeletion").await?;
                snr.reaches("Fencing-Completed").await?;
                let other = &trio.jurors[0];
                other.node.becomes(Sick).await?;
                w.remediate_as(&other.node.name, json!({}), owner, "ResourceDeletion").await?;
                other.tainted(OWN, true).await
            }),
        case("C068", Keep, "9.3")
            .given("its detector gives up while the out-of-service taint stands, and deletes it")
            .then("both taints and the finalizer go, with an event for each")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                w.pod(&trio.victim.node, "db-0", "StatefulSet", json!(["test.example/hold"])).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "OutOfServiceTaint").await?;
                trio.victim.tainted(OUT_OF_SERVICE, true).await?;
                snr.annotate("remediation.medik8s.io/nhc-timed-out", "2026-01-01T00:00:00Z").await?;
                snr.stands("False", "False", "RemediationTimeoutByNHC").await?;
                // Until the deletion they stay.
                tokio::time::sleep(Duration::from_secs(3)).await;
                let taints = trio.victim.taints();
                ensure!(taints.contains(&OUT_OF_SERVICE.to_owned()) && taints.contains(&OWN.to_owned()), "{taints:?}");
                snr.delete().await?;
                snr.gone().await?;
                trio.victim.tainted(OUT_OF_SERVICE, false).await?;
                trio.victim.tainted(OWN, false).await?;
                for reason in ["RemoveOutOfService", "RemoveNoScheduleTaint"] {
                    snr.event("Node", &trio.victim.node.name, reason).await?;
                }
                super::release::free(&w, "db-0").await
            }),
        case("C071", Fix, "9.3")
            .given("the configuration is deleted after a remediation was taken up, and then the remediation")
            .then("cleaned up and gone all the same (the stock manager lets it hang)")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let _controller = w.controller_with(rolling(""))?;
                agents_of(&w).await?;
                let trio = w.trio().await?;
                trio.refuse();
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                snr.reaches("Pre-Reboot-Completed").await?;
                w.delete(CONFIGS, NAMESPACE, CONFIG).await?;
                snr.delete().await?;
                snr.gone().await?;
                trio.victim.tainted(OWN, false).await?;
                trio.victim.let_go().await?;
                clear(&w).await
            }),
    ]
}

const NAMESPACE_POLICY: &str = "selfnoderemediationconfig-namespace.yaml";

/// Policies take a moment until they are in force.
async fn elsewhere(w: &Rc<World>) -> anyhow::Result<()> {
    let mut other = config(json!({}));
    other["metadata"]["namespace"] = json!(w.name);
    let begun = Instant::now();
    loop {
        if let Err(error) = w.plane.create(&other).await {
            ensure!(format!("{error:#}").contains(NAMESPACE), "{error:#}");
            break;
        }
        w.delete(CONFIGS, &w.name, CONFIG).await?;
        ensure!(begun.elapsed() < SOON, "another namespace is accepted");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    w.plane.create(&config(json!({}))).await.context("the right namespace").map(drop)
}

async fn withdraw(w: &Rc<World>, policy: &str) {
    for kind in ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"] {
        let _ = w.delete(kind, "", policy).await;
    }
}

async fn warnings(w: &Rc<World>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let spec = json!({ "apiServerTimeout": "20s", "peerRequestTimeout": "1s" });
    let path = format!("/apis/{GROUP}/namespaces/{NAMESPACE}/{}", "selfnoderemediationconfigs");
    loop {
        let told = raw(w, "POST", &path, Some(&config(spec.clone()))).await?;
        let one = format!("{path}/{CONFIG}");
        let deleted = raw(w, "DELETE", &one, None).await?;
        let right = told.contains("1s") && told.contains("20s") && told.contains("22s");
        if right && deleted.contains("disabled") {
            return Ok(());
        }
        ensure!(begun.elapsed() < SOON, "the warnings are {told:?} and {deleted:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The warnings of a request that has to succeed.
async fn raw(w: &Rc<World>, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<String> {
    let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(bytes))?;
    let answer = w.plane.client.send(request).await?;
    ensure!(answer.status().is_success(), "{method} {path}: {}", answer.status());
    let texts = answer.headers().get_all("warning").iter().filter_map(|text| text.to_str().ok());
    Ok(texts.collect::<Vec<_>>().join("; "))
}

/// What is known of the agents' DaemonSet.
fn known(set: &Value, own: &Value) -> anyhow::Result<()> {
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let labels = json!({ "app.kubernetes.io/name": "self-node-remediation", "app.kubernetes.io/component": "agent" });
    ensure!(set["spec"]["selector"]["matchLabels"] == labels, "{}", brief(&set["spec"]["selector"]));
    ensure!(set["spec"]["template"]["metadata"]["labels"] == labels, "the pods' labels");
    ensure!(set["metadata"]["labels"]["k8s-app"] == "self-node-remediation", "{}", brief(&set["metadata"]["labels"]));
    ensure!(pod["priorityClassName"] == "system-node-critical" && pod["hostPID"] == true, "{}", brief(pod));
    ensure!(pod["hostNetwork"].is_null() && pod["terminationGracePeriodSeconds"] == 10, "{}", brief(pod));
    ensure!(pod["securityContext"]["runAsUser"] == 0, "{}", brief(&pod["securityContext"]));
    let security = &container["securityContext"];
    ensure!(security["privileged"] == true && security["readOnlyRootFilesystem"] == true, "{}", brief(security));
    let port = json!([{ "name": "self-n-r-port", "containerPort": 30001, "protocol": "TCP" }]);
    ensure!(container["ports"] == port, "{}", brief(&container["ports"]));
    ensure!(container["image"] == "registry.example/agent:1", "{}", container["image"]);
    let device = |volume: &Value| volume["hostPath"]["path"] == "/dev";
    ensure!(pod["volumes"].as_array().is_some_and(|all| all.iter().any(device)), "/dev is missing");
    for (name, value) in [
        ("WATCHDOG_PATH", "/dev/watchdog"),
        ("PEER_API_SERVER_TIMEOUT", "5000000000"),
        ("API_CHECK_INTERVAL", "15000000000"),
        ("PEER_UPDATE_INTERVAL", "900000000000"),
        ("API_SERVER_TIMEOUT", "5000000000"),
        ("PEER_DIAL_TIMEOUT", "5000000000"),
        ("PEER_REQUEST_TIMEOUT", "7000000000"),
        ("MAX_API_ERROR_THRESHOLD", "3"),
        ("IS_SOFTWARE_REBOOT_ENABLED", "true"),
        ("HOST_PORT", "30001"),
        ("MIN_PEERS_FOR_REMEDIATION", "1"),
    ] {
        ensure!(variable(set, name) == value, "{name} is {}", variable(set, name));
    }
    let tolerations = pod["tolerations"].as_array().context("no tolerations")?;
    for key in [
        "remediation.medik8s.io/self-node-remediation",
        "node-role.kubernetes.io/master",
        "node-role.kubernetes.io/control-plane",
    ] {
        let wanted = json!({ "key": key, "operator": "Exists", "effect": "NoSchedule" });
        ensure!(tolerations.contains(&wanted), "{key} is not tolerated: {}", brief(&pod["tolerations"]));
    }
    ensure!(tolerations.contains(own), "the user's toleration is missing");
    Ok(())
}

async fn pod_elsewhere(w: &Rc<World>, node: &str) -> anyhow::Result<String> {
    let name = format!("{}-far", w.name);
    w.plane.ensure(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })).await?;
    let account =
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": name } });
    w.plane.ensure(&account).await?;
    w.plane
        .create(&json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "far", "namespace": name },
            "spec": { "nodeName": node, "automountServiceAccountToken": false,
                "containers": [{ "name": "c", "image": "i" }] } }))
        .await?;
    Ok(name)
}

/// From the intent to the end of one remediation of a new node.
async fn waited(w: &Rc<World>) -> anyhow::Result<Duration> {
    let trio = w.trio().await?;
    trio.victim.node.becomes(Sick).await?;
    let begun = Instant::now();
    let name = format!("snr-{}", trio.victim.node.name);
    let annotation = json!({ "remediation.medik8s.io/node-name": trio.victim.node.name });
    let snr = w.remediate_as(&name, annotation, json!([]), "ResourceDeletion").await?;
    snr.reaches("Fencing-Completed").await?;
    let took = begun.elapsed();
    trio.victim.comes_back("b2").await?;
    snr.delete().await?;
    snr.gone().await?;
    Ok(took)
}
