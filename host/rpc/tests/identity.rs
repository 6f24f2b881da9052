//! Who may speak for whom.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

use std::time::{Duration, SystemTime};

use palisade_rpc::identity::request_matches_certificate;
use palisade_rpc::{Authority, IdentityError, Key, Trust};

const RECORD: &[u8] = br#"{"node":"worker-1","sequence":7}"#;

struct Node {
    key: Key,
    certificate: String,
}

fn certified(authority: &Authority, name: &str) -> Node {
    let key = Key::generate().unwrap();
    let certificate = authority.issue_agent(&key.signing_request(name).unwrap(), name).unwrap();
    Node { key, certificate }
}

#[test]
fn a_record_signed_by_the_certified_key_of_its_node_counts() {
    let authority = Authority::create().unwrap();
    let node = certified(&authority, "worker-1");
    let signature = node.key.sign(RECORD).unwrap();

    authority.trust().unwrap().verify_record(&node.certificate, "worker-1", RECORD, &signature).unwrap();
}

#[test]
fn changed_bytes_do_not_count() {
    let authority = Authority::create().unwrap();
    let node = certified(&authority, "worker-1");
    let signature = node.key.sign(RECORD).unwrap();

    let changed = br#"{"node":"worker-1","sequence":8}"#;
    let verdict = authority.trust().unwrap().verify_record(&node.certificate, "worker-1", changed, &signature);
    assert!(matches!(verdict, Err(IdentityError::BadSignature)), "{verdict:?}");
}

/// Review line 19: one compromised node must not fake another's acknowledgement.
#[test]
fn a_compromised_node_cannot_speak_for_another() {
    let authority = Authority::create().unwrap();
    let mallory = certified(&authority, "worker-2");
    let signature = mallory.key.sign(RECORD).unwrap();

    let verdict = authority.trust().unwrap().verify_record(&mallory.certificate, "worker-1", RECORD, &signature);
    assert!(matches!(verdict, Err(IdentityError::WrongName(_))), "{verdict:?}");
}

#[test]
fn a_certificate_of_another_authority_does_not_count() {
    let ours = Authority::create().unwrap();
    let theirs = Authority::create().unwrap();
    let node = certified(&theirs, "worker-1");
    let signature = node.key.sign(RECORD).unwrap();

    let verdict = ours.trust().unwrap().verify_record(&node.certificate, "worker-1", RECORD, &signature);
    assert!(matches!(verdict, Err(IdentityError::Untrusted(_))), "{verdict:?}");
}

#[test]
fn an_expired_certificate_does_not_count() {
    let authority = Authority::create().unwrap();
    let node = certified(&authority, "worker-1");
    let signature = node.key.sign(RECORD).unwrap();

    let in_two_years = SystemTime::now() + Duration::from_hours(2 * 365 * 24);
    let trust = authority.trust().unwrap();
    let verdict = trust.verify_record_at(&node.certificate, "worker-1", RECORD, &signature, in_two_years);
    assert!(matches!(verdict, Err(IdentityError::Untrusted(_))), "{verdict:?}");
}

#[test]
fn during_a_rotation_both_authorities_are_trusted() {
    let (old, new) = (Authority::create().unwrap(), Authority::create().unwrap());
    let trust = Trust::from_pem(&format!("{}{}", old.certificate_pem(), new.certificate_pem())).unwrap();
    for authority in [&old, &new] {
        let node = certified(authority, "worker-1");
        let signature = node.key.sign(RECORD).unwrap();
        trust.verify_record(&node.certificate, "worker-1", RECORD, &signature).unwrap();
    }
}

#[test]
fn a_stored_authority_goes_on_issuing() {
    let first = Authority::create().unwrap();
    let reopened = Authority::from_pem(first.certificate_pem(), &first.key_pem()).unwrap();
    let node = certified(&reopened, "worker-1");
    let signature = node.key.sign(RECORD).unwrap();
    first.trust().unwrap().verify_record(&node.certificate, "worker-1", RECORD, &signature).unwrap();

    let other = Authority::create().unwrap();
    assert!(Authority::from_pem(first.certificate_pem(), &other.key_pem()).is_err(), "key of another authority");
}

#[test]
fn a_new_boot_has_a_new_key_and_its_old_certificate_does_not_fit() {
    let authority = Authority::create().unwrap();
    let before = certified(&authority, "worker-1");
    let after = Key::generate().unwrap();

    assert!(before.key.owns(&before.certificate));
    assert!(!after.owns(&before.certificate));
    assert!(!request_matches_certificate(&after.signing_request("worker-1").unwrap(), &before.certificate));
    assert!(request_matches_certificate(&before.key.signing_request("worker-1").unwrap(), &before.certificate));
}

#[test]
fn the_name_in_the_request_is_ignored_the_controller_decides() {
    let authority = Authority::create().unwrap();
    let key = Key::generate().unwrap();
    let wants_more = key.signing_request("worker-2").unwrap();
    let certificate = authority.issue_agent(&wants_more, "worker-1").unwrap();
    let signature = key.sign(RECORD).unwrap();

    let trust = authority.trust().unwrap();
    trust.verify_record(&certificate, "worker-1", RECORD, &signature).unwrap();
    assert!(trust.verify_record(&certificate, "worker-2", RECORD, &signature).is_err());
}

#[test]
fn a_node_name_that_is_no_dns_name_is_refused() {
    let authority = Authority::create().unwrap();
    let request = Key::generate().unwrap().signing_request("worker-1").unwrap();
    for name in ["", "*", "a b", &"x".repeat(260)] {
        assert!(authority.issue_agent(&request, name).is_err(), "{name:?}");
    }
}

#[test]
fn keys_survive_the_disk_and_are_not_printed() {
    let key = Key::generate().unwrap();
    let again = Key::from_pem(&key.to_pem()).unwrap();
    let authority = Authority::create().unwrap();
    let certificate = authority.issue_agent(&key.signing_request("n").unwrap(), "n").unwrap();
    assert!(again.owns(&certificate));
    assert_eq!(format!("{key:?}"), "Key(P-256)");
}
