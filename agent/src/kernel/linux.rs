//! The Linux kernel: codecs for what it speaks, and thin sockets that speak it.
//!
//! Each protocol has a codec that is pure (bytes in, values out) and knows nothing of weir's model, so
//! that any program could use it, and a socket file that only sends what the codec wrote and reads what
//! came back. Nothing here decides anything.

pub mod capabilities;
pub mod ipset;
pub mod ipvs;
pub mod link;
pub mod loopback;
pub mod netlink;
pub mod sysctl;
