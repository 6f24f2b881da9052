//! What the shipped roles give, against what was asked of the API server: nothing that is used is missing, and what is
//! given is used, or named here with the reason for giving it.

use std::collections::BTreeSet;

use anyhow::ensure;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::Client;
use kube::api::{Api, ListParams};
use palisade_bench::audit::{Entry, Query};
use palisade_bench::controller::NAMESPACE;

/// Verb, then resource with its subresource and group, as [`Entry::kind`] says it.
type Right = (String, String);

/// Given, and not needed by the story that is told here.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("*", "clusterversions.config.openshift.io", "OpenShift"),
    ("*", "infrastructures.config.openshift.io", "OpenShift"),
    ("*", "machinehealthchecks.machine.openshift.io", "OpenShift"),
    ("*", "machines.machine.openshift.io", "OpenShift"),
    ("*", "machines.cluster.x-k8s.io", "Cluster API"),
    ("list", "poddisruptionbudgets.policy", "OpenShift's guard of etcd"),
    // A StatefulSet's pods, as the workload here has, are of the first class whatever they claim.
    ("get", "persistentvolumeclaims", "pods of a ReplicaSet that claim a volume: workloads::release::tests"),
    ("update", "selfnoderemediationconfigs/finalizers.self-node-remediation.medik8s.io", "OpenShift's check of owners"),
    (
        "*",
        "machinedeletionremediations.machine-deletion-remediation.medik8s.io",
        "cargo xtask conformance --filter MD-",
    ),
    (
        "*",
        "machinedeletionremediations/status.machine-deletion-remediation.medik8s.io",
        "cargo xtask conformance --filter MD-",
    ),
    (
        "*",
        "machinedeletionremediationtemplates.machine-deletion-remediation.medik8s.io",
        "cargo xtask conformance --filter MD-",
    ),
    (
        "*",
        "fenceagentsremediations.fence-agents-remediation.medik8s.io",
        "cargo xtask power, host/controller/tests/far.rs",
    ),
    (
        "*",
        "fenceagentsremediations/status.fence-agents-remediation.medik8s.io",
        "cargo xtask power, host/controller/tests/far.rs",
    ),
    (
        "*",
        "fenceagentsremediationtemplates.fence-agents-remediation.medik8s.io",
        "cargo xtask power, host/controller/tests/far.rs",
    ),
    (
        "*",
        "fenceagentsremediationtemplates/status.fence-agents-remediation.medik8s.io",
        "cargo xtask power, host/controller/tests/far.rs",
    ),
    ("*", "customizeduserremediations.customized-user-remediation.medik8s.io", "host/controller/tests/far.rs"),
    ("*", "customizeduserremediations/status.customized-user-remediation.medik8s.io", "host/controller/tests/far.rs"),
    ("*", "customizeduserremediationtemplates.customized-user-remediation.medik8s.io", "host/controller/tests/far.rs"),
    ("*", "machinesets.machine.openshift.io", "owners of machines"),
    ("*", "controlplanemachinesets.machine.openshift.io", "owners of machines"),
    ("*", "machinesets.cluster.x-k8s.io", "owners of machines"),
    ("*", "kubeadmcontrolplanes.controlplane.cluster.x-k8s.io", "owners of machines"),
    ("*", "metal3machines.infrastructure.cluster.x-k8s.io", "Metal3"),
    (
        "patch",
        "machines/status.cluster.x-k8s.io",
        "hand-back to a machine's health check: cargo xtask conformance --filter MH-",
    ),
    ("*", "baremetalhosts.metal3.io", "Metal3"),
    ("*", "cronjobs.batch", "jobs of the administrator: host/controller/tests/far.rs"),
    ("*", "jobs.batch", "jobs of the administrator: host/controller/tests/far.rs"),
    (
        "get",
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "answers of people: cargo xtask conformance --filter HA-",
    ),
    ("get", "validatingadmissionpolicybindings.admissionregistration.k8s.io", "answers of people"),
    ("create", "tokenreviews.authentication.k8s.io", "whoever looks at the page: cargo xtask page"),
    ("create", "subjectaccessreviews.authorization.k8s.io", "what they may: cargo xtask page"),
    ("update", "secrets", "rotation of the authority: host/controller/src/certificates"),
    ("patch", "configmaps", "rotation of the authority"),
    ("delete", "daemonsets.apps", "a DaemonSet of another revision: host/controller/tests/rollout.rs"),
    ("patch", "remediators/status.palisade.dev", "components of users: tests/e2e"),
    ("patch", "selfnoderemediationtemplates.self-node-remediation.medik8s.io", "templates of users: tests/e2e"),
    ("*", "wasmremediations.palisade.dev", "components of users: tests/e2e"),
    ("*", "wasmremediations/status.palisade.dev", "components of users: tests/e2e"),
    ("*", "wasmremediationtemplates.palisade.dev", "components of users: tests/e2e"),
    (
        "list",
        "selfnoderemediations.self-node-remediation.medik8s.io",
        "questions of stock agents: host/agent/src/stock",
    ),
    // The agents of this test are started without --follow-config, which only the DaemonSet sets.
    ("*", "selfnoderemediationconfigs.self-node-remediation.medik8s.io", "host/agent/tests/follow.rs"),
    ("update", "selfnoderemediations.self-node-remediation.medik8s.io", "what every remediator grants a detector"),
    ("patch", "selfnoderemediations.self-node-remediation.medik8s.io", "what every remediator grants a detector"),
    ("create", "wasmremediations.palisade.dev", "what every remediator grants a detector"),
    ("get", "remediators.palisade.dev", "watched; a get belongs to it by convention"),
    ("get", "leases.coordination.k8s.io", "read again where the watch is not enough"),
    ("delete", "volumeattachments.storage.k8s.io", "with the strategy ResourceDeletion: the scenario matrix"),
];
/// Verbs that only ever come together.
const READING: [&str; 3] = ["get", "list", "watch"];

