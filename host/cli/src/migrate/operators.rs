//! Their operators: what runs, what would start it again, what it left in the way of every write. Pure.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::look::{Seen, Webhook};
use super::{Item, Section};

/// An operator of theirs.
pub struct Operator {
    /// Its name, which is that of its package in OLM.
    pub name: &'static str,
    /// Its lease of the leader.
    pub leader: &'static str,
    /// Whether Palisade does what it does.
    pub replaced: bool,
}

/// Those that are known.
pub const OPERATORS: &[Operator] = &[
    Operator { name: "node-healthcheck-operator", leader: "e1f13584.medik8s.io", replaced: true },
    Operator { name: "self-node-remediation", leader: "547f6cb6.medik8s.io", replaced: true },
    Operator { name: "fence-agents-remediation", leader: "cb305759.medik8s.io", replaced: true },
    Operator { name: "machine-deletion-remediation", leader: "285d4098.example.com", replaced: true },
    Operator { name: "customized-user-remediation", leader: "6c05bb96.medik8s.io", replaced: true },
    Operator { name: "node-maintenance-operator", leader: "", replaced: false },
    Operator { name: "storage-based-remediation", leader: "", replaced: false },
];
/// Name of the DaemonSet of their agents, and of ours.
pub const AGENTS: &str = "self-node-remediation-ds";
/// Name of the role and of the binding that give a detector its rights on remediations.
pub const AGGREGATION: &str = "node-healthcheck-operator-aggregation";
/// Suffix of the names of their Deployments.
const SUFFIX: &str = "-controller-manager";

/// The operator that a Deployment belongs to: by its owner in OLM, or by its usual name.
pub fn of(deployment: &Deployment) -> Option<&'static Operator> {
    let name = deployment.name_any();
    let owner = deployment.labels().get("olm.owner");
    OPERATORS.iter().find(|operator| {
        // The health check's Deployment is named without `-operator`.
        let short = operator.name.trim_end_matches("-operator");
        let named = |prefix: &str| name.strip_prefix(prefix) == Some(SUFFIX);
        let by_olm =
            owner.and_then(|owner| owner.strip_prefix(operator.name)).is_some_and(|rest| rest.starts_with('.'));
        by_olm || named(operator.name) || named(short)
    })
}

/// A hook: what it is asked about, who answers, and what happens without an answer.
type Hook<'a> = (Option<&'a [RuleWithOperations]>, &'a WebhookClientConfig, Option<&'a str>);

/// What a configuration of webhooks is asked about.
pub trait Hooks: ResourceExt {
    /// Kind.
    const KIND: &'static str;
    /// Each of its hooks.
    fn hooks(&self) -> Vec<Hook<'_>>;
}

impl Hooks for ValidatingWebhookConfiguration {
    const KIND: &'static str = "ValidatingWebhookConfiguration";
    fn hooks(&self) -> Vec<Hook<'_>> {
        let hooks = self.webhooks.iter().flatten();
        hooks.map(|hook| (hook.rules.as_deref(), &hook.client_config, hook.failure_policy.as_deref())).collect()
    }
}

impl Hooks for MutatingWebhookConfiguration {
    const KIND: &'static str = "MutatingWebhookConfiguration";
    fn hooks(&self) -> Vec<Hook<'_>> {
        let hooks = self.webhooks.iter().flatten();
        hooks.map(|hook| (hook.rules.as_deref(), &hook.client_config, hook.failure_policy.as_deref())).collect()
    }
}

/// The part of a configuration that matters here.
pub fn webhook<K: Hooks>(configuration: &K) -> Webhook {
    let mut webhook = Webhook { kind: K::KIND.to_owned(), name: configuration.name_any(), ..Webhook::default() };
    for (rules, client, policy) in configuration.hooks() {
        if let Some(service) = &client.service {
            webhook.service = format!("{}/{}", service.namespace, service.name);
        }
        // Left out, a failure refuses.
        let into = if policy == Some("Ignore") { &mut webhook.lenient } else { &mut webhook.strict };
        for rule in rules.into_iter().flatten() {
            for group in rule.api_groups.iter().flatten() {
                into.extend(rule.resources.iter().flatten().map(|resource| format!("{resource}.{group}")));
            }
        }
    }
    webhook
}

/// Groups whose objects Palisade takes over.
fn is_taken_over(resource: &str) -> bool {
    resource.split_once('.').is_some_and(|(_, group)| super::objects::groups().contains(group))
}

/// All findings.
pub fn find(seen: &Seen) -> Vec<Item> {
    let mut found = deployments(seen);
    found.extend(olm(seen));
    found.extend(agents(seen));
    found.extend(webhooks(seen));
    found.extend(rights(seen));
    found
}

/// Whether a Deployment has, or is meant to have, pods.
pub fn runs(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let there = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    wanted > 0 || there > 0
}

