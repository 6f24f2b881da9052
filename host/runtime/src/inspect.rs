//! Reads a component file without running or compiling anything of it.

use wasmparser::{ComponentTypeRef, Encoding, Parser, Payload};

use crate::capability::{CAPABILITIES, Capability};
use crate::error::LoadError;
use crate::manifest::{Manifest, SECTION};

/// Checks the outside of a component (kind, imports, export, manifest) without compiling or running anything of it. That
/// its types fit the contract shows only when it is loaded.
pub fn inspect(bytes: &[u8]) -> Result<Manifest, LoadError> {
    let outline = Outline::read(bytes)?;
    let wasi: Vec<_> = outline.imports.iter().filter(|name| name.starts_with("wasi:")).cloned().collect();
    if !wasi.is_empty() {
        return Err(LoadError::WasiImports { imports: wasi });
    }
    let manifest = Manifest::read(&outline.manifests);
    // A wrong world explains itself better than the manifest that such a component does not have.
    let offered = offered(manifest.as_ref().map_or(crate::manifest::CONTRACTS[0], |manifest| &manifest.contract));
    let known = |name: &String| offered.iter().any(|(offer, _)| offer == name);
    let foreign: Vec<_> = outline.imports.iter().filter(|name| !known(name)).cloned().collect();
    if !foreign.is_empty() {
        return Err(LoadError::WrongWorld { found: foreign, offered: offered.into_iter().map(|(n, _)| n).collect() });
    }
    if !outline.exports.iter().any(|name| name == "reconcile") {
        return Err(LoadError::NoReconcile { exports: outline.exports });
    }
    let manifest = manifest?;
    let undeclared: Vec<Capability> = offered
        .iter()
        .filter(|(name, _)| outline.imports.contains(name))
        .filter_map(|(_, capability)| *capability)
        .filter(|capability| !manifest.capabilities.contains(capability))
        .collect();
    if !undeclared.is_empty() {
        return Err(LoadError::UndeclaredCapability { missing: undeclared });
    }
    Ok(manifest)
}

/// Names of the instances a contract offers, with the capability each stands for (`types` has no functions).
fn offered(contract: &str) -> Vec<(String, Option<Capability>)> {
    let (package, version) = contract.split_once('@').unwrap_or((contract, ""));
    let name = |interface: &str| format!("{package}/{interface}@{version}");
    let interfaces = CAPABILITIES.iter().map(|capability| (name(capability.name()), Some(*capability)));
    std::iter::once((name("types"), None)).chain(interfaces).collect()
}

/// The parts of a file that matter here.
#[derive(Debug, Default)]
struct Outline<'a> {
    imports: Vec<String>,
    exports: Vec<String>,
    manifests: Vec<&'a [u8]>,
}

impl<'a> Outline<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, LoadError> {
        if !bytes.starts_with(b"\0asm") {
            return Err(LoadError::NotWasm);
        }
        let malformed = |error: wasmparser::BinaryReaderError| LoadError::Malformed { detail: error.to_string() };
        let mut outline = Self::default();
        // Nesting: the outermost component is depth 1.
        let mut depth = 0_i32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(malformed)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(LoadError::CoreModule),
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        let import = import.map_err(malformed)?;
                        // A world's `use` shows as the import of a type: a name for what an instance already offers.
                        if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                            outline.imports.push(import.name.name.to_owned());
                        }
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        outline.exports.push(export.map_err(malformed)?.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) if section.name() == SECTION => outline.manifests.push(section.data()),
                _ => {}
            }
        }
        Ok(outline)
    }
}
