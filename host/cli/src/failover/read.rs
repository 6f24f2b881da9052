//! What is configured, and what the agents publish.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use palisade_api::common::RemediationStrategy;
use palisade_api::{NodeHealthCheck, SelfNodeRemediationConfig, SelfNodeRemediationTemplate};
use palisade_controller::rollout::tuning;
use palisade_core::fencing::agent::ResetSteps;
use palisade_core::fencing::record::{Claims, LeaseView, Terms, Watchdog};
use palisade_core::health::Selector;

use super::Arguments;
use super::model::{MONITOR_PERIOD, Release, Setting, say};
use crate::connect::{answer, list};

/// The controller manager's default since Kubernetes 1.32, and before.
const GRACE: [Duration; 2] = [Duration::from_secs(50), Duration::from_secs(40)];
/// Conditions that the controller manager sets to Unknown when a kubelet falls silent.
const SILENCE: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// One policy.
pub struct Found {
    /// Its name.
    pub policy: String,
    /// Whose terms these are.
    pub node: Option<String>,
    /// What the numbers rest on, in words.
    pub from: Vec<String>,
    /// The numbers.
    pub setting: Setting,
}

/// Reads it.
pub async fn read(arguments: &Arguments) -> anyhow::Result<Vec<Found>> {
    let client = arguments.connection.client().await?;
    let namespace = &arguments.namespace;
    let (nodes, policies, leases, configs) = tokio::join!(
        list(Api::<Node>::all(client.clone())),
        list(Api::<NodeHealthCheck>::all(client.clone())),
        list(Api::<Lease>::namespaced(client.clone(), namespace)),
        list(Api::<SelfNodeRemediationConfig>::namespaced(client.clone(), namespace)),
    );
    let nodes = nodes.context("nodes cannot be listed")?;
    let policies = policies.context("NodeHealthChecks cannot be listed; is Palisade installed?")?;
    let mut remarks = Vec::new();
    let leases = leases.unwrap_or_else(|error| {
        remarks.push(format!("leases in {namespace} cannot be listed ({error:#}): what agents publish is not known"));
        Vec::new()
    });
    let config = configs.context("SelfNodeRemediationConfigs cannot be listed")?.into_iter().next();
    if config.is_none() {
        remarks.push(format!("there is no SelfNodeRemediationConfig in {namespace}: its defaults are taken"));
    }
    let (grace, version) = grace(&client, arguments, &mut remarks).await;
    let chosen: Vec<&NodeHealthCheck> = policies
        .iter()
        .filter(|policy| arguments.policy.as_ref().is_none_or(|name| *name == policy.name_any()))
        .filter(|policy| arguments.node.as_ref().is_none_or(|name| selected(policy, &nodes).contains(name)))
        .collect();
    ensure!(!chosen.is_empty(), "{}", nothing(arguments, &policies, &nodes));
    let mut found = Vec::new();
    for policy in chosen {
        let mut from = Vec::new();
        let names = selected(policy, &nodes);
        let of = |name: &String| arguments.node.as_ref().is_none_or(|only| only == name);
        let published =
            leases.iter().filter(|lease| names.contains(&lease.name_any()) && of(&lease.name_any())).filter_map(
                |lease| Some((lease.name_any(), LeaseView::from_annotations(lease.annotations()).ok()?.record?.terms)),
            );
        let published: Vec<(String, Terms)> = published.collect();
        let spec = config.as_ref().map(|config| config.spec.clone()).unwrap_or_default();
        let tuning = tuning(&spec);
        let slowest =
            published.iter().max_by_key(|(_, terms)| (!terms.claims.self_fences, terms.life_bound())).cloned();
        let silent = if arguments.node.is_some() { 1 } else { names.len() } - published.len();
        if silent > 0 {
            from.push(format!(
                "{silent} of its nodes have no agent: what follows is not for them, only a proof from outside"
            ));
        }
        let (node, terms) = if let Some((name, terms)) = slowest {
            from.push(format!("{}, published by the agent of {name}", words(&terms)));
            if terms.time_to_live() != tuning.time_to_live() {
                from.push(format!(
                    "configured is a time to live of {}: that agent does not run with it yet",
                    say(tuning.time_to_live())
                ));
            }
            (Some(name), terms)
        } else {
            let terms =
                assumed(tuning.time_to_live(), arguments.watchdog_timeout.to_std(), spec.min_peers_for_remediation);
            from.push(format!("{}, assumed: no agent publishes any (--watchdog-timeout)", words(&terms)));
            (None, terms)
        };
        let (release, outside) = template(&client, policy, version, &mut from).await;
        from.push(format!("{} until the controller manager calls a silent node Unknown", say(grace + MONITOR_PERIOD)));
        from.extend(remarks.iter().cloned());
        found.push(Found {
            policy: policy.name_any(),
            node,
            from,
            setting: Setting {
                grace,
                unhealthy_for: unhealthy_for(policy),
                tuning,
                terms,
                floor: Duration::from_secs(
                    spec.safe_time_to_assume_node_rebooted_seconds
                        .and_then(|floor| u64::try_from(floor).ok())
                        .unwrap_or(0),
                ),
                release,
                outside,
            },
        });
    }
    Ok(found)
}

fn words(terms: &Terms) -> String {
    let guard = match &terms.watchdog {
        Some(watchdog) => format!("watchdog {}", say(Duration::from_millis(watchdog.timeout_millis))),
        None => format!("no watchdog, a reset by software within {}", say(terms.reset_bound())),
    };
    format!("time to live {}, {guard}, together with its margin {}", say(terms.time_to_live()), say(terms.life_bound()))
}

