//! Power devices: fence agents and `BareMetalHosts`. Off is a reading, never an exit code.

pub mod agent;
pub mod bare_metal;
pub mod catalogue;
pub mod fault;
mod find;
mod hidden;
pub mod hosts;
mod metadata;
pub mod parameters;
pub mod plan;
mod process;
pub mod provider;
pub mod session;
mod template;
pub mod validate;
mod verdict;
