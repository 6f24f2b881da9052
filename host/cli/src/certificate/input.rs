//! Certificates to check: of the cluster, or of a file.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use kube::api::{ObjectMeta, TypeMeta};
use palisade_api::FencingCertificate;
use serde_json::Value;

use super::Claim;
use crate::connect::Connection;
use crate::explain::{Remediation, snapshot};

/// No file is longer: a status is at most 1.5 MiB.
const LIMIT: u64 = 64 << 20;
const WANTED: &str =
    "a remediation with status.palisade.certificate, a list of them, or a certificate with proof and bootId";

/// Of the remediations of a node, or of the named one.
pub async fn find(connection: &Connection, name: &str) -> anyhow::Result<Vec<Claim>> {
    let all = snapshot(connection, None).await?;
    let found: Vec<Claim> = all.remediations.into_iter().filter(|one| is(one, name)).map(carried).collect();
    if found.is_empty() {
        let gaps = if all.gaps.is_empty() { String::new() } else { format!(" ({})", all.gaps.join("; ")) };
        bail!(
            "no remediation is named {name:?} or is about a node of that name{gaps}; those that are over are deleted: check \
             what was kept of them with --file"
        );
    }
    Ok(found)
}

fn is(one: &Remediation, name: &str) -> bool {
    let by_kind =
        name.split_once('/').is_some_and(|(kind, name)| kind.eq_ignore_ascii_case(&one.kind) && name == one.name);
    one.answers_to(name) || by_kind
}

fn carried(remediation: Remediation) -> Claim {
    Claim {
        about: format!("{} {} of node {}", remediation.kind, remediation.path(), remediation.node),
        certificate: remediation.progress.as_ref().and_then(|progress| progress.certificate.clone()),
        remediation: Some(remediation),
    }
}

/// Of a file, or of standard input.
pub fn read(path: &Path) -> anyhow::Result<Vec<Claim>> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(LIMIT).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text))
    };
    read.with_context(|| format!("{name} cannot be read"))?;
    parse(&text, &name)
}

/// Of a text.
pub fn parse(text: &str, name: &str) -> anyhow::Result<Vec<Claim>> {
    let value: Value = serde_yaml_ng::from_str(text).with_context(|| format!("{name} is neither YAML nor JSON"))?;
    let items = match value.get("items").and_then(Value::as_array) {
        Some(items) => items.clone(),
        None => vec![value],
    };
    ensure!(!items.is_empty(), "{name} is an empty list; it has to hold {WANTED}");
    items.into_iter().map(|item| one(item, name)).collect()
}

fn one(value: Value, name: &str) -> anyhow::Result<Claim> {
    if value.get("proof").is_some() {
        let certificate = certificate(value).with_context(|| name.to_owned())?;
        return Ok(Claim {
            about: format!("certificate in {name} about node {}", certificate.node),
            remediation: None,
            certificate: Some(certificate),
        });
    }
    let types: TypeMeta = serde_json::from_value(value.clone())
        .with_context(|| format!("{name} has no apiVersion and kind; it has to hold {WANTED}"))?;
    let metadata: ObjectMeta = serde_json::from_value(value.get("metadata").cloned().unwrap_or_default())
        .with_context(|| format!("{name}: metadata"))?;
    let status = value.get("status").cloned().unwrap_or_default();
    // The reader below takes what it cannot read for nothing: here somebody wants to know.
    let found = status.pointer("/palisade/certificate").cloned();
    let found = found.map(certificate).transpose().with_context(|| format!("{name}: status.palisade.certificate"))?;
    let mut claim = carried(Remediation::new(&types.kind, &metadata, status));
    claim.certificate = found;
    Ok(claim)
}

fn certificate(value: Value) -> anyhow::Result<FencingCertificate> {
    Ok(serde_json::from_value(value)?)
}
