//! The items of a node's state and their keys.

use std::net::IpAddr;

use super::drain::{drain_from_wire, drain_or, drain_to_wire};
use super::settings::{
    binding_from_wire, binding_to_wire, daemon_from_wire, daemon_to_wire, engine_from_wire,
    engine_to_wire, family_from_wire, family_to_wire, flags_from_wire, flags_to_wire,
    forwarding_from_wire, forwarding_to_wire, role_from_wire, role_to_wire, sources_from_wire,
    sources_to_wire, timeouts_from_wire, timeouts_to_wire,
};
use super::{
    FieldErrors, Problems, address_from_wire, digest_from_wire, frontend_from_wire,
    frontend_to_wire, protocol_from_wire, protocol_to_wire,
};
use crate::model::{
    Affinity, AffinityTimeout, BackendKey, Drain, Endpoint, Family, Frontend, Item, ItemKey,
    LoopbackEntry, NodeBackend, Port, PrefixLength, Refused, ServiceName, Thresholds, TunnelEnd,
    UnreadKey, Vip, VirtualService, Weight,
};
use crate::wire;

/// Reads an item that stands at `path`.
pub fn item_from_wire(item: &wire::Item, path: &str) -> Result<Item, FieldErrors> {
    let mut problems = Problems::default();
    let item = read_item(item, path, &mut problems);
    problems.finish(item)
}

/// Reads the key alone of an item that stands at `path`, whatever else is wrong with the item.
pub fn key_of_item_from_wire(item: &wire::Item, path: &str) -> Result<ItemKey, FieldErrors> {
    let mut problems = Problems::default();
    let key = read_key_of(item, path, &mut problems);
    problems.finish(key)
}

/// Reads a key that stands at `path`.
pub fn item_key_from_wire(key: &wire::ItemKey, path: &str) -> Result<ItemKey, FieldErrors> {
    let mut problems = Problems::default();
    let key = read_key(key, path, &mut problems);
    problems.finish(key)
}

/// Writes an item. The digest of a state is made of these bytes.
pub fn item_to_wire(item: &Item) -> wire::Item {
    use wire::item::Kind;
    let kind = match item {
        Item::Vip(vip) => Kind::Vip(wire::item::Vip {
            address: vip.address.to_string(),
            binding: binding_to_wire(vip.binding).into(),
            lockdown: vip.lockdown,
        }),
        Item::SilentVip(address) => Kind::SilentVip(silent_to_wire(*address)),
        Item::TunnelEnd(end) => Kind::TunnelEnd(end_to_wire(*end)),
        Item::StrictArp => Kind::StrictArp(wire::item::StrictArp {}),
        Item::ConnectionTimeouts(timeouts) => Kind::ConnectionTimeouts(timeouts_to_wire(*timeouts)),
        Item::SyncDaemon(daemon) => Kind::SyncDaemon(daemon_to_wire(daemon)),
        Item::VirtualService(service) => Kind::VirtualService(wire::item::VirtualService {
            frontend: Some(frontend_to_wire(service.frontend)),
            scheduler: service.scheduler.to_string(),
            affinity_timeout_seconds: service
                .affinity
                .map_or(0, |affinity| affinity.timeout.seconds()),
            service: service.service.to_string(),
            affinity_prefix_length: service
                .affinity
                .map_or(0, |affinity| affinity.prefix.get().into()),
            persistence_engine: engine_to_wire(
                service.affinity.and_then(|affinity| affinity.engine),
            ),
            scheduler_flags: service.scheduler_flags.map(flags_to_wire),
            one_packet: service.one_packet,
            allow_sources: sources_to_wire(&service.sources),
            drain: Some(drain_to_wire(service.drain)),
        }),
        Item::NodeDrain(drain) => Kind::NodeDrain(wire::item::NodeDrain {
            drain: Some(drain_to_wire(*drain)),
        }),
        Item::Backend(backend) => {
            let (forwarding, tunnel) = forwarding_to_wire(backend.forwarding);
            Kind::Backend(wire::item::Backend {
                frontend: Some(frontend_to_wire(backend.key.frontend)),
                address: backend.key.endpoint.address.to_string(),
                port: backend.key.endpoint.port.get().into(),
                weight: backend.weight.get().into(),
                forwarding: forwarding.into(),
                tunnel,
                upper_threshold: backend.thresholds.upper(),
                lower_threshold: backend.thresholds.lower(),
                drain: backend.drain.map(drain_to_wire),
            })
        }
        Item::LoopbackEntry(entry) => Kind::LoopbackEntry(entry_to_wire(entry)),
    };
    wire::Item { kind: Some(kind) }
}

