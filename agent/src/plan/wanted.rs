//! The table that a kernel should hold for a node's state.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU8, NonZeroU32};

use weir_proto::model::{
    Family, Frontend, Item, ItemKey, Listener, Mark, NodeBackend, Port, Protocol, SyncDaemon,
    TunnelEnd, VipBinding, VirtualService,
};
use weir_proto::state::NodeState;

use super::table::backends_of;
use super::{
    BackendSpec, Guard, Key, Ledger, Object, Place, Scope, ServiceSpec, Setting, SyncDaemonSpec,
    Table, Unit, VipSpec, guards,
};

/// `IP_VS_SVC_F_ONEPACKET` (`include/uapi/linux/ip_vs.h`).
pub(super) const ONE_PACKET: u32 = 0x0004;
/// `IP_VS_SVC_F_SCHED1` (`include/uapi/linux/ip_vs.h`). To sh and mh it means fallback: a client whose backend takes no
/// new connection goes to another one instead of nowhere (`IP_VS_SVC_F_SCHED_SH_FALLBACK`, `.._MH_FALLBACK`).
pub(super) const FALLBACK: u32 = 0x0008;
/// `IP_VS_SVC_F_SCHED2`, which means to both that the client's port counts.
pub(super) const PORT: u32 = 0x0010;
/// `IP_VS_SYNC_GROUP` (`net/netfilter/ipvs/ip_vs_sync.c`).
const SYNC_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
/// `IP_VS_SYNC_PORT`, in the same place.
const SYNC_PORT: u16 = 8848;

/// Gives the part of the table within `scope`. Base objects are wanted for the families in use; those that
/// `ledger` has stay wanted until the agent cleans up, so that a node which loses its last service does not switch
/// forwarding off.
pub fn wanted(state: &NodeState, ledger: &Ledger, scope: &Scope) -> Table {
    let mut table = Table::new();
    match scope {
        Scope::All => {
            base(state, ledger, &mut table);
            // the key of a silent VIP that is a VIP as well comes first, and the VIP over it
            let silent = takes_silently(state);
            table.extend(
                state
                    .items()
                    .values()
                    .filter_map(|item| entry(item, silent)),
            );
            let guards = state.items().values().flat_map(guards);
            table.extend(guards.map(|guard| (Key::Guard(guard), Object::Present)));
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
        Unit::Guard(guard) => {
            if is_called_for(guard, state) {
                table.insert(Key::Guard(guard), Object::Present);
            }
            return;
        }
        Unit::Vip(address) if state.get(&ItemKey::Vip(address)).is_some() => ItemKey::Vip(address),
        Unit::Vip(address) => ItemKey::SilentVip(address),
        Unit::SyncDaemon(role) => ItemKey::SyncDaemon(role),
        Unit::Service(frontend) => {
            let backends = state.items().range(backends_of(frontend));
            table.extend(backends.filter_map(|(_, item)| entry(item, false)));
            ItemKey::VirtualService(frontend)
        }
    };
    let silent = matches!(one, ItemKey::Vip(_)) && takes_silently(state);
    table.extend(state.get(&one).and_then(|item| entry(item, silent)));
}

fn is_called_for(guard: Guard, state: &NodeState) -> bool {
    let item = state.get(&guard.item());
    item.is_some_and(|item| guards(item).contains(&guard))
}

fn base(state: &NodeState, ledger: &Ledger, table: &mut Table) {
    let mut families = Vec::new();
    for family in Family::ALL {
        if has_vip(state, family)
            || has_mark(state, family)
            || ledger.owns(Key::LoopbackSet(family))
        {
            families.push(family);
            table.insert(Key::LoopbackSet(family), Object::Present);
            table.insert(Key::LoopbackRule(family), Object::Present);
        }
        let guarded = has_vip(state, family) || has_listener(state, family);
        if guarded || ledger.owns(Key::Lockdown(family)) {
            table.insert(Key::Lockdown(family), Object::Present);
        }
    }
    let settings = settings(state, &families);
    table.extend(
        settings
            .into_iter()
            .map(|(setting, value)| (Key::Setting(setting), value)),
    );
    let silent = Family::ALL
        .into_iter()
        .any(|family| has_silent_vip(state, family));
    if !families.is_empty() || silent || ledger.owns(Key::Link) {
        table.insert(Key::Link, Object::Present);
    }
}

fn settings(state: &NodeState, families: &[Family]) -> BTreeMap<Setting, Object> {
    let mut settings = BTreeMap::new();
    let mut set = |setting: Setting, value: &dyn ToString| {
        settings.insert(setting, Object::Value(value.to_string()));
    };
    if !families.is_empty() {
        for setting in Setting::SERVING {
            let concerns = |family: &Family| families.contains(family);
            if setting.family().as_ref().is_none_or(concerns) {
                set(setting, &1);
            }
        }
    }
    // arp_ignore in net/ipv4/arp.c: 1 answers for the addresses of the link asked at; 3 for all but those of scope host, as
    // silent VIPs are. arp_announce 2 keeps a VIP from being who asks
    if state.get(&ItemKey::StrictArp).is_some() {
        set(Setting::ArpIgnore, &1);
        set(Setting::ArpAnnounce, &2);
    } else if takes_silently(state) {
        set(Setting::ArpIgnore, &3);
        set(Setting::ArpAnnounce, &2);
    }
    if let Some(Item::ConnectionTimeouts(timeouts)) = state.get(&ItemKey::ConnectionTimeouts) {
        let each = [
            (Setting::TimeoutTcp, timeouts.tcp()),
            (Setting::TimeoutTcpFin, timeouts.tcp_fin()),
            (Setting::TimeoutUdp, timeouts.udp()),
        ];
        for (setting, seconds) in each.into_iter().filter(|(_, seconds)| *seconds > 0) {
            set(setting, &seconds);
        }
    }
    for outer in Family::ALL {
        for inner in Family::ALL {
            let end = TunnelEnd { outer, inner };
            if state.get(&ItemKey::TunnelEnd(end)).is_none() {
                continue;
            }
            for setting in unwrapping(end) {
                match setting.place() {
                    Place::Link(_) => set(*setting, &"up"),
                    Place::Sysctl(_) | Place::Timeout => set(*setting, &2),
                }
            }
        }
    }
    settings
}

/// Gives the settings that the end of a tunnel needs.
pub(super) fn unwrapping(end: TunnelEnd) -> &'static [Setting] {
    match (end.outer, end.inner) {
        (Family::V4, Family::V4) => &[Setting::Tunl0, Setting::Tunl0RpFilter],
        (Family::V4, Family::V6) => &[Setting::Sit0],
        (Family::V6, Family::V4) => &[Setting::Ip6tnl0, Setting::Ip6tnl0RpFilter],
        (Family::V6, Family::V6) => &[Setting::Ip6tnl0],
    }
}

