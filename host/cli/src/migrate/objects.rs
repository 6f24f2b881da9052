//! Definitions and objects: what ours would refuse, drop or read otherwise. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use palisade_api::NodeHealthCheck;
use palisade_sandbox::api::Judge;
use serde_json::Value;

use super::look::{Object, Seen};
use super::{Item, Section};

fn ours() -> &'static BTreeMap<String, CustomResourceDefinition> {
    static OURS: OnceLock<BTreeMap<String, CustomResourceDefinition>> = OnceLock::new();
    OURS.get_or_init(|| palisade_api::all_crds().into_iter().map(|one| (one.name_any(), one)).collect())
}

/// The groups of the kinds that Palisade takes over.
pub fn groups() -> BTreeSet<&'static str> {
    ours().values().map(|one| one.spec.group.as_str()).filter(|group| group.ends_with("medik8s.io")).collect()
}

fn definition_of(object: &Object) -> Option<&'static CustomResourceDefinition> {
    ours().values().find(|one| one.spec.group == object.group && one.spec.names.kind == object.kind)
}

/// Whether Palisade carries out remediations of this kind, or reads templates of it.
pub fn is_ours(object: &Object) -> bool {
    definition_of(object).is_some()
}

/// All findings.
pub fn find(seen: &Seen) -> Vec<Item> {
    let mut found = definitions(seen);
    for object in &seen.objects {
        let Some(definition) = definition_of(object) else { continue };
        // Remediations are over before anything is replaced.
        if object.kind.ends_with("Remediation") {
            continue;
        }
        match &*judge(definition) {
            Ok(judge) => found.extend(of_object(judge, object)),
            Err(error) => found.push(Item::new(Section::Blocks, "not-seen", object.title(), error.clone())),
        }
    }
    found.extend(policies(seen));
    found
}

type Judgement = Arc<Result<Judge, String>>;

/// Made once for each definition: compiling its rules takes longer than judging many objects.
fn judge(definition: &CustomResourceDefinition) -> Judgement {
    static JUDGES: Mutex<BTreeMap<String, Judgement>> = Mutex::new(BTreeMap::new());
    // Nothing panics while it holds the lock; if something did, the map is still a map.
    let mut judges = JUDGES.lock().unwrap_or_else(PoisonError::into_inner);
    let made = judges.entry(definition.name_any()).or_insert_with(|| {
        let value = serde_json::to_value(definition).map_err(anyhow::Error::from);
        Arc::new(value.and_then(|value| Judge::new(&value)).map_err(|error| error.to_string()))
    });
    Arc::clone(made)
}

fn definitions(seen: &Seen) -> Vec<Item> {
    let mut found = Vec::new();
    let mut missing: BTreeSet<&str> = ours().values().map(|one| one.spec.names.kind.as_str()).collect();
    let mut differ = Vec::new();
    for theirs in &seen.definitions {
        let Some(mine) = ours().get(&theirs.name_any()) else { continue };
        missing.remove(mine.spec.names.kind.as_str());
        let about = format!("CustomResourceDefinition {}", theirs.name_any());
        if theirs.metadata.deletion_timestamp.is_some() {
            let what = "it is being deleted, and every object of its kind with it";
            found.push(Item::new(Section::Blocks, "definition-deleted", about.clone(), what).remedy(
                "save its objects (kubectl get -o yaml), wait until it is gone, and let the installation make it anew",
            ));
        }
        let known: BTreeSet<&str> = mine.spec.versions.iter().map(|version| version.name.as_str()).collect();
        let stored = theirs.status.as_ref().and_then(|status| status.stored_versions.as_deref()).unwrap_or_default();
        let strange: Vec<&str> = stored.iter().map(String::as_str).filter(|version| !known.contains(version)).collect();
        if !strange.is_empty() {
            let what = format!(
                "objects may be stored as {}, which Palisade's definition does not have ({})",
                strange.join(", "),
                known.iter().copied().collect::<Vec<_>>().join(", ")
            );
            found.push(Item::new(Section::Blocks, "stored-versions", about.clone(), what).remedy(
                "write every object once in the version that both have, then take the other out of status.storedVersions",
            ));
        }
        if theirs.spec.conversion.as_ref().is_some_and(|conversion| conversion.strategy != "None") {
            let what =
                "a webhook of theirs converts its versions; Palisade's definition has one version and no conversion";
            found.push(Item::new(Section::Changes, "conversion", about, what));
        }
        let schema = |one: &CustomResourceDefinition| {
            one.spec.versions.first().and_then(|version| serde_json::to_value(&version.schema).ok())
        };
        if schema(theirs) != schema(mine) {
            differ.push(mine.spec.names.kind.as_str());
        }
    }
    if !differ.is_empty() {
        let what = format!(
            "the definitions of {} are replaced: same group, version, fields and defaults, more fields, and the rules of \
             their webhooks as rules in CEL",
            differ.join(", ")
        );
        found.push(
            Item::new(Section::Changes, "definitions", "CustomResourceDefinitions", what)
                .remedy("objects stay as they are; keep a copy of the definitions to go back (deploy/migration.md)"),
        );
    }
    if !missing.is_empty() {
        let what = format!("new: {}", missing.into_iter().collect::<Vec<_>>().join(", "));
        found.push(Item::new(Section::Know, "definitions-new", "CustomResourceDefinitions", what));
    }
    found
}

