//! What runs through a backend.

/// How many connections a backend has (`activeconns` and `inactconns` of `struct ip_vs_dest` in `include/net/ip_vs.h`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Those that carry traffic.
    pub active: u32,
    /// Those that are closing or not yet open, and all of UDP.
    pub inactive: u32,
}

impl Connections {
    /// Gives how many there are of both kinds.
    pub fn total(self) -> u64 {
        u64::from(self.active) + u64::from(self.inactive)
    }
}
