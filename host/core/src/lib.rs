//! Pure decisions of Palisade: no IO, no clock, no async.
//!
//! Controllers, agent, simulator and model checker call the same functions. A function here takes what was seen and the
//! time, and returns what to do and why.

#[cfg(test)]
mod documented;
pub mod fencing;
pub mod hashing;
pub mod health;
pub mod shared;
pub mod stable_hash;
pub mod time;
