//! What was counted, as metrics: totals of each service, connection tracking, and how long it takes to count.

use std::collections::BTreeMap;
use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use weir_proto::model::{Endpoint, Frontend};

use crate::plan::{Connections, Counter, Durations, Numbers, Total};

type Labels = Vec<(&'static str, String)>;

/// One number, with its labels.
type Sample = (Labels, u64);

/// Writes the metrics.
pub(super) fn encode(numbers: &Numbers, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
    let is_service = |counter: &Counter| counter.1.is_none();
    let all = || numbers.totals.passed();
    let levels = levels(numbers);
    passed(
        &FRONTEND,
        || all().filter(|(counter, _)| is_service(counter)),
        &levels,
        encoder,
    )?;
    if numbers.totals.has_backends() {
        passed(
            &BACKEND,
            || all().filter(|(counter, _)| !is_service(counter)),
            &levels,
            encoder,
        )?;
    }
    let silent = numbers.traffic.silent().len() as u64;
    let help =
        "Backends that receive connections and answered none at the last three looks with new ones";
    level("weir_agent_silent_backends", help, silent, encoder)?;
    tracked(numbers, encoder)?;
    let failed = ConstCounter::new(numbers.failed_looks);
    let help = "Looks at counters or connection tracking that failed";
    let name = "weir_agent_failed_samplings";
    failed.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    let help = "How long looks at counters and connection tracking took, in seconds";
    let name = "weir_agent_sampling_duration_seconds";
    let mut each = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    let bounds = Durations::BOUNDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(numbers.looks.buckets).collect();
    let (sum, count) = (numbers.looks.sum, numbers.looks.count());
    each.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

/// What the same metrics of services and of backends are called, and what they say.
struct Names {
    connections: (&'static str, &'static str),
    failed: (&'static str, &'static str),
    packets: (&'static str, &'static str),
    bytes: (&'static str, &'static str),
    active: (&'static str, &'static str),
    inactive: (&'static str, &'static str),
}

const FRONTEND: Names = Names {
    connections: (
        "weir_agent_frontend_connections",
        "Connections scheduled, by frontend",
    ),
    failed: (
        "weir_agent_frontend_failed_connections",
        "Connections that a backend refused or did not answer, at least, by frontend",
    ),
    packets: (
        "weir_agent_frontend_packets",
        "Packets from clients (in) and, where they pass this node, to clients (out), by frontend",
    ),
    bytes: (
        "weir_agent_frontend_bytes",
        "Bytes from clients (in) and, where they pass this node, to clients (out), by frontend",
    ),
    active: (
        "weir_agent_frontend_active_connections",
        "Connections that are open or being opened, by frontend",
    ),
    inactive: (
        "weir_agent_frontend_inactive_connections",
        "Connections that are closing or closed, and all of UDP, by frontend",
    ),
};

const BACKEND: Names = Names {
    connections: (
        "weir_agent_backend_connections",
        "Connections scheduled, by frontend and backend",
    ),
    failed: (
        "weir_agent_backend_failed_connections",
        "Connections that it refused or did not answer, at least, by frontend and backend",
    ),
    packets: (
        "weir_agent_backend_packets",
        "Packets to it (in) and, where they pass this node, from it (out), by frontend and backend",
    ),
    bytes: (
        "weir_agent_backend_bytes",
        "Bytes to it (in) and, where they pass this node, from it (out), by frontend and backend",
    ),
    active: (
        "weir_agent_backend_active_connections",
        "Connections that are open or being opened, by frontend and backend",
    ),
    inactive: (
        "weir_agent_backend_inactive_connections",
        "Connections that are closing or closed, and all of UDP, by frontend and backend",
    ),
};

/// Writes the totals of services or of backends, one metric after another.
fn passed<'a, I: Iterator<Item = (&'a Counter, &'a Total)>>(
    names: &Names,
    all: impl Fn() -> I,
    levels: &BTreeMap<Counter, Connections>,
    encoder: &mut DescriptorEncoder,
) -> Result<(), Error> {
    let one = |value: fn(&Total) -> u64| {
        let samples = all().map(move |(key, total)| (labels(key), value(total)));
        samples.collect::<Vec<Sample>>()
    };
    let both = |value: fn(&Total) -> [u64; 2]| {
        let ways = ["in", "out"];
        let samples = all().flat_map(move |(key, total)| {
            ways.into_iter().zip(value(total)).map(|(way, value)| {
                let mut labels = labels(key);
                labels.push(("direction", way.to_owned()));
                (labels, value)
            })
        });
        samples.collect::<Vec<Sample>>()
    };
    let level = |value: fn(&Connections) -> u32| {
        let samples = all().map(|(key, _)| (labels(key), levels.get(key).map_or(0, value).into()));
        samples.collect::<Vec<Sample>>()
    };
    let connections = one(|total| total.passed().connections);
    counter(names.connections, connections, encoder)?;
    counter(names.failed, one(|total| total.failed), encoder)?;
    let packets = both(|total| [total.passed().packets_in, total.passed().packets_out]);
    counter(names.packets, packets, encoder)?;
    let bytes = both(|total| [total.passed().bytes_in, total.passed().bytes_out]);
    counter(names.bytes, bytes, encoder)?;
    gauge(names.active, level(|now| now.active), encoder)?;
    gauge(names.inactive, level(|now| now.inactive), encoder)
}

/// Gives the connections of every service and backend that has any.
fn levels(numbers: &Numbers) -> BTreeMap<Counter, Connections> {
    let mut levels: BTreeMap<Counter, Connections> = BTreeMap::new();
    for ((frontend, _), _) in numbers.totals.passed().filter(|(key, _)| key.1.is_none()) {
        for (endpoint, now) in numbers.traffic.levels(*frontend) {
            let of_service = levels.entry((*frontend, None)).or_default();
            of_service.active = of_service.active.saturating_add(now.active);
            of_service.inactive = of_service.inactive.saturating_add(now.inactive);
            if numbers.totals.has_backends() {
                levels.insert((*frontend, Some(endpoint)), now);
            }
        }
    }
    levels
}

fn tracked(numbers: &Numbers, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
    if let Some(now) = numbers.tracking.now() {
        for (name, help, value) in [
            (
                "weir_agent_conntrack_entries",
                "Entries of connection tracking",
                now.entries,
            ),
            (
                "weir_agent_conntrack_max_entries",
                "Entries there may be in connection tracking",
                now.max_entries,
            ),
        ] {
            level(name, help, value, encoder)?;
        }
        let [dropped, insert_failed, early_dropped] = numbers.totals.lost();
        for (name, help, value) in [
            (
                "weir_agent_conntrack_dropped_packets",
                "Packets dropped for want of room or memory in connection tracking",
                dropped,
            ),
            (
                "weir_agent_conntrack_failed_inserts",
                "Entries that connection tracking could not insert, since another has their addresses and ports",
                insert_failed,
            ),
            (
                "weir_agent_conntrack_early_dropped_entries",
                "Entries that connection tracking threw out to make room",
                early_dropped,
            ),
        ] {
            let each = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(each)?;
        }
    }
    let vips = numbers.tracking.vips().iter();
    let samples = vips.map(|((address, protocol, state), count)| {
        let labels = vec![
            ("address", address.to_string()),
            ("protocol", protocol.to_string()),
            ("state", state.to_string()),
        ];
        (labels, *count)
    });
    let help = "Tracked connections to a VIP by state, as of the last look at them";
    gauge(("weir_agent_vip_connections", help), samples, encoder)
}

fn level(name: &str, help: &str, value: u64, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
    let each = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(each)
}

fn counter(
    (name, help): (&str, &str),
    samples: impl IntoIterator<Item = Sample>,
    encoder: &mut DescriptorEncoder,
) -> Result<(), Error> {
    let mut each = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in samples {
        let counter = ConstCounter::new(value);
        counter.encode(each.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(
    (name, help): (&str, &str),
    samples: impl IntoIterator<Item = Sample>,
    encoder: &mut DescriptorEncoder,
) -> Result<(), Error> {
    let mut each = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(each.encode_family(&labels)?)?;
    }
    Ok(())
}

fn labels((frontend, endpoint): &Counter) -> Labels {
    let mut labels = match frontend {
        Frontend::Address(listener) => vec![
            ("address", listener.address.to_string()),
            ("port", listener.port.to_string()),
            ("protocol", listener.protocol.to_string()),
        ],
        Frontend::Mark(mark) => vec![
            ("firewall_mark", mark.number.to_string()),
            ("family", mark.family.to_string()),
        ],
    };
    if let Some(Endpoint { address, port }) = endpoint {
        labels.push(("backend_address", address.to_string()));
        labels.push(("backend_port", port.to_string()));
    }
    labels
}
