//! What the page shows, chosen from all there is. PURE
//!
//! However much there is, a page has at most `ROWS` services and as many nodes, those with trouble first, and of a service
//! `BACKENDS` backends: a browser shows it at once. The filter finds the rest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_proto::model::{
    Backend, BackendKey, BackendSet, Endpoint, Frontend, ItemFailure, ItemKey, NodeName, Resource,
    Revision, Service, ServiceName,
};

use super::query::{Order, Query};
use crate::desired::events::EventType;
use crate::desired::{BackendPassing, Event, NodeStatus, Passing, ServicePassing, Stored, Sum};

/// How many services, and how many nodes, a page has.
pub(super) const ROWS: usize = 50;
/// How many backends of a service a page has: the busiest.
pub(super) const BACKENDS: usize = 20;
/// How many failures of a service or node a page has.
const TROUBLES: usize = 5;

/// How many events a page has: the last ones.
pub(super) const EVENTS: usize = 20;

/// All there is, at one moment.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) at_unix_ms: u64,
    pub(super) revision: Revision,
    pub(super) services: Vec<Arc<Stored>>,
    pub(super) sets: Vec<Arc<Stored>>,
    pub(super) nodes: Vec<NodeStatus>,
    /// Without backends and nodes.
    pub(super) passing: Passing,
    /// The newest first, no more than a page has.
    pub(super) events: Vec<Arc<Event>>,
}

/// The services of one page, before what passes through their backends is known.
#[derive(Debug)]
pub(super) struct Chosen {
    gathered: Arc<Gathered>,
    asked: Query,
    /// Where in what was gathered.
    services: Vec<usize>,
    matching: usize,
    nodes: Vec<usize>,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// As it was asked, with pages that are there.
    pub(super) asked: Query,
    pub(super) at_unix_ms: u64,
    pub(super) revision: Revision,
    pub(super) fleet: Sum,
    pub(super) tally: Tally,
    pub(super) services: Vec<ServiceSeen>,
    /// How many the filter leaves.
    pub(super) matching: usize,
    pub(super) nodes: Vec<NodeSeen>,
    pub(super) events: Vec<EventSeen>,
}

/// How many there are of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) services: usize,
    pub(super) nodes: usize,
    pub(super) connected: usize,
    /// Nodes that hold all they must, and are connected.
    pub(super) converged: usize,
    /// Items that some node does not hold as wanted.
    pub(super) failures: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ServiceSeen {
    pub(super) name: ServiceName,
    pub(super) frontends: Vec<Frontend>,
    pub(super) scheduler: String,
    pub(super) sum: Sum,
    pub(super) backend_count: usize,
    /// The busiest first.
    pub(super) backends: Vec<BackendSeen>,
    /// What nodes do not hold of it, and why, and how much more there is.
    pub(super) troubles: Vec<String>,
    pub(super) more_troubles: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct BackendSeen {
    pub(super) endpoint: Endpoint,
    pub(super) weight: u16,
    /// Where it runs; empty: not said.
    pub(super) node: String,
    /// It takes no new connection, whatever its weight: that node is cordoned.
    pub(super) cordoned: bool,
    pub(super) sum: Sum,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct NodeSeen {
    pub(super) name: String,
    pub(super) state: NodeState,
    pub(super) cordoned: bool,
    pub(super) wanted: u64,
    /// None: not heard from.
    pub(super) reached: Option<(u64, u64)>,
    pub(super) items: u64,
    pub(super) drains: u64,
    pub(super) repairs: u64,
    /// None: not heard from.
    pub(super) heard_ms_ago: Option<u64>,
    pub(super) troubles: Vec<String>,
    pub(super) more_troubles: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventSeen {
    /// Tells it apart from every other.
    pub(super) number: u64,
    pub(super) last_ms_ago: u64,
    pub(super) warns: bool,
    pub(super) reason: String,
    /// The object, or else the node; empty: the cluster.
    pub(super) of: String,
    pub(super) message: String,
    pub(super) count: u64,
}

/// How a node is, the worst first: that is how they are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NodeState {
    Gone,
    Degraded,
    Rejecting,
    Failing,
    Held,
    Behind,
    Unheard,
    Converged,
}

impl NodeState {
    fn of(node: &NodeStatus) -> Self {
        let unheard = node.last_heard_unix_ms == 0;
        match node {
            _ if !node.connected && unheard => Self::Unheard,
            _ if !node.connected => Self::Gone,
            _ if node.degraded.is_some() => Self::Degraded,
            _ if node.rejection.is_some() => Self::Rejecting,
            _ if node.hold.is_some() => Self::Held,
            _ if node.converged < node.wanted => Self::Behind,
            _ if node.failure_count > 0 => Self::Failing,
            _ => Self::Converged,
        }
    }

    /// Gives the word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Degraded => "degraded",
            Self::Rejecting => "rejecting",
            Self::Failing => "failing",
            Self::Held => "held",
            Self::Behind => "behind",
            Self::Unheard => "not heard from",
            Self::Converged => "converged",
        }
    }
}

