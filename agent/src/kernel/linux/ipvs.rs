//! IPVS over generic netlink: services, destinations, counters and settings as the kernel says them.
//!
//! A codec for any program: it knows `include/uapi/linux/ip_vs.h` and `net/netfilter/ipvs/ip_vs_ctl.c`
//! and nothing of weir. Only `socket` talks to the kernel.
//!
//! Facts that the codec rests on:
//! - Ports and the IPv4 netmask are in network byte order, every other number in the machine's own.
//! - An address takes 16 bytes (`union nf_inet_addr`) whatever its family.
//! - A service that goes by firewall mark has a family and a mark, and neither address nor protocol.
//! - A dump gives no sign when the table changes under it (`ip_vs_genl_dump_services` counts places and
//!   sets no `NLM_F_DUMP_INTR`): an entry may be missed or come twice while others are added or removed.
//! - A dump of the destinations of a service that does not exist is empty, not an error.
//! - Absent service: `ESRCH`; absent destination or a scheduler that cannot be loaded: `ENOENT`; there
//!   already: `EEXIST`.

mod command;
mod dest;
mod service;
mod settings;
mod socket;
mod stats;
// the captured bytes are those of a little-endian machine
#[cfg(all(test, target_endian = "little"))]
mod tests;

pub use command::{Command, IPVS_GENL_NAME, IPVS_GENL_VERSION};
pub use dest::{Dest, DestStatus, Forward, Tunnel, TunnelKind};
pub use service::{Flags, Netmask, Proto, Service, ServiceKey, ServiceStatus};
pub use settings::{Daemon, DaemonState, Info, Timeouts};
pub use socket::{Commands, Ipvs};
pub use stats::Stats;

pub use crate::kernel::linux::netlink::{DecodeError, Family, Other};
