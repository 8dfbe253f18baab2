use std::collections::BTreeSet;
use std::time::Duration;

use weir_proto::model::{
    ConnectionState, Conntrack, Endpoint, Family, Forwarding, Frontend, Generation, Listener, Mark,
    Port, Protocol,
};

use super::*;
use crate::plan::{
    Connections, CountedService, Counters, Look, Passed, Report, SavedTotals, VipStates,
};

fn sources(status: Status, link: Link) -> Sources {
    Sources {
        stages: Stages::default(),
        status: watch::channel(status).1,
        link: watch::channel(link).1,
        degraded: watch::channel(None).1,
        numbers: watch::channel(Numbers::default()).1,
        staleness: Staleness {
            started: Instant::now(),
            stale_after: None,
        },
    }
}

#[tokio::test]
async fn an_agent_is_ready_once_its_kernel_was_brought_to_its_journal() {
    let (code, _) = ready(State(sources(Status::default(), Link::default()))).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    let settled = Status {
        settled: true,
        ..Status::default()
    };
    let (code, _) = ready(State(sources(settled, Link::default()))).await;
    assert_eq!(code, StatusCode::OK);
}

#[test]
fn every_number_is_told_under_its_name() {
    let status = Status {
        converged: Generation(7),
        settled: true,
        report: Report {
            failures: vec![],
            count: 2,
        },
        counts: Counts {
            passes: 3,
            audits: 4,
            failed_passes: 5,
            steps: 6,
            refused_steps: 8,
            repairs: 9,
        },
        rejected: [(Family::V4, 11), (Family::V6, 0)].into(),
        repaired: [("backend", 7), ("vip", 2)].into(),
    };
    let link = Link {
        contact: crate::session::Contact::Now,
        accepted: Generation(10),
        hold: None,
        refused: 1,
        ..Link::default()
    };
    let text = told(sources(status, link));
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .take_while(|line| !line.starts_with("weir_agent_silent_backends"))
        .collect();
    assert_eq!(
        lines,
        [
            "weir_agent_connected 1",
            "weir_agent_accepted_generation 10",
            "weir_agent_converged_generation 7",
            "weir_agent_degraded 0",
            "weir_agent_held_back 0",
            "weir_agent_failed_items 2",
            "weir_agent_refused_items 1",
            "weir_state_age_seconds 0",
            "weir_agent_passes_total 3",
            "weir_agent_audits_total 4",
            "weir_agent_failed_passes_total 5",
            "weir_agent_steps_total 6",
            "weir_agent_refused_steps_total 8",
            "weir_agent_repairs_total{kind=\"backend\"} 7",
            "weir_agent_repairs_total{kind=\"vip\"} 2",
            "weir_lockdown_rejected_packets_total{family=\"IPv4\"} 11",
            "weir_lockdown_rejected_packets_total{family=\"IPv6\"} 0",
        ]
    );
}

fn told(sources: Sources) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(sources));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
    text
}

fn passed(connections: u64) -> Passed {
    Passed {
        connections,
        packets_in: 2 * connections,
        packets_out: 3 * connections,
        bytes_in: 4 * connections,
        bytes_out: 5 * connections,
    }
}

/// A listener with a backend that was refused once and has connections, and a mark, looked at twice.
fn numbers(backends: bool) -> Numbers {
    let port = Port::new(80).expect("a port");
    let listener = Frontend::Address(Listener {
        address: [10, 100, 0, 1].into(),
        port,
        protocol: Protocol::Tcp,
    });
    let mark = Frontend::Mark(Mark {
        family: Family::V6,
        number: std::num::NonZeroU32::MIN,
    });
    let endpoint = Endpoint {
        address: [10, 0, 0, 1].into(),
        port: Port::new(8080).expect("a port"),
    };
    let look = |connections: u64, packets_in: u64| {
        let counters = Counters {
            passed: Passed {
                packets_in,
                ..passed(connections)
            },
            now: Connections {
                active: 6,
                inactive: 7,
            },
            forwarding: Some(Forwarding::Masquerade),
        };
        let service = CountedService {
            passed: passed(connections + 10),
            backends: [(endpoint, counters)].into(),
        };
        let of_mark = CountedService {
            passed: passed(1),
            ..CountedService::default()
        };
        let conntrack = Conntrack {
            entries: 11,
            max_entries: 12,
            dropped: 13,
            insert_failed: 14,
            early_dropped: 15,
        };
        Look {
            counted: Some([(listener, Some(service)), (mark, Some(of_mark))].into()),
            conntrack: Some(Some(conntrack)),
            took: Duration::from_millis(2),
        }
    };
    let mut numbers = Numbers::new(SavedTotals::default(), backends);
    numbers.look(look(8, 16));
    numbers.look(look(9, 17));
    numbers.look(Look::default());
    let vip = [10, 100, 0, 1].into();
    let vips = [((vip, Protocol::Tcp, ConnectionState::Established), 21)];
    let vips = VipStates::from(vips);
    numbers.look_at_vips(Duration::ZERO, Duration::ZERO, Some(vips));
    numbers
}