impl Chosen {
    /// Chooses what is on the page that is asked for; past the last one, the last.
    pub(super) fn of(gathered: &Arc<Gathered>, asked: &Query) -> Self {
        let sets = sets_of(&gathered.sets);
        let words: Vec<String> = asked
            .filter
            .to_lowercase()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let mut services: Vec<usize> = services(&gathered.services)
            .filter(|(_, service)| {
                words.is_empty() || matches(service, sets.get(&service.name), &words)
            })
            .map(|(place, _)| place)
            .collect();
        let sums = sums(&gathered.passing);
        let sum = |place: &usize| {
            let Resource::Service(service) = &gathered.services[*place].resource else {
                return Sum::default();
            };
            sums.get(&service.name).copied().unwrap_or_default()
        };
        // they come by name, and those alike stay so
        match asked.order {
            Order::Name => {}
            Order::Active => services.sort_by_key(|place| Reverse(sum(place).now.active)),
            Order::Connections => largest(&mut services, |place| connections(&sum(place))),
            Order::Failed => largest(&mut services, |place| failed(&sum(place))),
            Order::BytesIn => largest(&mut services, |place| bytes_in(&sum(place))),
            Order::BytesOut => largest(&mut services, |place| bytes_out(&sum(place))),
        }
        let mut nodes: Vec<usize> = (0..gathered.nodes.len()).collect();
        nodes.sort_by_key(|place| NodeState::of(&gathered.nodes[*place]));
        let matching = services.len();
        let page = asked.page.min(pages(matching));
        let node_page = asked.node_page.min(pages(nodes.len()));
        Self {
            gathered: Arc::clone(gathered),
            asked: Query {
                page,
                node_page,
                ..asked.clone()
            },
            services: of_page(&services, page),
            matching,
            nodes: of_page(&nodes, node_page),
        }
    }

    /// Gives the names of the services.
    pub(super) fn services(&self) -> Vec<ServiceName> {
        let chosen = self.chosen();
        chosen.map(|service| service.name.clone()).collect()
    }

    /// Shows it with what passes through the backends of these services.
    pub(super) fn seen(&self, backends: &[BackendPassing]) -> Seen {
        let gathered = &self.gathered;
        let sets = sets_of(&gathered.sets);
        let sums = sums(&gathered.passing);
        let mut passing: BTreeMap<&ServiceName, BTreeMap<Endpoint, Sum>> = BTreeMap::new();
        for backend in backends {
            let of_service = passing.entry(&backend.service).or_default();
            of_service.insert(backend.endpoint, backend.sum);
        }
        let cordoned = gathered.nodes.iter().filter(|node| node.cordoned);
        let cordoned: BTreeSet<&NodeName> = cordoned.map(|node| &node.name).collect();
        let services = self.chosen().map(|service| {
            let sets = sets.get(&service.name);
            let passing = passing.get(&service.name);
            let troubles = troubles_of(service, &gathered.nodes);
            let mut backends = backends_of(service, sets, passing, &cordoned);
            let backend_count = backends.len();
            largest(&mut backends, |backend| {
                backend.sum.now.active + backend.sum.now.inactive
            });
            backends.truncate(BACKENDS);
            ServiceSeen {
                name: service.name.clone(),
                frontends: service.frontends.keys().copied().collect(),
                scheduler: service.scheduler.to_string(),
                sum: sums.get(&service.name).copied().unwrap_or_default(),
                backend_count,
                backends,
                more_troubles: troubles.len().saturating_sub(TROUBLES),
                troubles: troubles.into_iter().take(TROUBLES).collect(),
            }
        });
        let nodes = self.nodes.iter().map(|place| &gathered.nodes[*place]);
        Seen {
            asked: self.asked.clone(),
            at_unix_ms: gathered.at_unix_ms,
            revision: gathered.revision,
            fleet: gathered.passing.fleet,
            tally: tally(gathered),
            services: services.collect(),
            matching: self.matching,
            nodes: nodes
                .map(|node| node_seen(node, gathered.at_unix_ms))
                .collect(),
            events: gathered
                .events
                .iter()
                .map(|event| event_seen(event, gathered.at_unix_ms))
                .collect(),
        }
    }

