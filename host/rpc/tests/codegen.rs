//! The committed Rust code is exactly what the protobuf file generates; no `protoc` is needed for either.
//!
//! After a change of `proto/agent.proto`: `PALISADE_WRITE_GENERATED=1 cargo test -p palisade-rpc --test codegen`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

use std::path::Path;

#[test]
fn generated_code_matches_the_protobuf_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = std::env::temp_dir().join(format!("palisade-codegen-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("temporary folder");
    let descriptors = protox::compile(["agent.proto"], [root.join("proto")]).expect("the protobuf file compiles");

    tonic_prost_build::configure()
        .out_dir(&out)
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .expect("code is generated");

    let fresh = std::fs::read_to_string(out.join("palisade.agent.v1.rs")).expect("generated file");
    let _ = std::fs::remove_dir_all(&out);
    let committed_path = root.join("src/generated/palisade.agent.v1.rs");
    if std::env::var_os("PALISADE_WRITE_GENERATED").is_some() {
        std::fs::write(&committed_path, &fresh).expect("writes the generated file");
    }
    let committed = std::fs::read_to_string(&committed_path).unwrap_or_default();
    assert!(
        committed == fresh,
        "src/generated is stale: run PALISADE_WRITE_GENERATED=1 cargo test -p palisade-rpc --test codegen"
    );
}