fn has_vip(state: &NodeState, family: Family) -> bool {
    has_address(state, family, ItemKey::Vip)
}

/// Says whether it has services that have no VIP, and need as much of the node as those that do.
fn has_mark(state: &NodeState, family: Family) -> bool {
    let mark = |number| ItemKey::VirtualService(Frontend::Mark(Mark { family, number }));
    let marks = mark(NonZeroU32::MIN)..=mark(NonZeroU32::MAX);
    state.items().range(marks).next().is_some()
}

/// Says whether the node takes packets to an IPv4 address without answering ARP for it, while it answers for others.
pub(crate) fn takes_silently(state: &NodeState) -> bool {
    has_silent_vip(state, Family::V4) && state.get(&ItemKey::StrictArp).is_none()
}

fn has_silent_vip(state: &NodeState, family: Family) -> bool {
    has_address(state, family, ItemKey::SilentVip)
}

fn has_listener(state: &NodeState, family: Family) -> bool {
    has_address(state, family, |address| {
        ItemKey::VirtualService(Frontend::Address(Listener {
            address,
            // the first in the order of listeners
            port: Port::LEAST,
            protocol: Protocol::Tcp,
        }))
    })
}

fn has_address(state: &NodeState, family: Family, key: fn(IpAddr) -> ItemKey) -> bool {
    let first_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let (from, to) = match family {
        Family::V4 => (IpAddr::from([0; 4]), first_v6),
        Family::V6 => (first_v6, IpAddr::from([0xff; 16])),
    };
    state.items().range(key(from)..key(to)).next().is_some()
}

