//! What the annotations of a node name.

use super::find::by_node;
use super::{CLUSTER_API, OPENSHIFT};
use palisade_runtime::RefusalReason;

fn named(annotations: &[(&'static str, &'static str)]) -> palisade_runtime::Answered<(String, String, String)> {
    let annotations = annotations.to_vec();
    by_node("n1", |key| annotations.iter().find(|(known, _)| *known == key).map(|(_, value)| *value))
        .map(|found| (found.api_version, found.namespace, found.name))
}

#[test]
fn both_apis_are_known() {
    let openshift = named(&[("machine.openshift.io/machine", "ns/m")]).unwrap();
    assert_eq!(openshift, (OPENSHIFT.into(), "ns".into(), "m".into()));
    let capi = named(&[("cluster.x-k8s.io/machine", "m"), ("cluster.x-k8s.io/cluster-namespace", "ns")]).unwrap();
    assert_eq!(capi, (CLUSTER_API.into(), "ns".into(), "m".into()));
}

#[test]
fn md_11_every_malformed_annotation_has_its_own_message() {
    let mut messages: Vec<String> = ["ns", "a/b/c", "", "/m", "ns/"]
        .into_iter()
        .map(|value| match named(&[("machine.openshift.io/machine", value)]) {
            Err(RefusalReason::Refused(why)) => why,
            other => panic!("{value:?}: {other:?}"),
        })
        .collect();
    assert!(messages.iter().all(|message| message.contains("NAMESPACE/NAME")));
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 5);
}

#[test]
fn md_10_a_node_without_a_link_says_which_link_is_missing() {
    match named(&[]) {
        Err(RefusalReason::NotFound(why)) => assert!(why.contains("machine.openshift.io/machine"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(named(&[("cluster.x-k8s.io/machine", "m")]).is_err(), "a namespace is needed");
}
