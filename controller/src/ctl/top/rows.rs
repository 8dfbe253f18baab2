//! What is told of services, backends and nodes, as rows that remember what they were. PURE.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use weir_proto::wire;

use super::trend::Trend;
use super::units::float;

/// What rows are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Services,
    Backends,
    Nodes,
}

/// What is told of one of them alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Detail {
    Service {
        backends: u32,
        silent: u32,
    },
    Backend {
        /// How much of the name is its service's.
        service: usize,
        silent: bool,
    },
    Node {
        conntrack: Option<wire::Conntrack>,
    },
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// `web`, `web/10.0.0.11:8080`, `node-a`.
    pub(crate) name: String,
    pub(crate) counters: wire::Counters,
    /// Of a service the busiest backend over the mean; of others itself over the mean. Not a number: there is nothing to
    /// compare.
    pub(crate) imbalance: f64,
    pub(crate) detail: Detail,
    /// Of the connections per second.
    pub(crate) trend: Trend,
}

/// The rows of one subject, by name as the controller has them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sheet {
    pub(crate) rows: Vec<Row>,
    /// How many intervals passed since the first answer.
    pub(crate) tick: u64,
    /// When the last answer was made, in the controller's Unix milliseconds; none: there was none.
    pub(crate) at_unix_ms: Option<u64>,
}

impl Subject {
    pub(crate) const ALL: [Self; 3] = [Self::Services, Self::Backends, Self::Nodes];

    /// Gives what several are called.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Backends => "backends",
            Self::Nodes => "nodes",
        }
    }

    /// Gives what one is called.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Services => "service",
            Self::Backends => "backend",
            Self::Nodes => "node",
        }
    }

    /// Takes the rows out of an answer.
    pub(crate) fn rows(self, answer: &mut wire::TrafficResponse) -> Vec<Row> {
        match self {
            Self::Services => answer.services.drain(..).map(of_service).collect(),
            Self::Backends => with_shares(answer.backends.drain(..).map(of_backend).collect()),
            Self::Nodes => with_shares(answer.nodes.drain(..).map(of_node).collect()),
        }
    }
}

impl Row {
    /// Gives the bytes that pass in a second, both ways.
    pub(crate) fn bytes_per_second(&self) -> f64 {
        self.counters.bytes_in_per_second + self.counters.bytes_out_per_second
    }

    /// Gives the name where it is known whose backends are shown.
    pub(crate) fn short_name(&self) -> &str {
        match self.detail {
            Detail::Backend { service, .. } => self.name.get(service + 1..).unwrap_or(&self.name),
            Detail::Service { .. } | Detail::Node { .. } => &self.name,
        }
    }

    /// Says whether connections come to it, or to some backend of it, and are never answered.
    pub(crate) fn is_silent(&self) -> bool {
        match self.detail {
            Detail::Service { silent, .. } => silent > 0,
            Detail::Backend { silent, .. } => silent,
            Detail::Node { .. } => false,
        }
    }

    /// Gives which backends it is compared with; nodes are all compared.
    pub(crate) fn peers(&self) -> &str {
        match self.detail {
            Detail::Backend { service, .. } => self.name.get(..service).unwrap_or_default(),
            Detail::Service { .. } | Detail::Node { .. } => "",
        }
    }
}

impl Sheet {
    /// Takes newer rows. Each goes on with what it was. `interval_ms` is how far answers are apart.
    pub(crate) fn take(&mut self, mut rows: Vec<Row>, at_unix_ms: u64, interval_ms: u64) {
        if let Some(last) = self.at_unix_ms {
            let passed = at_unix_ms.saturating_sub(last);
            let interval = interval_ms.max(1);
            // answers are late or early by less than half an interval, or some are missing; one that comes sooner, to a
            // question that was asked anew, takes the place of the one before
            self.tick += (passed + interval / 2) / interval;
        }
        self.at_unix_ms = Some(at_unix_ms);
        let mut before = std::mem::take(&mut self.rows);
        // mostly nothing came and nothing went: the same row is at the same place
        let same = before.len() == rows.len()
            && before
                .iter()
                .zip(&rows)
                .all(|(old, new)| old.name == new.name);
        if same {
            for (old, new) in before.iter_mut().zip(&mut rows) {
                new.trend = std::mem::take(&mut old.trend);
            }
        } else {
            let known = before.into_iter().map(|old| (old.name, old.trend));
            let mut known: BTreeMap<String, Trend> = known.collect();
            for new in &mut rows {
                new.trend = known.remove(&new.name).unwrap_or_default();
            }
        }
        for row in &mut rows {
            let rate = row.counters.connections_per_second;
            row.trend.push(self.tick, rate);
        }
        self.rows = rows;
    }
}

fn of_service(told: wire::ServiceTraffic) -> Row {
    Row {
        name: told.name,
        counters: told.counters.unwrap_or_default(),
        imbalance: match told.imbalance > 0.0 {
            true => told.imbalance,
            false => f64::NAN,
        },
        detail: Detail::Service {
            backends: told.backend_count,
            silent: told.silent_backend_count,
        },
        trend: Trend::default(),
    }
}

fn of_backend(told: wire::BackendTraffic) -> Row {
    let place = place(&told);
    Row {
        name: format!("{}/{place}", told.service),
        counters: told.counters.unwrap_or_default(),
        imbalance: f64::NAN,
        detail: Detail::Backend {
            service: told.service.len(),
            silent: told.silent,
        },
        trend: Trend::default(),
    }
}

/// Gives address and port as everywhere: `10.0.0.11:8080`, `[fd00::11]:8080`. What is no address is shown as it is.
fn place(told: &wire::BackendTraffic) -> String {
    let port = u16::try_from(told.port);
    match (told.address.parse::<IpAddr>(), port) {
        (Ok(address), Ok(port)) => SocketAddr::new(address, port).to_string(),
        _ => format!("{}:{}", told.address, told.port),
    }
}

fn of_node(told: wire::NodeTraffic) -> Row {
    Row {
        name: told.name,
        counters: told.counters.unwrap_or_default(),
        imbalance: f64::NAN,
        detail: Detail::Node {
            conntrack: told.conntrack,
        },
        trend: Trend::default(),
    }
}

/// What peers have together.
#[derive(Default)]
struct Together {
    rows: f64,
    active: f64,
    rate: f64,
}

/// Compares each row with the mean of its peers: by the connections that are active, and where there is none by those that come.
fn with_shares(mut rows: Vec<Row>) -> Vec<Row> {
    let mut peers: BTreeMap<String, Together> = BTreeMap::new();
    for row in &rows {
        // peers stand together: a name is made for the first of them
        if !peers.contains_key(row.peers()) {
            peers.insert(row.peers().to_owned(), Together::default());
        }
        if let Some(together) = peers.get_mut(row.peers()) {
            together.rows += 1.0;
            together.active += float(row.counters.active_connections);
            together.rate += row.counters.connections_per_second;
        }
    }
    for row in &mut rows {
        let Some(together) = peers.get(row.peers()) else {
            continue;
        };
        let (own, all) = match together.active > 0.0 {
            true => (float(row.counters.active_connections), together.active),
            false => (row.counters.connections_per_second, together.rate),
        };
        row.imbalance = match all > 0.0 {
            true => own * together.rows / all,
            false => f64::NAN,
        };
    }
    rows
}
