//! All definitions, in one place.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{
    CustomizedUserRemediation, CustomizedUserRemediationConfig, CustomizedUserRemediationTemplate,
    FenceAgentsRemediation, FenceAgentsRemediationTemplate, MachineDeletionRemediation,
    MachineDeletionRemediationTemplate, NodeHealthCheck, Remediator, SelfNodeRemediation, SelfNodeRemediationConfig,
    SelfNodeRemediationTemplate, WasmRemediation, WasmRemediationTemplate,
};

/// The definitions of every kind that Palisade serves.
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    vec![
        NodeHealthCheck::crd(),
        SelfNodeRemediation::crd(),
        SelfNodeRemediationConfig::crd(),
        SelfNodeRemediationTemplate::crd(),
        MachineDeletionRemediation::crd(),
        MachineDeletionRemediationTemplate::crd(),
        FenceAgentsRemediation::crd(),
        FenceAgentsRemediationTemplate::crd(),
        CustomizedUserRemediation::crd(),
        CustomizedUserRemediationConfig::crd(),
        CustomizedUserRemediationTemplate::crd(),
        Remediator::crd(),
        WasmRemediation::crd(),
        WasmRemediationTemplate::crd(),
    ]
}
