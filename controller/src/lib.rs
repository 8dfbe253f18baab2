//! The weir controller: it takes what operators declare, works out what every node must hold, and streams it
//! there. The kernel forwards packets whether it runs or not.

pub mod admin;
pub mod app;
mod cluster;
pub mod config;
pub mod ctl;
mod desired;
mod metrics;
mod rpc;
mod store;
mod traffic;

pub use metrics::{BACKEND_METRICS, METRICS};
