//! Netlink: the wire format, one socket per protocol, and the names of generic netlink families.
//!
//! `wire` and `batch` are pure and shared by every codec; `socket`, `listener` and their `inbox` are the only files that talk to the
//! kernel.

mod batch;
mod family;
pub mod genl;
mod inbox;
mod listener;
pub mod socket;
pub mod wire;

pub use batch::Batch;
pub use family::Family;
pub use listener::{Heed, Listener};
pub use socket::{Answer, Counts, NetlinkSocket, NlError, Protocol, Refused};
pub use wire::{Attr, Attrs, DecodeError, Message, Messages, Other, Request};
