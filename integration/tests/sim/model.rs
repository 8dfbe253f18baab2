//! What the operator has asked for, and what every kernel must hold of it: worked out here once more, in the simplest way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use weir_agent::plan::{Guard, Key, Object, Table};
use weir_integration::random::Random;
use weir_proto::model::{
    BackendKey, Endpoint, Frontend, ItemKey, Listener, LoopbackEntry, Port, Protocol,
};
use weir_proto::wire;

/// The nodes there are.
pub(crate) const NODES: [&str; 5] = ["node-1", "node-2", "node-3", "node-4", "node-5"];
/// The label by which services choose their nodes, and what it may be.
const ZONE: &str = "zone";
const ZONES: [&str; 2] = ["a", "b"];
/// How many services there may be. The first stays.
const SERVICES: u8 = 6;
/// How many backends a service may have.
const BACKENDS: u8 = 6;
/// Somebody else's service.
const FOREIGN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const PORT: u16 = 8080;

/// What a kernel holds that the controller speaks of: each key, with the weight of a backend.
pub(crate) type Objects = BTreeMap<Key, Option<u32>>;

/// The whole of what the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    services: BTreeMap<u8, Service>,
    /// By node, as the nodes are numbered.
    zones: Vec<usize>,
    /// Likewise; backends that run there take no new connection.
    cordoned: Vec<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Service {
    /// None: every node.
    zone: Option<usize>,
    /// Weights by place.
    backends: BTreeMap<u8, u32>,
}

/// What is asked of the controller.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// These are as told.
    Apply(Vec<wire::Resource>),
    /// This service goes.
    Delete(String),
}

impl Model {
    /// What there is to begin with: no service, and every node with the zone that its agent names.
    pub(crate) fn start() -> Self {
        Self {
            services: BTreeMap::new(),
            zones: (0..NODES.len()).map(|node| node % ZONES.len()).collect(),
            cordoned: vec![false; NODES.len()],
        }
    }

    /// Makes the first change: some services.
    pub(crate) fn begin(&mut self, random: &mut Random) -> Change {
        for number in 0..SERVICES / 2 {
            self.services.insert(number, Service::draw(random));
        }
        self.all()
    }

    /// Makes a change.
    pub(crate) fn change(&mut self, random: &mut Random) -> Change {
        if random.below(12) == 0 {
            let node = random.below(NODES.len());
            if random.below(2) == 0 {
                self.cordoned[node] = !self.cordoned[node];
            } else {
                self.zones[node] = (self.zones[node] + 1) % ZONES.len();
            }
            return Change::Apply(vec![self.node(node)]);
        }
        let number = u8::try_from(random.below(usize::from(SERVICES))).unwrap_or(0);
        let Some(service) = self.services.get_mut(&number) else {
            self.services.insert(number, Service::draw(random));
            return Change::Apply(vec![self.service(number)]);
        };
        match random.below(8) {
            0 if number > 0 => {
                self.services.remove(&number);
                return Change::Delete(name(number));
            }
            1 => service.zone = Service::draw(random).zone,
            2 => *service = Service::draw(random),
            3 | 4 => {
                let place = u8::try_from(random.below(usize::from(BACKENDS))).unwrap_or(0);
                if service.backends.len() > 1 && service.backends.remove(&place).is_some() {
                    // it may come again
                } else {
                    service.backends.insert(place, weight(random));
                }
            }
            _ => {
                let places: Vec<u8> = service.backends.keys().copied().collect();
                service
                    .backends
                    .insert(*random.pick(&places), weight(random));
            }
        }
        Change::Apply(vec![self.service(number)])
    }

    /// Asks for all of it.
    pub(crate) fn all(&self) -> Change {
        let nodes = (0..NODES.len()).map(|node| self.node(node));
        let services = self.services.keys().map(|number| self.service(*number));
        Change::Apply(nodes.chain(services).collect())
    }

    /// Reads what the controller says there is.
    pub(crate) fn read(resources: &[wire::Resource]) -> Self {
        let mut model = Self::start();
        for resource in resources {
            match &resource.kind {
                Some(wire::resource::Kind::Node(node)) => {
                    let at = NODES.iter().position(|known| *known == node.name);
                    if let (Some(at), Some(zone)) = (at, zone_in(&node.labels)) {
                        model.zones[at] = zone;
                        model.cordoned[at] = node.cordoned.unwrap_or(false);
                    }
                }
                Some(wire::resource::Kind::Service(service)) => {
                    let number = service.name.trim_start_matches("service-").parse();
                    let backends = service.backends.iter().map(|backend| {
                        let last = backend.address.rsplit('.').next().unwrap_or_default();
                        let last: u8 = last.parse().unwrap_or_default();
                        (last % 10, backend.weight.unwrap_or(1))
                    });
                    let read = Service {
                        zone: zone_in(&service.node_selector),
                        backends: backends.collect(),
                    };
                    model.services.insert(number.unwrap_or(u8::MAX), read);
                }
                _ => {}
            }
        }
        model
    }

