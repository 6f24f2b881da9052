//! The templates of a policy, in the order in which they are tried.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use palisade_api::keys::remediation::TEMPLATE_SUFFIX;
use palisade_api::node_health_check::NodeHealthCheckSpec;

use super::lease::CLASSIC;
use super::view::RemediationView;

/// Kind of the one foreign template that needs more than a template usually does.
pub const METAL3_TEMPLATE: &str = "Metal3RemediationTemplate";

/// One template.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// Group and version of template and remediation.
    pub api_version: String,
    /// Kind of the template.
    pub template_kind: String,
    /// Kind of the remediation.
    pub kind: String,
    /// Namespace of both; empty for cluster scope.
    pub namespace: String,
    /// Name of the template.
    pub template: String,
    /// How long it may take; `None`: as long as it takes.
    pub timeout: Option<Duration>,
}

impl Step {
    fn new(reference: &ObjectReference, timeout: Option<Duration>) -> Self {
        let template_kind = reference.kind.clone().unwrap_or_default();
        let kind = template_kind.strip_suffix(TEMPLATE_SUFFIX).unwrap_or(&template_kind).to_owned();
        Self {
            api_version: reference.api_version.clone().unwrap_or_default(),
            template_kind,
            kind,
            namespace: reference.namespace.clone().unwrap_or_default(),
            template: reference.name.clone().unwrap_or_default(),
            timeout,
        }
    }

    /// For how long the node's lease is asked for; it is written a minute longer.
    pub fn lease_duration(&self) -> Duration {
        self.timeout.unwrap_or(CLASSIC)
    }

    /// Whether the remediation was made from this template. One of which nobody recorded the template belongs to the
    /// template of its kind when it has the name of its node, as remediations had before there were several templates.
    pub fn made(&self, remediation: &RemediationView) -> bool {
        let same_kind =
            remediation.key.kind == self.kind && group(&remediation.key.api_version) == group(&self.api_version);
        same_kind
            && match &remediation.template {
                // Templates of one name in two namespaces are two templates; remediations live beside theirs.
                Some(template) => {
                    let namespace = &remediation.key.namespace;
                    *template == self.template && (namespace.is_empty() || *namespace == self.namespace)
                }
                None => remediation.key.name == remediation.node,
            }
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The templates of a policy; escalating ones by their order.
pub fn steps(spec: &NodeHealthCheckSpec) -> Vec<Step> {
    if let Some(reference) = &spec.remediation_template {
        return vec![Step::new(reference, None)];
    }
    let mut ladder: Vec<_> = spec.escalating_remediations.iter().collect();
    ladder.sort_by_key(|step| step.order);
    ladder.iter().map(|step| Step::new(&step.remediation_template, Some(step.timeout.to_std()))).collect()
}