    fn chosen(&self) -> impl Iterator<Item = &Service> {
        let stored = self
            .services
            .iter()
            .map(|place| &self.gathered.services[*place]);
        stored.filter_map(|stored| match &stored.resource {
            Resource::Service(service) => Some(service),
            Resource::BackendSet(_) | Resource::Node(_) => None,
        })
    }
}

/// Gives how many pages so many rows take: at least one.
pub(super) fn pages(rows: usize) -> usize {
    rows.div_ceil(ROWS).max(1)
}

/// Gives connections per second.
pub(super) fn connections(sum: &Sum) -> f64 {
    sum.now.per_second(|rates| rates.connections)
}

/// Gives failed connections per second.
pub(super) fn failed(sum: &Sum) -> f64 {
    sum.now.per_second(|rates| rates.failed)
}

/// Gives bytes per second from clients.
pub(super) fn bytes_in(sum: &Sum) -> f64 {
    sum.now.per_second(|rates| rates.bytes_in)
}

/// Gives bytes per second to clients.
pub(super) fn bytes_out(sum: &Sum) -> f64 {
    sum.now.per_second(|rates| rates.bytes_out)
}

fn of_page(rows: &[usize], page: usize) -> Vec<usize> {
    let rows = rows.iter().skip((page - 1) * ROWS).take(ROWS);
    rows.copied().collect()
}

fn largest<T, N: PartialOrd>(rows: &mut [T], number: impl Fn(&T) -> N) {
    rows.sort_by(|one, other| {
        let order = number(other).partial_cmp(&number(one));
        order.unwrap_or(std::cmp::Ordering::Equal)
    });
}

fn services(stored: &[Arc<Stored>]) -> impl Iterator<Item = (usize, &Service)> {
    let places = stored.iter().enumerate();
    places.filter_map(|(place, stored)| match &stored.resource {
        Resource::Service(service) => Some((place, service)),
        Resource::BackendSet(_) | Resource::Node(_) => None,
    })
}

fn sets_of(stored: &[Arc<Stored>]) -> BTreeMap<&ServiceName, Vec<&BackendSet>> {
    let mut sets: BTreeMap<&ServiceName, Vec<&BackendSet>> = BTreeMap::new();
    for stored in stored {
        if let Resource::BackendSet(set) = &stored.resource {
            sets.entry(&set.service).or_default().push(set);
        }
    }
    sets
}

fn sums(passing: &Passing) -> BTreeMap<&ServiceName, Sum> {
    let services = passing.services.iter();
    services
        .map(|ServicePassing { name, sum, .. }| (name, *sum))
        .collect()
}

/// A service has each word somewhere.
fn matches(service: &Service, sets: Option<&Vec<&BackendSet>>, words: &[String]) -> bool {
    let mut text = service.name.to_string();
    for (key, value) in service.labels.iter() {
        text.push_str(&format!("\n{key}={value}"));
    }
    for frontend in service.frontends.keys() {
        text.push_str(&format!("\n{frontend}"));
    }
    for backend in all_backends(service, sets) {
        text.push_str(&format!("\n{}", backend.endpoint));
    }
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word))
}

fn all_backends<'a>(
    service: &'a Service,
    sets: Option<&'a Vec<&'a BackendSet>>,
) -> impl Iterator<Item = &'a Backend> {
    let of_sets = sets.into_iter().flatten();
    let of_sets = of_sets.flat_map(|set| set.backends.values());
    service.backends.values().chain(of_sets)
}

