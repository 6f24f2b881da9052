//! From an entry of the list to the Job of one remediation. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};
use k8s_openapi::api::core::v1::{Affinity, Container, EnvVar, NodeAffinity, NodeSelector, NodeSelectorRequirement};
use k8s_openapi::api::core::v1::{NodeSelectorTerm, PodSpec, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;

/// Label of the `CronJobs` that are on the list; value `true`.
pub const LISTED: &str = "palisade.dev/remediation-job";
/// Annotation: what the success of the job proves. The only value is [`POWERED_OFF`].
pub const EVIDENCE: &str = "palisade.dev/evidence";
/// The job switched the machine off and read that back.
pub const POWERED_OFF: &str = "powered-off";
/// Annotation: where it runs, [`OTHER_NODE`] (default) or [`TARGET_NODE`].
pub const RUN_ON: &str = "palisade.dev/run-on";
/// On any node but the target.
pub const OTHER_NODE: &str = "other-node";
/// On the target. Its kubelet must be alive, so it never is evidence.
pub const TARGET_NODE: &str = "target-node";
/// Annotation: namespaces whose remediations may use it beside the list's own, separated by commas; `*` is all.
pub const NAMESPACES: &str = "palisade.dev/allowed-namespaces";
/// Label of jobs: UID of the remediation.
pub const REMEDIATION: &str = "palisade.dev/remediation-uid";
/// Label of jobs: name on the list.
pub const ENTRY: &str = "palisade.dev/remediation-job-name";
/// Annotation of jobs: UID of the fence intent that stood when it was made.
pub const INTENT: &str = "palisade.dev/fence-intent";
/// A job that says nothing about its end is ended after this time, in seconds.
const DEADLINE: i64 = 600;
/// A job that is over is kept so long, in seconds, and at least as long as the second.
const KEPT: (i32, i32) = (3_600, 300);

/// The remediation that a job is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct For<'a> {
    /// UID of the remediation.
    pub uid: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its API version.
    pub api_version: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its node.
    pub node: &'a str,
    /// The boot that is to end; empty when nobody asked for an end.
    pub boot: &'a str,
    /// UID of the fence intent; empty when there is none.
    pub intent: &'a str,
}

/// Whether success is evidence.
pub fn is_evidence(entry: &CronJob) -> bool {
    entry.annotations().get(EVIDENCE).is_some_and(|value| value == POWERED_OFF)
}

/// Why an entry is not used for remediations of this namespace; names field, value and remedy.
pub fn check(entry: &CronJob, namespace: &str) -> Result<(), String> {
    let named = format!("CronJob {}/{}", entry.namespace().unwrap_or_default(), entry.name_any());
    let annotation = |key: &str| entry.annotations().get(key).map(String::as_str);
    if entry.spec.suspend != Some(true) {
        return Err(format!("{named}: spec.suspend must be true, or it also runs without a remediation"));
    }
    let own = entry.namespace().as_deref() == Some(namespace);
    let listed = annotation(NAMESPACES).unwrap_or_default().split(',').map(str::trim);
    if !own && !listed.clone().any(|allowed| allowed == "*" || allowed == namespace) {
        return Err(format!(
            "{named} is not allowed for remediations of namespace {namespace}; add it to annotation {NAMESPACES}"
        ));
    }
    if let Some(value) = annotation(EVIDENCE).filter(|value| *value != POWERED_OFF) {
        return Err(format!("{named}: annotation {EVIDENCE} is {value:?}; the only value is {POWERED_OFF}"));
    }
    match annotation(RUN_ON).unwrap_or(OTHER_NODE) {
        TARGET_NODE if annotation(EVIDENCE).is_some() => {
            return Err(format!(
                "{named}: a job that runs on the target cannot prove that it is off; remove {EVIDENCE}"
            ));
        }
        OTHER_NODE | TARGET_NODE => {}
        value => {
            return Err(format!("{named}: annotation {RUN_ON} is {value:?}; use {OTHER_NODE} or {TARGET_NODE}"));
        }
    }
    let Some(pod) = pod(entry) else { return Err(format!("{named}: spec.jobTemplate has no pod")) };
    let containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    for container in containers {
        let image = container.image.as_deref().unwrap_or_default();
        if !image.contains("@sha256:") {
            return Err(format!(
                "{named}: image {image:?} of container {} has no digest; write it as NAME@sha256:…, so that what runs is \
                 what was reviewed",
                container.name
            ));
        }
    }
    Ok(())
}

fn pod(entry: &CronJob) -> Option<&PodSpec> {
    entry.spec.job_template.spec.as_ref()?.template.spec.as_ref()
}

