//! What passes through the cluster: the nodes' reports, added up for each backend, service, node and all. PURE
//!
//! Totals only grow, while what they are of is placed. Connections and rates are those that the nodes told last; those of a
//! node that is not there for 30 s do not count until it is back. What is not placed, or no longer, is not kept: what is
//! here grows with what nodes hold, not with what they say.

mod places;
mod sums;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use weir_proto::model::{
    BackendKey, ConnectionState, Conntrack, Endpoint, Increment, Kind, NodeName, Protocol,
    ResourceRef, ServiceName, VipConnections,
};

use super::resources::Stored;
use places::{Place, Places};
use sums::Interval;
pub(crate) use sums::{Sum, Totals};

/// For how long what a node told counts as what there is, as traffic.proto says.
const KNOWN_FOR_MS: u64 = 30_000;
/// How many intervals may pass without a word until nothing passes: a report may be late, and one may be lost.
const PATIENCE_INTERVALS: u64 = 3;

/// What a node counted in an interval that ends now. A long one comes in parts, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) node: NodeName,
    pub(crate) interval_ms: u64,
    pub(crate) increments: Vec<Increment>,
    /// None: as it was told before.
    pub(crate) conntrack: Option<Conntrack>,
    /// Those that are others than were told on the stream.
    pub(crate) vips: Vec<VipConnections>,
    /// It is the first of its stream: what connections there are is told anew.
    pub(crate) first: bool,
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrafficQuery {
    /// Of these; none: of all.
    pub(crate) services: Vec<ServiceName>,
    pub(crate) backends: bool,
    pub(crate) nodes: bool,
}

/// What passes at one moment, each list by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Passing {
    /// Through all services.
    pub(crate) fleet: Sum,
    pub(crate) services: Vec<ServicePassing>,
    pub(crate) backends: Vec<BackendPassing>,
    pub(crate) nodes: Vec<NodePassing>,
}

/// What passes through a service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServicePassing {
    pub(crate) name: ServiceName,
    pub(crate) sum: Sum,
    pub(crate) backends: usize,
    /// How many of them are silent.
    pub(crate) silent: usize,
    /// The busiest backend's load over the mean of all; 0: there is nothing to compare.
    pub(crate) imbalance: f64,
}

/// What passes through a backend of a service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BackendPassing {
    pub(crate) service: ServiceName,
    pub(crate) endpoint: Endpoint,
    pub(crate) sum: Sum,
}

/// What passes through a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodePassing {
    pub(crate) name: NodeName,
    pub(crate) sum: Sum,
    /// Its losses are since the controller started. None: it has told nothing, or nothing for long.
    pub(crate) conntrack: Option<Conntrack>,
    pub(crate) vips: Vec<VipConnections>,
}

/// What the nodes told, added up.
#[derive(Debug, Default)]
pub(crate) struct RollUp {
    places: Places,
    nodes: BTreeMap<NodeName, Telling>,
    fleet: Sum,
}

/// What a node told.
#[derive(Debug, Default)]
struct Telling {
    sum: Sum,
    parts: BTreeMap<BackendKey, Part>,
    conntrack: Option<Conntrack>,
    vips: BTreeMap<(IpAddr, Protocol, ConnectionState), u64>,
    /// Counts the intervals.
    round: u64,
    /// When the first report of the interval came.
    begun_ms: u64,
    interval_ms: u64,
    /// When it told anything last, and when it was there last to tell it.
    told_ms: u64,
    heard_ms: u64,
    /// It was not there for long: what there is on it is not counted.
    mute: bool,
}

/// What a node told of a backend last.
#[derive(Debug)]
struct Part {
    interval: Interval,
    /// The service, and the backend if it is one of the service's, as they are numbered.
    service: u64,
    backend: Option<u64>,
    /// Of the node.
    round: u64,
    told_ms: u64,
}

/// What is added up, beside what each node told.
struct Sums<'a> {
    places: &'a mut Places,
    fleet: &'a mut Sum,
}

impl RollUp {
    /// Takes note of a resource that was written, or, without one, went.
    pub(crate) fn place(&mut self, reference: &ResourceRef, stored: Option<Arc<Stored>>) {
        let gone = stored.is_none() && reference.kind == Kind::Node;
        self.places.put(reference, stored);
        // what has no such name has told nothing
        let gone = gone.then(|| NodeName::new(&reference.name).ok()).flatten();
        if let Some(mut telling) = gone.and_then(|name| self.nodes.remove(&name)) {
            telling.forget(&mut self.sums());
        }
    }

    /// Takes note of every resource there is: what is not among these went.
    pub(crate) fn place_all(&mut self, all: Vec<(ResourceRef, Arc<Stored>)>) {
        let mut gone = self.places.references();
        for (reference, stored) in all {
            gone.remove(&reference);
            self.place(&reference, Some(stored));
        }
        for reference in gone {
            self.place(&reference, None);
        }
    }

