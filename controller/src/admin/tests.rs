use std::time::Duration;

use prometheus_client::encoding::text::encode;
use weir_proto::metrics::{Metric, problems};
use weir_proto::model::Revision;

use super::*;
use crate::cluster::Behind;
use crate::desired::samples::{endpoint, service_name};
use crate::desired::{BackendPassing, Passing, Reason, ServicePassing, Sum, Tally};
use crate::metrics::{BACKEND_METRICS, METRICS, Metrics};

/// Something of everything.
fn shown(backends: bool) -> Shown {
    let mut sum = Sum::default();
    sum.total.connections = 7;
    sum.total.failed = 1;
    sum.total.packets_in = 70;
    sum.total.packets_out = 60;
    sum.total.bytes_in = 7_000;
    sum.total.bytes_out = 6_000;
    sum.now.active = 3;
    sum.now.inactive = 2;
    sum.now.silent = 1;
    Shown {
        passing: Passing {
            fleet: sum,
            services: vec![ServicePassing {
                name: service_name("web"),
                sum,
                backends: 2,
                silent: 1,
                imbalance: 1.5,
            }],
            backends: vec![BackendPassing {
                service: service_name("web"),
                endpoint: endpoint("10.0.0.1:80"),
                sum,
            }],
            nodes: Vec::new(),
        },
        behind: Behind {
            nodes: 2,
            longest: Duration::from_millis(1_500),
        },
        backends,
    }
}

fn page(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).expect("text");
    text
}

fn numbers(page: &str) -> Vec<&str> {
    page.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn every_number_is_as_the_table_says_and_in_base_units() {
    for backends in [false, true] {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.revision(Revision(1));
        metrics.sizes(1, 2, 3);
        metrics.tally(Tally::default());
        metrics.repaired(&[("vip".to_owned(), 2), ("what".to_owned(), 1)].into());
        metrics.compilations(3);
        metrics.committed();
        metrics.applied("written");
        metrics.update_sent(true);
        metrics.groups(1);
        metrics.encoded(1);
        metrics.rejected("stale");
        metrics.event(Reason::Applied);
        metrics.event_dropped();
        let stages = metrics.stages();
        stages.accepted(Duration::from_micros(900));
        stages.encoded(Duration::from_micros(10));
        stages.delivered(Duration::from_millis(3));
        stages.acknowledged(Duration::from_millis(30));
        stages.converged(Duration::from_secs(100));
        registry.register_collector(Box::new(shown(backends)));
        let beside = if backends { BACKEND_METRICS } else { &[] };
        let table: Vec<Metric> = [METRICS, beside].concat();
        assert_eq!(problems(&page(&registry), &table), Vec::<String>::new());
    }
}

#[test]
fn what_passes_is_told_of_all_of_services_and_where_wanted_of_backends() {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(shown(false)));
    let services = [
        "weir_controller_nodes_behind 2",
        "weir_controller_convergence_lag_seconds 1.5",
        "weir_controller_connections_total 7",
        "weir_controller_failed_connections_total 1",
        "weir_controller_active_connections 3",
        "weir_controller_inactive_connections 2",
        "weir_controller_packets_total{direction=\"in\"} 70",
        "weir_controller_packets_total{direction=\"out\"} 60",
        "weir_controller_bytes_total{direction=\"in\"} 7000",
        "weir_controller_bytes_total{direction=\"out\"} 6000",
        "weir_controller_service_connections_total{service=\"web\"} 7",
        "weir_controller_service_failed_connections_total{service=\"web\"} 1",
        "weir_controller_service_active_connections{service=\"web\"} 3",
        "weir_controller_service_inactive_connections{service=\"web\"} 2",
        "weir_controller_service_packets_total{service=\"web\",direction=\"in\"} 70",
        "weir_controller_service_packets_total{service=\"web\",direction=\"out\"} 60",
        "weir_controller_service_bytes_total{service=\"web\",direction=\"in\"} 7000",
        "weir_controller_service_bytes_total{service=\"web\",direction=\"out\"} 6000",
        "weir_controller_service_backends{service=\"web\"} 2",
        "weir_controller_service_silent_backends{service=\"web\"} 1",
        "weir_controller_service_imbalance_ratio{service=\"web\"} 1.5",
    ];
    let text = page(&registry);
    assert_eq!(numbers(&text), services);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(shown(true)));
    let text = page(&registry);
    let all = numbers(&text);
    let (before, backends) = all.split_at(services.len());
    assert_eq!(before, services);
    let of = |metric: &str, more: &str, number: &str| {
        format!(
            "weir_controller_backend_{metric}{{service=\"web\",backend=\"10.0.0.1:80\"{more}}} {number}"
        )
    };
    assert_eq!(
        backends,
        [
            of("connections_total", "", "7"),
            of("failed_connections_total", "", "1"),
            of("active_connections", "", "3"),
            of("inactive_connections", "", "2"),
            of("packets_total", ",direction=\"in\"", "70"),
            of("packets_total", ",direction=\"out\"", "60"),
            of("bytes_total", ",direction=\"in\"", "7000"),
            of("bytes_total", ",direction=\"out\"", "6000"),
            of("silent", "", "1"),
        ]
    );
}

#[test]
fn stages_are_there_before_anything_happened() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    metrics.stages().delivered(Duration::from_millis(3));
    let text = page(&registry);
    for stage in ["accept", "encode", "wire", "ack", "total"] {
        let count = format!(
            "weir_network_programming_duration_seconds_count{{stage=\"{stage}\"}} {}",
            u8::from(stage == "wire")
        );
        assert!(text.lines().any(|line| line == count), "{count}\n{text}");
    }
    for (bound, count) in [("0.002", 0), ("0.004", 1), ("65.536", 1), ("+Inf", 1)] {
        let bucket = format!(
            "weir_network_programming_duration_seconds_bucket{{le=\"{bound}\",stage=\"wire\"}} {count}"
        );
        assert!(text.lines().any(|line| line == bucket), "{bucket}\n{text}");
    }
}
