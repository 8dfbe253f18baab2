//! The items of a node's state and their keys.

use super::operator::{forwarding_from_wire, forwarding_to_wire};
use super::{
    FieldErrors, Problems, address_from_wire, frontend_from_wire, frontend_to_wire,
    protocol_from_wire, protocol_to_wire,
};
use crate::model::{
    AffinityTimeout, BackendKey, Endpoint, Frontend, Item, ItemKey, LoopbackEntry, NodeBackend,
    Port, Refused, ServiceName, VirtualService, Weight,
};
use crate::wire;

/// Reads an item that stands at `path`.
pub fn item_from_wire(item: &wire::Item, path: &str) -> Result<Item, FieldErrors> {
    let mut problems = Problems::default();
    let item = read_item(item, path, &mut problems);
    problems.finish(item)
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
        Item::Vip(address) => Kind::Vip(wire::item::Vip {
            address: address.to_string(),
        }),
        Item::VirtualService(service) => Kind::VirtualService(wire::item::VirtualService {
            frontend: Some(frontend_to_wire(service.frontend)),
            scheduler: service.scheduler.to_string(),
            affinity_timeout_seconds: service.affinity.map_or(0, AffinityTimeout::seconds),
            service: service.service.to_string(),
        }),
        Item::Backend(backend) => Kind::Backend(wire::item::Backend {
            frontend: Some(frontend_to_wire(backend.key.frontend)),
            address: backend.key.endpoint.address.to_string(),
            port: backend.key.endpoint.port.get().into(),
            weight: backend.weight.get().into(),
            forwarding: forwarding_to_wire(backend.forwarding).into(),
        }),
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
    };
    wire::ItemKey { kind: Some(kind) }
}

fn read_item(item: &wire::Item, at: &str, problems: &mut Problems) -> Option<Item> {
    use wire::item::Kind;
    match &item.kind {
        Some(Kind::Vip(vip)) => {
            let path = format!("{at}.vip.address");
            let address = problems.take(path, address_from_wire(&vip.address))?;
            Some(Item::Vip(address))
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
            let forwarding = problems.take(
                format!("{at}.forwarding"),
                forwarding_from_wire(backend.forwarding),
            );
            Some(Item::Backend(NodeBackend {
                key: key?,
                weight: weight?,
                forwarding: forwarding?,
            }))
        }
        Some(Kind::LoopbackEntry(entry)) => {
            read_entry(entry, &format!("{at}.loopback_entry"), problems).map(Item::LoopbackEntry)
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
    let affinity = match service.affinity_timeout_seconds {
        0 => Some(None),
        seconds => problems
            .take(
                format!("{at}.affinity_timeout_seconds"),
                AffinityTimeout::new(seconds),
            )
            .map(Some),
    };
    let name = problems.take(format!("{at}.service"), ServiceName::new(&service.service));
    Some(VirtualService {
        frontend: frontend?,
        scheduler: scheduler?,
        affinity: affinity?,
        service: name?,
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