/// Writes a key.
pub fn item_key_to_wire(key: &ItemKey) -> wire::ItemKey {
    use wire::item_key::Kind;
    let kind = match key {
        ItemKey::Vip(address) => Kind::Vip(wire::item_key::Vip {
            address: address.to_string(),
        }),
        ItemKey::VirtualService(frontend) => Kind::VirtualService(frontend_to_wire(*frontend)),
        ItemKey::Backend(backend) => Kind::Backend(wire::item_key::Backend {
            frontend: Some(frontend_to_wire(backend.frontend)),
            address: backend.endpoint.address.to_string(),
            port: backend.endpoint.port.get().into(),
        }),
        ItemKey::LoopbackEntry(entry) => Kind::LoopbackEntry(entry_to_wire(entry)),
        ItemKey::SilentVip(address) => Kind::SilentVip(silent_to_wire(*address)),
        ItemKey::TunnelEnd(end) => Kind::TunnelEnd(end_to_wire(*end)),
        ItemKey::StrictArp => Kind::StrictArp(wire::item_key::OnlyOne {}),
        ItemKey::ConnectionTimeouts => Kind::ConnectionTimeouts(wire::item_key::OnlyOne {}),
        ItemKey::SyncDaemon(role) => Kind::SyncDaemon(role_to_wire(*role).into()),
        ItemKey::NodeDrain => Kind::NodeDrain(wire::item_key::OnlyOne {}),
        ItemKey::Unread(UnreadKey { kind, digest }) => Kind::Unread(wire::item_key::Unread {
            kind: *kind,
            digest: digest.to_vec(),
        }),
    };
    wire::ItemKey { kind: Some(kind) }
}

fn read_item(item: &wire::Item, at: &str, problems: &mut Problems) -> Option<Item> {
    use wire::item::Kind;
    match &item.kind {
        Some(Kind::Vip(vip)) => {
            let path = format!("{at}.vip.address");
            let address = problems.take(path, address_from_wire(&vip.address));
            let path = format!("{at}.vip.binding");
            let binding = problems.take(path, binding_from_wire(vip.binding));
            Some(Item::Vip(Vip {
                address: address?,
                binding: binding?,
                lockdown: vip.lockdown,
            }))
        }
        Some(Kind::SilentVip(vip)) => {
            let path = format!("{at}.silent_vip.address");
            let address = problems.take(path, address_from_wire(&vip.address))?;
            Some(Item::SilentVip(address))
        }
        Some(Kind::TunnelEnd(end)) => {
            read_end(end, &format!("{at}.tunnel_end"), problems).map(Item::TunnelEnd)
        }
        Some(Kind::StrictArp(_)) => Some(Item::StrictArp),
        Some(Kind::ConnectionTimeouts(timeouts)) => {
            let at = format!("{at}.connection_timeouts");
            let read = timeouts_from_wire(timeouts, &at, problems);
            if *timeouts == wire::ConnectionTimeouts::default() {
                problems.add(at, Refused::Missing);
            }
            read.map(Item::ConnectionTimeouts)
        }
        Some(Kind::SyncDaemon(daemon)) => {
            daemon_from_wire(daemon, &format!("{at}.sync_daemon"), problems).map(Item::SyncDaemon)
        }
        Some(Kind::VirtualService(service)) => {
            read_virtual_service(service, &format!("{at}.virtual_service"), problems)
                .map(Item::VirtualService)
        }
        Some(Kind::Backend(backend)) => {
            let at = format!("{at}.backend");
            let key = read_backend_key(
                backend.frontend.as_ref(),
                &backend.address,
                backend.port,
                &at,
                problems,
            );
            let weight = problems.take(format!("{at}.weight"), Weight::new(backend.weight));
            let forwarding = forwarding_from_wire(
                Some(backend.forwarding),
                backend.tunnel.as_ref(),
                &at,
                problems,
            );
            let thresholds = problems.take(
                format!("{at}.lower_threshold"),
                Thresholds::new(backend.upper_threshold, backend.lower_threshold),
            );
            let drain = match &backend.drain {
                Some(drain) => {
                    drain_from_wire(Some(drain), &format!("{at}.drain"), problems).map(Some)
                }
                None => Some(None),
            };
            Some(Item::Backend(NodeBackend {
                key: key?,
                weight: weight?,
                forwarding: forwarding?,
                thresholds: thresholds?,
                drain: drain?,
            }))
        }
        Some(Kind::LoopbackEntry(entry)) => {
            read_entry(entry, &format!("{at}.loopback_entry"), problems).map(Item::LoopbackEntry)
        }
        Some(Kind::NodeDrain(node)) => {
            let at = format!("{at}.node_drain.drain");
            drain_from_wire(node.drain.as_ref(), &at, problems).map(Item::NodeDrain)
        }
        None => {
            problems.add(at, Refused::Missing);
            None
        }
    }
}

