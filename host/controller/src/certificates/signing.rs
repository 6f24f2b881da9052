//! Certificates for agents: the request stands in the agent's own lease, and so does the answer.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use palisade_core::fencing::record::{CERTIFICATE, SIGNING_REQUEST};
use palisade_rpc::identity::request_matches_certificate;
use palisade_rpc::{Authority, IdentityError};
use serde_json::json;

use crate::error::Error;
use crate::fence::lease;

/// Whether a lease asks for a certificate that it does not have yet.
pub fn asks(lease: &Lease, authority: &Authority) -> bool {
    let annotation = |key| lease.annotations().get(key).map(String::as_str).unwrap_or_default();
    let (request, certificate) = (annotation(SIGNING_REQUEST), annotation(CERTIFICATE));
    let answered =
        request_matches_certificate(request, certificate) && is_ours(authority, certificate, &lease.name_any());
    !request.is_empty() && !answered
}

/// Whether a certificate chains to this authority, names the node and is valid now; one of an authority that was made
/// anew does not.
fn is_ours(authority: &Authority, certificate: &str, node: &str) -> bool {
    let Ok(trust) = authority.trust() else { return false };
    // The check ends at the signature, because nothing was signed: everything before it was in order.
    matches!(trust.verify_record(certificate, node, b"", ""), Ok(()) | Err(IdentityError::BadSignature))
}

/// Answers the signing request of a lease. The certificate names the node of that lease and nothing else, whatever the
/// request says; who may write the lease is the API server's business.
pub async fn sign(client: &Client, authority: &Authority, lease: &Lease) -> Result<bool, Error> {
    if !asks(lease, authority) {
        return Ok(false);
    }
    let (node, namespace) = (lease.name_any(), lease.namespace().unwrap_or_default());
    if Api::<Node>::all(client.clone()).get_opt(&node).await?.is_none() {
        return Err(Error::Blocked(format!(
            "lease {namespace}/{node} asks for a certificate, but there is no node {node}; nothing is signed"
        )));
    }
    let request = lease.annotations().get(SIGNING_REQUEST).map(String::as_str).unwrap_or_default();
    let certificate = authority
        .issue_agent(request, &node)
        .map_err(|error| Error::Blocked(format!("signing request of {namespace}/{node}: {error}")))?;
    let patch = json!({ "metadata": {
        "resourceVersion": lease.resource_version(),
        "annotations": { CERTIFICATE: certificate },
    } });
    match lease::api(client, &namespace).patch(&node, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(true),
        // The agent wrote in between: the watch brings the newer version.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_rpc::Key;

    fn lease(request: &str, certificate: &str) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.name = Some("n1".into());
        lease.annotations_mut().insert(SIGNING_REQUEST.into(), request.into());
        lease.annotations_mut().insert(CERTIFICATE.into(), certificate.into());
        lease
    }

    #[test]
    fn a_request_is_answered_once_and_again_only_for_another_key_or_authority() {
        let authority = Authority::create().unwrap();
        let request = Key::generate().unwrap().signing_request("n1").unwrap();
        assert!(asks(&lease(&request, ""), &authority));
        let certificate = authority.issue_agent(&request, "n1").unwrap();
        assert!(!asks(&lease(&request, &certificate), &authority));
        // A rebooted node has a new key; a lost Secret makes a new authority; another node's certificate is no answer.
        let another = Key::generate().unwrap().signing_request("n1").unwrap();
        assert!(asks(&lease(&another, &certificate), &authority));
        assert!(asks(&lease(&request, &certificate), &Authority::create().unwrap()));
        assert!(asks(&lease(&request, &authority.issue_agent(&request, "n2").unwrap()), &authority));
        assert!(!asks(&lease("", ""), &authority));
    }
}
