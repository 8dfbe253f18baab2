//! The language of weir: what controller, agent and operator say to each other, and what it may mean.

pub mod wire;
