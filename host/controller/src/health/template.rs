//! Whether the templates of a policy can be used.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use palisade_api::keys::remediation::{MULTIPLE_TEMPLATES, TEMPLATE_SUFFIX};
use palisade_api::reasons::reason;
use palisade_core::health::{Hold, METAL3_TEMPLATE, Step};
use serde_json::Value;

use super::kinds::{Kind, KindError, Kinds};

/// Where Metal3 looks for its remediations on OpenShift; elsewhere beside the Machines of Cluster API.
const METAL3_NAMESPACE: &str = "openshift-machine-api";

/// A template that can be used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template {
    /// Specification of the remediations.
    pub spec: Value,
    /// The remediator finds the node by annotation, so remediations need not have its name.
    pub multiple: bool,
}

/// The steps of a policy, as far as they can be used.
#[derive(Default)]
pub(super) struct Templates {
    /// By step.
    pub usable: BTreeMap<usize, Template>,
    /// The remediation kinds that exist.
    pub kinds: Vec<Arc<Kind>>,
    /// Why nothing may start: the first problem.
    pub hold: Option<Hold>,
}

/// Looks up every template. What can only be a mistake of the user ends in `hold`; what the API server refuses is an
/// error and tried again.
pub(super) async fn look_up(kinds: &Kinds, steps: &[Step], openshift: bool) -> Result<Templates, KindError> {
    let mut found = Templates::default();
    for (index, step) in steps.iter().enumerate() {
        let template = match kinds.get(&step.api_version, &step.template_kind).await {
            Ok(kind) => check(&kind, step, openshift),
            Err(unknown @ KindError::Unknown { .. }) => Err(not_found(unknown.to_string())),
            // What runs already can be ended without its template.
            Err(unreadable @ KindError::Unreadable { .. }) => {
                Err(Hold { reason: reason::TEMPLATE_UNREADABLE, message: unreadable.to_string() })
            }
            Err(error) => return Err(error),
        };
        match template {
            Ok(template) => {
                found.usable.insert(index, template);
            }
            Err(hold) => found.distrust(hold),
        }
        match kinds.get(&step.api_version, &step.kind).await {
            Ok(kind) => found.kinds.push(kind),
            Err(unknown @ KindError::Unknown { .. }) => found.distrust(not_found(unknown.to_string())),
            Err(error) => return Err(error),
        }
    }
    found
        .kinds
        .sort_by(|a, b| (&a.resource.api_version, &a.resource.kind).cmp(&(&b.resource.api_version, &b.resource.kind)));
    found.kinds.dedup_by(|a, b| a.resource == b.resource);
    if let Some(hold) = ambiguous(steps, &found.usable) {
        found.distrust(hold);
    }
    Ok(found)
}

impl Templates {
    fn distrust(&mut self, hold: Hold) {
        self.hold.get_or_insert(hold);
    }
}

fn check(kind: &Kind, step: &Step, openshift: bool) -> Result<Template, Hold> {
    let name = describe(step, kind.namespaced);
    if step.kind == step.template_kind || step.kind.is_empty() {
        return Err(invalid(format!(
            "{name} is no template: the kind of a template ends in {TEMPLATE_SUFFIX}; correct kind in spec.remediationTemplate"
        )));
    }
    if kind.namespaced && step.namespace.is_empty() {
        return Err(not_found(format!(
            "{name} not found: {} is namespaced, but the reference has no namespace; set namespace in spec.remediationTemplate",
            step.template_kind
        )));
    }
    let object = kind
        .get(&step.namespace, &step.template)
        .ok_or_else(|| not_found(format!("{name} not found; create it or correct spec.remediationTemplate")))?;
    let Some(template) = object.data.pointer("/spec/template").filter(|template| template.is_object()) else {
        return Err(invalid(format!("{name} has no object at spec.template; add spec.template.spec to it")));
    };
    if openshift && step.template_kind == METAL3_TEMPLATE && step.namespace != METAL3_NAMESPACE {
        return Err(invalid(format!(
            "{name} must be in namespace {METAL3_NAMESPACE} on OpenShift, beside the Machines; create it there"
        )));
    }
    Ok(Template {
        spec: template.get("spec").cloned().unwrap_or(Value::Null),
        multiple: object.annotations().contains_key(MULTIPLE_TEMPLATES),
    })
}

/// Two templates of one kind make remediations of the same name, unless the remediator says that it can tell them apart.
fn ambiguous(steps: &[Step], usable: &BTreeMap<usize, Template>) -> Option<Hold> {
    steps.iter().enumerate().find_map(|(index, step)| {
        let same_kind = steps.iter().filter(|other| other.template_kind == step.template_kind).count() > 1;
        let told_apart = usable.get(&index).is_none_or(|template| template.multiple);
        (same_kind && !told_apart).then(|| {
            invalid(format!(
                "spec.escalatingRemediations names several templates of kind {}, but {} lacks annotation {MULTIPLE_TEMPLATES}; use one template of that kind, or a remediator that supports several",
                step.template_kind, step.template
            ))
        })
    })
}

fn describe(step: &Step, namespaced: bool) -> String {
    if namespaced {
        format!("{} {}/{}", step.template_kind, step.namespace, step.template)
    } else {
        format!("{} {}", step.template_kind, step.template)
    }
}

fn not_found(message: String) -> Hold {
    Hold { reason: reason::TEMPLATE_NOT_FOUND, message }
}

fn invalid(message: String) -> Hold {
    Hold { reason: reason::TEMPLATE_INVALID, message }
}
