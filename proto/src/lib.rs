//! The language of weir: what controller, agent and operator say to each other, and what it may mean.
//!
//! `wire` is what is said, `model` what it may mean, `convert` the way between the two. `state` and `digest`
//! hold what one node must have. `disk` keeps bytes so that no crash loses them, for the controller's store
//! and the agent's journal alike. `tls` is how both know whom they talk to, `trace` how they tell what they do,
//! `machine` what they take from the machine they run on, `metrics` what they call their numbers, `checkup` how both tell what
//! a check of it found, and `faults` how tests make them fail.

pub mod checkup;
pub mod convert;
pub mod digest;
pub mod disk;
pub mod faults;
pub mod machine;
pub mod metrics;
pub mod model;
pub mod state;
pub mod tls;
pub mod trace;
pub mod wire;
