//! What agents and controller say to each other, and how they prove who they are.
//!
//! - [`identity`]: P-256 keys, signing requests, the controller's authority, signed lease records.
//! - [`tls`]: mutual TLS 1.3 in which the *name in the certificate* is the identity; addresses prove nothing.
//! - [`client`] and [`server`]: the service `palisade.agent.v1.Agent` in plain Rust types.
//! - [`peer_health`]: the one question that agents of the stock product ask.

pub mod client;
pub mod identity;
pub mod message;
pub mod peer_health;
pub mod server;
pub mod tls;

/// Code generated from `proto/agent.proto`; a test fails when it drifts.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod proto {
    include!("generated/palisade.agent.v1.rs");
}

/// Code generated from `proto/peer_health.proto`, of which only the server is used.
#[allow(missing_docs, dead_code, clippy::all, clippy::pedantic)]
mod peer_health_proto {
    include!("generated/selfnoderemediation.health.rs");
}

pub use client::{AgentClient, CallError, Limits};
pub use identity::{Authority, Identity, IdentityError, Key, Trust, agent_name};
pub use message::{Ask, AskAnswer, PromiseAnswer, PromiseRequest, StatusAnswer};
pub use peer_health::{Health, PeerHealthHandler, SharedPair};
pub use server::{AgentHandler, Credentials, SignedRecord, StockAgents, serve, serve_stock_agents_too};
