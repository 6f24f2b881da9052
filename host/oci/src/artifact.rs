//! What a registry gave: a component, and who says what about it.

use base64::Engine as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A component as it was pulled. It is not trusted yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Digest of the manifest: what signatures are about, and what `@sha256:…` in a reference names.
    pub manifest_digest: String,
    /// Digest of the component itself.
    pub component_digest: String,
    /// The component; kept beside this record when it is stored.
    #[serde(skip)]
    pub component: Vec<u8>,
    /// Statements about the manifest, as far as the registry has them.
    pub signatures: Vec<SignedPayload>,
}

/// A statement and its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedPayload {
    /// The statement, byte for byte.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub payload: Vec<u8>,
    /// The signature, in base64.
    pub signature: String,
}

fn encode<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(serde::de::Error::custom)
}
