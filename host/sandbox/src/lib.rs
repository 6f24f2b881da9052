//! A small cluster in one process, for first runs and fast tests: an API store behind a real HTTP server, fake nodes
//! with real agents, faults, and the demonstration that runs on top of either this or a real control plane.

pub mod api;
pub mod demo;
pub mod lab;
pub mod program;