/// The value at a path as Kubernetes writes it, as far as it leads.
fn value_at<'a>(object: &'a Value, field: &str) -> &'a Value {
    let parts = field.split(['.', '[', ']']).filter(|part| !part.is_empty());
    parts.fold(object, |value, part| match part.parse::<usize>() {
        Ok(index) if value.is_array() => &value[index],
        _ => &value[part],
    })
}

/// Enough of a value to recognise it.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 120 { text.chars().take(117).chain("...".chars()).collect() } else { text }
}

fn of_object(judge: &Judge, object: &Object) -> Vec<Item> {
    let mut found = Vec::new();
    let judged = judge.object(&object.value);
    for (field, message) in judged.refused {
        let value = shown(value_at(&object.value, &field));
        let what = format!(
            "{field} is {value}, which Palisade's definition refuses: {message}. The object stays, but changes of it are \
             refused"
        );
        found.push(
            Item::new(Section::Blocks, "refused", object.title(), what)
                .remedy(format!("correct it now: kubectl edit {}", object.kubectl())),
        );
    }
    for field in judged.dropped {
        let value = shown(value_at(&object.value, &field));
        let what = format!("{field} is {value}, which Palisade's definition does not know: it goes at the next write");
        found.push(Item::new(Section::Changes, "dropped", object.title(), what));
    }
    found
}

/// What policies say that their operator takes otherwise, or that nothing of ours serves.
fn policies(seen: &Seen) -> Vec<Item> {
    let mut found = Vec::new();
    for policy in seen.policies() {
        if let Err(error) = serde_json::from_value::<NodeHealthCheck>(policy.value.clone()) {
            let what = format!("Palisade cannot read it, and would not act on it: {error}");
            let remedy = format!("correct it: kubectl edit {}", policy.kubectl());
            found.push(Item::new(Section::Blocks, "unreadable", policy.title(), what).remedy(remedy));
        }
        for field in ["minHealthy", "maxUnhealthy"] {
            let value = policy.said(&format!("/spec/{field}"));
            if !value.is_empty() && value.parse::<u64>().is_ok() {
                let what = format!(
                    "spec.{field} is the text {value:?}, with which their operator remediates nothing; here it is the \
                     number {value}, and the policy acts"
                );
                found.push(Item::new(Section::Changes, "threshold", policy.title(), what));
            }
        }
        if policy.value.pointer("/spec/pauseRequests/0").is_some() {
            let what = format!("it is paused, and stays so: {}", policy.list("/spec/pauseRequests").join(", "));
            found.push(Item::new(Section::Know, "paused", policy.title(), what));
        }
        found.extend(templates(seen, policy));
    }
    found
}

fn templates(seen: &Seen, policy: &Object) -> Vec<Item> {
    let steps = policy.value.pointer("/spec/escalatingRemediations").and_then(Value::as_array);
    let steps = steps.into_iter().flatten().filter_map(|step| step.get("remediationTemplate"));
    let all = policy.value.pointer("/spec/remediationTemplate").into_iter().chain(steps);
    let mut found = Vec::new();
    for reference in all {
        let said = |field: &str| reference[field].as_str().unwrap_or_default();
        let (kind, name, namespace) = (said("kind"), said("name"), said("namespace"));
        let group = said("apiVersion").split('/').next().unwrap_or_default();
        let template = seen
            .objects
            .iter()
            .find(|one| one.group == group && one.kind == kind && one.name == name && (one.namespace == namespace));
        let serves = ours().values().any(|one| one.spec.group == group && one.spec.names.kind == kind);
        let title = format!("{kind} {namespace}/{name}");
        if template.is_none() {
            let what =
                format!("it names {title}, which does not exist: like theirs, Palisade disables the policy until then");
            found.push(Item::new(Section::Know, "template-missing", policy.title(), what));
        }
        if !serves {
            let what = format!(
                "it names {title}; no remediator of Palisade serves that kind, so its own operator has to stay. Palisade \
                 makes the remediation, and that operator carries it out"
            );
            found.push(Item::new(Section::Know, "template-stays", policy.title(), what));
        }
    }
    found
}
