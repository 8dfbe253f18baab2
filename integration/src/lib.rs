//! The rig: network namespaces that stand for nodes, pods and clients, the programs that run in them, and
//! what a test asks of both. Everything here goes away when it is dropped.

pub mod capture;
pub mod client;
pub mod daemon;
pub mod dump;
pub mod eventually;
pub mod farm;
pub mod fuzz;
pub mod kernel_state;
pub mod knock;
pub mod load;
pub mod netns;
pub mod program;
pub mod random;
pub mod reference;
pub mod scribe;
pub mod server;
pub mod settled;
pub mod topology;
pub mod weir;
