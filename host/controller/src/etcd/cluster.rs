//! What the cluster shows of its etcd: client certificates, static pods, roles and addresses of nodes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use palisade_api::keys::cluster::{CONTROL_PLANE_ROLE, ETCD_ROLE, MASTER_ROLE};
use palisade_core::health::NodeView;
use palisade_core::health::quorum::{Health, Member};

use crate::outbound::Identity;

/// Names and addresses of control-plane nodes, to find out which member runs where.
pub(super) type Places = BTreeMap<String, BTreeSet<String>>;

/// The client certificate of a Secret.
pub(super) async fn identity(client: &Client, namespace: &str, name: &str) -> anyhow::Result<Identity> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let secret = secrets.get(name).await.with_context(|| {
        format!("Secret {namespace}/{name} of spec.etcd.clientSecret cannot be read; create it with tls.crt, tls.key and ca.crt")
    })?;
    let mut data = secret.data.unwrap_or_default();
    let mut part = |key: &str| {
        let value = data.remove(key).map(|bytes| bytes.0).filter(|bytes| !bytes.is_empty());
        value.with_context(|| {
            format!("Secret {namespace}/{name} has no {key}; it needs tls.crt, tls.key and ca.crt as PEM")
        })
    };
    Ok(Identity { pair: Some((part("tls.crt")?, part("tls.key")?)), authority: part("ca.crt")? })
}

/// The control-plane nodes with their names and addresses.
pub(super) async fn places(client: &Client) -> anyhow::Result<Places> {
    let nodes = Api::<Node>::all(client.clone());
    let mut places = Places::new();
    for role in [CONTROL_PLANE_ROLE, ETCD_ROLE, MASTER_ROLE] {
        for found in nodes.list(&ListParams::default().labels(role)).await.context("cannot list control-plane nodes")? {
            places.insert(found.name_any(), addresses(&found));
        }
    }
    Ok(places)
}

fn addresses(node: &Node) -> BTreeSet<String> {
    let listed = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    listed.map(|address| address.address.clone()).chain([node.name_any()]).collect()
}

/// The members that the cluster shows without being asked for credentials.
pub(super) async fn shown(client: &Client, node: &NodeView) -> anyhow::Result<Option<(&'static str, Vec<Member>)>> {
    let pods = Api::<Pod>::namespaced(client.clone(), "kube-system");
    let pods = pods
        .list(&ListParams::default().labels("component=etcd"))
        .await
        .context("pods labelled component=etcd in kube-system cannot be listed")?
        .items;
    let nodes = Api::<Node>::all(client.clone());
    if pods.is_empty() {
        let nodes = nodes.list(&ListParams::default().labels(ETCD_ROLE)).await.context("cannot list etcd nodes")?.items;
        let members: Vec<Member> = nodes.iter().map(|member| of_node(member, node)).collect();
        return Ok((!members.is_empty()).then_some(("nodes labelled node-role.kubernetes.io/etcd", members)));
    }
    let mut members = Vec::new();
    for pod in &pods {
        let place = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let home = match &place {
            Some(place) if *place != node.name => nodes.get_opt(place).await.context("cannot read a node")?,
            _ => None,
        };
        members.push(of_pod(pod, place, home.as_ref()));
    }
    Ok(Some(("static pods in kube-system", members)))
}

/// A pod says how its member is only while its kubelet reports; `home` is its node, `None` for the node in question,
/// which is unhealthy.
fn of_pod(pod: &Pod, node: Option<String>, home: Option<&Node>) -> Member {
    let health = match (home.is_some_and(is_ready), pod_ready(pod)) {
        (true, Some("True")) => Health::Well,
        (true, Some("False")) => Health::Ill,
        _ => Health::Unknown,
    };
    Member { name: pod.name_any(), node, learner: false, health }
}

/// Embedded etcd lives and dies with the process that also is the kubelet.
fn of_node(member: &Node, asked: &NodeView) -> Member {
    let name = member.name_any();
    let health = if name != asked.name && is_ready(member) { Health::Well } else { Health::Unknown };
    Member { name: name.clone(), node: Some(name), learner: false, health }
}

fn pod_ready(pod: &Pod) -> Option<&str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.as_str())
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
