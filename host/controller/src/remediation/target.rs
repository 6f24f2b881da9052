//! Which node a remediation is about.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use palisade_api::keys;

use super::kind::Remediation;

/// The node's name: by annotation, else the name of the remediation. An annotation that is empty names no node.
pub fn node_name<K: Remediation>(object: &K) -> String {
    match object.annotations().get(keys::remediation::NODE_NAME) {
        Some(name) => name.trim().to_owned(),
        None => object.name_any(),
    }
}

/// Whether every remediator has to keep away from the node.
pub fn is_excluded(node: &Node) -> bool {
    node.labels().get(keys::remediation::EXCLUDE).is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_api::SelfNodeRemediation;

    #[test]
    fn the_annotation_wins_over_the_name() {
        let mut remediation = SelfNodeRemediation::default();
        remediation.metadata.name = Some("node-1".into());
        assert_eq!(node_name(&remediation), "node-1");
        remediation.annotations_mut().insert(keys::remediation::NODE_NAME.into(), "node-2".into());
        assert_eq!(node_name(&remediation), "node-2");
        remediation.annotations_mut().insert(keys::remediation::NODE_NAME.into(), String::new());
        assert_eq!(node_name(&remediation), "");
    }
}
