//! Which device is the node's.

use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::{Client, ResourceExt};
use palisade_api::fence_agents_remediation::FenceAgentsRemediationSpec;
use palisade_runtime::RefusalReason;
use serde_json::Value;

use super::agent::Machine;
use super::bare_metal;
use super::fault::Fault;
use super::hosts::HostOf;
use super::session::Device;
use crate::remediation::outside::{About, machines};

/// The kind whose specification names an agent.
pub const AGENT_KIND: &str = "FenceAgentsRemediation";
/// Names the host of a machine.
const HOST: &str = "metal3.io/BareMetalHost";
/// Group of the objects between a Cluster API machine and its host.
const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
/// Time limit of a switch of a host, in seconds: default and least, as in `Metal3Remediation`.
const TIMEOUT: (i64, i64) = (600, 100);

/// The device of a remediation.
pub async fn device(about: &About<'_>) -> Result<Device, Fault> {
    if about.target.kind == AGENT_KIND {
        return Ok(Device::Agent(Box::new(Machine {
            node: about.target.node.clone(),
            namespace: about.target.namespace.clone(),
            spec: specification(about)?,
            mark: about.target.uid.clone(),
        })));
    }
    host(about).await.map(Device::Host)
}

/// The specification of a remediation by a fence agent.
pub fn specification(about: &About<'_>) -> Result<FenceAgentsRemediationSpec, Fault> {
    let spec = about.object.get("spec").cloned().unwrap_or_default();
    serde_json::from_value(spec).map_err(|error| Fault::Invalid(format!("spec cannot be understood: {error}")))
}

async fn host(about: &About<'_>) -> Result<HostOf, Fault> {
    let machine = match machines::find::find(about).await {
        Ok(Ok(machine)) => machine,
        Ok(Err(RefusalReason::Unavailable(why))) => return Err(Fault::Missing(why)),
        Ok(Err(why)) => return Err(Fault::Invalid(why.to_string())),
        Err(error) => return Err(Fault::Missing(format!("the machine of the node cannot be read: {error}"))),
    };
    let client = &about.context.client;
    let (owner, kind) = infrastructure(client, machine).await?;
    let place = owner.namespace().unwrap_or_default();
    let named = format!("{kind} {place}/{}", owner.name_any());
    let Some(value) = owner.annotations().get(HOST) else {
        return Err(Fault::Invalid(format!("{named} has no annotation {HOST}: nothing leads to the host of the node")));
    };
    let (namespace, name) = bare_metal::reference(value, &named)?;
    let (limit, attempts) = parameters(about.object)?;
    let host = HostOf { namespace, name, remediation: about.target.uid.clone(), attempts, limit };
    bare_metal::belongs(&host.get(client).await?, &kind, &place, &owner.name_any())?;
    Ok(host)
}

/// The object that carries the name of the host: OpenShift's machine itself, Cluster API's infrastructure machine.
async fn infrastructure(client: &Client, machine: DynamicObject) -> Result<(DynamicObject, String), Fault> {
    if machine.annotations().contains_key(HOST) {
        return Ok((machine, "Machine".to_owned()));
    }
    let namespace = machine.namespace().unwrap_or_default();
    let named = format!("Machine {namespace}/{}", machine.name_any());
    let part = |name: &str| {
        let pointer = format!("/spec/infrastructureRef/{name}");
        machine.data.pointer(&pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (kind, name) = (part("kind"), part("name"));
    if kind != "Metal3Machine" || name.is_empty() {
        return Err(Fault::Invalid(format!(
            "{named} has neither annotation {HOST} nor an infrastructureRef to a Metal3Machine: it is no machine of Metal3"
        )));
    }
    let unread = |error: &dyn std::fmt::Display| {
        Fault::Missing(format!("Metal3Machine {namespace}/{name} cannot be read: {error}"))
    };
    // Older references name the version, newer ones only the group.
    let version = if let Some((INFRASTRUCTURE, version)) = part("apiVersion").split_once('/') {
        version.to_owned()
    } else {
        let served = machines::served(client, INFRASTRUCTURE).await.map_err(|error| unread(&error))?;
        served.and_then(|served| Some(served.split_once('/')?.1.to_owned())).ok_or_else(|| {
            Fault::Invalid(format!("the API server does not serve {INFRASTRUCTURE}, which {named} refers to"))
        })?
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(INFRASTRUCTURE, &version, &kind));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    match api.get_opt(&name).await.map_err(|error| unread(&error))? {
        Some(owner) => Ok((owner, kind)),
        None => Err(Fault::Invalid(format!("Metal3Machine {namespace}/{name} does not exist; {named} refers to it"))),
    }
}

/// Limit of one switch, and how many there may be. The schema of the component checks the same.
pub fn parameters(object: &Value) -> Result<(Duration, i64), Fault> {
    let number = |name: &str, default: i64| match object.pointer(&format!("/spec/parameters/{name}")) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value
            .as_i64()
            .ok_or_else(|| Fault::Invalid(format!("spec.parameters.{name} is {value}; it must be a whole number"))),
    };
    let (timeout, retries) = (number("timeoutSeconds", TIMEOUT.0)?, number("retryLimit", 1)?);
    if timeout < TIMEOUT.1 {
        let least = TIMEOUT.1;
        return Err(Fault::Invalid(format!("spec.parameters.timeoutSeconds is {timeout}; use {least} or more")));
    }
    if !(1..=20).contains(&retries) {
        return Err(Fault::Invalid(format!("spec.parameters.retryLimit is {retries}; use 1 to 20")));
    }
    Ok((Duration::from_secs(timeout.unsigned_abs()), retries + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn m3_21_limits_are_checked_also_without_a_schema() {
        let read = |parameters: Value| parameters_of(&parameters);
        assert_eq!(read(json!({})).unwrap(), (Duration::from_mins(10), 2));
        assert_eq!(read(json!({ "timeoutSeconds": 100, "retryLimit": 3 })).unwrap(), (Duration::from_secs(100), 4));
        for bad in [
            json!({ "timeoutSeconds": 99 }),
            json!({ "retryLimit": 0 }),
            json!({ "retryLimit": -1 }),
            json!({ "retryLimit": "x" }),
        ] {
            assert!(read(bad.clone()).is_err_and(|why| why.is_final()), "{bad}");
        }
    }

    fn parameters_of(parameters: &Value) -> Result<(Duration, i64), Fault> {
        super::parameters(&json!({ "spec": { "parameters": parameters } }))
    }
}
