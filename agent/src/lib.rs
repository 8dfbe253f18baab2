//! The weir agent: programs one node's kernel so that it holds what the controller wants, and remembers both.

pub mod journal;
pub mod kernel;
pub mod plan;