/// Name of the job: the same in every try, so that there is one.
pub fn name(entry: &str, uid: &str) -> String {
    let head: String = entry.chars().take(40).collect();
    let tail: String = uid.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    format!("{}-{}", head.trim_end_matches(['-', '.']), tail.to_ascii_lowercase())
}

/// The Job for a remediation.
pub fn build(entry: &CronJob, about: &For<'_>) -> Option<Job> {
    let template = &entry.spec.job_template;
    let mut spec: JobSpec = template.spec.clone()?;
    let listed = entry.name_any();
    let labels =
        [(REMEDIATION.to_owned(), about.uid.to_owned()), (ENTRY.to_owned(), listed.chars().take(63).collect())];
    // Once, whatever the template says.
    spec.backoff_limit = Some(0);
    spec.completions = Some(1);
    spec.parallelism = Some(1);
    spec.suspend = None;
    spec.active_deadline_seconds = Some(spec.active_deadline_seconds.filter(|limit| *limit > 0).unwrap_or(DEADLINE));
    spec.ttl_seconds_after_finished = Some(spec.ttl_seconds_after_finished.unwrap_or(KEPT.0).max(KEPT.1));
    let on_target = entry.annotations().get(RUN_ON).is_some_and(|value| value == TARGET_NODE);
    spec.template.metadata.get_or_insert_default().labels.get_or_insert_default().extend(labels.clone());
    let pod = spec.template.spec.as_mut()?;
    pod.restart_policy = Some("Never".to_owned());
    // A right that nobody asked for is not given.
    pod.automount_service_account_token.get_or_insert(false);
    place(pod, about.node, on_target);
    for container in pod.containers.iter_mut().chain(pod.init_containers.iter_mut().flatten()) {
        tell(container, about);
    }
    let own = entry.namespace().as_deref() == Some(about.namespace);
    Some(Job {
        metadata: ObjectMeta {
            name: Some(name(&listed, about.uid)),
            namespace: entry.namespace(),
            labels: Some(
                template
                    .metadata
                    .as_ref()
                    .and_then(|meta| meta.labels.clone())
                    .unwrap_or_default()
                    .into_iter()
                    .chain(labels)
                    .collect::<BTreeMap<_, _>>(),
            ),
            annotations: Some(BTreeMap::from([
                (
                    "palisade.dev/remediation".to_owned(),
                    format!("{} {}/{} for node {}", about.kind, about.namespace, about.name, about.node),
                ),
                (INTENT.to_owned(), about.intent.to_owned()),
            ])),
            // Owners do not reach across namespaces; there the label tells whose it is.
            owner_references: own.then(|| {
                vec![OwnerReference {
                    api_version: about.api_version.to_owned(),
                    kind: about.kind.to_owned(),
                    name: about.name.to_owned(),
                    uid: about.uid.to_owned(),
                    ..OwnerReference::default()
                }]
            }),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

/// What the job is about, as values: nothing is written into the text of a script.
fn tell(container: &mut Container, about: &For<'_>) {
    let values = [
        ("PALISADE_NODE_NAME", about.node),
        ("PALISADE_BOOT_ID", about.boot),
        ("PALISADE_REMEDIATION_UID", about.uid),
        ("PALISADE_REMEDIATION_NAME", about.name),
        ("PALISADE_REMEDIATION_NAMESPACE", about.namespace),
    ];
    let env = container.env.get_or_insert_default();
    env.retain(|known| values.iter().all(|(name, _)| *name != known.name));
    // `$(` would be replaced by Kubernetes; names of objects have none, and what has is doubled.
    let escaped = |value: &str| Some(value.replace("$(", "$$("));
    env.extend(values.map(|(name, value)| EnvVar { name: name.to_owned(), value: escaped(value), value_from: None }));
    // The end of what it says is kept with its pod, at most 4 KiB, and shown from there.
    container.termination_message_policy.get_or_insert_with(|| "FallbackToLogsOnError".to_owned());
}

fn place(pod: &mut PodSpec, node: &str, on_target: bool) {
    let affinity: &mut NodeAffinity =
        pod.affinity.get_or_insert_with(Affinity::default).node_affinity.get_or_insert_default();
    let required: &mut NodeSelector =
        affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default();
    let requirement = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: if on_target { "In" } else { "NotIn" }.to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    // Terms are alternatives: each gets it.
    for term in &mut required.node_selector_terms {
        term.match_fields.get_or_insert_default().push(requirement.clone());
    }
    pod.node_name = None;
    if on_target {
        pod.tolerations
            .get_or_insert_default()
            .push(Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() });
    }
}

#[cfg(test)]
#[path = "definition_tests.rs"]
mod tests;
