//! Rehearsals whose end is known.

use std::path::Path;

use super::script::Script;

const POLICY: &str = r"
policy:
  apiVersion: remediation.medik8s.io/v1alpha1
  kind: NodeHealthCheck
  metadata: { name: workers }
  spec:
    minHealthy: 51%
    remediationTemplate: { apiVersion: test.example/v1, kind: FooTemplate, namespace: default, name: foo }
";

fn wrong(text: &str) -> Vec<String> {
    let script: Script = serde_yaml_ng::from_str(text).unwrap();
    let policy = script.policy(Path::new("test.yaml")).unwrap();
    script.play(&policy).unwrap().wrong
}

fn refused(text: &str) -> String {
    let played = serde_yaml_ng::from_str(text).map_err(anyhow::Error::from).and_then(|script: Script| {
        let policy = script.policy(Path::new("test.yaml"))?;
        script.play(&policy)
    });
    format!("{:#}", played.unwrap_err())
}

#[test]
fn a_node_is_remediated_when_its_time_is_over_and_let_go_when_it_is_healed() {
    let when = "
given: { nodes: [{ name: worker-, count: 3 }], remediation: { healsAfter: 2m } }
when: [{ at: 1m, nodes: [worker-1], conditions: { Ready: Unknown } }]
";
    let expect = "
expect:
  - { at: 6m, remediated: [], phase: Enabled }
  - { at: 6m1s, remediated: [worker-1], by: { worker-1: Foo }, phase: Remediating, healthy: 2 }
  - { at: 8m1s, remediated: [], phase: Enabled, healthy: 3 }
neverRemediated: [worker-2, worker-3]
";
    assert_eq!(wrong(&format!("{POLICY}{when}{expect}")), [""; 0]);
    // What is expected and does not happen is said.
    let expect = "
expect:
  - { at: 7m, remediated: [worker-2], by: { worker-1: Bar }, blocked: { worker-1: storm }, phase: Paused, healthy: 3 }
neverRemediated: [worker-*]
";
    assert_eq!(
        wrong(&format!("{POLICY}{when}{expect}")),
        [
            "at 7m0s: remediated are [worker-1], expected [worker-2]",
            "at 7m0s: worker-1 is remediated by Foo, expected Bar",
            "at 7m0s: worker-1 is held back by nothing, expected storm",
            "at 7m0s: the phase is Remediating, expected Paused",
            "at 7m0s: 2 nodes are healthy, expected 3",
            "at 6m0.001s: worker-1 is remediated, and neverRemediated names it",
        ]
    );
}

/// The chapter "Before a policy acts" shows a file that passes.
#[test]
fn the_file_of_the_manual_passes() {
    let manual = include_str!("../../../../../deploy/README.md");
    let file = manual.split("<!-- policy test -->").nth(1).and_then(|rest| rest.split("```").nth(1)).unwrap();
    assert_eq!(wrong(file.strip_prefix("yaml").unwrap()), [""; 0]);
}

#[test]
fn too_many_sick_nodes_are_left_alone() {
    let text = format!(
        "{POLICY}
given: {{ nodes: [{{ name: worker-, count: 4 }}] }}
when: [{{ at: 0s, nodes: [worker-1, worker-2], conditions: {{ Ready: 'False' }} }}]
expect: [{{ at: 1h, remediated: [], blocked: {{ worker-1: threshold, worker-2: threshold }} }}]
"
    );
    assert_eq!(wrong(&text), [""; 0]);
}

#[test]
fn a_ladder_is_climbed_and_a_veto_holds() {
    let text = "
policy:
  kind: NodeHealthCheck
  apiVersion: remediation.medik8s.io/v1alpha1
  metadata: { name: ladder }
  spec:
    minHealthy: 51%
    unhealthyConditions: [{ type: Ready, status: Unknown, duration: 10s }]
    escalatingRemediations:
      - { order: 2, timeout: 10m, remediationTemplate: { apiVersion: a/v1, kind: BarTemplate, name: b, namespace: n } }
      - { order: 1, timeout: 1m, remediationTemplate: { apiVersion: a/v1, kind: FooTemplate, name: f, namespace: n } }
given: { nodes: [{ name: w, count: 5 }] }
when:
  - { at: 0s, nodes: [w1, w2], conditions: { Ready: Unknown } }
  - at: 0s
    nodes: [w2]
    annotations: { palisade.dev/veto: owner=ann; until=never; reason=looking at it }
expect:
  - { at: 30s, by: { w1: Foo }, remediated: [w1], blocked: { w2: veto } }
  - { at: 2m, by: { w1: Bar }, remediated: [w1], blocked: { w2: veto } }
  - { at: 20m, blocked: { w1: noTemplateLeft } }
";
    assert_eq!(wrong(text), [""; 0]);
}

#[test]
fn a_file_that_cannot_be_meant_is_refused_with_the_place() {
    let given = "given: { nodes: [{ name: a }] }\n";
    let cases = [
        (format!("{POLICY}{given}expect: [{{ at: 1m, remedied: [] }}]"), "unknown field `remedied`"),
        (format!("{POLICY}{given}expect: [{{ at: 1m, remediated: [b] }}]"), "expect[0]: there is no node \"b\""),
        (format!("{POLICY}{given}expect: []"), "expect is empty"),
        (format!("{POLICY}{given}when: [{{ at: 1, nodes: [a] }}]\nexpect: []"), "at"),
        (
            format!("{POLICY}{given}when: [{{ at: 1s, nodes: ['b*'] }}]\nexpect: [{{ at: 1m }}]"),
            "when[0].nodes: \"b*\" matches no node",
        ),
        (
            format!("{POLICY}given: {{ nodes: [{{ name: a, count: 0 }}] }}\nexpect: [{{ at: 1m }}]"),
            "count 0 is not between 1 and 10000",
        ),
        (
            format!("policy: {{ kind: NodeHealthCheck, spec: {{}} }}\n{given}expect: [{{ at: 1m }}]"),
            "has to name a template",
        ),
    ];
    for (text, why) in cases {
        let said = refused(&text);
        assert!(said.contains(why), "{why:?} is not in {said:?}");
    }
}
