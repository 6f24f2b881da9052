//! What is not a remediator is refused before any of its code runs, with a message that says what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use common::{call, guest, host, input, with_manifest};
use palisade_runtime::{Compiler, EngineSettings, Host, LoadError};

fn refused(bytes: &[u8]) -> LoadError {
    host().load(bytes).expect_err("this must not load")
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn manifest(capabilities: &str) -> String {
    format!(
        r#"{{"name":"x","version":"1.0.0","contract":"palisade:remediation@0.1.0","capabilities":[{capabilities}]}}"#
    )
}

const EXPORT: &str = r#"
    (core module $m (func (export "f")))
    (core instance $i (instantiate $m))
    (func (export "reconcile") (canon lift (core func $i "f")))"#;

#[test]
fn files_that_are_no_component() {
    assert_eq!(refused(b"#!/bin/sh"), LoadError::NotWasm);
    assert_eq!(refused(b""), LoadError::NotWasm);
    assert_eq!(refused(&component("(module)")), LoadError::CoreModule);
    let whole = guest("self-node");
    for length in [6, 8, 100, whole.len() / 2, whole.len() - 1] {
        let error = refused(&whole[..length]);
        let known = matches!(error, LoadError::Malformed { .. } | LoadError::NoReconcile { .. });
        assert!(known, "{length} bytes: {error}");
    }
}

#[test]
fn one_flipped_byte_never_harms_the_host() {
    // Whatever it becomes: it loads, or it is refused. The last bytes are names and producers, the first ones code.
    let whole = guest("self-node");
    let settings = EngineSettings { cache_dir: None, ..common::settings() };
    let host = Host::new(&settings).unwrap();
    for position in (8..whole.len()).step_by(whole.len() / 12) {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x55;
        if let Ok(module) = host.load(&bytes) {
            let _ = call(&module, &input());
        }
    }
}

#[test]
fn a_file_that_is_too_large() {
    let settings = EngineSettings { component_bytes: 1_000, ..common::settings() };
    let error = Host::new(&settings).unwrap().load(&guest("self-node")).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { limit: 1_000, .. }), "{error}");
}

