//! weir-integration.
