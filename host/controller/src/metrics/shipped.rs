//! What `deploy/monitoring` and `deploy/runbooks` speak of is what is exported, and nothing is missing there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::{Described, Metrics, Requests};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn described() -> Vec<Described> {
    Metrics::new(Requests::default(), None).unwrap().described().to_vec()
}

fn alerts() -> Vec<Value> {
    let rules: Value = serde_yaml_ng::from_str(&read("deploy/monitoring/rules.yaml")).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
}

/// Metrics in a text with the labels that are selected by.
fn named(text: &str) -> Vec<(String, Vec<String>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = ["palisade_", "nodehealthcheck_"].iter().filter_map(|start| rest.find(start)).min() {
        let whole = at == 0 || !rest[..at].ends_with(is_word);
        rest = &rest[at..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let selector = after.strip_prefix('{').and_then(|inside| inside.split_once('}')).map(|(inside, _)| inside);
        // Keys only: what stands in quotes is a value.
        let unquoted: String = selector.unwrap_or_default().split(['"', '\\']).step_by(2).collect();
        let keys = unquoted.split(',').map(|part| part.trim().trim_end_matches(['=', '!', '~']).to_owned());
        if whole {
            found.push((name.to_owned(), keys.filter(|key| !key.is_empty()).collect()));
        }
        rest = after;
    }
    found
}

#[test]
fn metrics_and_their_labels_are_found_in_queries() {
    let query =
        r#"sum by (le) (rate(palisade_a_seconds_bucket{policy=~"$policy",x!="a,b"}[5m])) / nodehealthcheck_b > 0"#;
    let keys = ["policy".to_owned(), "x".to_owned()].to_vec();
    assert_eq!(
        named(query),
        [("palisade_a_seconds_bucket".to_owned(), keys), ("nodehealthcheck_b".to_owned(), Vec::new())]
    );
}

#[test]
fn rules_tests_and_dashboard_name_only_what_is_exported() {
    let exported = described();
    let find = |name: &str| {
        exported.iter().find(|known| {
            let histogram = known.kind == "histogram";
            let part = name.strip_prefix(&known.name);
            part.is_some_and(
                |part| if histogram { ["_bucket", "_sum", "_count"].contains(&part) } else { part.is_empty() },
            )
        })
    };
    // Of the scrape, not of the metric.
    let outside = ["pod", "instance", "namespace", "job", "__name__"];
    let mut seen = BTreeSet::new();
    for file in ["deploy/monitoring/rules.yaml", "deploy/monitoring/dashboard.json", "tests/monitoring/rules.yaml"] {
        // JSON has its quotes escaped.
        for (name, labels) in named(&read(file).replace("\\\"", "\"")) {
            let metric = find(&name).unwrap_or_else(|| panic!("{file}: {name} is not exported"));
            for label in labels.iter().filter(|label| !outside.contains(&label.as_str())) {
                assert!(metric.labels.contains(label), "{file}: {name} has no label {label}, but {:?}", metric.labels);
            }
            seen.insert(metric.name.clone());
        }
    }
    let unused: Vec<&str> =
        exported.iter().map(|metric| metric.name.as_str()).filter(|name| !seen.contains(*name)).collect();
    // Kept for dashboards of the replaced operator.
    assert_eq!(unused, ["nodehealthcheck_old_remediation_cr"], "exported, but neither shown nor alerted on");
}

#[test]
fn every_metric_says_what_it_is_and_in_which_unit() {
    for Described { name, kind, help, labels } in described() {
        assert!(help.len() > 15 || name == "palisade_leader", "{name}: {help:?}");
        assert!(labels.iter().all(|label| !label.is_empty()), "{name}");
        // Names of the replaced operator are kept as they are.
        if name.starts_with("nodehealthcheck_") {
            continue;
        }
        match kind {
            "counter" => assert!(name.ends_with("_total"), "{name}: a counter"),
            "histogram" => assert!(name.ends_with("_seconds"), "{name}: a histogram of times"),
            _ => {
                assert!(!name.ends_with("_total"), "{name}: a gauge");
                let time = ["time", "when", "oldest"].iter().any(|word| name.contains(word));
                assert!(!time || name.ends_with("_timestamp_seconds"), "{name}: a time");
            }
        }
    }
}

#[test]
fn the_object_of_the_prometheus_operator_has_the_rules_that_are_tested() {
    let rules: Value = serde_yaml_ng::from_str(&read("deploy/monitoring/rules.yaml")).unwrap();
    let objects = read("deploy/monitoring/prometheus-operator.yaml");
    let objects = objects.split("\n---\n").skip(1).map(|text| serde_yaml_ng::from_str::<Value>(text).unwrap());
    let objects: BTreeMap<String, Value> =
        objects.map(|object| (object["kind"].as_str().unwrap().to_owned(), object)).collect();
    assert_eq!(objects["PrometheusRule"]["spec"]["groups"], rules["groups"]);
    // What it scrapes is the port of the Service, by its name.
    assert_eq!(objects["ServiceMonitor"]["spec"]["endpoints"][0]["port"], "http");
}

#[test]
fn every_alert_has_its_page_and_its_test_and_every_page_its_alert() {
    let tests = read("tests/monitoring/rules.yaml");
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name}: twice");
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: severity {severity:?}");
        for annotation in ["summary", "description"] {
            assert!(
                alert["annotations"][annotation].as_str().is_some_and(|text| text.len() > 20),
                "{name}: {annotation}"
            );
        }
        let url = format!("https://runbooks.invalid/palisade/{name}.md");
        assert_eq!(alert["annotations"]["runbook_url"], url.as_str(), "{name}");
        let page = read(&format!("deploy/runbooks/{name}.md"));
        assert!(page.starts_with(&format!("# {name}\n")), "{name}: title");
        for heading in ["## Why it matters", "## Look", "## Do", "## It clears"] {
            assert!(page.contains(heading), "{name}: {heading}");
        }
        let fires = [format!(r#"alertname="{name}",alertstate="firing""#), format!("alertname: {name}\n")];
        assert!(fires.iter().any(|text| tests.contains(text)), "{name}: no test lets it fire");
    }
    let mut pages = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("deploy/runbooks")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let page = read(&format!("deploy/runbooks/{name}"));
        for link in page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            assert!(root().join("deploy/runbooks").join(link).exists(), "{name}: link to {link}");
        }
        pages.insert(name.strip_suffix(".md").unwrap().to_owned());
    }
    assert_eq!(pages, names);
}

