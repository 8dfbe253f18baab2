//! The table that a kernel should hold for a node's state.

use std::net::{IpAddr, Ipv6Addr};

use weir_proto::model::{Family, Item, ItemKey, NodeBackend, Scheduler, VirtualService};
use weir_proto::state::NodeState;

use super::table::backends_of;
use super::{BackendSpec, Key, Ledger, Object, Scope, ServiceSpec, Sysctl, Table, Unit};

/// `IP_VS_SVC_F_SCHED1` (`include/uapi/linux/ip_vs.h`). To sh and mh it means fallback: a client whose backend takes no
/// new connection goes to another one instead of nowhere (`IP_VS_SVC_F_SCHED_SH_FALLBACK`, `.._MH_FALLBACK`).
const FALLBACK: u32 = 0x0008;

/// Gives the part of the table within `scope`. Base objects are wanted for the families in use; those that
/// `ledger` has stay wanted until the agent cleans up, so that a node which loses its last service does not switch
/// forwarding off.
pub fn wanted(state: &NodeState, ledger: &Ledger, scope: &Scope) -> Table {
    let mut table = Table::new();
    match scope {
        Scope::All => {
            base(state, ledger, &mut table);
            table.extend(state.items().values().map(entry));
        }
        Scope::Units(units) => {
            for unit in units {
                part(*unit, state, ledger, &mut table);
            }
        }
    }
    table
}

fn part(unit: Unit, state: &NodeState, ledger: &Ledger, table: &mut Table) {
    let one = match unit {
        Unit::Base => return base(state, ledger, table),
        Unit::Entry(entry) => ItemKey::LoopbackEntry(entry),
        Unit::Vip(address) => ItemKey::Vip(address),
        Unit::Service(frontend) => {
            let backends = state.items().range(backends_of(frontend));
            table.extend(backends.map(|(_, item)| entry(item)));
            ItemKey::VirtualService(frontend)
        }
    };
    table.extend(state.get(&one).map(entry));
}

fn base(state: &NodeState, ledger: &Ledger, table: &mut Table) {
    let mut families = Vec::new();
    for family in Family::ALL {
        if has_vip(state, family) || ledger.owns(Key::LoopbackSet(family)) {
            families.push(family);
            table.insert(Key::LoopbackSet(family), Object::Present);
            table.insert(Key::LoopbackRule(family), Object::Present);
        }
    }
    if families.is_empty() {
        return;
    }
    table.insert(Key::Link, Object::Present);
    for sysctl in Sysctl::ALL {
        if sysctl
            .family()
            .is_none_or(|family| families.contains(&family))
        {
            let value = Object::Value(sysctl.value().to_owned());
            table.insert(Key::Sysctl(sysctl), value);
        }
    }
}

fn has_vip(state: &NodeState, family: Family) -> bool {
    let first_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let (from, to) = match family {
        Family::V4 => (IpAddr::from([0; 4]), first_v6),
        Family::V6 => (first_v6, IpAddr::from([0xff; 16])),
    };
    let vips = ItemKey::Vip(from)..ItemKey::Vip(to);
    state.items().range(vips).next().is_some()
}

fn entry(item: &Item) -> (Key, Object) {
    let object = match item {
        Item::LoopbackEntry(_) | Item::Vip(_) => Object::Present,
        Item::VirtualService(service) => Object::Service(service_spec(service)),
        Item::Backend(backend) => Object::Backend(backend_spec(backend)),
    };
    (Key::Item(item.key()), object)
}

fn service_spec(service: &VirtualService) -> ServiceSpec {
    ServiceSpec {
        scheduler: service.scheduler.to_string(),
        affinity_seconds: service.affinity.map_or(0, |affinity| affinity.seconds()),
        scheduler_flags: match service.scheduler {
            Scheduler::SourceHash | Scheduler::Maglev => FALLBACK,
            _ => 0,
        },
    }
}

fn backend_spec(backend: &NodeBackend) -> BackendSpec {
    BackendSpec {
        weight: backend.weight.get().into(),
        forwarding: Some(backend.forwarding),
    }
}
