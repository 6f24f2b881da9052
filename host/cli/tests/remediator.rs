//! `palisade remediator` as its users call it. What needs other compilers is in `cargo xtask kit` and `languages`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

struct Answer {
    code: i32,
    json: Value,
    text: String,
}

fn palisade(folder: &Path, arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .arg("remediator")
        .args(arguments)
        .env("PALISADE_CACHE", env!("CARGO_TARGET_TMPDIR"))
        .env("DOCKER_CONFIG", folder)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Answer {
        code: output.status.code().unwrap(),
        json: serde_json::from_str(&text).unwrap_or_default(),
        text: text + &said,
    }
}

fn guest(name: &str) -> String {
    let target = || {
        let moved = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        moved.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")).join("guests")
    };
    let folder = std::env::var_os("PALISADE_GUESTS").map_or_else(target, PathBuf::from);
    let file = folder.join(format!("{name}.wasm"));
    assert!(file.exists(), "{}: run `cargo xtask guests` first", file.display());
    file.to_str().unwrap().to_owned()
}

/// A project whose component is made elsewhere.
fn project(folder: &Path) -> PathBuf {
    let made = palisade(folder, &["new", "mine", "--language", "c", "--output", "json"]);
    assert_eq!((made.code, &made.json["name"]), (0, &Value::from("mine")), "{}", made.text);
    folder.join("mine")
}

#[test]
fn inspect_describes_a_component_and_says_why_something_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let read = palisade(folder.path(), &["inspect", &guest("self-node"), "--output", "json"]);
    assert_eq!(read.code, 0, "{}", read.text);
    assert_eq!(read.json["name"], "self-node");
    assert_eq!(read.json["contract"], "palisade:remediation@0.1.0");
    assert_eq!(read.json["capabilities"], serde_json::json!(["fencing", "workloads", "report"]));
    assert!(read.json["digest"].as_str().unwrap().starts_with("sha256:") && read.json["bytes"].as_u64() > Some(1_000));

    let text = folder.path().join("text.wasm");
    std::fs::write(&text, "hello").unwrap();
    let refused = palisade(folder.path(), &["inspect", text.to_str().unwrap(), "--output", "json"]);
    assert_eq!((refused.code, &refused.json["refused"]), (1, &Value::from(true)));
    assert!(refused.text.contains("not a WebAssembly file"), "{}", refused.text);
}

#[test]
fn rbac_prints_what_the_controller_needs_for_what_a_component_is_granted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let printed = |name: &str, more: &[&str]| {
        let guest = guest(name);
        palisade(at, &[&["rbac", guest.as_str(), "--output", "json"], more].concat())
    };
    let gives = |answer: &Answer, kind: &str, resource: &str, verb: &str| {
        let objects = answer.json["items"].as_array().unwrap().iter().filter(|object| object["kind"] == kind);
        let mut all = objects.flat_map(|object| object["rules"].as_array().unwrap());
        let is = |list: &Value, wanted: &str| list.as_array().unwrap().iter().any(|it| it == wanted);
        all.any(|rule| is(&rule["resources"], resource) && is(&rule["verbs"], verb))
    };
    let metal3 = printed("metal3", &[]);
    assert_eq!(metal3.code, 0, "{}", metal3.text);
    assert!(gives(&metal3, "ClusterRole", "baremetalhosts", "patch"), "{}", metal3.text);
    assert!(!gives(&metal3, "ClusterRole", "machines", "delete"), "{}", metal3.text);
    assert!(metal3.json["items"].as_array().unwrap().iter().all(|object| object["kind"] != "Role"), "{}", metal3.text);

    let script = printed("script", &["--namespace", "elsewhere"]);
    assert!(gives(&script, "Role", "jobs", "create") && script.text.contains("elsewhere"), "{}", script.text);
    assert!(!gives(&script, "ClusterRole", "jobs", "create"), "only in the controller's namespace: {}", script.text);

    let refused = printed("machine-deletion", &["--grant", "workloads,report"]);
    assert!(refused.code == 3 && refused.text.contains("asks for machines, which is not granted"), "{}", refused.text);

    let manifest = at.join("remediator.yaml");
    let text = "apiVersion: palisade.dev/v1alpha1\nkind: Remediator\nmetadata: { name: mine }\nspec:\n  \
                source: { builtin: self-node }\n  capabilities: [fencing, workloads, report, machines]\n  serves:\n  \
                - kind: SelfNodeRemediation\n";
    std::fs::write(&manifest, text).unwrap();
    let served = printed("self-node", &["--remediator", manifest.to_str().unwrap()]);
    assert!(gives(&served, "ClusterRole", "selfnoderemediations", "watch"), "{}", served.text);
    assert!(!gives(&served, "ClusterRole", "machines", "delete"), "granted, but never asked for: {}", served.text);

    let to_apply = palisade(at, &["rbac", &guest("meatware")]).text;
    assert!(
        to_apply.contains("kind: ClusterRole\n") && to_apply.contains("# get validatingadmissionpolicies"),
        "{to_apply}"
    );
}

