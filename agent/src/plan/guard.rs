//! What a lockdown lets in and what it guards, item by item.
//!
//! A connection to a VIP is let in by an opening; what no opening lets in is rejected on a guarded port and on a locked
//! VIP, and nowhere else. Openings are made for every frontend, locked or not: each guard depends on one item alone, so
//! that a change to one item changes its own guards and no others.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use weir_proto::model::{Family, Frontend, Item, ItemKey, Listener, VirtualService};

/// An entry of a lockdown. The order is the order in which entries are put up: what lets in comes before what shuts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// New connections to a declared port are let in, from this range or from everybody.
    Opening(Listener, Option<IpNet>),
    /// New connections to a port that nothing else lets in are rejected.
    Port(Listener),
    /// The same of a whole VIP.
    Vip(IpAddr),
}

impl Guard {
    /// Gives the family of the lockdown it is in.
    pub fn family(self) -> Family {
        match self {
            Self::Opening(listener, _) | Self::Port(listener) => Family::of(listener.address),
            Self::Vip(address) => Family::of(address),
        }
    }

    /// Gives the one item that may call for it.
    pub fn item(self) -> ItemKey {
        match self {
            Self::Opening(listener, _) | Self::Port(listener) => {
                ItemKey::VirtualService(Frontend::Address(listener))
            }
            Self::Vip(address) => ItemKey::Vip(address),
        }
    }

    /// Says whether it shuts out or lets in some alone: without it more is open than was asked for, or less.
    pub(super) fn matters_by_itself(self) -> bool {
        !matches!(self, Self::Opening(_, None))
    }
}

/// Gives the guards that an item calls for.
pub fn guards(item: &Item) -> Vec<Guard> {
    match item {
        Item::VirtualService(service) => of_service(service),
        Item::Vip(vip) if vip.lockdown => vec![Guard::Vip(vip.address)],
        _ => Vec::new(),
    }
}

fn of_service(service: &VirtualService) -> Vec<Guard> {
    // what carries a mark goes wherever the operator's own rules let it
    let Some(listener) = service.frontend.listener() else {
        return Vec::new();
    };
    let everybody = |range: &IpNet| range.prefix_len() == 0;
    if service.sources.is_empty() || service.sources.iter().any(everybody) {
        return vec![Guard::Opening(listener, None)];
    }
    let ranges = service.sources.iter();
    let openings = ranges.map(|range| Guard::Opening(listener, Some(*range)));
    openings.chain([Guard::Port(listener)]).collect()
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening(listener, None) => {
                write!(f, "opening {}", Frontend::Address(*listener))
            }
            Self::Opening(listener, Some(range)) => {
                write!(f, "opening {} from {range}", Frontend::Address(*listener))
            }
            Self::Port(listener) => write!(f, "guarded port {}", Frontend::Address(*listener)),
            Self::Vip(address) => write!(f, "locked vip {address}"),
        }
    }
}