    /// Adds what a node counted, at `now`, in milliseconds of a clock that does not go back.
    pub(crate) fn report(&mut self, report: &Report, now: u64) {
        if !self.places.nodes.contains(&report.node) {
            return;
        }
        let telling = self.nodes.entry(report.node.clone()).or_default();
        let mut sums = Sums {
            places: &mut self.places,
            fleet: &mut self.fleet,
        };
        if report.first {
            telling.forget(&mut sums);
        }
        telling.speak(&mut sums);
        let first = report.increments.first();
        let again = first.and_then(|first| telling.parts.get(&first.backend));
        let again = again.is_some_and(|part| part.round == telling.round);
        // the parts of a long report come at once, each with other backends
        let late = now.saturating_sub(telling.begun_ms) >= report.interval_ms / 2;
        if again || late || telling.round == 0 {
            telling.rest(&mut sums);
            telling.round += 1;
            telling.begun_ms = now;
        }
        telling.interval_ms = report.interval_ms;
        telling.told_ms = now;
        telling.heard_ms = now;
        for increment in &report.increments {
            telling.tell(increment, &mut sums);
        }
        if let Some(conntrack) = &report.conntrack {
            telling.track(conntrack);
        }
        for vip in &report.vips {
            let key = (vip.address, vip.protocol, vip.state);
            if vip.connections > 0 && self.places.has_vip(vip.address) {
                telling.vips.insert(key, vip.connections);
            } else {
                telling.vips.remove(&key);
            }
        }
    }

    /// Notes that a node is there at `now`, and has nothing to tell: what it told before is still so, save that nothing passes.
    pub(crate) fn hear(&mut self, node: &NodeName, now: u64) {
        if let Some(telling) = self.nodes.get_mut(node) {
            telling.heard_ms = now;
            telling.speak(&mut Sums {
                places: &mut self.places,
                fleet: &mut self.fleet,
            });
        }
    }

    /// Lets go at `now` of what was told too long ago, and of what is no longer placed.
    pub(crate) fn age(&mut self, now: u64) {
        let mut sums = Sums {
            places: &mut self.places,
            fleet: &mut self.fleet,
        };
        for telling in self.nodes.values_mut() {
            let since = now.saturating_sub(telling.told_ms);
            if since >= PATIENCE_INTERVALS.saturating_mul(telling.interval_ms) {
                telling.rest(&mut sums);
            }
            if now.saturating_sub(telling.heard_ms) >= KNOWN_FOR_MS {
                telling.mute(&mut sums);
            }
            telling.prune(&mut sums, now);
        }
    }

    /// Gives what passes; otherwise the services that are not there.
    pub(crate) fn passing(&self, query: &TrafficQuery) -> Result<Passing, Vec<ServiceName>> {
        let mut named = query.services.clone();
        named.sort();
        named.dedup();
        let missing = |name: &ServiceName| self.places.service(name).is_none();
        let gone: Vec<ServiceName> = named.iter().filter(|name| missing(name)).cloned().collect();
        if !gone.is_empty() {
            return Err(gone);
        }
        let selected: Vec<&Place> = if named.is_empty() {
            self.places.services().collect()
        } else {
            let places = named.iter();
            places
                .filter_map(|name| self.places.service(name))
                .collect()
        };
        let backends = selected.iter().filter(|_| query.backends);
        let backends = backends.flat_map(|place| {
            place.backends().map(|endpoint| {
                let counted = place.counted.get(&endpoint);
                BackendPassing {
                    service: place.name.clone(),
                    endpoint,
                    sum: counted.map_or(Sum::default(), |counted| counted.sum),
                }
            })
        });
        let nodes = self.places.nodes.iter().filter(|_| query.nodes);
        let nodes = nodes.map(|name| match self.nodes.get(name) {
            Some(telling) => telling.passing(name),
            None => Telling::default().passing(name),
        });
        Ok(Passing {
            fleet: self.fleet,
            services: selected.iter().map(|place| service(place)).collect(),
            backends: backends.collect(),
            nodes: nodes.collect(),
        })
    }

    fn sums(&mut self) -> Sums<'_> {
        Sums {
            places: &mut self.places,
            fleet: &mut self.fleet,
        }
    }
}

impl Telling {
    /// Takes what the node tells of a backend in the place of what it told of it before.
    fn tell(&mut self, increment: &Increment, sums: &mut Sums<'_>) {
        let key = increment.backend;
        if let Some(before) = self.parts.remove(&key) {
            let present = before.interval.present();
            sums.settle(&before, &key, &mut self.sum, |sum| {
                sum.now.take_away(present)
            });
        }
        let Some((service, backend)) = sums.places.find(&key) else {
            return;
        };
        let part = Part {
            interval: Interval::new(increment, self.interval_ms),
            service,
            backend,
            round: self.round,
            told_ms: self.told_ms,
        };
        let (total, present) = (Totals::of(increment), part.interval.present());
        sums.settle(&part, &key, &mut self.sum, |sum| {
            sum.total.add(total);
            sum.now.add(present);
        });
        self.parts.insert(key, part);
    }

