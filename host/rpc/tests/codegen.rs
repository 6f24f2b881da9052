//! The committed Rust code is exactly what the protobuf files generate; no `protoc` is needed for either.
//!
//! After a change in `proto`: `PALISADE_WRITE_GENERATED=1 cargo test -p palisade-rpc --test codegen`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

use std::path::Path;

#[test]
fn generated_code_matches_the_protobuf_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = std::env::temp_dir().join(format!("palisade-codegen-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("temporary folder");
    let descriptors = protox::compile(["agent.proto", "peer_health.proto"], [root.join("proto")]);
    let descriptors = descriptors.expect("the protobuf files compile");

    tonic_prost_build::configure()
        .out_dir(&out)
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .expect("code is generated");

    for file in ["palisade.agent.v1.rs", "selfnoderemediation.health.rs"] {
        let fresh = std::fs::read_to_string(out.join(file)).expect("generated file");
        let committed_path = root.join("src/generated").join(file);
        if std::env::var_os("PALISADE_WRITE_GENERATED").is_some() {
            std::fs::write(&committed_path, &fresh).expect("writes the generated file");
        }
        let committed = std::fs::read_to_string(&committed_path).unwrap_or_default();
        assert!(
            committed == fresh,
            "src/generated/{file} is stale: run PALISADE_WRITE_GENERATED=1 cargo test -p palisade-rpc --test codegen"
        );
    }
    let _ = std::fs::remove_dir_all(&out);
}
