//! How states are hashed: so that a model checker recognises a state it has seen before.
//!
//! Instants, sequence numbers and the names of requests rise for ever, although two states that differ only by how far
//! everything has risen behave alike. Each of these kinds goes to the hasher as an `i128` with its own tag, a method that
//! nothing else uses; a hasher that knows may take them relative to each other. For every other hasher they are numbers.

use std::hash::Hasher;

/// An instant ([`crate::time::Mono`]) in milliseconds.
pub const INSTANT: i128 = 1 << 64;
/// A sequence number of a record.
pub const SEQUENCE: i128 = 2 << 64;
/// The name of a request.
pub const REQUEST: i128 = 3 << 64;
/// The name of a write of the host file.
pub const WRITE: i128 = 4 << 64;

/// Feeds one number of such a kind.
pub fn tagged<H: Hasher>(state: &mut H, tag: i128, value: u64) {
    state.write_i128(tag | i128::from(value));
}

/// `Hash` for a struct whose first field is a sequence number.
macro_rules! hash_with_sequence {
    ($type:ident { $sequence:ident; $($field:ident),* $(,)? }) => {
        impl std::hash::Hash for $type {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                let Self { $sequence, $($field),* } = self;
                $crate::hashing::tagged(state, $crate::hashing::SEQUENCE, *$sequence);
                $(std::hash::Hash::hash($field, state);)*
            }
        }
    };
}
pub(crate) use hash_with_sequence;
