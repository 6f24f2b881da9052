//! Attacks on the binary interface make sense only in Wasm.

pub(crate) fn release_with(_handle: u32) {}
pub(crate) fn take_handle() -> u32 {
    0
}
pub(crate) fn release_after_drop() {}
pub(crate) fn drop_twice() {}
pub(crate) fn alias(_length: usize) {}
