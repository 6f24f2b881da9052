//! Asks etcd itself: who is a member, and how is each.
//!
//! `/v3/cluster/member/list` of any endpoint that answers says who belongs to the cluster; every member is then asked at
//! its own client URLs. `/v3/maintenance/status` says who answers there (an address may lead elsewhere) and whether it
//! has a leader; `/health` makes it read with a quorum.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures::future::join_all;
use http::{Method, StatusCode};
use palisade_core::health::quorum::{Health, Member};
use serde::Deserialize;

use super::cluster::Places;
use crate::outbound::{Identity, Peer};

/// One question. A member that lost its quorum takes a few seconds to say so.
const ANSWER: Duration = Duration::from_secs(4);

#[derive(Deserialize)]
struct MemberList {
    #[serde(default)]
    members: Vec<Listed>,
}

/// The gateway writes 64-bit numbers as text and leaves out what is empty.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
    #[serde(rename = "clientURLs", default)]
    client_urls: Vec<String>,
    #[serde(rename = "isLearner", default)]
    learner: bool,
}

#[derive(Deserialize)]
struct Status {
    header: Header,
    #[serde(default)]
    leader: String,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    member_id: String,
}

#[derive(Deserialize)]
struct HealthAnswer {
    health: String,
}

/// The members, and how each of them is.
pub(super) async fn ask(
    endpoints: &[String],
    identity: Option<&Identity>,
    places: &Places,
) -> anyhow::Result<Vec<Member>> {
    let mut problems = Vec::new();
    let lists = join_all(endpoints.iter().map(|endpoint| list(endpoint, identity))).await;
    let mut listed = None;
    for (endpoint, list) in endpoints.iter().zip(lists) {
        match list {
            Ok(members) => listed = listed.or(Some(members)),
            Err(error) => problems.push(format!("{endpoint}: {error:#}")),
        }
    }
    let Some(listed) = listed.filter(|members| !members.is_empty()) else {
        bail!("no endpoint of spec.etcd.endpoints lists its members ({})", problems.join("; "));
    };
    let mut members = join_all(listed.iter().map(|member| one(member, endpoints, identity, places))).await;
    // etcd lists them by identity, which is random; people look for names.
    members.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(members)
}

async fn one(listed: &Listed, endpoints: &[String], identity: Option<&Identity>, places: &Places) -> Member {
    let mut health = Health::Unknown;
    for url in listed.client_urls.iter().filter(|url| !leads_to_us(url) || endpoints.contains(url)) {
        match how(url, &listed.id, identity).await {
            Ok(known) => {
                health = known;
                break;
            }
            Err(error) => tracing::debug!(member = listed.name, url, error = format!("{error:#}"), "etcd not reached"),
        }
    }
    let name = if listed.name.is_empty() { listed.id.clone() } else { listed.name.clone() };
    Member { node: place(listed, places), name, learner: listed.learner, health }
}

/// An address of this machine that another advertises would make this machine's member count twice.
fn leads_to_us(url: &str) -> bool {
    let host = host(url);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn host(url: &str) -> String {
    url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default()
}

/// By name, as kubeadm names its members, or by an address.
fn place(listed: &Listed, places: &Places) -> Option<String> {
    if places.contains_key(&listed.name) {
        return Some(listed.name.clone());
    }
    let hosts: Vec<String> = listed
        .peer_urls
        .iter()
        .chain(&listed.client_urls)
        .map(|url| host(url).trim_matches(['[', ']']).to_owned())
        .collect();
    places.iter().find(|(_, addresses)| hosts.iter().any(|host| addresses.contains(host))).map(|(node, _)| node.clone())
}

async fn list(endpoint: &str, identity: Option<&Identity>) -> anyhow::Result<Vec<Listed>> {
    let peer = Peer::new(endpoint, identity).await?;
    let list: MemberList = post(&peer, "/v3/cluster/member/list", r#"{"linearizable":false}"#).await?;
    Ok(list.members)
}

/// How the member behind a URL is; an error if it is not known.
async fn how(url: &str, id: &str, identity: Option<&Identity>) -> anyhow::Result<Health> {
    let peer = Peer::new(url, identity).await?;
    let status: Status = post(&peer, "/v3/maintenance/status", "{}").await?;
    if status.header.member_id != id {
        bail!("member {} answers instead of {id}", status.header.member_id);
    }
    if status.leader.is_empty() || status.leader == "0" {
        return Ok(Health::Ill);
    }
    // A full disk stops writes, not votes.
    let (code, body) = peer.send(Method::GET, Some("/health?exclude=NOSPACE"), &[], Vec::new(), ANSWER).await?;
    let answer: HealthAnswer = serde_json::from_slice(&body)
        .map_err(|error| anyhow!("/health answered {code} with something else: {error}"))?;
    Ok(if answer.health == "true" { Health::Well } else { Health::Ill })
}

async fn post<T: serde::de::DeserializeOwned>(peer: &Peer, path: &str, body: &str) -> anyhow::Result<T> {
    let headers = [("content-type", "application/json")];
    let (code, answer) = peer.send(Method::POST, Some(path), &headers, body.into(), ANSWER).await?;
    if code != StatusCode::OK {
        let text: String = String::from_utf8_lossy(&answer).chars().take(200).collect();
        bail!("{path} answered {code}: {}; is its JSON gateway on?", text.trim());
    }
    serde_json::from_slice(&answer).with_context(|| format!("{path} answered something else than etcd does"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, peer: &str, client: &str) -> Listed {
        Listed {
            id: "1".to_owned(),
            name: name.to_owned(),
            peer_urls: vec![peer.to_owned()],
            client_urls: vec![client.to_owned()],
            learner: false,
        }
    }

    #[test]
    fn members_are_found_by_name_or_address() {
        let nodes = [("cp0", vec!["10.0.0.1", "cp0"]), ("cp1", vec!["fd00::2", "cp1"])];
        let places: Places = nodes
            .into_iter()
            .map(|(node, addresses)| (node.to_owned(), addresses.into_iter().map(str::to_owned).collect()))
            .collect();
        let at = |name: &str, peer: &str, client: &str| place(&listed(name, peer, client), &places);
        assert_eq!(at("cp0", "https://x:2380", "https://x:2379").as_deref(), Some("cp0"));
        assert_eq!(at("infra0", "https://10.0.0.1:2380", "").as_deref(), Some("cp0"));
        assert_eq!(at("infra1", "", "https://[fd00::2]:2379").as_deref(), Some("cp1"));
        assert_eq!(at("infra2", "https://10.0.0.9:2380", "https://10.0.0.9:2379"), None);
    }

    #[test]
    fn an_address_of_ones_own_is_no_address_of_another() {
        for (url, ours) in [
            ("https://127.0.0.1:2379", true),
            ("https://localhost:2379", true),
            ("https://[::1]:2379", true),
            ("https://10.0.0.1:2379", false),
            ("https://etcd-1.example:2379", false),
        ] {
            assert_eq!(leads_to_us(url), ours, "{url}");
        }
    }
}
