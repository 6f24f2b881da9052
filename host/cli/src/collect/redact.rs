//! What must not leave the cluster is taken out of objects and texts. Pure.
//!
//! Rather too much than too little: a bundle is sent to strangers. Addresses and names stay, or nothing could be told
//! from it.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// In place of a value.
pub const REDACTED: &str = "[REDACTED]";

/// Words in names of fields, annotations, options and variables whose values are not for others.
const SECRET: &str =
    r"passw(?:or)?d|passphrase|passwd|token|secret|credential|api[_-]?key|private[_-]?key|authorization|cookie";
/// Fields that only name a Secret or a file, or say whether there is one.
const NAMES: &[&str] = &[
    "sharedSecretName",
    "nodeSecretNames",
    "secretName",
    "secretRef",
    "secretKeyRef",
    "imagePullSecrets",
    "automountServiceAccountToken",
    "serviceAccountToken",
    "tokenFile",
];
/// Parameters of fence agents that tell where and how, without the leading dashes.
const HARMLESS: &[&str] = &[
    "action",
    "ip",
    "ipaddr",
    "ipport",
    "lanplus",
    "method",
    "plug",
    "port",
    "power-timeout",
    "power-wait",
    "ssl",
    "ssl-insecure",
    "systems-uri",
    "timeout",
    "verbose",
];

static KEY: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("(?i){SECRET}")).ok());

/// Each with what takes its place.
static TEXT: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        // A block, also one whose end or beginning was cut off.
        (r"-----BEGIN [A-Z0-9 ]+-----[\s\S]*?(?:-----END [A-Z0-9 ]+-----|\z)".to_owned(), "[REDACTED PEM]"),
        (r"(?:[A-Za-z0-9+/=]{16,}(?:\s|\\n)*)+-----END [A-Z0-9 ]+-----".to_owned(), "[REDACTED PEM]"),
        (r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?".to_owned(), "[REDACTED TOKEN]"),
        (r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}".to_owned(), "$1 [REDACTED]"),
        (r"([a-z][a-z0-9+.-]*://)[^/\s@]+@".to_owned(), "${1}[REDACTED]@"),
        // name=value, name: value, "name":"value", also quoted once more, and --name value.
        (
            format!(r#"(?i)([\w.-]*(?:{SECRET})[\w.-]*(?:\\*["'])?\s*[:=]\s*)(?:\\*"[^"]*"|'[^']*'|[^\s,;}}"']+)"#),
            "${1}[REDACTED]",
        ),
        (format!(r"(?i)(--?[\w-]*(?:{SECRET})[\w-]*\s+)[^\s,;]+"), "${1}[REDACTED]"),
    ];
    rules.into_iter().filter_map(|(rule, to)| Some((Regex::new(&rule).ok()?, to))).collect()
});

/// A text without what looks like a secret.
pub fn text(text: &str) -> String {
    let mut text = text.to_owned();
    for (rule, to) in TEXT.iter() {
        text = rule.replace_all(&text, *to).into_owned();
    }
    text
}

/// How many rules there are for texts.
#[cfg(test)]
pub fn rules() -> usize {
    TEXT.len()
}

/// An object, or anything else in JSON.
pub fn value(value: &mut Value) {
    match value {
        Value::Object(fields) => object(fields),
        Value::Array(items) => array(items),
        Value::String(string) => *string = text(string),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn object(fields: &mut Map<String, Value>) {
    // Not read by us; but lists may hold anything.
    if fields.get("kind").is_some_and(|kind| kind == "Secret") {
        fields.retain(|field, _| matches!(field.as_str(), "kind" | "apiVersion"));
        return;
    }
    fields.remove("managedFields");
    fields.remove("kubectl.kubernetes.io/last-applied-configuration");
    for (name, field) in fields.iter_mut() {
        match name.as_str() {
            "env" | "envFrom" => variables(field),
            "sharedparameters" | "nodeparameters" => parameters(field),
            // Whatever somebody wrote into a script; and where they are notified, which is often a secret by itself.
            "script" => all(field),
            "url" => host(field),
            name if NAMES.contains(&name) => {}
            name if KEY.as_ref().is_none_or(|key| key.is_match(name)) => all(field),
            _ => value(field),
        }
    }
}

fn array(items: &mut [Value]) {
    let mut follows = false;
    for item in items {
        if follows && item.is_string() {
            *item = Value::String(REDACTED.to_owned());
            follows = false;
            continue;
        }
        // An option whose value is the next word.
        follows = item.as_str().is_some_and(|word| {
            word.starts_with('-') && !word.contains('=') && KEY.as_ref().is_none_or(|key| key.is_match(word))
        });
        value(item);
    }
}

/// Values of variables, whatever their names; where they come from stays.
fn variables(list: &mut Value) {
    for one in list.as_array_mut().into_iter().flatten() {
        if let Some(value) = one.get_mut("value") {
            *value = Value::String(REDACTED.to_owned());
        }
    }
}

/// Only what is known to be harmless stays: fence agents have hundreds of options.
fn parameters(map: &mut Value) {
    for (name, given) in map.as_object_mut().into_iter().flatten() {
        if HARMLESS.contains(&name.trim_start_matches('-')) {
            value(given);
        } else {
            all(given);
        }
    }
}

/// The host of an address; paths and queries of webhooks are as good as passwords.
fn host(field: &mut Value) {
    if let Value::String(address) = field {
        let rest = address.split_once("://").map(|(scheme, rest)| (scheme.to_owned(), rest.to_owned()));
        *address = match rest {
            Some((scheme, rest)) => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let host = authority.rsplit('@').next().unwrap_or_default();
                format!("{scheme}://{host}/{REDACTED}")
            }
            None => REDACTED.to_owned(),
        };
    } else {
        value(field);
    }
}

/// Every value in it.
fn all(field: &mut Value) {
    match field {
        Value::Object(fields) => fields.values_mut().for_each(all),
        Value::Array(items) => items.iter_mut().for_each(all),
        Value::Null | Value::Bool(_) => {}
        Value::String(_) | Value::Number(_) => *field = Value::String(REDACTED.to_owned()),
    }
}
