//! The weir agent: programs one node's kernel so that it holds what the controller wants, and remembers both.

pub mod admin;
pub mod adopt;
pub mod app;
pub mod check;
pub mod cleanup;
mod clock;
pub mod config;
pub mod journal;
pub mod kernel;
pub mod plan;
pub mod reconciler;
pub mod release;
pub mod sampler;
pub mod session;
pub mod shown;
