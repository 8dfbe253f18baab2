//! `top` where nobody looks at a screen: tables and JSON.

use tonic::Status;
use weir_proto::wire::{
    BackendTraffic, Conntrack, Counters, NodeTraffic, ServiceTraffic, TrafficRequest,
    TrafficResponse,
};

use super::fake::{Fake, State};
use super::{Ran, failed, fine, start};

fn counters(rate: f64, failed: f64, active: u64) -> Option<Counters> {
    Some(Counters {
        connections: 123_456,
        failed_connections: 17,
        packets_in: 900,
        packets_out: 800,
        bytes_in: 70_000,
        bytes_out: 600_000,
        active_connections: active,
        inactive_connections: 7,
        connections_per_second: rate,
        failed_connections_per_second: failed,
        packets_in_per_second: rate * 12.0,
        packets_out_per_second: rate * 10.0,
        bytes_in_per_second: rate * 1_000.0,
        bytes_out_per_second: rate * 50_000.0,
    })
}

fn service(name: &str, counters: Option<Counters>, silent: u32, imbalance: f64) -> ServiceTraffic {
    ServiceTraffic {
        name: name.to_owned(),
        counters,
        backend_count: 3,
        silent_backend_count: silent,
        imbalance,
    }
}

fn backend(address: &str, active: u64, silent: bool) -> BackendTraffic {
    BackendTraffic {
        service: "web".to_owned(),
        address: address.to_owned(),
        port: 8080,
        counters: counters(40.0, 0.0, active),
        silent,
    }
}

fn node(name: &str, conntrack: Option<Conntrack>) -> NodeTraffic {
    NodeTraffic {
        name: name.to_owned(),
        counters: counters(120.0, 0.5, 300),
        conntrack,
        vips: Vec::new(),
    }
}

pub(super) fn traffic() -> TrafficResponse {
    TrafficResponse {
        at_unix_ms: 1_700_000_000_000,
        services: vec![
            service("dns", counters(25_400.0, 0.0, 0), 0, 0.0),
            service("idle", Some(Counters::default()), 0, 0.0),
            service("web", counters(120.0, 0.5, 300), 1, 1.25),
        ],
        backends: vec![
            backend("10.0.0.11", 200, false),
            backend("10.0.0.12", 100, false),
            backend("fd00::13", 0, true),
        ],
        nodes: vec![
            node(
                "node-a",
                Some(Conntrack {
                    entries: 200_000,
                    max_entries: 262_144,
                    dropped: 3,
                    insert_failed: 2,
                    early_dropped: 1,
                }),
            ),
            node("node-b", None),
        ],
    }
}

fn busy() -> Fake {
    Fake::start(State {
        traffic: traffic(),
        ..State::default()
    })
}

#[test]
fn services_backends_and_nodes_have_tables_by_name() {
    let fake = busy();
    for (arguments, golden) in [
        (&["top"][..], include_str!("pages/top-services.txt")),
        (
            &["top", "svc", "-o", "wide"],
            include_str!("pages/top-services-wide.txt"),
        ),
        (
            &["top", "backends", "web", "--once"],
            include_str!("pages/top-backends.txt"),
        ),
        (
            &["top", "be", "-o", "wide"],
            include_str!("pages/top-backends-wide.txt"),
        ),
        (&["top", "nodes"], include_str!("pages/top-nodes.txt")),
        (
            &["top", "nodes", "-o", "wide"],
            include_str!("pages/top-nodes-wide.txt"),
        ),
        (
            &["top", "-o", "json"],
            include_str!("pages/top-services.json"),
        ),
        (
            &["top", "backends", "-o", "json"],
            include_str!("pages/top-backends.json"),
        ),
        (
            &["top", "node/node-a", "-o", "json"],
            include_str!("pages/top-nodes.json"),
        ),
    ] {
        assert_eq!(fake.run(arguments), fine(golden), "{arguments:?}");
    }
}

#[test]
fn what_is_shown_is_what_is_asked_for() {
    let fake = busy();
    fake.run(&["top", "be", "web", "dns", "--interval", "500ms"]);
    fake.state().traffic_later = vec![traffic()];
    fake.run(&["top", "no", "node-a", "-n", "2", "--interval", "500ms"]);
    // an interval is only for those who watch: the controller refuses it otherwise
    let asked = |services: &[&str], backends, watch, interval_ms| TrafficRequest {
        services: services.iter().map(|name| (*name).to_owned()).collect(),
        backends,
        nodes: !backends,
        watch,
        interval_ms,
    };
    let expected = [
        asked(&["web", "dns"], true, false, 0),
        asked(&[], false, true, 500),
    ];
    assert_eq!(fake.state().traffic_asked, expected);
}

#[test]
fn tables_are_sorted_and_filtered_and_come_as_often_as_asked() {
    let fake = busy();
    let mut later = traffic();
    later.services.remove(0);
    fake.state().traffic_later = vec![later];
    assert_eq!(
        fake.run(&["top", "--sort-by", "conn", "-n", "2", "--filter", "!idle"]),
        fine(
            "NAME   CONN/S   FAIL/S   BYTES/S   ACTIVE   INACT   IMBAL\n\
             dns    25.4k    0        1.21GiB   0        7       -\n\
             web    120      0.50     5.84MiB   300      7       1.25\n\
             \n\
             NAME   CONN/S   FAIL/S   BYTES/S   ACTIVE   INACT   IMBAL\n\
             web    120      0.50     5.84MiB   300      7       1.25\n"
        )
    );
    assert_eq!(
        fake.run(&["top", "--filter", "WEB", "--no-headers"]),
        fine("web    120      0.50     5.84MiB   300      7       1.25\n")
    );
}

#[test]
fn nothing_to_show_is_said_aside() {
    let none = Ran {
        status: 0,
        out: String::new(),
        err: "No nodes found.\n".to_owned(),
    };
    assert_eq!(start().run(&["top", "nodes"]), none);
}

#[test]
fn what_is_not_there_is_named() {
    let fake = busy();
    assert_eq!(
        fake.run(&["top", "nodes", "node-x"]),
        failed("error: node/node-x not found\n")
    );
    fake.state().refusal = Some(Status::not_found("service \"blog\" is not there"));
    assert_eq!(
        fake.run(&["top", "services", "blog"]),
        failed("error: the controller says NOT_FOUND: service \"blog\" is not there\n")
    );
}

#[test]
fn a_wrong_command_line_says_what_there_is() {
    let fake = busy();
    for (arguments, err) in [
        (
            &["top", "drains"][..],
            "error: top shows services, backends and nodes, not drains\n",
        ),
        (
            &["top", "nodes", "--sort-by", "silent"],
            "error: \"silent\" is no column of nodes (there are name, conn, fail, bytes, in, out, pkts, active, \
             inact, imbal, ct, entries, drops, total)\n",
        ),
        (
            &["top", "--interval", "100ms"],
            "error: invalid value '100ms' for '--interval <TIME>': it is 500ms to 1m\n",
        ),
        (
            &["top", "--once", "-n", "3"],
            "error: the argument '--once' cannot be used with '--count <N>'\n\n\
             Usage: weirctl top [OPTIONS] [services|backends|nodes] [NAME]...\n",
        ),
    ] {
        let wrong = Ran {
            status: 2,
            out: String::new(),
            err: format!("{err}\nFor more information, try '--help'.\n"),
        };
        assert_eq!(fake.run(arguments), wrong, "{arguments:?}");
    }
}
