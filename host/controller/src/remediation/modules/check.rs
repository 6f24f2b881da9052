//! Whether a Remediator object allows a component, and under which limits.

use std::sync::Arc;

use kube::ResourceExt;
use palisade_api::Remediator;
use palisade_oci::Artifact;
use palisade_oci::signature::{self, PublicKey};
use palisade_runtime::{Capability, Granted, Limits, Module};
use serde_json::Value;

use super::source::Fetched;
use super::{Served, Unserved, reason};
use crate::context::Context;

/// Checks digest and signature, loads, and compares what it asks for with what is granted.
pub async fn check(context: &Context, remediator: &Remediator, fetched: Fetched) -> Result<Served, Unserved> {
    let name = remediator.name_any();
    let found = &fetched.digest;
    if let Some(wanted) = remediator.spec.digest.as_ref().filter(|wanted| *wanted != found) {
        let detail = format!("it is {wanted}, the component has {found}");
        let remedy = "correct the digest or the component";
        return Err(Unserved::of(reason::DIGEST, &name, "spec.digest", &detail, remedy));
    }
    signed(remediator, fetched.artifact.as_deref())?;
    let module = context
        .modules
        .load(&fetched.digest, fetched.bytes)
        .await
        .map_err(|(why, detail)| Unserved::of(why, &name, "spec.source", &detail, "replace the component"))?;
    granted(remediator, module, fetched.artifact)
}

/// Whether somebody whom the policy names vouches for it.
pub fn signed(remediator: &Remediator, artifact: Option<&Artifact>) -> Result<(), Unserved> {
    let Some(policy) = &remediator.spec.signature else { return Ok(()) };
    let name = remediator.name_any();
    let mut keys = Vec::new();
    for (index, pem) in policy.public_keys.iter().enumerate() {
        let field = format!("spec.signature.publicKeys[{index}]");
        let key = PublicKey::from_pem(pem).map_err(|why| {
            Unserved::of(reason::SIGNATURE, &name, &field, &why, "paste the key as cosign.pub holds it")
        })?;
        keys.push(key);
    }
    let Some(artifact) = artifact else {
        let detail = "only components from registries have signatures";
        let remedy = "use source.oci, or pin the component with spec.digest instead";
        return Err(Unserved::of(reason::SIGNATURE, &name, "spec.signature", detail, remedy));
    };
    signature::verify(&keys, artifact).map_err(|why| {
        Unserved::of(reason::SIGNATURE, &name, "spec.signature", &why.to_string(), "nothing of it was executed")
    })
}

/// The module with what it may do; refused if it asks for more.
pub fn granted(
    remediator: &Remediator,
    module: Arc<Module>,
    artifact: Option<Arc<Artifact>>,
) -> Result<Served, Unserved> {
    let name = remediator.name_any();
    let listed: Vec<String> = remediator.spec.capabilities.iter().map(ToString::to_string).collect();
    let granted: Granted = listed.iter().filter_map(|name| name.parse::<Capability>().ok()).collect();
    let missing = granted.missing(&module.manifest().capabilities);
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|capability| capability.name()).collect();
        let detail = format!("the component asks for {}, which is not granted", names.join(", "));
        let remedy = "add it to spec.capabilities if you want to grant it, or use another component";
        return Err(Unserved::of(reason::CAPABILITIES, &name, "spec.capabilities", &detail, remedy));
    }
    let named = remediator.spec.limits.clone().unwrap_or_default();
    let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let memory = positive(named.memory_bytes).and_then(|bytes| usize::try_from(bytes).ok());
    let limits = Limits::named(positive(named.fuel), memory, positive(named.deadline_millis));
    let parameters = Value::Object(serde_json::Map::new());
    Ok(Served { remediator: name, module, granted, limits, parameters, artifact, instead: None })
}
