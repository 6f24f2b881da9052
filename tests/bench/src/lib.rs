//! The bench: a fleet of fake kubelets in one process against a real control plane, and questions to its audit log.
//!
//! [`plane`] starts the control plane, [`fleet`] registers nodes and keeps them alive or lets them fail, [`audit`] tells
//! who asked the API server for what. [`assertions`] are promises of the controller that only a real API server can
//! confirm, [`measure`] says what it costs and how fast it is.

pub mod assertions;
pub mod audit;
pub mod controller;
pub mod fleet;
pub mod install;
pub mod measure;
pub mod plane;
pub mod wait;
