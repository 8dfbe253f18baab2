//! What the cluster holds: services whose backends are one backend set each, so that an operator changes one alone.

use std::net::Ipv4Addr;

use weir_proto::wire;

/// Marks in changes are weights: above what everything begins with, and as many as a weight can say.
pub(crate) const FIRST_MARK: u32 = 2;
const BACKEND_PORT: u32 = 8080;

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) services: usize,
    /// Of each service.
    pub(crate) backends: usize,
    /// Which the backends stand on, one after the other.
    pub(crate) nodes: usize,
}

/// A backend by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) service: usize,
    pub(crate) backend: usize,
}

impl Size {
    /// Gives how many backends there are.
    pub(crate) fn all(self) -> usize {
        self.services * self.backends
    }

    /// Gives where the backend stands that is changed by the change of this number: each in its turn.
    pub(crate) fn place(self, number: usize) -> Place {
        Place {
            service: number % self.services,
            backend: number / self.services % self.backends,
        }
    }

    /// Gives all resources, as batches that a request can carry.
    pub(crate) fn batches(self) -> Vec<Vec<wire::Resource>> {
        self.batches_from(0)
    }

    /// Gives the resources of all services but the first ones.
    pub(crate) fn batches_from(self, first: usize) -> Vec<Vec<wire::Resource>> {
        const SERVICES: usize = 200;
        let all: Vec<usize> = (first..self.services).collect();
        let batches = all.chunks(SERVICES).map(|services| {
            let services = services.iter();
            let resources = services.flat_map(|service| {
                let sets = (0..self.backends).map(|backend| {
                    let place = Place {
                        service: *service,
                        backend,
                    };
                    self.set(place, 1)
                });
                [service_without(*service)].into_iter().chain(sets)
            });
            resources.collect()
        });
        batches.collect()
    }

    /// Gives the set of one backend, at a weight.
    pub(crate) fn set(self, place: Place, weight: u32) -> wire::Resource {
        let Place { service, backend } = place;
        let number = service * self.backends + backend;
        let backend_set = wire::BackendSet {
            name: format!("s{service}-b{backend}"),
            service: name(service),
            backends: vec![wire::Backend {
                address: address(11, number),
                port: BACKEND_PORT,
                weight: Some(weight),
                node: node(number % self.nodes),
                ..wire::Backend::default()
            }],
            ..wire::BackendSet::default()
        };
        resource(wire::resource::Kind::BackendSet(backend_set))
    }
}

/// Gives a node's name.
pub(crate) fn node(number: usize) -> String {
    format!("node-{number}")
}

fn name(service: usize) -> String {
    format!("s{service}")
}

fn service_without(number: usize) -> wire::Resource {
    let service = wire::Service {
        name: name(number),
        frontends: vec![wire::Frontend {
            address: address(10, number),
            port: 80,
            protocol: wire::Protocol::Tcp.into(),
            ..wire::Frontend::default()
        }],
        ..wire::Service::default()
    };
    resource(wire::resource::Kind::Service(service))
}

fn resource(kind: wire::resource::Kind) -> wire::Resource {
    wire::Resource {
        kind: Some(kind),
        ..wire::Resource::default()
    }
}

fn address(net: u8, number: usize) -> String {
    let [_, high, middle, low] = u32::try_from(number).unwrap_or_default().to_be_bytes();
    // never .0 or .255 of anything: host addresses, all of them
    let high = high << 4 | middle >> 4;
    Ipv4Addr::new(net, high, (middle & 15) << 4 | low >> 4, low & 15 | 16).to_string()
}