    /// Takes what connection tracking holds, and adds what it lost.
    fn track(&mut self, told: &Conntrack) {
        let before = self.conntrack.unwrap_or_default();
        self.conntrack = Some(Conntrack {
            entries: told.entries,
            max_entries: told.max_entries,
            dropped: before.dropped.saturating_add(told.dropped),
            insert_failed: before.insert_failed.saturating_add(told.insert_failed),
            early_dropped: before.early_dropped.saturating_add(told.early_dropped),
        });
    }

    /// Notes that nothing passes any more; the connections that there are stay.
    fn rest(&mut self, sums: &mut Sums<'_>) {
        let (mute, sum) = (self.mute, &mut self.sum);
        self.parts.retain(|key, part| {
            let resting = part.interval.at_rest();
            if resting != part.interval && !mute {
                let (before, now) = (part.interval.present(), resting.present());
                sums.settle(part, key, sum, |sum| {
                    sum.now.take_away(before);
                    sum.now.add(now);
                });
            }
            part.interval = resting;
            !part.interval.leaves_nothing()
        });
    }

    /// Counts what it told no longer, until it speaks.
    fn mute(&mut self, sums: &mut Sums<'_>) {
        if !std::mem::replace(&mut self.mute, true) {
            for (key, part) in &self.parts {
                let present = part.interval.present();
                sums.settle(part, key, &mut self.sum, |sum| sum.now.take_away(present));
            }
        }
    }

    /// Counts what it told, if that was not counted because it told nothing for long.
    fn speak(&mut self, sums: &mut Sums<'_>) {
        if std::mem::take(&mut self.mute) {
            for (key, part) in &self.parts {
                let present = part.interval.present();
                sums.settle(part, key, &mut self.sum, |sum| sum.now.add(present));
            }
        }
    }

    /// Forgets what connections there are.
    fn forget(&mut self, sums: &mut Sums<'_>) {
        self.mute(sums);
        self.mute = false;
        self.parts.clear();
        self.vips.clear();
    }

    /// Forgets what is no longer placed: of a backend that was taken out of its service connections may go on, and are told.
    fn prune(&mut self, sums: &mut Sums<'_>, now: u64) {
        let (mute, sum) = (self.mute, &mut self.sum);
        self.parts.retain(|key, part| {
            let is_old = now.saturating_sub(part.told_ms) >= KNOWN_FOR_MS;
            let keeps = sums.places.holds(part.service, key) || !is_old;
            if !keeps && !mute {
                let present = part.interval.present();
                sums.settle(part, key, sum, |sum| sum.now.take_away(present));
            }
            keeps
        });
        self.vips
            .retain(|(address, ..), _| sums.places.has_vip(*address));
    }

    fn passing(&self, name: &NodeName) -> NodePassing {
        let vips = self.vips.iter().filter(|_| !self.mute);
        let vips = vips.map(|((address, protocol, state), connections)| VipConnections {
            address: *address,
            protocol: *protocol,
            state: *state,
            connections: *connections,
        });
        NodePassing {
            name: name.clone(),
            sum: self.sum,
            conntrack: self.conntrack.filter(|_| !self.mute),
            vips: vips.collect(),
        }
    }
}

impl Sums<'_> {
    /// Does the same to every sum of which a part is: of its service and backend, if these are still the same, of its node and
    /// of all.
    fn settle(&mut self, part: &Part, key: &BackendKey, node: &mut Sum, act: impl Fn(&mut Sum)) {
        act(node);
        act(self.fleet);
        let Some(place) = self.places.get_mut(part.service) else {
            return;
        };
        act(&mut place.sum);
        let counted = place.counted.get_mut(&key.endpoint);
        if let Some(counted) = counted.filter(|counted| Some(counted.id) == part.backend) {
            act(&mut counted.sum);
        }
    }
}

fn service(place: &Place) -> ServicePassing {
    let silent = place.counted.values().filter(|it| it.sum.now.silent > 0);
    let backends = place.backend_count();
    ServicePassing {
        name: place.name.clone(),
        sum: place.sum,
        backends,
        silent: silent.count(),
        imbalance: imbalance(place, backends),
    }
}

/// Compares the busiest backend with the mean of all.
fn imbalance(place: &Place, backends: usize) -> f64 {
    let loads = place.counted.values().map(|it| it.sum.now.load());
    let (all, busiest) = loads.fold((0_u64, 0), |(all, busiest), load| {
        (all.saturating_add(load), load.max(busiest))
    });
    if backends < 2 || all == 0 {
        return 0.0;
    }
    busiest as f64 * backends as f64 / all as f64
}

#[cfg(test)]
mod tests;
