//! The manifest of a remediator: a custom section named [`SECTION`] that holds one JSON object.
//!
//! It is read before any guest code runs, and it is covered by the digest of the file.

use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::error::LoadError;

/// Name of the custom section, at any depth of the component.
pub const SECTION: &str = "palisade:manifest";

/// The contracts this host serves, newest first.
pub const CONTRACTS: [&str; 1] = ["palisade:remediation@0.1.0"];

/// What a component says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Name, a DNS label.
    pub name: String,
    /// Version of the remediator.
    pub version: String,
    /// Contract it was built for, one of [`CONTRACTS`].
    pub contract: String,
    /// Capabilities it asks for; every interface it imports is among them.
    pub capabilities: Vec<Capability>,
    /// JSON Schema of its parameters; an object schema, `{}` when it takes none.
    pub parameters: serde_json::Value,
}

#[derive(Deserialize)]
struct Raw {
    name: String,
    version: String,
    contract: String,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default = "no_parameters")]
    parameters: serde_json::Value,
}

fn no_parameters() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

impl Manifest {
    /// Reads the one manifest among the contents of all sections found. Linkers concatenate sections of one name, so
    /// two manifests can also arrive as one section.
    pub(crate) fn read(sections: &[&[u8]]) -> Result<Self, LoadError> {
        let mut manifests = Vec::new();
        for section in sections {
            for value in serde_json::Deserializer::from_slice(section).into_iter::<serde_json::Value>() {
                manifests.push(value.map_err(|error| LoadError::BadManifest { detail: error.to_string() })?);
            }
        }
        let count = manifests.len();
        let (Some(value), 1) = (manifests.pop(), count) else {
            return Err(if count == 0 { LoadError::NoManifest } else { LoadError::TwoManifests { count } });
        };
        let raw: Raw =
            serde_json::from_value(value).map_err(|error| LoadError::BadManifest { detail: error.to_string() })?;
        raw.checked()
    }
}

impl Raw {
    fn checked(self) -> Result<Manifest, LoadError> {
        let bad = |detail: String| Err(LoadError::BadManifest { detail });
        if !is_label(&self.name) {
            return bad(format!("name {:?} is not a DNS label (a-z, 0-9, '-', at most 63)", self.name));
        }
        let version_ok = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
        if self.version.is_empty() || self.version.len() > 64 || !self.version.chars().all(version_ok) {
            return bad(format!("version {:?} is not a version", self.version));
        }
        if !CONTRACTS.contains(&self.contract.as_str()) {
            return Err(LoadError::UnknownContract { found: self.contract });
        }
        if !self.parameters.is_object() {
            return bad("parameters must be a JSON Schema, that is an object".into());
        }
        let mut capabilities = self.capabilities.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>()?;
        capabilities.sort();
        capabilities.dedup();
        let Self { name, version, contract, parameters, .. } = self;
        Ok(Manifest { name, version, contract, capabilities, parameters })
    }
}

fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"name":"self-node","version":"0.1.0","contract":"palisade:remediation@0.1.0",
        "capabilities":["fencing","target","fencing"]}"#;

    fn read(text: &str) -> Result<Manifest, LoadError> {
        Manifest::read(&[text.as_bytes()])
    }

    #[test]
    fn one_manifest_is_read() {
        let manifest = read(GOOD).unwrap();
        assert_eq!(manifest.capabilities, [Capability::Target, Capability::Fencing]);
        assert_eq!(manifest.parameters, serde_json::json!({}));
    }

    #[test]
    fn two_are_refused_in_two_sections_and_in_one() {
        let twice = format!("{GOOD}{GOOD}");
        assert!(matches!(read(&twice), Err(LoadError::TwoManifests { count: 2 })));
        let two = [GOOD.as_bytes(), GOOD.as_bytes()];
        assert!(matches!(Manifest::read(&two), Err(LoadError::TwoManifests { count: 2 })));
        assert!(matches!(Manifest::read(&[]), Err(LoadError::NoManifest)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let unknown = read(&GOOD.replace("\"target\"", "\"magic\"")).unwrap_err().to_string();
        assert!(unknown.contains("magic") && unknown.contains("target, agent, fencing"), "{unknown}");
        let contract = read(&GOOD.replace("@0.1.0", "@9.0.0")).unwrap_err().to_string();
        assert!(contract.contains("@9.0.0") && contract.contains("@0.1.0"), "{contract}");
        let name = read(&GOOD.replace("self-node", "Self Node")).unwrap_err().to_string();
        assert!(name.contains("Self Node"), "{name}");
    }
}
