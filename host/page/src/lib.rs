//! The operator's page: what is wrong at three in the morning, why nothing is done about it, and who is waited for.
//!
//! It shows what the controller's own watches see, so a look at it costs the API server two reviews (who is this, may
//! they look), which are kept for a few seconds. It holds no rights of its own that matter: an answer to a question of a
//! remediation is written with the token of whoever gives it, so the API server authorises, admits and logs that person.

mod auth;
mod board;
mod error;
mod http;
mod shelf;
mod show;

#[cfg(test)]
mod tests;

pub use auth::AsUser;
pub use board::Board;
pub use http::{Page, serve};
pub use shelf::Shelf;