fn counting(backends: bool) -> String {
    let sources = Sources {
        stages: crate::admin::Stages::default(),
        numbers: watch::channel(numbers(backends)).1,
        ..sources(Status::default(), Link::default())
    };
    told(sources)
}

#[test]
fn what_was_counted_is_told_by_frontend_and_of_backends_where_that_is_asked_for() {
    let text = counting(false);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.skip_while(|line| !line.starts_with("weir_agent_frontend"));
    let lines: Vec<&str> = lines.collect();
    let expected = r#"
weir_agent_frontend_connections_total{address="10.100.0.1",port="80",protocol="TCP"} 19
weir_agent_frontend_connections_total{firewall_mark="1",family="IPv6"} 1
weir_agent_frontend_failed_connections_total{address="10.100.0.1",port="80",protocol="TCP"} 1
weir_agent_frontend_failed_connections_total{firewall_mark="1",family="IPv6"} 0
weir_agent_frontend_packets_total{address="10.100.0.1",port="80",protocol="TCP",direction="in"} 38
weir_agent_frontend_packets_total{address="10.100.0.1",port="80",protocol="TCP",direction="out"} 57
weir_agent_frontend_packets_total{firewall_mark="1",family="IPv6",direction="in"} 2
weir_agent_frontend_packets_total{firewall_mark="1",family="IPv6",direction="out"} 3
weir_agent_frontend_bytes_total{address="10.100.0.1",port="80",protocol="TCP",direction="in"} 76
weir_agent_frontend_bytes_total{address="10.100.0.1",port="80",protocol="TCP",direction="out"} 95
weir_agent_frontend_bytes_total{firewall_mark="1",family="IPv6",direction="in"} 4
weir_agent_frontend_bytes_total{firewall_mark="1",family="IPv6",direction="out"} 5
weir_agent_frontend_active_connections{address="10.100.0.1",port="80",protocol="TCP"} 6
weir_agent_frontend_active_connections{firewall_mark="1",family="IPv6"} 0
weir_agent_frontend_inactive_connections{address="10.100.0.1",port="80",protocol="TCP"} 7
weir_agent_frontend_inactive_connections{firewall_mark="1",family="IPv6"} 0
weir_agent_silent_backends 0
weir_agent_conntrack_entries 11
weir_agent_conntrack_max_entries 12
weir_agent_conntrack_dropped_packets_total 13
weir_agent_conntrack_failed_inserts_total 14
weir_agent_conntrack_early_dropped_entries_total 15
weir_agent_vip_connections{address="10.100.0.1",protocol="TCP",state="ESTABLISHED"} 21
weir_agent_failed_samplings_total 1
weir_agent_sampling_duration_seconds_sum 0.004
weir_agent_sampling_duration_seconds_count 3
weir_agent_sampling_duration_seconds_bucket{le="0.0005"} 1
weir_agent_sampling_duration_seconds_bucket{le="0.001"} 1
weir_agent_sampling_duration_seconds_bucket{le="0.0025"} 3
weir_agent_sampling_duration_seconds_bucket{le="0.005"} 3
weir_agent_sampling_duration_seconds_bucket{le="0.01"} 3
weir_agent_sampling_duration_seconds_bucket{le="0.025"} 3
weir_agent_sampling_duration_seconds_bucket{le="0.1"} 3
weir_agent_sampling_duration_seconds_bucket{le="0.5"} 3
weir_agent_sampling_duration_seconds_bucket{le="2.5"} 3
weir_agent_sampling_duration_seconds_bucket{le="+Inf"} 3
"#;
    assert_eq!(lines, expected.trim().lines().collect::<Vec<_>>());
    let text = counting(true);
    let lines = text
        .lines()
        .filter(|line| line.starts_with("weir_agent_backend_"));
    let lines: Vec<&str> = lines.collect();
    let expected = r#"
weir_agent_backend_connections_total{address="10.100.0.1",port="80",protocol="TCP",backend_address="10.0.0.1",backend_port="8080"} 9
weir_agent_backend_failed_connections_total{address="10.100.0.1",port="80",protocol="TCP",backend_address="10.0.0.1",backend_port="8080"} 1
weir_agent_backend_packets_total{address="10.100.0.1",port="80",protocol="TCP",backend_address="10.0.0.1",backend_port="8080",direction="in"} 17
weir_agent_backend_packets_total{address="10.100.0.1",port="80",protocol="TCP",backend_address="10.0.0.1",backend_port="8080",direction="out"} 27
weir_agent_backend_bytes_total{address="10.100.0.1",port="80",protocol="TCP",backend_address="10.0.0.1",backend_port="8080",direction="in"} 36
weir_agent_backend_bytes_total{address="10.100.0.1",port="80",protocol="TCP",backend_address="10.0.0.1",backend_port="8080",direction="out"} 45
weir_agent_backend_active_connections{address="10.100.0.1",port="80",protocol="TCP",backend_address="10.0.0.1",backend_port="8080"} 6
weir_agent_backend_inactive_connections{address="10.100.0.1",port="80",protocol="TCP",backend_address="10.0.0.1",backend_port="8080"} 7
"#;
    assert_eq!(lines, expected.trim().lines().collect::<Vec<_>>());
}