#[test]
fn rules_speak_of_reasons_that_the_core_gives() {
    let folder = root().join("host/core/src/health/plan");
    let files = std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file());
    let core: String = files.map(|entry| std::fs::read_to_string(entry.path()).unwrap()).collect();
    let mut checked = 0;
    for alert in alerts() {
        let query = alert["expr"].as_str().unwrap();
        for (_, after) in query.match_indices("palisade_nodes_blocked{").map(|(at, _)| query.split_at(at)) {
            let reasons = after.split('"').nth(1).unwrap();
            for reason in reasons.split('|') {
                assert!(core.contains(&format!("\"{reason}\"")), "{}: reason {reason}", alert["alert"]);
                checked += 1;
            }
        }
    }
    assert!(checked > 15, "{checked}");
}

/// `deploy/monitoring/metrics.md`, written by this test when `PALISADE_WRITE` is set.
#[test]
fn the_list_of_metrics_is_complete() {
    let mut by_half: BTreeMap<bool, Vec<Described>> = BTreeMap::new();
    for metric in described() {
        by_half.entry(metric.name.starts_with("nodehealthcheck_")).or_default().push(metric);
    }
    let mut text = String::from(
        "# Metrics\n\nWhat the controller serves at `/metrics`. Times are in seconds. Written from the code: \
         `PALISADE_WRITE=1 cargo test -p palisade-controller list_of_metrics`.\n\n\
         Every replica shows what its watches see; only the leader what its passes know. Take the maximum over replicas.\n\n\
         | metric | type | labels | what it says |\n| --- | --- | --- | --- |\n",
    );
    for metric in by_half.into_values().flatten() {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" ");
        writeln!(text, "| `{}` | {} | {labels} | {} |", metric.name, metric.kind, metric.help).unwrap();
    }
    if std::env::var_os("PALISADE_WRITE").is_some() {
        std::fs::write(root().join("deploy/monitoring/metrics.md"), &text).unwrap();
    }
    assert_eq!(read("deploy/monitoring/metrics.md"), text);
}
