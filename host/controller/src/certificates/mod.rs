//! Who the agents are: the controller's authority, the trust that everybody reads, and certificates for agents.

mod authority;
mod rotation;
mod signing;

pub use authority::establish;
pub use signing::{Answered, sign};
