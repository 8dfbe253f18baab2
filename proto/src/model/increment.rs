//! What has passed through a backend.

use super::BackendKey;

/// What has passed through one backend of one node between two looks, as counted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Increment {
    /// Which.
    pub backend: BackendKey,
    /// Connections that were scheduled.
    pub connections: u64,
    /// Of these those that were refused or not answered, as far as that can be told.
    pub failed: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients, where they pass the node.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients, where they pass the node.
    pub bytes_out: u64,
    /// Connections that carry traffic, at the second look.
    pub active: u64,
    /// Connections that are closing or not yet open, and all of UDP, at the second look.
    pub inactive: u64,
    /// It receives connections and answers none.
    pub silent: bool,
}