fn read_key(key: &wire::ItemKey, at: &str, problems: &mut Problems) -> Option<ItemKey> {
    use wire::item_key::Kind;
    match &key.kind {
        Some(Kind::Vip(vip)) => {
            let path = format!("{at}.vip.address");
            let address = problems.take(path, address_from_wire(&vip.address))?;
            Some(ItemKey::Vip(address))
        }
        Some(Kind::VirtualService(frontend)) => {
            frontend_from_wire(frontend, &format!("{at}.virtual_service"), problems)
                .map(ItemKey::VirtualService)
        }
        Some(Kind::Backend(backend)) => read_backend_key(
            backend.frontend.as_ref(),
            &backend.address,
            backend.port,
            &format!("{at}.backend"),
            problems,
        )
        .map(ItemKey::Backend),
        Some(Kind::LoopbackEntry(entry)) => {
            read_entry(entry, &format!("{at}.loopback_entry"), problems).map(ItemKey::LoopbackEntry)
        }
        Some(Kind::SilentVip(vip)) => {
            let path = format!("{at}.silent_vip.address");
            let address = problems.take(path, address_from_wire(&vip.address))?;
            Some(ItemKey::SilentVip(address))
        }
        Some(Kind::TunnelEnd(end)) => {
            read_end(end, &format!("{at}.tunnel_end"), problems).map(ItemKey::TunnelEnd)
        }
        Some(Kind::StrictArp(_)) => Some(ItemKey::StrictArp),
        Some(Kind::ConnectionTimeouts(_)) => Some(ItemKey::ConnectionTimeouts),
        Some(Kind::SyncDaemon(role)) => problems
            .take(format!("{at}.sync_daemon"), role_from_wire(*role))
            .map(ItemKey::SyncDaemon),
        Some(Kind::NodeDrain(_)) => Some(ItemKey::NodeDrain),
        Some(Kind::Unread(unread)) => {
            let path = format!("{at}.unread.digest");
            let digest = problems.take(path, digest_from_wire(&unread.digest))?;
            Some(ItemKey::Unread(UnreadKey {
                kind: unread.kind,
                digest: digest.to_bytes(),
            }))
        }
        None => {
            problems.add(at, Refused::Missing);
            None
        }
    }
}

fn read_key_of(item: &wire::Item, at: &str, problems: &mut Problems) -> Option<ItemKey> {
    use wire::item::Kind;
    match &item.kind {
        Some(Kind::Vip(vip)) => {
            let path = format!("{at}.vip.address");
            let address = problems.take(path, address_from_wire(&vip.address))?;
            Some(ItemKey::Vip(address))
        }
        Some(Kind::SilentVip(vip)) => {
            let path = format!("{at}.silent_vip.address");
            let address = problems.take(path, address_from_wire(&vip.address))?;
            Some(ItemKey::SilentVip(address))
        }
        Some(Kind::TunnelEnd(end)) => {
            read_end(end, &format!("{at}.tunnel_end"), problems).map(ItemKey::TunnelEnd)
        }
        Some(Kind::StrictArp(_)) => Some(ItemKey::StrictArp),
        Some(Kind::ConnectionTimeouts(_)) => Some(ItemKey::ConnectionTimeouts),
        Some(Kind::SyncDaemon(daemon)) => problems
            .take(
                format!("{at}.sync_daemon.role"),
                role_from_wire(daemon.role),
            )
            .map(ItemKey::SyncDaemon),
        Some(Kind::VirtualService(service)) => {
            let at = format!("{at}.virtual_service");
            read_frontend(service.frontend.as_ref(), &at, problems).map(ItemKey::VirtualService)
        }
        Some(Kind::Backend(backend)) => read_backend_key(
            backend.frontend.as_ref(),
            &backend.address,
            backend.port,
            &format!("{at}.backend"),
            problems,
        )
        .map(ItemKey::Backend),
        Some(Kind::LoopbackEntry(entry)) => {
            read_entry(entry, &format!("{at}.loopback_entry"), problems).map(ItemKey::LoopbackEntry)
        }
        Some(Kind::NodeDrain(_)) => Some(ItemKey::NodeDrain),
        None => {
            problems.add(at, Refused::Missing);
            None
        }
    }
}