/// Judges the log of two accounts.
pub async fn judge(client: &Client, log: &Query) -> anyhow::Result<()> {
    for account in ["palisade-controller", "palisade-agent"] {
        let mine = log.by_user(&format!("system:serviceaccount:{NAMESPACE}:{account}"));
        ensure!(mine.count() > 0, "{account} asked for nothing: this shows nothing");
        let refused = mine.filter(|entry| entry.response_status.code == 403);
        ensure!(
            refused.count() == 0,
            "{account} misses rights, or used some that it should not:\n{}",
            refused.lines(20)
        );
        let used: BTreeSet<Right> = mine.entries().iter().map(right).collect();
        let given = given(client, account).await?;
        let unused: Vec<&Right> = given.iter().filter(|right| !is_used(right, &used)).collect();
        let unexplained: Vec<String> =
            unused.iter().filter(|right| !is_elsewhere(right)).map(|(verb, what)| format!("{verb} {what}")).collect();
        eprintln!(
            "    {account}: {} requests, none refused; {} rights given, {} used here, {} used elsewhere",
            mine.count(),
            given.len(),
            given.len() - unused.len(),
            unused.len() - unexplained.len()
        );
        ensure!(unexplained.is_empty(), "{account} has rights that nothing uses: {}", unexplained.join(", "));
    }
    Ok(())
}

fn right(entry: &Entry) -> Right {
    (entry.verb.clone(), entry.kind())
}

/// Who may list or watch may be asked to get, and the other way round, by the libraries in between.
fn is_used(right: &Right, used: &BTreeSet<Right>) -> bool {
    used.contains(right)
        || READING.contains(&right.0.as_str())
            && READING.iter().any(|verb| used.contains(&((*verb).to_owned(), right.1.clone())))
}

fn is_elsewhere((verb, what): &Right) -> bool {
    ELSEWHERE.iter().any(|(known, kind, _)| (*known == "*" || known == verb) && kind == what)
}

/// Everything that roles and cluster roles give an account.
async fn given(client: &Client, account: &str) -> anyhow::Result<BTreeSet<Right>> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    let all = ListParams::default();
    for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&all).await? {
        if is_for(binding.subjects.as_deref(), account) {
            rules.extend(role(client, &binding.role_ref, "").await?);
        }
    }
    for binding in Api::<RoleBinding>::all(client.clone()).list(&all).await? {
        if is_for(binding.subjects.as_deref(), account) {
            let namespace = binding.metadata.namespace.clone().unwrap_or_default();
            rules.extend(role(client, &binding.role_ref, &namespace).await?);
        }
    }
    let mut rights = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                ensure!(
                    resource != "*" && group != "*",
                    "{account}: a rule gives everything of {group:?} {resource:?}"
                );
                for verb in &rule.verbs {
                    ensure!(verb != "*", "{account}: a rule gives every verb on {resource}");
                    let what = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
                    rights.insert((verb.clone(), what));
                }
            }
        }
    }
    Ok(rights)
}

fn is_for(subjects: Option<&[Subject]>, account: &str) -> bool {
    let is = |subject: &Subject| subject.name == account && subject.namespace.as_deref() == Some(NAMESPACE);
    subjects.unwrap_or_default().iter().any(is)
}

async fn role(client: &Client, reference: &RoleRef, namespace: &str) -> anyhow::Result<Vec<PolicyRule>> {
    let rules = if reference.kind == "Role" {
        Api::<Role>::namespaced(client.clone(), namespace).get(&reference.name).await?.rules
    } else {
        Api::<ClusterRole>::all(client.clone()).get(&reference.name).await?.rules
    };
    Ok(rules.unwrap_or_default())
}