fn backends_of(
    service: &Service,
    sets: Option<&Vec<&BackendSet>>,
    passing: Option<&BTreeMap<Endpoint, Sum>>,
    cordoned: &BTreeSet<&NodeName>,
) -> Vec<BackendSeen> {
    let sum = |endpoint| passing.and_then(|passing| passing.get(endpoint)).copied();
    let seen = all_backends(service, sets).map(|backend| BackendSeen {
        endpoint: backend.endpoint,
        weight: backend.weight.get(),
        node: backend
            .node
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        cordoned: backend
            .node
            .as_ref()
            .is_some_and(|node| cordoned.contains(node)),
        sum: sum(&backend.endpoint).unwrap_or_default(),
    });
    let mut seen: Vec<BackendSeen> = seen.collect();
    seen.sort_by_key(|backend| backend.endpoint);
    seen
}

fn troubles_of(service: &Service, nodes: &[NodeStatus]) -> Vec<String> {
    let vips: BTreeSet<_> = service
        .frontends
        .keys()
        .filter_map(|frontend| frontend.listener().map(|listener| listener.address))
        .collect();
    let concerns = |failure: &&ItemFailure| match &failure.key {
        ItemKey::VirtualService(frontend) | ItemKey::Backend(BackendKey { frontend, .. }) => {
            service.frontends.contains_key(frontend)
        }
        ItemKey::Vip(address) => vips.contains(address),
        _ => false,
    };
    let nodes = nodes.iter();
    nodes
        .flat_map(|node| {
            let failures = node.failures.iter().filter(concerns);
            failures.map(|failure| format!("{}: {}: {}", node.name, failure.key, failure.cause))
        })
        .collect()
}

fn node_seen(node: &NodeStatus, now: u64) -> NodeSeen {
    let heard = (node.last_heard_unix_ms > 0).then_some(node.last_heard_unix_ms);
    let hold = node.hold.as_ref();
    let hold = hold.map(|hold| format!("holds back: {}", hold.cause));
    let degraded = node.degraded.as_ref().map(|degraded| &degraded.reason);
    let degraded = degraded.map(|reason| format!("cannot make anything durable: {reason}"));
    let disconnection = Some(&node.disconnection).filter(|why| !why.is_empty());
    let whole = [
        disconnection.cloned(),
        node.rejection.clone(),
        hold,
        degraded,
    ];
    let failures = node.failures.iter();
    let failures = failures.map(|failure| format!("{}: {}", failure.key, failure.cause));
    let mut troubles: Vec<String> = whole.into_iter().flatten().chain(failures).collect();
    let told = troubles.len() - node.failures.len();
    let failures = usize::try_from(node.failure_count).unwrap_or(usize::MAX);
    let all = told + failures.max(node.failures.len());
    troubles.truncate(TROUBLES);
    NodeSeen {
        name: node.name.to_string(),
        state: NodeState::of(node),
        cordoned: node.cordoned,
        wanted: node.wanted.0,
        reached: heard.map(|_| (node.accepted.0, node.converged.0)),
        items: node.wanted_items,
        drains: node.drain_count,
        repairs: node.repair_counts.values().sum(),
        // a stream that is open is one that the agent is heard on, whenever it said something last
        heard_ms_ago: heard.map(|heard| match node.connected {
            true => 0,
            false => now.saturating_sub(heard),
        }),
        more_troubles: all - troubles.len(),
        troubles,
    }
}

fn event_seen(event: &Event, now: u64) -> EventSeen {
    let node = event.node.as_ref().map(|node| format!("node {node}"));
    let object = event.object.as_ref();
    let object = object.map(|object| format!("{} {}", object.kind.as_str(), object.name));
    let of = match (object, node) {
        (Some(object), Some(node)) if object != node => format!("{object} on {node}"),
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => String::new(),
    };
    EventSeen {
        number: event.number,
        last_ms_ago: now.saturating_sub(event.last_unix_ms),
        warns: event.reason.event_type() == EventType::Warning,
        reason: event.reason.to_string(),
        of,
        message: event.message.clone(),
        count: event.count,
    }
}

fn tally(gathered: &Gathered) -> Tally {
    let states = gathered.nodes.iter().map(NodeState::of);
    Tally {
        services: gathered.services.len(),
        nodes: gathered.nodes.len(),
        connected: gathered.nodes.iter().filter(|node| node.connected).count(),
        converged: states
            .filter(|state| *state == NodeState::Converged)
            .count(),
        failures: gathered.nodes.iter().map(|node| node.failure_count).sum(),
    }
}

#[cfg(test)]
mod tests;
