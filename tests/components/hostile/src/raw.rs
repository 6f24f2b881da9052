//! The imports without the SDK, as a component written by hand calls them: handles are just numbers here.
#![allow(unsafe_code, reason = "the point of this file is to go around the types")]

use core::mem::MaybeUninit;

/// Enough for any result of these functions.
type Area = MaybeUninit<[u64; 8]>;

#[link(wasm_import_module = "palisade:remediation/workloads@0.1.0")]
unsafe extern "C" {
    #[link_name = "release"]
    fn release(key: *const u8, length: usize, proof: u32, how: u32, result: *mut Area);
}

#[link(wasm_import_module = "palisade:remediation/fencing@0.1.0")]
unsafe extern "C" {
    #[link_name = "get-proof"]
    fn get_proof(result: *mut [u32; 2]);
    #[link_name = "[resource-drop]proof"]
    fn drop_proof(proof: u32);
}

#[link(wasm_import_module = "palisade:remediation/report@0.1.0")]
unsafe extern "C" {
    #[link_name = "condition"]
    fn condition(
        kind: *const u8,
        kind_length: usize,
        status: u32,
        reason: *const u8,
        reason_length: usize,
        message: *const u8,
        message_length: usize,
        result: *mut Area,
    );
}

/// Releases with whatever is behind this number.
pub(crate) fn release_with(handle: u32) {
    let key = "forged";
    let mut area = Area::uninit();
    // SAFETY: pointers and lengths are right; only the handle is a lie, and that is the host's to find out.
    unsafe { release(key.as_ptr(), key.len(), handle, 0, &raw mut area) }
}

/// A handle that the host gave, or 0 if it gave none.
pub(crate) fn take_handle() -> u32 {
    let mut found = [0; 2];
    // SAFETY: an option of a handle takes eight bytes.
    unsafe { get_proof(&raw mut found) }
    if found[0] == 1 { found[1] } else { 0 }
}

/// Uses a handle that was given back.
pub(crate) fn release_after_drop() {
    let handle = take_handle();
    // SAFETY: as above.
    unsafe { drop_proof(handle) }
    release_with(handle);
}

/// Gives a handle back twice.
pub(crate) fn drop_twice() {
    let handle = take_handle();
    // SAFETY: as above.
    unsafe {
        drop_proof(handle);
        drop_proof(handle);
    }
}

/// Three strings that are the same memory: small for the guest, three copies for the host.
pub(crate) fn alias(length: usize) {
    let text = "a".repeat(length);
    let (start, length) = (text.as_ptr(), text.len());
    let mut area = Area::uninit();
    for _ in 0..100 {
        // SAFETY: all three are valid text.
        unsafe { condition(start, length, 0, start, length, start, length, &raw mut area) }
    }
}
