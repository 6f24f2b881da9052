//! Stories about one node. The number in a name is the line of the review page that the story defends.

mod bench;
mod contact;
mod device;
mod ends;
mod exempt;
mod means;
mod reconfigure;
mod restart;
mod sampled;
mod woken;
