//! Key, certificate and trust of this agent: made once per boot, certified by the controller through the lease.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use palisade_core::fencing::record::{CERTIFICATE, SIGNING_REQUEST};
use palisade_rpc::{Credentials, Identity, IdentityError, Key, Trust};

use crate::host_file::HostDir;

const KEY_FILE: &str = "agent.key";
const CERTIFICATE_FILE: &str = "agent.crt";
const TRUST_FILE: &str = "ca.crt";

/// Keeps small files from one process to the next, within a boot.
pub trait Keep: Send + Sync + 'static {
    /// Reads one.
    fn read(&self, name: &str) -> Option<String>;
    /// Replaces one.
    fn write(&self, name: &str, text: &str) -> io::Result<()>;
}

impl Keep for HostDir {
    fn read(&self, name: &str) -> Option<String> {
        self.read_text(name)
    }
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        self.write_bytes(name, text.as_bytes())
    }
}

/// Who this agent can prove to be.
pub struct Keyring {
    node: String,
    key: Key,
    signing_request: String,
    certificate: Option<String>,
    trust: Option<(String, Trust)>,
    keep: Arc<dyn Keep>,
}

impl Keyring {
    /// Loads what an earlier process of this boot left, or makes a new key.
    pub fn load(node: &str, keep: Arc<dyn Keep>) -> Result<Self, IdentityError> {
        let key = if let Some(Ok(key)) = keep.read(KEY_FILE).map(|pem| Key::from_pem(&pem)) {
            key
        } else {
            let key = Key::generate()?;
            // Without the file the next process makes another key and asks again: slower, never wrong.
            store(keep.as_ref(), KEY_FILE, &key.to_pem());
            key
        };
        let signing_request = key.signing_request(node)?;
        let trust = keep.read(TRUST_FILE).and_then(|pem| Some((pem.clone(), Trust::from_pem(&pem).ok()?)));
        let certificate = keep.read(CERTIFICATE_FILE);
        let mut keyring = Self { node: node.to_owned(), key, signing_request, certificate: None, trust, keep };
        keyring.certificate = certificate.filter(|certificate| keyring.proves_me(certificate));
        Ok(keyring)
    }

    /// Whether a certificate, as seen in the lease, would prove this node's name with this key.
    fn proves_me(&self, certificate: &str) -> bool {
        let Some((_, trust)) = &self.trust else { return false };
        let Ok(signature) = self.key.sign(b"me") else { return false };
        self.key.owns(certificate) && trust.verify_record(certificate, &self.node, b"me", &signature).is_ok()
    }

    /// The certificate in the lease. True if the identity changed.
    pub fn offer_certificate(&mut self, certificate: &str) -> bool {
        if self.certificate.as_deref() == Some(certificate) || !self.proves_me(certificate) {
            return false;
        }
        store(self.keep.as_ref(), CERTIFICATE_FILE, certificate);
        self.certificate = Some(certificate.to_owned());
        true
    }

    /// The trust bundle of the cluster. True if it changed anything.
    pub fn offer_trust(&mut self, bundle: &str) -> bool {
        if self.trust.as_ref().is_some_and(|(known, _)| known == bundle) {
            return false;
        }
        let trust = match Trust::from_pem(bundle) {
            Ok(trust) => trust,
            Err(error) => {
                tracing::warn!(%error, "the trust bundle is not used");
                return false;
            }
        };
        store(self.keep.as_ref(), TRUST_FILE, bundle);
        self.trust = Some((bundle.to_owned(), trust));
        // A certificate of an authority that is trusted no more proves nothing: ask for a new one.
        self.certificate = self.certificate.take().filter(|certificate| self.proves_me(certificate));
        true
    }

    /// Identity and trust, once both are there.
    pub fn identity(&self) -> Option<(Identity, Trust)> {
        let certificate = self.certificate.clone()?;
        let (_, trust) = self.trust.clone()?;
        Some((Identity { key: self.key.clone(), certificate }, trust))
    }