fn deployments(seen: &Seen) -> Vec<Item> {
    let mut found = Vec::new();
    for deployment in &seen.deployments {
        let Some(operator) = of(deployment) else { continue };
        let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
        let about = format!("Deployment {namespace}/{name}");
        found.push(match (operator.replaced, runs(deployment)) {
            (true, true) => {
                let what = format!("{} runs: two that do the same would write over each other", operator.name);
                let remedy = if deployment.labels().contains_key("olm.owner") {
                    "OLM keeps it running: delete its Subscription and its ClusterServiceVersion".to_owned()
                } else {
                    format!("kubectl --namespace {namespace} scale deployment {name} --replicas 0")
                };
                Item::new(Section::Blocks, "operator-runs", about, what).remedy(remedy)
            }
            (true, false) => Item::new(
                Section::Know,
                "operator-stopped",
                about,
                format!("{} is stopped; it can be started again to go back", operator.name),
            ),
            (false, _) => Item::new(
                Section::Know,
                "operator-stays",
                about,
                format!(
                    "{} does what Palisade has nothing for: it stays, and both keep to the node leases",
                    operator.name
                ),
            ),
        });
    }
    found
}

fn olm(seen: &Seen) -> Vec<Item> {
    let mut found = Vec::new();
    for object in &seen.olm {
        let package = match object.kind.as_str() {
            "Subscription" => object.said("/spec/name").to_owned(),
            // Named as package.vVERSION; copies into every namespace are OLM's own affair.
            _ if object.value.pointer("/metadata/labels/olm.copiedFrom").is_some() => continue,
            _ => object.name.split(".v").next().unwrap_or_default().to_owned(),
        };
        if OPERATORS.iter().any(|operator| operator.replaced && operator.name == package) {
            let what = format!("OLM starts and upgrades {package} by it, whatever is scaled down");
            found.push(
                Item::new(Section::Blocks, "olm", object.title(), what)
                    .remedy(format!("kubectl delete {} # its definitions and objects stay", object.kubectl())),
            );
        }
    }
    found
}

fn agents(seen: &Seen) -> Vec<Item> {
    let theirs = seen.agents.iter().filter(|set| set.namespace().as_deref() != Some(seen.namespace.as_str()));
    theirs
        .map(|set| {
            let namespace = set.namespace().unwrap_or_default();
            Item::new(
                Section::Blocks,
                "agents-run",
                format!("DaemonSet {namespace}/{AGENTS}"),
                "its agents hold the watchdogs, which only one program can open",
            )
            .remedy(format!(
                "once its operator is stopped: kubectl --namespace {namespace} delete daemonset {AGENTS}\n\
                 the agents disarm their watchdogs as they end, so wait for their pods to be gone"
            ))
        })
        .collect()
}

fn webhooks(seen: &Seen) -> Vec<Item> {
    let mut found = Vec::new();
    for webhook in &seen.webhooks {
        let of_ours = |all: &std::collections::BTreeSet<String>| {
            all.iter().filter(|resource| is_taken_over(resource)).cloned().collect::<Vec<_>>().join(", ")
        };
        let (strict, lenient) = (of_ours(&webhook.strict), of_ours(&webhook.lenient));
        let about = format!("{} {}", webhook.kind, webhook.name);
        let remedy = format!("kubectl delete {} {}", webhook.kind.to_lowercase(), webhook.name);
        if !strict.is_empty() {
            let what = format!(
                "every write of {strict} asks {}, and is refused when that does not answer; Palisade's rules are in its \
                 definitions and need no webhook",
                webhook.service
            );
            found.push(Item::new(Section::Blocks, "webhook", about, what).remedy(remedy));
        } else if !lenient.is_empty() {
            let what = format!("writes of {lenient} ask {}, and pass when that does not answer", webhook.service);
            found.push(Item::new(Section::Know, "webhook-lenient", about, what).remedy(remedy));
        }
    }
    found
}

fn rights(seen: &Seen) -> Vec<Item> {
    let mut found = Vec::new();
    let subjects = seen.binding.iter().flat_map(|binding| binding.subjects.iter().flatten());
    let theirs = subjects.filter(|subject| subject.namespace.as_deref() != Some(seen.namespace.as_str()));
    for subject in theirs {
        let who = format!("{}/{}", subject.namespace.as_deref().unwrap_or_default(), subject.name);
        let what = format!(
            "it gives {who} its rights on remediations; the full installation replaces the subject, and a detector of \
             theirs that still runs can then make none"
        );
        let about = format!("ClusterRoleBinding {AGGREGATION}");
        found.push(
            Item::new(Section::Changes, "rights-move", about, what)
                .remedy("to look first beside theirs, install deploy/watch-only.yaml, which leaves it alone"),
        );
    }
    for role in &seen.roles {
        let name = role.name_any();
        if name.starts_with("palisade-") {
            continue;
        }
        let groups = role.rules.iter().flatten().flat_map(|rule| rule.api_groups.iter().flatten());
        let groups: std::collections::BTreeSet<&str> = groups.map(String::as_str).collect();
        let what = format!(
            "by its label it gives every detector rights on {}: Palisade's too, once it has taken over",
            groups.into_iter().collect::<Vec<_>>().join(", ")
        );
        found.push(Item::new(Section::Know, "rights-shared", format!("ClusterRole {name}"), what));
    }
    found
}
