//! Label and field selectors, as query parameters carry them.

use serde_json::Value;

use super::error::ApiError;
use super::meta;

/// What a list or watch asks for.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(Vec<String>, bool, String)>,
}

#[derive(Debug, Clone)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

/// Paths that the compiled-in resources may be selected by.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    ("nodes", &["spec.unschedulable"]),
    ("namespaces", &["status.phase"]),
    ("secrets", &["type"]),
    ("jobs", &["status.successful"]),
    ("replicasets", &["status.replicas"]),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "reportingComponent",
            "reportingController",
            "source",
            "type",
        ],
    ),
];

impl Selector {
    /// Parses the two query parameters.
    pub fn parse(plural: &str, custom: &[String], labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels =
            split_outside_parentheses(labels).into_iter().map(|part| requirement(&part)).collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| field_term(plural, custom, part))
            .collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Narrows to one name.
    pub fn only_name(&mut self, name: &str) {
        self.fields.push((vec!["metadata".to_owned(), "name".to_owned()], true, name.to_owned()));
    }

    /// Whether the object is asked for.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| meta::field(object, "labels").and_then(|l| l.get(key)).and_then(Value::as_str);
        self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => label(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Requirement::NotIn(key, values) => label(key).is_none_or(|v| values.iter().all(|w| w != v)),
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Missing(key) => label(key).is_none(),
        }) && self.fields.iter().all(|(path, equal, wanted)| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let actual = match meta::at(object, &path) {
                Some(Value::String(text)) => text.clone(),
                None | Some(Value::Null) => default_of(&path),
                Some(other) => other.to_string(),
            };
            (actual == *wanted) == *equal
        })
    }
}

/// Absent booleans and counters select as their zero value.
fn default_of(path: &[&str]) -> String {
    match path {
        ["spec", "unschedulable"] => "false".to_owned(),
        ["status", "replicas" | "successful"] => "0".to_owned(),
        _ => String::new(),
    }
}

fn field_term(plural: &str, custom: &[String], part: &str) -> Result<(Vec<String>, bool, String), ApiError> {
    let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
        (path, false, value)
    } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (path, true, value)
    } else {
        return Err(ApiError::bad_request(format!(
            "Unable to parse field selector: invalid selector: '{part}'; can't understand '{part}'"
        )));
    };
    let general = matches!(path, "metadata.name" | "metadata.namespace");
    let known = FIELDS.iter().any(|(name, paths)| *name == plural && paths.contains(&path));
    if !general && !known && !custom.iter().any(|p| p.trim_start_matches('.') == path) {
        return Err(ApiError::bad_request(format!("field label not supported: {path}")));
    }
    // Events are kept in the core form, whichever group a client asks through.
    let stored = match path {
        "source" if plural == "events" => "source.component".to_owned(),
        "reportingController" => "reportingComponent".to_owned(),
        _ => path.replacen("regarding.", "involvedObject.", 1),
    };
    Ok((stored.split('.').map(str::to_owned).collect(), equal, value.to_owned()))
}

fn requirement(text: &str) -> Result<Requirement, ApiError> {
    let bad = || ApiError::bad_request(format!("unable to parse requirement: invalid label selector \"{text}\""));
    let set = |values: &str| -> Result<Vec<String>, ApiError> {
        let inner = values.trim().strip_prefix('(').and_then(|v| v.strip_suffix(')')).ok_or_else(bad)?;
        Ok(inner.split(',').map(|v| v.trim().to_owned()).collect())
    };
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Requirement::Missing(key.trim().to_owned()));
    }
    let words: Vec<&str> = text.splitn(3, ' ').collect();
    if let [key, operator @ ("in" | "notin"), values] = words.as_slice() {
        let values = set(values)?;
        let key = (*key).to_owned();
        return Ok(if *operator == "in" { Requirement::In(key, values) } else { Requirement::NotIn(key, values) });
    }
    // kubectl and kube both write `key in (a,b)`, but `key in(a,b)` is legal too.
    for (operator, negated) in [(" notin(", true), (" in(", false)] {
        if let Some((key, values)) = text.split_once(operator) {
            let values = set(&format!("({values}"))?;
            let key = key.trim().to_owned();
            return Ok(if negated { Requirement::NotIn(key, values) } else { Requirement::In(key, values) });
        }
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(key.trim().to_owned(), vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::In(key.trim().to_owned(), vec![value.trim().to_owned()]));
    }
    if text.contains(' ') { Err(bad()) } else { Ok(Requirement::Exists(text.to_owned())) }
}

fn split_outside_parentheses(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_u32;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.into_iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(labels: &str, fields: &str) -> bool {
        let pod = json!({
            "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web", "tier": "front"}},
            "spec": {"nodeName": "node-1"}, "status": {"phase": "Running"},
        });
        Selector::parse("pods", &[], labels, fields).expect("selector parses").matches(&pod)
    }

    #[test]
    fn labels_select_by_equality_sets_and_existence() {
        for yes in
            ["", "app=web", "app==web,tier", "app in (web,db)", "app in(web)", "tier notin (back)", "!gone", "x!=y"]
        {
            assert!(matches(yes, ""), "{yes}");
        }
        for no in ["app=db", "app!=web", "!app", "gone", "app notin (web, db)", "gone in (a)"] {
            assert!(!matches(no, ""), "{no}");
        }
    }

    #[test]
    fn fields_select_by_known_paths_only() {
        assert!(matches("", "spec.nodeName=node-1,status.phase!=Failed"));
        assert!(!matches("", "metadata.name=web-1"));
        let refused = Selector::parse("pods", &[], "", "spec.image=x").expect_err("unknown path");
        assert_eq!((refused.code, refused.message.as_str()), (400, "field label not supported: spec.image"));
    }
}
