//! What a kernel holds and what is to be done to it, as it is shown to those who ask: over the stream, and on this machine.

use weir_proto::convert::{binding_to_wire, forwarding_to_wire, frontend_to_wire, role_to_wire};
use weir_proto::model::{BackendKey, Frontend, ItemKey, SyncRole};
use weir_proto::wire;
use weir_proto::wire::kernel_object::Value;
use weir_proto::wire::kernel_step::Verb;

use crate::plan::{
    BackendSpec, Key, Object, ServiceSpec, Step, SyncDaemonSpec, Tried, VipSpec, Visited, in_words,
};

/// Shows an object.
pub fn object(key: Key, object: &Object) -> wire::KernelObject {
    wire::KernelObject {
        object: key.to_string(),
        kind: key.kind().to_owned(),
        words: in_words(key, object),
        value: value(key, object),
    }
}

/// Shows a step of a trial, with what it finds.
pub fn step(step: &Step, tried: &Tried) -> wire::KernelStep {
    let key = step.key();
    let (verb, wanted) = match step {
        Step::Add { object, .. } => (Verb::Add, Some(object)),
        Step::Edit { object, .. } => (Verb::Edit, Some(object)),
        Step::Remove { .. } => (Verb::Remove, None),
    };
    let connections = tried.connections(key);
    wire::KernelStep {
        verb: verb.into(),
        object: key.to_string(),
        kind: key.kind().to_owned(),
        found: tried.actual.get(&key).map(|found| object(key, found)),
        wanted: wanted.map(|wanted| object(key, wanted)),
        active_connections: connections.map(|(active, _)| active),
        inactive_connections: connections.map(|(_, inactive)| inactive),
        once_drained: false,
    }
}

/// Shows a backend that goes once it is drained.
pub fn going(backend: BackendKey, tried: &Tried) -> wire::KernelStep {
    let key = Key::Item(ItemKey::Backend(backend));
    wire::KernelStep {
        once_drained: true,
        ..step(&Step::Remove { key }, tried)
    }
}

/// Shows how an object is by a trial, by what is desired, and in the kernel.
pub fn difference(key: Key, tried: &Tried) -> wire::KernelDifference {
    let show = |found: Option<&Object>| found.map(|found| object(key, found));
    wire::KernelDifference {
        object: key.to_string(),
        kind: key.kind().to_owned(),
        file: show(tried.after.get(&key)),
        desired: show(tried.before.get(&key)),
        kernel: show(tried.actual.get(&key)),
        foreign: tried.is_foreign(key),
    }
}

/// Shows an object of a frontend, as it is and as it should be.
pub fn seen(key: Key, tried: &Tried) -> wire::SeenObject {
    let wire::KernelDifference {
        object,
        kind,
        file: _,
        desired,
        kernel,
        foreign,
    } = difference(key, tried);
    let connections = tried.connections(key);
    wire::SeenObject {
        object,
        kind,
        desired,
        kernel,
        foreign,
        active_connections: connections.map(|(active, _)| active),
        inactive_connections: connections.map(|(_, inactive)| inactive),
    }
}

/// Shows a connection of a client.
pub fn visited(visited: &Visited) -> wire::ClientConnection {
    let Visited {
        port,
        backend,
        state,
    } = *visited;
    wire::ClientConnection {
        client_port: port.map_or(0, u32::from),
        backend: backend.map_or_else(String::new, |it| it.address.to_string()),
        backend_port: backend.map_or(0, |it| it.port.get().into()),
        state: state.to_string(),
    }
}

fn value(key: Key, object: &Object) -> Option<Value> {
    match (object, key) {
        (Object::Present, _) => None,
        (Object::Unreadable(why), _) => Some(Value::Unreadable(why.clone())),
        (Object::Value(value), _) => Some(Value::Setting(value.clone())),
        (Object::Service(spec), Key::Item(ItemKey::VirtualService(frontend))) => {
            Some(Value::Service(service(frontend, spec)))
        }
        (Object::Backend(spec), Key::Item(ItemKey::Backend(key))) => {
            Some(Value::Backend(backend(key, *spec)))
        }
        (Object::Vip(VipSpec { binding, silent }), Key::Item(ItemKey::Vip(address))) => {
            Some(Value::Vip(wire::KernelVip {
                address: address.to_string(),
                binding: binding_to_wire(*binding).into(),
                silent: *silent,
            }))
        }
        (Object::SyncDaemon(spec), Key::Item(ItemKey::SyncDaemon(role))) => {
            Some(Value::SyncDaemon(sync_daemon(role, spec)))
        }
        // no kernel has one under another's key
        (Object::Service(_) | Object::Backend(_) | Object::Vip(_) | Object::SyncDaemon(_), _) => {
            None
        }
    }
}

fn service(frontend: Frontend, spec: &ServiceSpec) -> wire::KernelService {
    let ServiceSpec {
        scheduler,
        affinity_seconds,
        affinity_prefix,
        engine,
        flags,
    } = spec;
    wire::KernelService {
        frontend: Some(frontend_to_wire(frontend)),
        scheduler: scheduler.clone(),
        affinity_seconds: *affinity_seconds,
        affinity_prefix: (*affinity_prefix).into(),
        engine: engine.clone(),
        flags: *flags,
    }
}

fn backend(key: BackendKey, spec: BackendSpec) -> wire::KernelBackend {
    let BackendSpec {
        weight,
        forwarding,
        upper_threshold,
        lower_threshold,
    } = spec;
    let forwarding = forwarding.map(forwarding_to_wire);
    wire::KernelBackend {
        frontend: Some(frontend_to_wire(key.frontend)),
        address: key.endpoint.address.to_string(),
        port: key.endpoint.port.get().into(),
        weight,
        forwarding: forwarding
            .as_ref()
            .map(|(forwarding, _)| (*forwarding).into()),
        tunnel: forwarding.and_then(|(_, tunnel)| tunnel),
        upper_threshold,
        lower_threshold,
    }
}

fn sync_daemon(role: SyncRole, spec: &SyncDaemonSpec) -> wire::KernelSyncDaemon {
    let SyncDaemonSpec {
        interface,
        sync_id,
        group,
        port,
        ttl,
        max_length,
    } = spec;
    wire::KernelSyncDaemon {
        role: role_to_wire(role).into(),
        interface: interface.clone(),
        sync_id: (*sync_id).into(),
        group: group.to_string(),
        port: (*port).into(),
        ttl: (*ttl).into(),
        max_length: (*max_length).into(),
    }
}
