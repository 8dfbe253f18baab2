//! The controller as its clients see it: over gRPC and HTTP, in this process, on ports of its own.

mod abilities;
mod admin;
mod agents;
mod brakes;
mod drains;
mod events;
mod history;
mod operators;
mod rig;
mod trace;
mod traffic;
