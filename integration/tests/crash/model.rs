//! What the operator has asked for so far, and what he asks for next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use weir_agent::plan::{Guard, Key, Object, Table, Unit};
use weir_integration::random::Random;
use weir_proto::model::{
    BackendKey, Endpoint, Frontend, ItemKey, Listener, LoopbackEntry, Port, Protocol,
};
use weir_proto::wire;

/// The service that is asked all the time; no change touches it.
const WEB: u8 = 0;
/// Services that stay, while their weights and one backend of each change.
const CHURNED: u8 = 8;
/// Services that come and go.
const PASSING: u8 = 4;
/// Backends of a service that stay.
const STEADY_BACKENDS: u8 = 2;
/// The operator's own service.
const FOREIGN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// The pods' and everybody's port.
const PORT: u16 = 8080;

/// One change.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A service is as told from now on.
    Apply(Box<wire::Service>),
    /// A service goes.
    Delete(String),
}

impl Change {
    /// Which service it is about.
    pub(crate) fn service(&self) -> &str {
        match self {
            Self::Apply(service) => &service.name,
            Self::Delete(name) => name,
        }
    }
}

/// The state that all changes so far lead to: of each service, by its number, the weight of each backend.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model(BTreeMap<u8, BTreeMap<u8, u32>>);

impl Model {
    /// The state to begin with, and how to get there.
    pub(crate) fn start() -> (Self, Vec<Change>) {
        // pod-x and pod-y
        let mut services = BTreeMap::from([(WEB, [(11, 1), (21, 1)].into())]);
        for number in 1..=CHURNED {
            let backends = (0..STEADY_BACKENDS).map(|place| (address(number, place), 1));
            services.insert(number, backends.collect());
        }
        let changes = services
            .iter()
            .map(|(number, backends)| apply(*number, backends));
        let changes = changes.collect();
        (Self(services), changes)
    }

    /// Picks a change and takes it in.
    pub(crate) fn next(&mut self, random: &mut Random) -> Change {
        let number = 1 + u8::try_from(random.below(usize::from(CHURNED + PASSING))).unwrap_or(0);
        if number > CHURNED {
            if self.0.remove(&number).is_some() {
                return Change::Delete(name(number));
            }
            let backends = (0..STEADY_BACKENDS).map(|place| (address(number, place), 1));
            self.0.insert(number, backends.collect());
        } else {
            let backends = self.0.entry(number).or_default();
            let place = u8::try_from(random.below(usize::from(STEADY_BACKENDS) + 1)).unwrap_or(0);
            let weight = 1 + u32::try_from(random.below(100)).unwrap_or(0);
            let address = address(number, place);
            if place == STEADY_BACKENDS && backends.remove(&address).is_some() {
                // it comes back when it is picked again
            } else {
                backends.insert(address, weight);
            }
        }
        let backends = self.0.get(&number).cloned().unwrap_or_default();
        apply(number, &backends)
    }

    /// What a kernel holds that is just there: each key, with the weight of a backend. Settings and what all services
    /// share are left out.
    pub(crate) fn objects(&self) -> BTreeMap<Key, Option<u32>> {
        let mut objects = BTreeMap::new();
        for (number, backends) in &self.0 {
            let vip = vip(*number);
            objects.insert(Key::Item(ItemKey::Vip(vip)), None);
            objects.insert(Key::Guard(Guard::Vip(vip)), None);
            objects.insert(Key::Guard(Guard::Opening(listener(vip), None)), None);
            objects.insert(service(vip), None);
            for (last, weight) in backends {
                objects.insert(backend(vip, *last), Some(*weight));
                objects.insert(Key::Item(ItemKey::LoopbackEntry(entry(*last))), None);
            }
        }
        objects.insert(service(FOREIGN.into()), None);
        objects.insert(backend(FOREIGN.into(), 99), Some(7));
        objects
    }
}

/// What no change ever takes away, the operator's own service included.
pub(crate) fn steady() -> BTreeSet<Key> {
    let (model, _) = Model::start();
    model.objects().into_keys().collect()
}

/// How to read just that.
pub(crate) fn steady_units() -> BTreeSet<Unit> {
    steady().into_iter().map(Key::unit).collect()
}

/// The commands that make the operator's own service and set.
pub(crate) fn foreign_commands() -> [String; 4] {
    [
        format!("ipvsadm -A -t {FOREIGN}:{PORT} -s rr"),
        put_foreign_backend(),
        "ipset create operators hash:ip".to_owned(),
        "ipset add operators 192.0.2.78".to_owned(),
    ]
}

/// The command that adds the backend of the operator's own service.
pub(crate) fn put_foreign_backend() -> String {
    format!("ipvsadm -a -t {FOREIGN}:{PORT} -r 10.0.0.99:{PORT} -m -w 7")
}

/// The command that removes it.
pub(crate) fn take_foreign_backend() -> String {
    format!("ipvsadm -d -t {FOREIGN}:{PORT} -r 10.0.0.99:{PORT}")
}

/// The part of a whole table that a model tells.
pub(crate) fn told(table: &Table) -> BTreeMap<Key, Option<u32>> {
    let told = |(key, object): (&Key, &Object)| match (key, object) {
        (Key::Item(_), Object::Backend(spec)) => Some((*key, Some(spec.weight))),
        (Key::Item(_) | Key::Guard(_), _) => Some((*key, None)),
        _ => None,
    };
    table.iter().filter_map(told).collect()
}

fn name(number: u8) -> String {
    format!("service-{number}")
}

fn vip(number: u8) -> IpAddr {
    match number {
        WEB => Ipv4Addr::new(10, 100, 100, 100).into(),
        _ => Ipv4Addr::new(10, 100, 1, number).into(),
    }
}

/// The last byte of a backend's address; no pod has one of these.
fn address(service: u8, place: u8) -> u8 {
    100 + service * 3 + place
}

fn apply(number: u8, backends: &BTreeMap<u8, u32>) -> Change {
    let backends = backends.iter().map(|(last, weight)| wire::Backend {
        address: format!("10.0.0.{last}"),
        port: PORT.into(),
        weight: Some(*weight),
        node: "node-a".to_owned(),
        ..wire::Backend::default()
    });
    Change::Apply(Box::new(wire::Service {
        name: name(number),
        frontends: vec![wire::Frontend {
            address: vip(number).to_string(),
            port: PORT.into(),
            protocol: wire::Protocol::Tcp.into(),
            ..wire::Frontend::default()
        }],
        backends: backends.collect(),
        ..wire::Service::default()
    }))
}

fn listener(address: IpAddr) -> Listener {
    Listener {
        address,
        port: port(),
        protocol: Protocol::Tcp,
    }
}

fn service(vip: IpAddr) -> Key {
    Key::Item(ItemKey::VirtualService(Frontend::Address(listener(vip))))
}

fn backend(vip: IpAddr, last: u8) -> Key {
    Key::Item(ItemKey::Backend(BackendKey {
        frontend: Frontend::Address(listener(vip)),
        endpoint: Endpoint {
            address: Ipv4Addr::new(10, 0, 0, last).into(),
            port: port(),
        },
    }))
}

fn entry(last: u8) -> LoopbackEntry {
    let address = Ipv4Addr::new(10, 0, 0, last).into();
    LoopbackEntry {
        address,
        protocol: Protocol::Tcp,
        port: port(),
        source: address,
    }
}

fn port() -> Port {
    Port::new(PORT.into()).expect("a port")
}
