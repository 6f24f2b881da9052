//! Remediators in OCI registries: where they are, who may read them, and who vouches for them.
//!
//! A component is an artifact as the Wasm working group of the CNCF describes it: a manifest with one layer of type
//! [`LAYER`]. A signature is what `cosign sign --key` writes: an artifact under the tag `sha256-….sig` whose layers are
//! "simple signing" payloads, each with its signature as an annotation. Keyless signatures (certificates of Fulcio,
//! entries in a transparency log) are not read.
//!
//! Nothing here decides: [`pull`] brings what a registry says, [`signature::verify`] says whether it can be trusted.

mod access;
mod artifact;
mod credentials;
mod error;
mod location;
mod pull;
mod push;
pub mod signature;

pub use access::Access;
pub use artifact::{Artifact, SignedPayload};
pub use credentials::{Credentials, Login};
pub use error::OciError;
pub use location::Location;
pub use pull::{pull, resolve};
pub use push::{Pushed, push};

/// Media type of a component.
pub const LAYER: &str = "application/wasm";
/// Older media type of the same, still written by some tools.
const OLD_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// Media type of the configuration of a Wasm artifact.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media type of a manifest.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The same by the older name.
const OLD_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of the payload that a signature is over.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation that holds the signature of a payload.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    let hex: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hex.concat())
}