/// What is wrong with the names of metrics, and with what is said of them.
fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeSet::new());
    let mut kinds = std::collections::BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                if !helped.insert(name) {
                    faults.push(format!("{name} has two helps"));
                }
                if help.len() < 10 {
                    faults.push(format!("{name} has no help"));
                }
            }
            ["#", "TYPE", name, kind] => {
                if !typed.insert(name) {
                    faults.push(format!("{name} is there twice"));
                }
                kinds.insert(name, kind);
                let snake = |it: &str| {
                    it.chars()
                        .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
                };
                if !name.starts_with("weir_") || !snake(name) || name.contains("__") {
                    faults.push(format!("{name} is no name"));
                }
                // base units alone, at the end; the format adds `_total` to counters by itself
                let words: Vec<&str> = name.split('_').collect();
                let scaled = [
                    "ms",
                    "us",
                    "ns",
                    "millis",
                    "milliseconds",
                    "minutes",
                    "hours",
                    "kb",
                    "mb",
                    "kib",
                    "mib",
                    "bits",
                    "percent",
                    "total",
                    "count",
                    "sum",
                    "bucket",
                ];
                if words.iter().any(|word| scaled.contains(word)) {
                    faults.push(format!(
                        "{name} has a unit or an ending that it must not have"
                    ));
                }
                let last = words.last().copied().unwrap_or_default();
                let inner = &words[..words.len() - 1];
                if inner.contains(&"seconds") || inner.contains(&"bytes") {
                    faults.push(format!("{name} does not end in its unit"));
                }
                if kind == "histogram" && last != "seconds" && last != "bytes" {
                    faults.push(format!("{name} has no unit"));
                }
            }
            ["#", "EOF"] => {}
            ["#", ..] => faults.push(format!("{line} is something else")),
            _ => {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                let of = |ending: &str, kind: &str| {
                    let family = name.strip_suffix(ending);
                    family.is_some_and(|family| kinds.get(family) == Some(&kind))
                };
                let parts = ["_sum", "_count", "_bucket"];
                let known = of("_total", "counter")
                    || of("", "gauge")
                    || parts.iter().any(|part| of(part, "histogram"));
                if !known {
                    faults.push(format!("{name} belongs to nothing"));
                }
            }
        }
    }
    faults.extend(
        typed
            .difference(&helped)
            .map(|name| format!("{name} has no help")),
    );
    faults
}

#[test]
fn names_have_base_units_and_the_endings_of_their_kinds_and_each_is_helped() {
    let text = counting(true);
    assert_eq!(faults(&text), Vec::<String>::new());
    let bad = "# HELP weir_Took_ms Much longer.\n# TYPE weir_Took_ms gauge\nweir_Took_ms 1\n\
               # TYPE weir_x_seconds_y counter\nweir_x_seconds_y 1\n# EOF\n";
    let found = [
        "weir_Took_ms is no name",
        "weir_Took_ms has a unit or an ending that it must not have",
        "weir_x_seconds_y does not end in its unit",
        "weir_x_seconds_y belongs to nothing",
        "weir_x_seconds_y has no help",
    ];
    assert_eq!(faults(bad), found);
}
