//! Netlink: the wire format, one socket per protocol, and the names of generic netlink families.
//!
//! `wire` is pure and shared by every codec; `socket` is the only file that talks to the kernel.

mod family;
pub mod genl;
pub mod socket;
pub mod wire;

pub use family::Family;
pub use socket::{Counts, NetlinkSocket, NlError, Protocol, Refused};
pub use wire::{Attr, Attrs, DecodeError, Message, Messages, Other, Request};
