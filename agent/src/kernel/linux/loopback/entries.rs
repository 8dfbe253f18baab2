//! Loopback entries as elements of sets, whichever engine holds them. Pure.

use weir_proto::model::{Family, ItemKey, LoopbackEntry, Port, Protocol};

use super::super::{ipset::Element, netlink};
use crate::plan::{Key, Scope, Step, Unit};

/// Above so many entries one listing of the set is cheaper than asking for each.
pub(in super::super) const ONE_BY_ONE: usize = 64;

/// Gives the family's number.
pub(in super::super) fn netlink_family(family: Family) -> netlink::Family {
    match family {
        Family::V4 => netlink::Family::Inet,
        Family::V6 => netlink::Family::Inet6,
    }
}

/// Gives the element that an entry is.
pub(in super::super) fn element(entry: &LoopbackEntry) -> Element {
    Element {
        ip: entry.address,
        proto: entry.protocol.number(),
        port: entry.port.get(),
        ip2: entry.source,
    }
}

/// Gives the entry; none for one that weir could never make.
pub(in super::super) fn entry(element: &Element) -> Option<LoopbackEntry> {
    Some(LoopbackEntry {
        address: element.ip,
        protocol: Protocol::from_number(element.proto)?,
        port: Port::new(element.port.into()).ok()?,
        source: element.ip2,
    })
}

/// Gives the entries of a family that a scope names; none when it has everything.
pub(in super::super) fn within(scope: &Scope, family: Family) -> Option<Vec<LoopbackEntry>> {
    let Scope::Units(units) = scope else {
        return None;
    };
    let named = units.iter().filter_map(|unit| match unit {
        Unit::Entry(entry) if Family::of(entry.address) == family => Some(*entry),
        Unit::Base | Unit::Entry(_) | Unit::Service(_) | Unit::Vip(_) | Unit::SyncDaemon(_) => None,
    });
    Some(named.collect())
}

/// Gives what an entry step changes: which family's set, whether it takes away, and the element.
pub(in super::super) fn change(step: &Step) -> Option<(Family, bool, Element)> {
    match step.key() {
        Key::Item(ItemKey::LoopbackEntry(entry)) => Some((
            Family::of(entry.address),
            matches!(step, Step::Remove { .. }),
            element(&entry),
        )),
        _ => None,
    }
}