fn read_virtual_service(
    service: &wire::item::VirtualService,
    at: &str,
    problems: &mut Problems,
) -> Option<VirtualService> {
    let frontend = read_frontend(service.frontend.as_ref(), at, problems);
    let scheduler = problems.take(format!("{at}.scheduler"), service.scheduler.parse());
    let scheduler_flags = scheduler.and_then(|scheduler| {
        problems.take(
            format!("{at}.scheduler_flags"),
            flags_from_wire(service.scheduler_flags, scheduler),
        )
    });
    let affinity = match (service.affinity_timeout_seconds, frontend) {
        (0, _) => Some(None),
        (_, None) => None,
        (seconds, Some(frontend)) => {
            read_affinity(service, seconds, frontend.family(), (at, problems)).map(Some)
        }
    };
    let sources = sources_from_wire(
        &service.allow_sources,
        frontend.map(Frontend::family),
        &format!("{at}.allow_sources"),
        problems,
    );
    let name = problems.take(format!("{at}.service"), ServiceName::new(&service.service));
    let at = format!("{at}.drain");
    let drain = drain_or(Drain::default(), service.drain.as_ref(), &at, problems);
    Some(VirtualService {
        frontend: frontend?,
        scheduler: scheduler?,
        scheduler_flags: scheduler_flags?,
        affinity: affinity?,
        one_packet: service.one_packet,
        sources: sources?,
        service: name?,
        drain: drain?,
    })
}

fn read_affinity(
    service: &wire::item::VirtualService,
    seconds: u32,
    family: Family,
    (at, problems): (&str, &mut Problems),
) -> Option<Affinity> {
    let timeout = problems.take(
        format!("{at}.affinity_timeout_seconds"),
        AffinityTimeout::new(seconds),
    );
    let prefix = problems.take(
        format!("{at}.affinity_prefix_length"),
        PrefixLength::new(family, service.affinity_prefix_length),
    );
    let engine = problems.take(
        format!("{at}.persistence_engine"),
        engine_from_wire(&service.persistence_engine),
    );
    Some(Affinity {
        timeout: timeout?,
        prefix: prefix?,
        engine: engine?,
    })
}

fn read_end(end: &wire::item::TunnelEnd, at: &str, problems: &mut Problems) -> Option<TunnelEnd> {
    let outer = problems.take(format!("{at}.outer"), family_from_wire(end.outer));
    let inner = problems.take(format!("{at}.inner"), family_from_wire(end.inner));
    Some(TunnelEnd {
        outer: outer?,
        inner: inner?,
    })
}

fn read_frontend(
    frontend: Option<&wire::Frontend>,
    at: &str,
    problems: &mut Problems,
) -> Option<Frontend> {
    let at = format!("{at}.frontend");
    match frontend {
        Some(frontend) => frontend_from_wire(frontend, &at, problems),
        None => {
            problems.add(at, Refused::Missing);
            None
        }
    }
}

fn read_backend_key(
    frontend: Option<&wire::Frontend>,
    address: &str,
    port: u32,
    at: &str,
    problems: &mut Problems,
) -> Option<BackendKey> {
    let frontend = read_frontend(frontend, at, problems);
    let address = problems.take(format!("{at}.address"), address_from_wire(address));
    let port = problems.take(format!("{at}.port"), Port::new(port));
    Some(BackendKey {
        frontend: frontend?,
        endpoint: Endpoint {
            address: address?,
            port: port?,
        },
    })
}

fn read_entry(
    entry: &wire::item::LoopbackEntry,
    at: &str,
    problems: &mut Problems,
) -> Option<LoopbackEntry> {
    let address = problems.take(format!("{at}.address"), address_from_wire(&entry.address));
    let protocol = problems.take(format!("{at}.protocol"), protocol_from_wire(entry.protocol));
    let port = problems.take(format!("{at}.port"), Port::new(entry.port));
    let source = problems.take(format!("{at}.source"), address_from_wire(&entry.source));
    Some(LoopbackEntry {
        address: address?,
        protocol: protocol?,
        port: port?,
        source: source?,
    })
}

fn entry_to_wire(entry: &LoopbackEntry) -> wire::item::LoopbackEntry {
    wire::item::LoopbackEntry {
        address: entry.address.to_string(),
        protocol: protocol_to_wire(entry.protocol).into(),
        port: entry.port.get().into(),
        source: entry.source.to_string(),
    }
}

fn end_to_wire(end: TunnelEnd) -> wire::item::TunnelEnd {
    wire::item::TunnelEnd {
        outer: family_to_wire(end.outer).into(),
        inner: family_to_wire(end.inner).into(),
    }
}

fn silent_to_wire(address: IpAddr) -> wire::item::SilentVip {
    wire::item::SilentVip {
        address: address.to_string(),
    }
}