/// Gives the object that an item is in the kernel; none: it is settings. `silent`: the node has silent VIPs, and with
/// them ARP is answered for addresses only (`arp_ignore` in `net/ipv4/arp.c`), so a VIP that is asked for must be one.
fn entry(item: &Item, silent: bool) -> Option<(Key, Object)> {
    let object = match item {
        Item::LoopbackEntry(_) => Object::Present,
        Item::Vip(vip) => Object::Vip(VipSpec {
            binding: match silent && vip.address.is_ipv4() {
                true => VipBinding::Address,
                false => vip.binding,
            },
            silent: false,
        }),
        Item::SilentVip(address) => {
            return Some((Key::Item(ItemKey::Vip(*address)), silent_vip(*address)));
        }
        Item::VirtualService(service) => Object::Service(service_spec(service)),
        // whether one that is drained is still there, its drain says
        Item::Backend(backend) if backend.drain.is_some() => return None,
        Item::Backend(backend) => Object::Backend(backend_spec(backend)),
        Item::SyncDaemon(daemon) => Object::SyncDaemon(daemon_spec(daemon)),
        Item::TunnelEnd(_) | Item::StrictArp | Item::ConnectionTimeouts(_) | Item::NodeDrain(_) => {
            return None;
        }
    };
    Some((Key::Item(item.key()), object))
}

fn silent_vip(address: IpAddr) -> Object {
    Object::Vip(VipSpec {
        binding: VipBinding::Address,
        silent: address.is_ipv4(),
    })
}

/// Says whether an object stays on a node that answers for no VIP any more, and makes one that is also taken silently just
/// that.
pub(super) fn stays_when_withdrawn(key: Key, object: &mut Object, state: &NodeState) -> bool {
    let Key::Item(ItemKey::Vip(address)) = key else {
        return true;
    };
    *object = silent_vip(address);
    state.get(&ItemKey::SilentVip(address)).is_some()
}

fn service_spec(service: &VirtualService) -> ServiceSpec {
    let flags = [
        (service.one_packet, ONE_PACKET),
        (
            service.scheduler_flags.is_some_and(|flags| flags.fallback),
            FALLBACK,
        ),
        (
            service.scheduler_flags.is_some_and(|flags| flags.port),
            PORT,
        ),
    ];
    let set = flags.into_iter().filter(|(on, _)| *on);
    ServiceSpec {
        scheduler: service.scheduler.to_string(),
        affinity_seconds: service
            .affinity
            .map_or(0, |affinity| affinity.timeout.seconds()),
        affinity_prefix: service.affinity.map_or(0, |affinity| affinity.prefix.get()),
        engine: service
            .affinity
            .and_then(|affinity| affinity.engine)
            .map_or_else(String::new, |engine| engine.as_str().to_owned()),
        flags: set.fold(0, |all, (_, flag)| all | flag),
    }
}

pub(super) fn backend_spec(backend: &NodeBackend) -> BackendSpec {
    BackendSpec {
        weight: backend.weight.get().into(),
        forwarding: Some(backend.forwarding),
        upper_threshold: backend.thresholds.upper(),
        lower_threshold: backend.thresholds.lower(),
    }
}

/// What is not said is as the kernel has it (`ip_vs_genl_new_daemon` and `start_sync_thread`, in
/// `net/netfilter/ipvs/ip_vs_ctl.c` and `ip_vs_sync.c`).
fn daemon_spec(daemon: &SyncDaemon) -> SyncDaemonSpec {
    SyncDaemonSpec {
        interface: daemon.interface.as_str().to_owned(),
        sync_id: daemon.sync_id,
        group: daemon.group.unwrap_or(SYNC_GROUP),
        port: daemon.port.map_or(SYNC_PORT, Port::get),
        ttl: daemon.ttl.map_or(1, NonZeroU8::get),
        max_length: daemon.max_length.map_or(0, |length| length.get()),
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::model::ServiceName;

    use super::*;

    #[test]
    fn a_service_of_a_mark_needs_forwarding_of_its_own_family_without_any_vip() {
        for family in Family::ALL {
            let number = NonZeroU32::new(7).expect("not 0");
            let frontend = Frontend::Mark(Mark { number, family });
            let name = ServiceName::new("marked").expect("a name");
            let service = Item::VirtualService(VirtualService::new(frontend, name));
            let mut state = NodeState::default();
            state.insert(service);
            let base = Scope::Units([Unit::Base].into());
            let wanted = wanted(&state, &Ledger::default(), &base);
            let forward = Key::Setting(match family {
                Family::V4 => Setting::ForwardV4,
                Family::V6 => Setting::ForwardV6,
            });
            assert_eq!(wanted.get(&forward), Some(&Object::Value("1".to_owned())));
            let families = wanted.keys().filter_map(|key| match key {
                Key::LoopbackSet(family) => Some(*family),
                _ => None,
            });
            assert!(families.eq([family]));
        }
    }
}
