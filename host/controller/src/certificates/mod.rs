//! Who the agents are: the controller's authority, the trust that everybody reads, and certificates for agents.

mod authority;
mod rotation;
mod signing;
mod stock;

pub use authority::establish;
pub use signing::{Answered, sign};
pub use stock::ensure_stock;
