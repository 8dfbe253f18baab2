//! The weir agent.

pub mod kernel;