#[test]
fn the_wrong_world() {
    let wasi = component(r#"(component (import "wasi:clocks/wall-clock@0.2.6" (instance)))"#);
    let error = refused(&wasi).to_string();
    assert!(error.contains("wasi:clocks/wall-clock@0.2.6") && error.contains("wasm32-unknown-unknown"), "{error}");

    let foreign = component(r#"(component (import "palisade:remediation/fencing@7.0.0" (instance)))"#);
    let error = refused(&foreign).to_string();
    assert!(error.contains("fencing@7.0.0") && error.contains("palisade:remediation/fencing@0.1.0"), "{error}");

    let silent = with_manifest(component("(component)"), &manifest(""));
    assert_eq!(refused(&silent), LoadError::NoReconcile { exports: vec![] });
}

#[test]
fn manifests_that_cannot_be_used() {
    let bare = component(&format!("(component {EXPORT})"));
    assert_eq!(refused(&bare), LoadError::NoManifest);

    let two = with_manifest(guest("self-node"), &manifest(""));
    assert_eq!(refused(&two), LoadError::TwoManifests { count: 2 });

    let unknown = refused(&with_manifest(bare.clone(), &manifest(r#""root""#))).to_string();
    assert!(unknown.contains("\"root\"") && unknown.contains("target, agent, fencing, workloads"), "{unknown}");

    let broken = refused(&with_manifest(bare.clone(), "{"));
    assert!(matches!(broken, LoadError::BadManifest { .. }), "{broken}");

    let future = manifest("").replace("@0.1.0", "@9.0.0");
    let error = refused(&with_manifest(bare, &future));
    assert!(matches!(error, LoadError::UnknownContract { .. }), "{error}");
}

#[test]
fn an_interface_that_the_manifest_does_not_ask_for() {
    let text = format!(r#"(component (import "palisade:remediation/scheduling@0.1.0" (instance)) {EXPORT})"#);
    let error = refused(&with_manifest(component(&text), &manifest(r#""fencing""#))).to_string();
    assert!(error.contains("imports scheduling"), "{error}");
}

#[test]
fn types_that_do_not_fit_show_in_the_trial() {
    let error = refused(&with_manifest(component(&format!("(component {EXPORT})")), &manifest("")));
    assert!(matches!(error, LoadError::TrialFailed { .. }), "{error}");

    let missing = r#"(component (import "palisade:remediation/fencing@0.1.0" (instance (export "bless" (func)))) "#;
    let text = format!("{missing}{EXPORT})");
    let error = refused(&with_manifest(component(&text), &manifest(r#""fencing""#)));
    assert!(matches!(&error, LoadError::TrialFailed { detail } if detail.contains("bless")), "{error}");
}

/// An empty folder of this test.
fn fresh(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    let _ = std::fs::remove_file(&path);
    path
}

fn cached(path: &PathBuf) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

#[test]
fn compiled_code_is_kept_and_damaged_code_is_not_used() {
    let path = fresh("cache-damage");
    let settings = EngineSettings { cache_dir: Some(path.clone()), ..EngineSettings::default() };
    let bytes = guest("self-node");
    Host::new(&settings).unwrap().load(&bytes).unwrap();
    assert_eq!(cached(&path), 1, "one file, nothing left aside");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);

    let file = std::fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&file).unwrap();
    let damaged = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    for bad in [damaged(|bytes| bytes[5_000] ^= 1), damaged(|bytes| bytes.truncate(20)), damaged(Vec::clear)] {
        std::fs::write(&file, bad).unwrap();
        let module = Host::new(&settings).unwrap().load(&bytes).unwrap();
        assert!(call(&module, &input()).outcome.is_ok());
        assert_eq!(std::fs::read(&file).unwrap().len(), good.len(), "compiled again");
    }
}

#[test]
fn a_cache_that_others_can_write_is_not_used() {
    let path = fresh("cache-open");
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let link = fresh("cache-link");
    let private = fresh("cache-private");
    std::fs::create_dir(&private).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&private, &link).unwrap();
    for dir in [path, link] {
        let settings = EngineSettings { cache_dir: Some(dir.clone()), ..EngineSettings::default() };
        Host::new(&settings).unwrap().load(&guest("self-node")).unwrap();
        assert_eq!(cached(&dir), 0, "{}", dir.display());
    }
}

#[test]
fn a_component_is_compiled_by_another_process_if_there_is_one_that_can() {
    // Given a cache that another process fills, here by copying what was compiled before
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("aside-{}", std::process::id()));
    let (theirs, ours) = (folder.join("theirs"), folder.join("ours"));
    let bytes = guest("self-node");
    let prepared = EngineSettings { cache_dir: Some(theirs.join("cache")), ..EngineSettings::default() };
    Host::new(&prepared).unwrap().load(&bytes).unwrap();
    let copy = format!("cat > {0}/given && cp -p {0}/cache/*.cwasm \"$0\"", theirs.display());
    let with = |script: &str, folder: &str| EngineSettings {
        cache_dir: Some(ours.join(folder)),
        compiler: Some(Compiler {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), format!("PATH=/usr/bin:/bin; {script}")],
        }),
        ..EngineSettings::default()
    };
    // When a component is loaded, then that process was given it
    Host::new(&with(&copy, "copied")).unwrap().load(&bytes).unwrap();
    assert_eq!(std::fs::read(theirs.join("given")).unwrap(), bytes);
    // And one that fails, or leaves nothing behind, keeps nobody from working
    for script in ["exit 1", "cat > /dev/null"] {
        Host::new(&with(script, "alone")).unwrap().load(&bytes).unwrap();
        std::fs::remove_dir_all(ours.join("alone")).unwrap();
    }
    std::fs::remove_dir_all(folder).unwrap();
}
