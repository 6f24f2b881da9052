use super::*;

/// Group, resource, verb, name of the object, whether in the controller's namespace only.
type Request = (String, String, String, String, bool);

fn requests(rules: &[Value], own: bool) -> BTreeSet<Request> {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    let mut all = BTreeSet::new();
    for rule in rules {
        let mut names = texts(rule, "resourceNames");
        if names.is_empty() {
            names.push(String::new());
        }
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for verb in texts(rule, "verbs") {
                    for name in &names {
                        all.insert((group.clone(), resource.clone(), verb.clone(), name.clone(), own));
                    }
                }
            }
        }
    }
    all
}

/// What the roles of a shipped file give.
fn shipped(file: &str) -> BTreeSet<Request> {
    let path = format!("{}/../../deploy/rbac/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut all = BTreeSet::new();
    for document in serde_yaml_ng::Deserializer::from_str(&text) {
        let object: Value = serde::Deserialize::deserialize(document).unwrap();
        let rules = object["rules"].as_array().cloned().unwrap_or_default();
        all.extend(requests(&rules, object["kind"] == "Role"));
    }
    assert!(!all.is_empty(), "{file} gives nothing: this shows nothing");
    all
}

fn needed(capabilities: &[Capability], serves: &[&str]) -> BTreeSet<Request> {
    let all = of(&capabilities.iter().copied().collect(), serves);
    all.iter().flat_map(|right| requests(&[right.rule()], right.place == Place::Own)).collect()
}

/// The files, and the capabilities behind each.
const PARTS: [(&str, &[Capability]); 3] = [
    ("remediator-wasm-machines.yaml", &[Capability::Machines]),
    ("remediator-wasm-power.yaml", &[Capability::Power]),
    ("remediator-wasm-jobs.yaml", &[Capability::Jobs]),
];

#[test]
fn the_shipped_roles_give_what_any_grant_needs_and_nothing_else() {
    let mut all = shipped("remediator-wasm.yaml");
    for (file, _) in PARTS {
        all.extend(shipped(file));
    }
    let every: Vec<Capability> = palisade_runtime::CAPABILITIES.to_vec();
    assert_eq!(all, needed(&every, &[]));
}

#[test]
fn each_shipped_file_is_what_its_capability_adds() {
    let others = [
        Capability::Target,
        Capability::Agent,
        Capability::Scheduling,
        Capability::Report,
        Capability::Fencing,
        Capability::Workloads,
        Capability::Approval,
    ];
    let base = shipped("remediator-wasm.yaml");
    assert_eq!(base, needed(&others, &[]), "the file that every component needs");
    for (file, capabilities) in PARTS {
        let (with, given) = (needed(capabilities, &[]), shipped(file));
        let added: BTreeSet<Request> = with.difference(&base).cloned().collect();
        assert!(added.is_subset(&given), "{file} lacks {:?}", added.difference(&given).collect::<Vec<_>>());
        assert!(given.is_subset(&with), "{file} gives more: {:?}", given.difference(&with).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_not_granted_is_not_asked_for() {
    let deletes = |capabilities: &[Capability]| {
        let all = needed(capabilities, &[]);
        all.into_iter()
            .filter(|(_, _, verb, ..)| verb == "delete")
            .map(|(_, resource, ..)| resource)
            .collect::<Vec<_>>()
    };
    assert_eq!(deletes(&[Capability::Target, Capability::Report]), [""; 0]);
    assert_eq!(deletes(&[Capability::Fencing]), ["pods"]);
    assert_eq!(deletes(&[Capability::Fencing, Capability::Workloads]), ["pods", "volumeattachments"]);
    assert_eq!(deletes(&[Capability::Machines]), ["machines", "machines"]);
    assert_eq!(deletes(&[Capability::Jobs]), ["jobs"]);
}

#[test]
fn a_kind_that_is_served_is_followed() {
    let gives =
        |serves: &[&str], resource: &str| needed(&[], serves).iter().any(|it| it.1 == resource && it.2 == "watch");
    assert!(gives(&[], "wasmremediations"));
    assert!(!gives(&[], "selfnoderemediations"));
    assert!(gives(&["SelfNodeRemediation"], "selfnoderemediations"));
    assert_eq!(needed(&[], &["NoSuchRemediation"]), needed(&[], &[]));
}

/// The list of kinds is that of the controllers.
#[test]
fn every_kind_that_is_followed_is_known_here() {
    use crate::remediation::kind::{Remediation, every_kind};
    every_kind!(K => {
        let group = <K as kube::Resource>::group(&());
        let plural = <K as kube::Resource>::plural(&());
        let known = KINDS.iter().any(|(kind, groups, resource, status)| {
            *kind == <K as Remediation>::KIND && groups[0] == group && *resource == plural
                && *status == format!("{plural}/status")
        });
        assert!(known, "{}", <K as Remediation>::KIND);
    });
}

#[test]
fn what_two_capabilities_need_is_named_once() {
    let all = of(&palisade_runtime::CAPABILITIES.into_iter().collect(), &[]);
    let machines: Vec<&Right> = all.iter().filter(|right| right.resource == "machines").collect();
    assert_eq!(machines.len(), 1, "get is part of get, list, delete: {machines:?}");
    let pods: Vec<&Right> = all.iter().filter(|right| right.resource == "pods" && right.verbs == ["delete"]).collect();
    assert_eq!(pods.len(), 1, "{pods:?}");
}
