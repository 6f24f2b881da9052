//! Remediator.