fn assumed(life: Duration, watchdog: Duration, min_peers: i64) -> Terms {
    let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let min_peers = u32::try_from(min_peers).unwrap_or(0);
    Terms {
        time_to_live_millis: millis(life),
        watchdog: Some(Watchdog { identity: "assumed".to_owned(), timeout_millis: millis(watchdog), resets: true }),
        reset_steps_millis: millis(ResetSteps::default().total()),
        jury: (0..min_peers).map(|number| format!("peer {number}")).collect(),
        min_peers,
        claims: Claims { self_fences: true, may_exempt: false },
    }
}

fn selected(policy: &NodeHealthCheck, nodes: &[Node]) -> Vec<String> {
    let Ok(selector) = Selector::new(policy.spec.selector.as_ref()) else { return Vec::new() };
    nodes.iter().filter(|node| selector.matches(node.labels())).map(ResourceExt::name_any).collect()
}

fn nothing(arguments: &Arguments, policies: &[NodeHealthCheck], nodes: &[Node]) -> String {
    let known: Vec<String> = policies.iter().map(ResourceExt::name_any).collect();
    let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
    match (&arguments.policy, &arguments.node) {
        (_, Some(node)) if !nodes.iter().any(|one| one.name_any() == *node) => format!("there is no node {node:?}"),
        (Some(policy), None) => format!("there is no NodeHealthCheck {policy:?}; {known}"),
        (Some(policy), Some(node)) => format!("no NodeHealthCheck {policy:?} selects node {node:?}; {known}"),
        (None, Some(node)) => format!("no NodeHealthCheck selects node {node:?}: it is never remediated; {known}"),
        (None, None) => "there is no NodeHealthCheck: nothing is ever remediated".to_owned(),
    }
}

/// The shortest condition that a silent node meets.
pub fn unhealthy_for(policy: &NodeHealthCheck) -> Option<Duration> {
    let met = |one: &&palisade_api::node_health_check::UnhealthyCondition| {
        one.status == "Unknown" && SILENCE.contains(&one.type_.as_str())
    };
    policy.spec.unhealthy_conditions.iter().filter(met).map(|one| one.duration.to_std()).min()
}

/// The option, what the controller manager was started with, or the default of this Kubernetes.
async fn grace(client: &Client, arguments: &Arguments, remarks: &mut Vec<String>) -> (Duration, Option<(u32, u32)>) {
    let version = answer(client.apiserver_version()).await.ok();
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
    let version = version.and_then(|version| Some((number(&version.major)?, number(&version.minor)?)));
    if let Some(given) = arguments.node_monitor_grace {
        remarks.push(format!("node-monitor-grace-period {given} was given"));
        return (given.to_std(), version);
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    let managers = answer(pods.list(&ListParams::default().labels("component=kube-controller-manager"))).await;
    let words =
        managers.into_iter().flat_map(|found| found.items).filter_map(|pod| pod.spec).flat_map(|spec| {
            spec.containers.into_iter().flat_map(|one| one.command.into_iter().chain(one.args).flatten())
        });
    let seen = words
        .filter_map(|word| word.strip_prefix("--node-monitor-grace-period=")?.parse::<palisade_api::GoDuration>().ok())
        .max();
    if let Some(seen) = seen {
        remarks.push(format!("node-monitor-grace-period {seen}, of the controller manager's command line"));
        return (seen.to_std(), version);
    }
    let old = version.is_some_and(|version| version < (1, 32));
    let grace = GRACE[usize::from(old)];
    let said = version.map_or_else(String::new, |(major, minor)| format!(" {major}.{minor}"));
    remarks.push(format!(
        "node-monitor-grace-period {} is assumed, the default of Kubernetes{said}: it cannot be seen here (--node-monitor-grace)",
        say(grace)
    ));
    (grace, version)
}

/// How the policy's first template releases, or its kind if that is not the agents' way.
async fn template(
    client: &Client,
    policy: &NodeHealthCheck,
    version: Option<(u32, u32)>,
    from: &mut Vec<String>,
) -> (Release, Option<String>) {
    let spec = &policy.spec;
    let first =
        spec.escalating_remediations.iter().min_by_key(|step| step.order).map(|step| &step.remediation_template);
    let reference = spec.remediation_template.as_ref().or(first).cloned().unwrap_or_default();
    let (kind, name) = (reference.kind.unwrap_or_default(), reference.name.unwrap_or_default());
    if kind != "SelfNodeRemediationTemplate" {
        return (Release::ResourceDeletion, Some(kind));
    }
    let api: Api<SelfNodeRemediationTemplate> =
        Api::namespaced(client.clone(), &reference.namespace.unwrap_or_default());
    // Kubernetes releases by the taint since 1.28, and Automatic follows.
    let automatic = match version {
        Some(version) if version < (1, 28) => Release::ResourceDeletion,
        _ => Release::OutOfServiceTaint,
    };
    let found = answer(api.get_opt(&name)).await;
    let strategy = found.map(|found| found.map(|it| it.spec.template.spec.remediation_strategy));
    let release = match strategy {
        Ok(Some(RemediationStrategy::ResourceDeletion)) => Release::ResourceDeletion,
        Ok(Some(RemediationStrategy::OutOfServiceTaint)) => Release::OutOfServiceTaint,
        Ok(Some(_)) => automatic,
        Ok(None) => {
            from.push(format!("its template {name} does not exist; Automatic is assumed"));
            automatic
        }
        Err(error) => {
            from.push(format!("its template {name} cannot be read ({error:#}); Automatic is assumed"));
            automatic
        }
    };
    from.push(format!("released by {release:?}"));
    (release, None)
}