#[test]
fn wrong_usage_missing_things_and_refusals_have_exit_codes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert_eq!(palisade(at, &["inspect", "--no-such-option"]).code, 2);
    let nothing = palisade(at, &["build"]);
    assert_eq!(nothing.code, 3);
    assert!(nothing.text.contains("palisade remediator new"), "{}", nothing.text);
    let name = palisade(at, &["new", "My Fence"]);
    assert!(name.code == 3 && name.text.contains("a-z"), "{}", name.text);
    project(at);
    let again = palisade(at, &["new", "mine"]);
    assert!(again.code == 3 && again.text.contains("not empty"), "{}", again.text);
    let reference = palisade(at, &["push", "fence", &guest("self-node")]);
    assert!(reference.code == 3 && reference.text.contains("registry/repository:tag"), "{}", reference.text);
    let away = palisade(at, &["push", "localhost:1/fence:1", &guest("self-node")]);
    assert!(away.code == 3 && away.text.contains("cannot be reached"), "{}", away.text);
}

#[test]
fn behaviour_is_compared_and_recorded_calls_are_played_again() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let component = guest("self-node");

    // Given behaviour that the stock component has, and one that it has not,
    let suite = "
- name: asks for fencing
  expect: { outcome: working, effects: [{ do: requestFence }] }
- name: releases with a proof
  given: { proof: LeaseExpired }
  expect: { outcome: working, effects: [{ do: release, how: ResourceDeletion }] }
";
    let wrong = "
- name: cordons first
  expect: { outcome: working, effects: [{ do: cordon }] }
";
    let tests = project.join("tests/behaviour.yaml");
    std::fs::write(&tests, suite).unwrap();
    let run = |journal: &str| {
        palisade(&project, &["test", "--component", &component, "--journal", journal, "--output", "json"])
    };
    let passed = run("calls.jsonl");
    assert_eq!((passed.code, &passed.json["failed"]), (0, &Value::from(0)), "{}", passed.text);

    std::fs::write(&tests, wrong).unwrap();
    let failed = run("other.jsonl");
    assert_eq!((failed.code, &failed.json["failed"]), (1, &Value::from(1)));
    assert!(failed.json["cases"][0]["wrong"][0].as_str().unwrap().contains("requestFence"), "{}", failed.text);

    // when a typing error is in it, then it is no test at all.
    std::fs::write(&tests, suite.replace("proof: LeaseExpired", "snapshot: { workloads: { pod: 1 } }")).unwrap();
    let mistyped = run("other.jsonl");
    assert!(mistyped.code == 3 && mistyped.text.contains("/workloads/pod"), "{}", mistyped.text);

    // What was recorded replays exactly; what was changed does not.
    let same = palisade(&project, &["replay", "calls.jsonl", &component, "--output", "json"]);
    assert_eq!((same.code, &same.json["calls"]), (0, &Value::from(2)), "{}", same.text);
    let text = std::fs::read_to_string(project.join("calls.jsonl")).unwrap();
    std::fs::write(project.join("calls.jsonl"), text.replace("SelfFence", "selfFence")).unwrap();
    assert_eq!(palisade(&project, &["replay", "calls.jsonl", &component]).code, 3, "it is no journal any more");
    std::fs::write(project.join("calls.jsonl"), text.replace("\"pods\":3", "\"pods\":0")).unwrap();
    let other = palisade(&project, &["replay", "calls.jsonl", &guest("out-of-service-taint"), "--output", "json"]);
    assert_eq!((other.code, other.json["differing"].as_array().unwrap().len()), (1, 2), "{}", other.text);
}

#[test]
fn bench_tells_what_a_call_costs() {
    let folder = tempfile::tempdir().unwrap();
    let run = palisade(folder.path(), &["bench", &guest("self-node"), "--calls", "50", "--output", "json"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.json["fuel"].as_u64() > Some(0) && run.json["p99Micros"].as_f64() > Some(0.0), "{}", run.text);
}
