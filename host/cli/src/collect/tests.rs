use std::io::Read as _;

use serde_json::{Value, json};

use super::bundle::Bundle;
use super::redact;

/// Everything that an archive says, file by file.
fn unpack(bytes: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name, text)
    });
    files.collect()
}

const JWT: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl-_x";
const PEM: &str = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIPLANTED07abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL\nAAoGCCqGSM49\n-----END EC PRIVATE KEY-----";

/// One of each place in which secrets were seen in the wild.
fn objects() -> Vec<Value> {
    vec![
        json!({ "kind": "Secret", "metadata": { "name": "s" }, "data": { "a": "PLANTED01" }, "stringData": { "b": "PLANTED02" } }),
        json!({ "kind": "FenceAgentsRemediationTemplate", "spec": { "template": { "spec": {
            "agent": "fence_ipmilan", "sharedSecretName": "kept-name",
            "sharedparameters": { "--password": "PLANTED03", "--ip": "192.0.2.7", "-p": "PLANTED04", "--odd": "PLANTED05" },
            "nodeparameters": { "--passwd": { "n1": "PLANTED06" }, "--ipport": { "n1": "6230" } } } } } }),
        json!({ "kind": "Pod", "metadata": { "name": "p",
            "managedFields": [{ "manager": "PLANTED08" }],
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{\"password\":\"PLANTED09\"}",
                "example.com/api-key": "PLANTED10", "example.com/note": "login with password=PLANTED11 please",
                "example.com/pem": PEM } },
            "spec": { "containers": [{ "name": "c",
                "args": ["--token", "PLANTED12", "--password=PLANTED13", "--kept", "kept-argument"],
                "env": [{ "name": "HARMLESS", "value": "PLANTED14" },
                    { "name": "X", "valueFrom": { "secretKeyRef": { "name": "kept-secret-name", "key": "k" } } }] }] } }),
        json!({ "kind": "CustomizedUserRemediation", "spec": { "script": "curl -u root:PLANTED15 x" } }),
        json!({ "kind": "NodeHealthCheck", "spec": { "notifications": [
            { "url": "https://u:PLANTED16@hooks.example/services/PLANTED17?t=PLANTED18", "header": { "name": "Authorization" } }] } }),
        json!({ "kind": "WasmRemediation", "spec": { "config": { "nested": { "clientSecret": ["PLANTED19", { "deep": "PLANTED20" }] } } } }),
    ]
}

fn log() -> String {
    format!(
        "2026-05-01T11:00:00Z INFO 10.0.0.7 asked https://admin:PLANTED21@10.0.0.8/redfish\n\
         Authorization: Bearer PLANTED22abc\n\
         {{\"level\":\"warn\",\"fields\":{{\"password\":\"PLANTED23 with \\\"quotes\\\"\",\"ip\":\"10.0.0.9\"}}}}\n\
         \"message\":\"sent {{\\\"token\\\":\\\"PLANTED24\\\"}}\"\n\
         fence_ipmilan --ip 10.0.0.10 --password PLANTED25 -o off\n\
         token {JWT} was refused\n\
         key {PEM}\n\
         in one line -----BEGIN CERTIFICATE-----\\nPLANTED26\\n-----END CERTIFICATE-----\n\
         cut -----BEGIN RSA PRIVATE KEY-----\nPLANTED27\n"
    )
}

/// Given secrets wherever they were ever seen, then none is in the bundle, and what tells the story is.
#[test]
fn no_planted_secret_is_in_the_bundle() {
    let planted: String = format!("{}{}", Value::from(objects()), log());
    for number in 1..=27 {
        assert!(planted.contains(&format!("PLANTED{number:02}")), "{number} was not planted: this shows nothing");
    }
    let mut bundle = Bundle::new(Vec::new(), "b", 0);
    bundle.objects("objects.json", Ok(objects())).unwrap();
    bundle.text("logs/c.log", Ok(log())).unwrap();
    bundle.value("one.json", Ok(json!({ "findings": [{ "what": format!("bearer {JWT}") }] }))).unwrap();
    bundle
        .objects("refused.json", Err(anyhow::anyhow!("GET https://u:PLANTED28@api/ failed: token=PLANTED29")))
        .unwrap();
    let (bytes, parts) = bundle.finish("about").unwrap();
    let files = unpack(&bytes);
    for (name, text) in &files {
        assert!(!text.contains("PLANTED"), "{name}:\n{text}");
        assert!(!text.contains("c2lnbmF0dXJl") && !text.contains("AAoGCCqGSM49"), "{name}:\n{text}");
    }
    let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
    for kept in [
        "192.0.2.7",
        "6230",
        "kept-name",
        "kept-secret-name",
        "kept-argument",
        "hooks.example",
        "10.0.0.7",
        "10.0.0.8",
        "10.0.0.9",
        "10.0.0.10",
        "fence_ipmilan",
        "was refused",
    ] {
        assert!(all.contains(kept), "{kept} is missing:\n{all}");
    }
    // A part that fails is a file, and known as one.
    assert!(files.iter().any(|(name, _)| name == "b/refused.json.error.txt"), "{parts:?}");
    assert_eq!(parts.iter().filter(|part| part.failed).count(), 1);
    assert!(files.iter().any(|(name, text)| name == "b/CONTENTS.txt" && text.contains("refused.json.error.txt")));
}

#[test]
fn what_is_too_long_is_cut_and_said_to_be() {
    let mut bundle = Bundle::new(Vec::new(), "b", 0);
    bundle.part = 4_096;
    let long = "ä line of a log\n".repeat(500);
    bundle.text("long.log", Ok(format!("{long}the end"))).unwrap();
    bundle
        .objects("many.json", Ok((0..200).map(|n| json!({ "number": n, "text": "x".repeat(60) })).collect()))
        .unwrap();
    let (bytes, parts) = bundle.finish("about").unwrap();
    let files = unpack(&bytes);
    assert!(files[0].1.len() <= 4_096 && files[0].1.ends_with("the end"));
    assert!(parts[0].note.as_deref().is_some_and(|note| note.contains("left out")), "{parts:?}");
    assert!(files[1].1.len() <= 4_096, "{}", files[1].1.len());
    let kept: Value = serde_json::from_str(&files[1].1).unwrap();
    assert!(kept["items"].as_array().is_some_and(|items| items.len() > 10 && items[0]["number"] == 0));
    assert!(parts[1].note.as_deref().is_some_and(|note| note.contains("of 200 left out")), "{parts:?}");
}

#[test]
fn ordinary_text_stays_as_it_is() {
    for plain in [
        "node n1 is not Ready since 10.0.0.1 was heard last",
        "Unhealthy: Ready=Unknown for 300s; https://10.0.0.1:6443/api/v1/nodes/n1",
        "boot 3f1c9a52-1d2e-4b8a-9a64-6ea1c7a4b6a0 ended, intent 5b0c6f9e",
    ] {
        assert_eq!(redact::text(plain), plain);
    }
    assert_eq!(redact::rules(), 7, "a rule that does not compile takes out nothing");
}
