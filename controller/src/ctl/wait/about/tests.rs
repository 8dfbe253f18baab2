use super::*;
use crate::ctl::manifest::{File, Manifests};

const WEB: &str = "\
apiVersion: weir/v1
kind: Service
metadata: {name: web}
spec:
  frontends: [{address: 10.100.100.100, port: 8080, protocol: TCP}]
  backends: [{address: 10.0.0.11, port: 8080}]
";

const SET: &str = "\
apiVersion: weir/v1
kind: BackendSet
metadata: {name: web-b}
spec: {service: web, backends: [{address: 10.0.0.31, port: 8080}]}
";

const NODE: &str = "\
apiVersion: weir/v1
kind: Node
metadata: {name: a}
";

fn about(text: &str) -> About {
    let file = File {
        name: "web.yaml".to_owned(),
        text: text.to_owned(),
    };
    About::new(Manifests::read(&[file]).expect("no faults").resources())
}

fn frontend(port: u32) -> wire::Frontend {
    wire::Frontend {
        address: "10.100.100.100".to_owned(),
        port,
        protocol: wire::Protocol::Tcp.into(),
        ..wire::Frontend::default()
    }
}

fn vip(address: &str) -> wire::item_key::Kind {
    wire::item_key::Kind::Vip(wire::item_key::Vip {
        address: address.to_owned(),
    })
}

fn silent(address: &str) -> wire::item_key::Kind {
    wire::item_key::Kind::SilentVip(wire::item::SilentVip {
        address: address.to_owned(),
    })
}

fn backend(frontend: wire::Frontend, address: &str) -> wire::item_key::Kind {
    wire::item_key::Kind::Backend(wire::item_key::Backend {
        frontend: Some(frontend),
        address: address.to_owned(),
        port: 8080,
    })
}

fn loopback(address: &str) -> wire::item_key::Kind {
    wire::item_key::Kind::LoopbackEntry(wire::item::LoopbackEntry {
        address: address.to_owned(),
        protocol: wire::Protocol::Tcp.into(),
        port: 8080,
        source: address.to_owned(),
    })
}

/// Everything that can fail here; "other" is of another service that has the same backends.
fn failures() -> Vec<(&'static str, wire::item_key::Kind)> {
    use wire::item_key::Kind::VirtualService;
    vec![
        ("vip", vip("10.100.100.100")),
        ("silent vip", silent("10.100.100.100")),
        ("virtual service", VirtualService(frontend(8080))),
        ("backend", backend(frontend(8080), "10.0.0.11")),
        ("backend of a set", backend(frontend(8080), "10.0.0.31")),
        ("loopback entry", loopback("10.0.0.11")),
        ("loopback entry of a set", loopback("10.0.0.31")),
        ("other vip", vip("10.100.100.101")),
        ("other virtual service", VirtualService(frontend(81))),
        ("other backend", backend(frontend(81), "10.0.0.11")),
        ("other backend of a set", backend(frontend(81), "10.0.0.31")),
        ("other loopback entry", loopback("10.0.0.41")),
    ]
}

fn concerned(about: &About, node: &str) -> Vec<&'static str> {
    let failed = |key| wire::ItemFailure {
        key: Some(wire::ItemKey { kind: Some(key) }),
        ..wire::ItemFailure::default()
    };
    failures()
        .into_iter()
        .filter(|(_, key)| about.concerns(node, &failed(key.clone())))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn a_service_is_known_by_its_frontends_and_its_own_loopback_entries() {
    assert_eq!(
        concerned(&about(WEB), "a"),
        [
            "vip",
            "silent vip",
            "virtual service",
            "backend",
            "backend of a set",
            "loopback entry"
        ]
    );
}

#[test]
fn a_backend_set_is_known_by_its_backends() {
    assert_eq!(
        concerned(&about(SET), "a"),
        [
            "silent vip",
            "backend of a set",
            "loopback entry of a set",
            "other backend of a set"
        ]
    );
}

#[test]
fn the_frontends_of_a_service_tell_whose_the_backends_of_its_set_are() {
    assert_eq!(
        concerned(&about(&format!("{SET}---\n{WEB}")), "a"),
        [
            "vip",
            "silent vip",
            "virtual service",
            "backend",
            "backend of a set",
            "loopback entry",
            "loopback entry of a set"
        ]
    );
}

#[test]
fn all_that_fails_on_a_node_is_about_the_node() {
    let all: Vec<_> = failures().into_iter().map(|(name, _)| name).collect();
    assert_eq!(concerned(&about(NODE), "a"), all);
    assert_eq!(concerned(&about(NODE), "b"), [""; 0]);
}

#[test]
fn what_cannot_be_told_counts() {
    assert!(about(WEB).concerns("a", &wire::ItemFailure::default()));
}
