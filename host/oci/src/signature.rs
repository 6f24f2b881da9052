//! Signatures with keys, as `cosign sign --key` makes them: ECDSA over P-256 and SHA-256, ASN.1, over a "simple signing"
//! statement that names the digest of a manifest.
//!
//! What is checked: that one of the known keys signed exactly these bytes, and that they speak of exactly this manifest.
//! What is not: the reference in the statement (an artifact that was mirrored or renamed stays what it is), and
//! certificates and transparency logs of keyless signatures.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde_json::{Value, json};

use crate::artifact::{Artifact, SignedPayload};

/// What the statement says it is.
const KIND: &str = "cosign container image signature";
/// The prefix of a P-256 key in a `SubjectPublicKeyInfo`: its algorithm and curve, before the 65 bytes of the point.
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key that signatures are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads `-----BEGIN PUBLIC KEY-----` as `cosign generate-key-pair` and `openssl pkey -pubout` write it.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let info = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| "it is no public key in PEM (BEGIN PUBLIC KEY)".to_owned())?;
        match info.strip_prefix(&P256_INFO) {
            Some(point) if point.len() == 65 && point[0] == 4 => Ok(Self(point.to_vec())),
            _ => Err("it is not an ECDSA key on curve P-256, the kind that cosign makes".to_owned()),
        }
    }

    fn signed(&self, statement: &SignedPayload) -> bool {
        let Ok(signature) = STANDARD.decode(statement.signature.trim()) else { return false };
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0).verify(&statement.payload, &signature).is_ok()
    }
}

/// A key to sign with.
pub struct SigningKey(EcdsaKeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// Reads an unencrypted key on P-256 in PEM, as `openssl ecparam -name prime256v1 -genkey -noout` or
    /// `openssl genpkey` write it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            "it is no unencrypted private key in PEM; make one with \
             `openssl ecparam -name prime256v1 -genkey -noout -out palisade.key`"
                .to_owned()
        })?;
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_der())
            .map(Self)
            .map_err(|error| format!("it is no ECDSA key on curve P-256: {error}"))
    }

    /// The key that others check with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().to_vec())
    }

    /// The public key in PEM.
    pub fn public_pem(&self) -> String {
        let mut der = P256_INFO.to_vec();
        der.extend_from_slice(self.0.public_key().as_ref());
        let text = STANDARD.encode(der);
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem + "-----END PUBLIC KEY-----\n"
    }

    /// The signature over some bytes, in base64.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Result<String, String> {
        let signature = self.0.sign(&SystemRandom::new(), bytes);
        signature.map(|signature| STANDARD.encode(signature)).map_err(|_| "the key cannot sign".to_owned())
    }
}

/// What is signed about a manifest.
pub(crate) fn statement(repository: &str, manifest_digest: &str) -> Vec<u8> {
    let value = json!({
        "critical": {
            "identity": { "docker-reference": repository },
            "image": { "docker-manifest-digest": manifest_digest },
            "type": KIND,
        },
        "optional": null,
    });
    value.to_string().into_bytes()
}

/// Why nobody vouches for an artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// Nobody signed it.
    #[error("it is not signed; sign it with `palisade remediator push --sign KEY` or `cosign sign --key`")]
    Nothing,
    /// Somebody signed it whom nobody asked for.
    #[error("it has {0} signatures, none of them by a key of the policy")]
    Strangers(usize),
    /// A known key signed something else.
    #[error("its signature is about another artifact ({0}), not about this one")]
    Elsewhere(String),
}

/// Whether one of the keys vouches for the artifact.
pub fn verify(keys: &[PublicKey], artifact: &Artifact) -> Result<(), Unsigned> {
    if artifact.signatures.is_empty() {
        return Err(Unsigned::Nothing);
    }
    let mut elsewhere = None;
    for statement in &artifact.signatures {
        if !keys.iter().any(|key| key.signed(statement)) {
            continue;
        }
        let said: Value = serde_json::from_slice(&statement.payload).unwrap_or_default();
        let about = said["critical"]["image"]["docker-manifest-digest"].as_str().unwrap_or_default();
        if said["critical"]["type"] == KIND && about == artifact.manifest_digest {
            return Ok(());
        }
        elsewhere = Some(about.to_owned());
    }
    Err(elsewhere.map_or(Unsigned::Strangers(artifact.signatures.len()), Unsigned::Elsewhere))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        SigningKey(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap())
    }

    fn signed(key: &SigningKey, digest: &str) -> Artifact {
        let payload = statement("registry.example/fence", digest);
        let signature = key.sign(&payload).unwrap();
        Artifact {
            manifest_digest: "sha256:right".into(),
            component_digest: "sha256:c".into(),
            component: vec![],
            signatures: vec![SignedPayload { payload, signature }],
        }
    }

    #[test]
    fn a_known_key_that_speaks_of_this_manifest_vouches_for_it() {
        let (known, stranger) = (key(), key());
        let artifact = signed(&known, "sha256:right");
        assert_eq!(verify(&[stranger.public(), known.public()], &artifact), Ok(()));
        assert_eq!(verify(&[stranger.public()], &artifact), Err(Unsigned::Strangers(1)));
        assert_eq!(verify(&[], &artifact), Err(Unsigned::Strangers(1)));
        let unsigned = Artifact { signatures: vec![], ..artifact.clone() };
        assert_eq!(verify(&[known.public()], &unsigned), Err(Unsigned::Nothing));
    }

    #[test]
    fn a_signature_of_another_artifact_or_a_changed_statement_is_nothing() {
        let known = key();
        let other = signed(&known, "sha256:other");
        assert_eq!(verify(&[known.public()], &other), Err(Unsigned::Elsewhere("sha256:other".into())));
        let mut changed = other;
        changed.signatures[0].payload = statement("registry.example/fence", "sha256:right");
        assert_eq!(verify(&[known.public()], &changed), Err(Unsigned::Strangers(1)));
    }

    #[test]
    fn keys_survive_their_text() {
        let key = key();
        assert_eq!(PublicKey::from_pem(&key.public_pem()), Ok(key.public()));
        for wrong in [
            "",
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n",
        ] {
            assert!(PublicKey::from_pem(wrong).is_err());
        }
        assert!(SigningKey::from_pem(b"nothing").unwrap_err().contains("openssl"));
    }

    /// A statement and a signature that OpenSSL made the way cosign does: what we accept is not only what we write.
    #[test]
    fn a_signature_by_another_program_is_accepted() {
        let key = PublicKey::from_pem(include_str!("../tests/openssl/key.pub")).unwrap();
        let artifact = Artifact {
            manifest_digest: "sha256:0f0e0d0c0b0a09080706050403020100f0e0d0c0b0a090807060504030201000".into(),
            component_digest: String::new(),
            component: vec![],
            signatures: vec![SignedPayload {
                payload: include_bytes!("../tests/openssl/payload.json").to_vec(),
                signature: include_str!("../tests/openssl/signature.base64").into(),
            }],
        };
        assert_eq!(verify(&[key], &artifact), Ok(()));
    }
}
