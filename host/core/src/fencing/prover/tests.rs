//! The lines of the review that concern the controller, one test each, and a search over random histories.

mod around;
mod bench;
mod protocol;
mod random;
mod watching;
