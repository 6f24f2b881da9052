//! Certificates for agents: the request stands in the agent's own lease, and so does the answer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use palisade_core::fencing::record::{CERTIFICATE, SIGNING_REQUEST};
use palisade_rpc::Authority;
use palisade_rpc::identity::request_matches_certificate;
use serde_json::json;

use crate::error::Error;
use crate::fence::lease;

/// An answer that was found good is checked again after this time: certificates end.
const RECHECK: Duration = Duration::from_mins(10);

/// Annotation with the boot for which the certificate was issued. Only the controller writes it.
pub const CERTIFIED_BOOT: &str = "palisade.dev/agent-certificate-boot";

/// Whether a lease asks for a certificate that it does not have yet: none, one for another key, one of another
/// authority, or one that ends soon. The agent need not ask again for the same key.
pub fn asks(lease: &Lease, authority: &Authority) -> bool {
    let (request, certificate) = (annotation(lease, SIGNING_REQUEST), annotation(lease, CERTIFICATE));
    let answered =
        request_matches_certificate(request, certificate) && authority.stands_by(certificate, &lease.name_any());
    !request.is_empty() && !answered
}

/// Whether a request wants to replace a key that was certified for a boot that still runs. A boot makes its key once and
/// keeps it; another key for the same boot comes from somebody else, or from a node that lost its `/run`.
fn steals(lease: &Lease, authority: &Authority, running: &str) -> bool {
    let (request, certificate) = (annotation(lease, SIGNING_REQUEST), annotation(lease, CERTIFICATE));
    !request_matches_certificate(request, certificate)
        && authority.stands_by(certificate, &lease.name_any())
        && !running.is_empty()
        && annotation(lease, CERTIFIED_BOOT) == running
}

/// Requests that need no answer, as far as is known: agents write their leases all the time, and checking a chain of
/// certificates for each of all nodes at each write would cost the more the larger the cluster is.
#[derive(Debug, Default)]
pub struct Answered(HashMap<String, (String, String, Instant)>);

impl Answered {
    /// Whether this very request had this very answer a short time ago; now and then the chain is checked again.
    pub fn knows(&self, lease: &Lease) -> bool {
        self.0.get(&lease.name_any()).is_some_and(|(request, certificate, checked)| {
            *request == annotation(lease, SIGNING_REQUEST)
                && *certificate == annotation(lease, CERTIFICATE)
                && checked.elapsed() < RECHECK
        })
    }

    /// Remembers a lease that was just looked at and asks for nothing.
    pub fn note(&mut self, lease: &Lease, authority: &Authority) {
        if !asks(lease, authority) {
            let (request, certificate) = (annotation(lease, SIGNING_REQUEST), annotation(lease, CERTIFICATE));
            self.0.insert(lease.name_any(), (request.to_owned(), certificate.to_owned(), Instant::now()));
        }
    }
}

fn annotation<'a>(lease: &'a Lease, key: &str) -> &'a str {
    lease.annotations().get(key).map(String::as_str).unwrap_or_default()
}

/// Answers the signing request of a lease. The certificate names the node of that lease and nothing else, whatever the
/// request says; who may write the lease is the API server's business.
pub async fn sign(client: &Client, authority: &Authority, lease: &Lease) -> Result<bool, Error> {
    if !asks(lease, authority) {
        return Ok(false);
    }
    let (node, namespace) = (lease.name_any(), lease.namespace().unwrap_or_default());
    let Some(object) = Api::<Node>::all(client.clone()).get_opt(&node).await? else {
        return Err(Error::Blocked(format!(
            "lease {namespace}/{node} asks for a certificate, but there is no node {node}; nothing is signed"
        )));
    };
    let running = object.status.and_then(|status| status.node_info).map(|info| info.boot_id).unwrap_or_default();
    if steals(lease, authority, &running) {
        return Err(Error::Blocked(format!(
            "lease {namespace}/{node} asks to certify another key, but the one of its running boot {running} is still \
             valid; nothing is signed. If the agent lost its key, reboot the node or remove the annotation {CERTIFICATE}"
        )));
    }
    let request = annotation(lease, SIGNING_REQUEST);
    let certificate = authority
        .issue_agent(request, &node)
        .map_err(|error| Error::Blocked(format!("signing request of {namespace}/{node}: {error}")))?;
    let patch = json!({ "metadata": {
        "resourceVersion": lease.resource_version(),
        "annotations": { CERTIFICATE: certificate, CERTIFIED_BOOT: running },
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

    #[test]
    fn a_key_is_replaced_only_when_its_boot_is_over() {
        // Given a lease whose certificate was issued for boot b1, and a request for another key,
        let authority = Authority::create().unwrap();
        let issued = Key::generate().unwrap().signing_request("n1").unwrap();
        let certificate = authority.issue_agent(&issued, "n1").unwrap();
        let another = Key::generate().unwrap().signing_request("n1").unwrap();
        let mut asking = lease(&another, &certificate);
        asking.annotations_mut().insert(CERTIFIED_BOOT.into(), "b1".into());
        // then it is theft while b1 runs, and an ordinary reboot afterwards;
        assert!(steals(&asking, &authority, "b1"));
        assert!(!steals(&asking, &authority, "b2"));
        // the same key may always be certified anew, and so may one that only a forgotten authority certified.
        let mut renewal = lease(&issued, &certificate);
        renewal.annotations_mut().insert(CERTIFIED_BOOT.into(), "b1".into());
        assert!(!steals(&renewal, &authority, "b1"));
        assert!(!steals(&asking, &Authority::create().unwrap(), "b1"));
    }

    #[test]
    fn a_certificate_that_ends_soon_is_renewed() {
        let authority = Authority::create().unwrap();
        let request = Key::generate().unwrap().signing_request("n1").unwrap();
        let certificate = authority.issue_agent(&request, "n1").unwrap();
        let in_days = |days: u64| std::time::SystemTime::now() + Duration::from_hours(days * 24);
        assert!(authority.stands_by_at(&certificate, "n1", in_days(200)));
        assert!(!authority.stands_by_at(&certificate, "n1", in_days(300)));
    }

    #[test]
    fn an_answered_request_is_not_checked_at_every_write_of_the_lease() {
        let authority = Authority::create().unwrap();
        let request = Key::generate().unwrap().signing_request("n1").unwrap();
        let certificate = authority.issue_agent(&request, "n1").unwrap();
        let mut answered = Answered::default();
        answered.note(&lease(&request, ""), &authority);
        assert!(!answered.knows(&lease(&request, "")), "an open request is never passed over");
        answered.note(&lease(&request, &certificate), &authority);
        assert!(answered.knows(&lease(&request, &certificate)));
        assert!(!answered.knows(&lease("another", &certificate)) && !answered.knows(&lease(&request, "")));
    }
}
