//! What passes through the cluster: the nodes' reports, added up for each backend, service, node and all. PURE
//!
//! Totals only grow, while what they are of is placed. Connections and rates are those that the nodes told last; what a node has not
//! told for 30 s is no longer known, and counts in totals alone. What is not placed, or no longer, is not kept: what is here
//! grows with what nodes hold, not with what they say.

mod places;
mod sums;

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_proto::model::{
    BackendKey, Endpoint, Increment, Kind, NodeName, ResourceRef, ServiceName,
};

use super::resources::Stored;
use places::{Counted, Place, Places};
use sums::Interval;
pub(crate) use sums::{Present, Sum, Totals};

/// For how long what was told counts as what there is: three times as long as the slowest agent takes to tell again.
const KNOWN_FOR_MS: u64 = 30_000;
/// How many intervals may pass without a word until nothing passes: a report may be late, and one may be lost.
const PATIENCE_INTERVALS: u64 = 3;

/// What a node counted in an interval that ends now. A long one comes in parts, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) node: NodeName,
    pub(crate) interval_ms: u64,
    pub(crate) increments: Vec<Increment>,
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
    /// Counts the intervals.
    round: u64,
    /// When the first report of the interval came.
    begun_ms: u64,
    interval_ms: u64,
    /// When it told anything last.
    told_ms: u64,
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

