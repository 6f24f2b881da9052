//! What [`remediator!`](crate::remediator) expands to.

/// Names that a manifest can ask for, so that a typing error is a compile error.
#[allow(non_upper_case_globals, missing_docs)]
pub mod capabilities {
    pub const target: &str = "target";
    pub const agent: &str = "agent";
    pub const fencing: &str = "fencing";
    pub const workloads: &str = "workloads";
    pub const scheduling: &str = "scheduling";
    pub const report: &str = "report";
    pub const machines: &str = "machines";
    pub const power: &str = "power";
    pub const approval: &str = "approval";
    pub const jobs: &str = "jobs";
}

/// The bytes of a text, as an array that can be put into a section.
pub const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let (text, mut bytes, mut i) = (text.as_bytes(), [0; N], 0);
    while i < N {
        bytes[i] = text[i];
        i += 1;
    }
    bytes
}

/// Calls the remediator. A panic becomes a trap; its message is logged first, so that it is not lost.
#[cfg(target_arch = "wasm32")]
pub fn run<R: crate::Remediator>(remediation: crate::Remediation) -> Result<crate::Outcome, crate::Failure> {
    std::panic::set_hook(Box::new(|info| crate::report::log(crate::report::Level::Warning, &info.to_string())));
    R::reconcile(remediation)
}

/// Exports a [`Remediator`](crate::Remediator) and writes its manifest into the component.
///
/// `capabilities` are the interfaces it uses; `report` is always among them. `parameters` is a JSON Schema as a literal,
/// without it the remediator takes none. The version is the crate's.
#[macro_export]
macro_rules! remediator {
    (name: $name:literal, remediator: $remediator:ty, capabilities: [$($capability:ident),* $(,)?] $(,)?) => {
        $crate::remediator! { name: $name, remediator: $remediator, capabilities: [$($capability),*], parameters: "{}" }
    };
    (
        name: $name:literal,
        remediator: $remediator:ty,
        capabilities: [$($capability:ident),* $(,)?],
        parameters: $parameters:literal $(,)?
    ) => {
        /// The manifest that the component carries.
        pub const MANIFEST: &str = concat!(
            "{\"name\":\"", $name, "\",\"version\":\"", env!("CARGO_PKG_VERSION"),
            "\",\"contract\":\"palisade:remediation@0.1.0\",\"capabilities\":[\"report\"",
            $(",\"", stringify!($capability), "\"",)*
            "],\"parameters\":", $parameters, "}\n",
        );

        const _: &[&str] = &[$($crate::__export::capabilities::$capability),*];

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "palisade:manifest")]
            static SECTION: [u8; MANIFEST.len()] = $crate::__export::bytes(MANIFEST);

            struct Exported;
            impl $crate::__bindings::Guest for Exported {
                fn reconcile(remediation: $crate::Remediation) -> Result<$crate::Outcome, $crate::Failure> {
                    $crate::__export::run::<$remediator>(remediation)
                }
            }
            $crate::__bindings::__export_remediator!(Exported with_types_in $crate::__bindings);
        };
    };
}
