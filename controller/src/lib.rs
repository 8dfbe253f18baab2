//! The weir controller.
pub mod ctl;