impl RollUp {
    /// Takes note of a resource that was written, or, without one, went.
    pub(crate) fn place(&mut self, reference: &ResourceRef, stored: Option<Arc<Stored>>) {
        let gone = stored.is_none() && reference.kind == Kind::Node;
        self.places.put(reference, stored);
        // what has no such name has told nothing
        let gone = gone.then(|| NodeName::new(&reference.name).ok()).flatten();
        if let Some(mut telling) = gone.and_then(|name| self.nodes.remove(&name)) {
            telling.quiet(&mut self.places, &mut self.fleet);
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
        let Report {
            node,
            interval_ms,
            increments,
        } = report;
        if !self.places.nodes.contains(node) {
            return;
        }
        let telling = self.nodes.entry(node.clone()).or_default();
        let first = increments.first();
        let again = first.and_then(|first| telling.parts.get(&first.backend));
        let again = again.is_some_and(|part| part.round == telling.round);
        // the parts of a long report come at once, each with other backends
        if again || telling.round == 0 || now.saturating_sub(telling.begun_ms) >= interval_ms / 2 {
            telling.rest(&mut self.places, &mut self.fleet);
            telling.round += 1;
            telling.begun_ms = now;
        }
        telling.interval_ms = *interval_ms;
        telling.told_ms = now;
        for increment in increments {
            telling.tell(increment, (&mut self.places, &mut self.fleet));
        }
    }

    /// Forgets at `now` what was told too long ago.
    pub(crate) fn age(&mut self, now: u64) {
        let old = |since: u64| now.saturating_sub(since) >= KNOWN_FOR_MS;
        for telling in self.nodes.values_mut() {
            if telling.parts.is_empty() {
                continue;
            }
            let late = PATIENCE_INTERVALS.saturating_mul(telling.interval_ms);
            if now.saturating_sub(telling.told_ms) >= late {
                telling.rest(&mut self.places, &mut self.fleet);
            }
            let sum = &mut telling.sum;
            telling.parts.retain(|key, part| {
                let keeps = !old(part.told_ms);
                if !keeps {
                    let present = part.interval.present();
                    part.at(key, &mut self.places, |sum| sum.now.take_away(present));
                    sum.now.take_away(present);
                    self.fleet.now.take_away(present);
                }
                keeps
            });
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
        let services = selected.iter().map(|place| ServicePassing {
            name: place.name.clone(),
            sum: place.sum,
            backends: place.backend_count(),
            imbalance: imbalance(place),
        });
        let backends = selected.iter().filter(|_| query.backends);
        let backends = backends.flat_map(|place| {
            place.backends().map(|endpoint| BackendPassing {
                service: place.name.clone(),
                endpoint,
                sum: place
                    .counted
                    .get(&endpoint)
                    .map_or(Sum::default(), |counted| counted.sum),
            })
        });
        let nodes = self.places.nodes.iter().filter(|_| query.nodes);
        let nodes = nodes.map(|name| NodePassing {
            name: name.clone(),
            sum: self
                .nodes
                .get(name)
                .map_or(Sum::default(), |telling| telling.sum),
        });
        Ok(Passing {
            fleet: self.fleet,
            services: services.collect(),
            backends: backends.collect(),
            nodes: nodes.collect(),
        })
    }
}

impl Telling {
    fn tell(&mut self, increment: &Increment, (places, fleet): (&mut Places, &mut Sum)) {
        let key = increment.backend;
        if let Some(before) = self.parts.remove(&key) {
            let present = before.interval.present();
            before.at(&key, places, |sum| sum.now.take_away(present));
            self.sum.now.take_away(present);
            fleet.now.take_away(present);
        }
        let Some(service) = places.behind(&key.frontend) else {
            return;
        };
        let fresh = places.next_id();
        let Some(place) = places.get_mut(service) else {
            return;
        };
        let backend = place.has(&key.endpoint).then(|| {
            let counted = place.counted.entry(key.endpoint);
            counted
                .or_insert_with(|| Counted {
                    id: fresh,
                    sum: Sum::default(),
                })
                .id
        });
        let part = Part {
            interval: Interval::new(increment, self.interval_ms),
            service,
            backend,
            round: self.round,
            told_ms: self.told_ms,
        };
        let (total, present) = (Totals::of(increment), part.interval.present());
        let add = |sum: &mut Sum| {
            sum.total.add(total);
            sum.now.add(present);
        };
        part.at(&key, places, add);
        add(&mut self.sum);
        add(fleet);
        self.parts.insert(key, part);
    }

    /// Notes that nothing passes any more; the connections that there are stay.
    fn rest(&mut self, places: &mut Places, fleet: &mut Sum) {
        for (key, part) in &mut self.parts {
            let resting = part.interval.at_rest();
            if resting == part.interval {
                continue;
            }
            let (before, now) = (part.interval.present(), resting.present());
            let settle = |sum: &mut Sum| {
                sum.now.take_away(before);
                sum.now.add(now);
            };
            part.interval = resting;
            part.at(key, places, settle);
            settle(&mut self.sum);
            settle(fleet);
        }
    }

    /// Takes away all that it told.
    fn quiet(&mut self, places: &mut Places, fleet: &mut Sum) {
        for (key, part) in std::mem::take(&mut self.parts) {
            let present = part.interval.present();
            part.at(&key, places, |sum| sum.now.take_away(present));
            self.sum.now.take_away(present);
            fleet.now.take_away(present);
        }
    }
}

impl Part {
    /// Does something to the sums of its service and backend, if these are still the same.
    fn at(&self, key: &BackendKey, places: &mut Places, act: impl Fn(&mut Sum)) {
        let Some(place) = places.get_mut(self.service) else {
            return;
        };
        act(&mut place.sum);
        let counted = place.counted.get_mut(&key.endpoint);
        if let Some(counted) = counted.filter(|counted| Some(counted.id) == self.backend) {
            act(&mut counted.sum);
        }
    }
}

/// Compares the busiest backend with the mean of all.
fn imbalance(place: &Place) -> f64 {
    let loads = place.counted.values().map(|it| it.sum.now.load());
    let (all, busiest) = loads.fold((0_u64, 0), |(all, busiest), load| {
        (all.saturating_add(load), load.max(busiest))
    });
    let count = place.backend_count();
    if count < 2 || all == 0 {
        return 0.0;
    }
    busiest as f64 * count as f64 / all as f64
}

#[cfg(test)]
mod tests;
