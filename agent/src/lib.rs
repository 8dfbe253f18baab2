//! The weir agent.
