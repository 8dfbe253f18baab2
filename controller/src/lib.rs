//! The weir controller.