    /// What the server shows.
    pub fn credentials(&self) -> Option<Credentials> {
        let (identity, trust) = self.identity()?;
        Credentials::new(&identity, &trust).ok()
    }

    /// Trust alone: enough to check what others published.
    pub fn trust(&self) -> Option<Trust> {
        self.trust.as_ref().map(|(_, trust)| trust.clone())
    }

    /// Annotations that keep the lease in step: the certificate that counts, or the request for one.
    pub fn annotations(&self) -> BTreeMap<String, Option<String>> {
        let mut annotations = BTreeMap::from([(SIGNING_REQUEST.to_owned(), Some(self.signing_request.clone()))]);
        if let Some(certificate) = &self.certificate {
            annotations.insert(CERTIFICATE.to_owned(), Some(certificate.clone()));
        }
        annotations
    }

    /// Signature and certificate for a record; `None` before the first certificate.
    pub fn sign(&self, record: &str) -> Option<(String, String)> {
        let certificate = self.certificate.clone()?;
        Some((self.key.sign(record.as_bytes()).ok()?, certificate))
    }
}

fn store(keep: &dyn Keep, name: &str, text: &str) {
    if let Err(error) = keep.write(name, text) {
        tracing::warn!(%error, name, "cannot be kept for the next process");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use palisade_rpc::Authority;

    use super::*;

    #[derive(Default)]
    struct InMemory(Mutex<BTreeMap<String, String>>);

    impl Keep for InMemory {
        fn read(&self, name: &str) -> Option<String> {
            self.0.lock().unwrap().get(name).cloned()
        }
        fn write(&self, name: &str, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().insert(name.into(), text.into());
            Ok(())
        }
    }

    fn certify(authority: &Authority, keyring: &Keyring, node: &str) -> String {
        let request = keyring.annotations()[SIGNING_REQUEST].clone().unwrap();
        authority.issue_agent(&request, node).unwrap()
    }

    #[test]
    fn a_new_boot_asks_for_a_certificate_and_the_next_process_has_it() {
        let (authority, keep) = (Authority::create().unwrap(), Arc::new(InMemory::default()));
        let mut first = Keyring::load("n1", keep.clone()).unwrap();
        assert!(first.sign("record").is_none());

        let certificate = certify(&authority, &first, "n1");
        assert!(!first.offer_certificate(&certificate), "without trust it proves nothing");
        assert!(first.offer_trust(authority.certificate_pem()));
        assert!(first.offer_certificate(&certificate));
        assert!(!first.offer_certificate(&certificate), "nothing new");

        let second = Keyring::load("n1", keep).unwrap();
        let (signature, shown) = second.sign("record").unwrap();
        second.trust().unwrap().verify_record(&shown, "n1", b"record", &signature).unwrap();
    }

    #[test]
    fn a_certificate_of_an_earlier_boot_or_another_node_is_not_taken() {
        let authority = Authority::create().unwrap();
        let earlier = Keyring::load("n1", Arc::new(InMemory::default())).unwrap();
        let mut now = Keyring::load("n1", Arc::new(InMemory::default())).unwrap();
        now.offer_trust(authority.certificate_pem());

        assert!(!now.offer_certificate(&certify(&authority, &earlier, "n1")));
        assert!(!now.offer_certificate(&certify(&authority, &now, "n2")));
        assert!(now.offer_certificate(&certify(&authority, &now, "n1")));
    }

    #[test]
    fn when_the_authority_changes_a_new_certificate_is_needed() {
        let (old, new) = (Authority::create().unwrap(), Authority::create().unwrap());
        let mut keyring = Keyring::load("n1", Arc::new(InMemory::default())).unwrap();
        keyring.offer_trust(old.certificate_pem());
        keyring.offer_certificate(&certify(&old, &keyring, "n1"));

        let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());
        assert!(keyring.offer_trust(&both));
        assert!(keyring.identity().is_some(), "an overlap keeps the certificate");
        assert!(keyring.offer_trust(new.certificate_pem()));
        assert!(keyring.identity().is_none());
        assert!(keyring.offer_certificate(&certify(&new, &keyring, "n1")));
    }
}