    /// Says whether there is any service.
    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Gives what a node's kernel holds when it is just there.
    pub(crate) fn objects(&self, node: usize) -> Objects {
        let mut objects = foreign();
        for (number, service) in &self.services {
            if service.zone.is_some_and(|zone| zone != self.zones[node]) {
                continue;
            }
            let vip = vip(*number);
            objects.insert(Key::Item(ItemKey::Vip(vip)), None);
            objects.insert(Key::Guard(Guard::Vip(vip)), None);
            objects.insert(Key::Guard(Guard::Opening(listener(vip), None)), None);
            objects.insert(frontend(vip), None);
            for (place, weight) in &service.backends {
                let address = address(*number, *place);
                let runs_on = usize::from(*place) % NODES.len();
                let weight = if self.cordoned[runs_on] { 0 } else { *weight };
                objects.insert(backend(vip, address), Some(weight));
                if runs_on == node {
                    objects.insert(entry(address), None);
                }
            }
        }
        objects
    }

    fn node(&self, node: usize) -> wire::Resource {
        let node = wire::Node {
            name: NODES[node].to_owned(),
            labels: labels(self.zones[node]),
            cordoned: self.cordoned[node].then_some(true),
            ..wire::Node::default()
        };
        wire::Resource {
            kind: Some(wire::resource::Kind::Node(node)),
            ..wire::Resource::default()
        }
    }

    fn service(&self, number: u8) -> wire::Resource {
        let service = self.services.get(&number).cloned().unwrap_or_default();
        let backends = service
            .backends
            .iter()
            .map(|(place, weight)| wire::Backend {
                address: address(number, *place).to_string(),
                port: PORT.into(),
                weight: Some(*weight),
                node: NODES[usize::from(*place) % NODES.len()].to_owned(),
                ..wire::Backend::default()
            });
        let service = wire::Service {
            name: name(number),
            frontends: vec![wire::Frontend {
                address: vip(number).to_string(),
                port: PORT.into(),
                protocol: wire::Protocol::Tcp.into(),
                ..wire::Frontend::default()
            }],
            backends: backends.collect(),
            node_selector: service
                .zone
                .map(labels)
                .unwrap_or_default()
                .into_iter()
                .collect(),
            ..wire::Service::default()
        };
        wire::Resource {
            kind: Some(wire::resource::Kind::Service(service)),
            ..wire::Resource::default()
        }
    }
}

impl Service {
    fn draw(random: &mut Random) -> Self {
        let zone = match random.below(4) {
            zone @ 0..=1 => Some(zone),
            _ => None,
        };
        let mut backends = BTreeMap::new();
        for place in 0..BACKENDS {
            if random.below(2) == 0 {
                backends.insert(place, weight(random));
            }
        }
        backends.entry(0).or_insert(1);
        Self { zone, backends }
    }
}

/// Gives the part of a whole table that a model tells.
pub(crate) fn told(table: &Table) -> Objects {
    let told = |(key, object): (&Key, &Object)| match (key, object) {
        (Key::Item(_), Object::Backend(spec)) => Some((*key, Some(spec.weight))),
        (Key::Item(_) | Key::Guard(_), _) => Some((*key, None)),
        _ => None,
    };
    table.iter().filter_map(told).collect()
}

/// Says whether a kernel is as wanted, save for backends that are on their way out and what they need.
pub(crate) fn is_there(told: &Objects, wanted: &Objects) -> bool {
    if wanted
        .iter()
        .any(|(key, weight)| told.get(key) != Some(weight))
    {
        return false;
    }
    let mut more = told.iter().filter(|(key, _)| !wanted.contains_key(key));
    let leaves = |(_, weight): (&Key, &Option<u32>)| *weight == Some(0);
    let leaving = more.clone().any(leaves);
    more.all(|(_, weight)| leaving && weight.is_none_or(|weight| weight == 0))
}

/// Somebody else's service and its backend.
pub(crate) fn foreign() -> Objects {
    let vip = IpAddr::from(FOREIGN);
    let backend = backend(vip, Ipv4Addr::new(192, 0, 2, 99));
    [(frontend(vip), None), (backend, Some(7))].into()
}

/// Gives the labels an agent starts with.
pub(crate) fn first_labels(node: usize) -> BTreeMap<String, String> {
    labels(node % ZONES.len())
}

fn labels(zone: usize) -> BTreeMap<String, String> {
    [(ZONE.to_owned(), ZONES[zone].to_owned())].into()
}

fn zone_in<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Option<usize> {
    let mut labels = labels.into_iter();
    let (_, zone) = labels.find(|(name, _)| *name == ZONE)?;
    ZONES.iter().position(|known| known == zone)
}

fn weight(random: &mut Random) -> u32 {
    1 + u32::try_from(random.below(1_000)).unwrap_or(0)
}

fn name(number: u8) -> String {
    format!("service-{number}")
}

fn vip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 100, 1, number + 1).into()
}

fn address(service: u8, place: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 10 * (service + 1) + place)
}

fn listener(address: IpAddr) -> Listener {
    Listener {
        address,
        port: port(),
        protocol: Protocol::Tcp,
    }
}

fn frontend(vip: IpAddr) -> Key {
    Key::Item(ItemKey::VirtualService(Frontend::Address(listener(vip))))
}

fn backend(vip: IpAddr, address: Ipv4Addr) -> Key {
    Key::Item(ItemKey::Backend(BackendKey {
        frontend: Frontend::Address(listener(vip)),
        endpoint: Endpoint {
            address: address.into(),
            port: port(),
        },
    }))
}

fn entry(address: Ipv4Addr) -> Key {
    Key::Item(ItemKey::LoopbackEntry(LoopbackEntry {
        address: address.into(),
        protocol: Protocol::Tcp,
        port: port(),
        source: address.into(),
    }))
}

fn port() -> Port {
    Port::new(PORT.into()).expect("a port")
}
