use std::collections::BTreeMap;

use weir_proto::wire;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn frontend(address: &str, port: u32, protocol: wire::Protocol) -> wire::Frontend {
    wire::Frontend {
        address: address.to_owned(),
        port,
        protocol: protocol.into(),
        ..wire::Frontend::default()
    }
}

fn backend(address: &str, weight: Option<u32>, node: &str) -> wire::Backend {
    wire::Backend {
        address: address.to_owned(),
        port: 8080,
        weight,
        node: node.to_owned(),
        ..wire::Backend::default()
    }
}

fn web() -> wire::Service {
    wire::Service {
        name: "web".to_owned(),
        labels: labels(&[("tier", "front"), ("env", "prod")]),
        frontends: vec![frontend("10.100.100.100", 8080, wire::Protocol::Tcp)],
        scheduler: Some("rr".to_owned()),
        forwarding: Some(wire::Forwarding::DirectRoute.into()),
        backends: vec![
            backend("10.0.0.11", Some(3), "node-a"),
            backend("10.0.0.21", None, ""),
        ],
        session_affinity: Some(wire::SessionAffinity {
            timeout_seconds: None,
            ..wire::SessionAffinity::default()
        }),
        hairpin: Some(false),
        node_selector: labels(&[("rack", "r3")]),
        ..wire::Service::default()
    }
}

fn dns() -> wire::Service {
    wire::Service {
        name: "dns".to_owned(),
        frontends: [1, 2, 3, 4, 5]
            .map(|last| frontend(&format!("fd00::{last}"), 53, wire::Protocol::Udp))
            .to_vec(),
        ..wire::Service::default()
    }
}

fn listing() -> Listing {
    let set = wire::BackendSet {
        name: "web-b".to_owned(),
        labels: labels(&[("zone", "b")]),
        service: "web".to_owned(),
        backends: vec![
            backend("10.0.0.21", Some(9), "node-b"),
            backend("10.0.0.31", None, "node-b"),
        ],
    };
    Listing {
        services: vec![(dns(), 4), (web(), 12)],
        sets: vec![(set, 13)],
    }
}

fn state(name: &str) -> wire::NodeState {
    wire::NodeState {
        name: name.to_owned(),
        connected: true,
        agent_version: "0.1.0".to_owned(),
        wanted_generation: 7,
        accepted_generation: 7,
        converged_generation: 6,
        wanted_items: 9,
        last_heard_unix_ms: 1_000_000,
        capabilities: vec![
            wire::Capability {
                name: "ip_vs".to_owned(),
                available: true,
                detail: String::new(),
                optional: false,
            },
            wire::Capability {
                name: "xt_set".to_owned(),
                available: false,
                detail: "modprobe xt_set".to_owned(),
                optional: false,
            },
            wire::Capability {
                name: "scheduler_twos".to_owned(),
                available: false,
                detail: "load the module ip_vs_twos".to_owned(),
                optional: true,
            },
        ],
        ..wire::NodeState::default()
    }
}

#[test]
fn services_are_shown_one_a_line() {
    assert_eq!(
        table(&service_rows(&listing(), false)),
        "\
NAME   FRONTENDS                                                        SCHEDULER   FORWARDING     BACKENDS   REVISION
dns    [fd00::1]:53/UDP,[fd00::2]:53/UDP,[fd00::3]:53/UDP + 2 more...   wrr         MASQUERADE     0          4
web    10.100.100.100:8080/TCP                                          rr          DIRECT_ROUTE   3          12
"
    );
}

#[test]
fn wide_services_show_everything() {
    let mut listing = listing();
    listing.services[1].0.drain = Some(wire::Drain {
        deadline_seconds: Some(600),
        on_deadline: wire::OnDeadline::Reset.into(),
    });
    listing.services[0].0.frontends.truncate(1);
    assert_eq!(
        table(&service_rows(&listing, true)),
        "\
NAME   FRONTENDS                 SCHEDULER   FORWARDING     BACKENDS   REVISION   AFFINITY   HAIRPIN   BINDING   LOCKDOWN   DRAIN       SELECTOR   LABELS
dns    [fd00::1]:53/UDP          wrr         MASQUERADE     0          4          <none>     true      ADDRESS   true       5m,KEEP     <all>      <none>
web    10.100.100.100:8080/TCP   rr          DIRECT_ROUTE   3          12         300s       false     ADDRESS   true       10m,RESET   rack=r3    env=prod,tier=front
"
    );
}

#[test]
fn backends_are_shown_by_service_and_the_services_own_counts() {
    assert_eq!(
        table(&backend_rows(&listing())),
        "\
SERVICE   ADDRESS          WEIGHT   NODE     SET
web       10.0.0.11:8080   3        node-a   <none>
web       10.0.0.21:8080   1        <all>    <none>
web       10.0.0.31:8080   1        node-b   web-b
"
    );
}

#[test]
fn backend_sets_are_shown_one_a_line() {
    assert_eq!(
        table(&set_rows(&listing(), false)),
        "\
NAME    SERVICE   BACKENDS   REVISION
web-b   web       2          13
"
    );
    assert_eq!(
        table(&set_rows(&listing(), true)),
        "\
NAME    SERVICE   BACKENDS   REVISION   ADDRESSES                       LABELS
web-b   web       2          13         10.0.0.21:8080,10.0.0.31:8080   zone=b
"
    );
}

#[test]
fn nodes_are_shown_with_how_far_they_are() {
    let node = |name: &str, addresses: &[&str]| wire::Node {
        name: name.to_owned(),
        labels: labels(&[("rack", "r3")]),
        addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
        ..wire::Node::default()
    };
    let nodes = [
        node("node-a", &["10.0.0.1", "fd00::1"]),
        node("node-b", &["10.0.0.2"]),
        node("node-c", &[]),
    ];
    let gone = wire::NodeState {
        connected: false,
        capabilities: vec![],
        ..state("node-b")
    };
    let states = BTreeMap::from([
        ("node-a".to_owned(), state("node-a")),
        ("node-b".to_owned(), gone),
    ]);
    assert_eq!(
        table(&node_rows(&nodes, &states, false)),
        "\
NAME     STATE       WANTED   ACCEPTED   CONVERGED   ADDRESSES
node-a   connected   7        7          6           10.0.0.1,fd00::1
node-b   gone        7        7          6           10.0.0.2
node-c   unheard     0        -          -           <none>
"
    );
    assert_eq!(
        table(&node_rows(&nodes[..1], &states, true)),
        "\
NAME     STATE       WANTED   ACCEPTED   CONVERGED   ADDRESSES          VERSION   LABELS    MISSING
node-a   connected   7        7          6           10.0.0.1,fd00::1   0.1.0     rack=r3   xt_set,scheduler_twos
"
    );
}

fn failure(key: wire::item_key::Kind, errno: i32, cause: &str, field: &str) -> wire::ItemFailure {
    wire::ItemFailure {
        key: Some(wire::ItemKey { kind: Some(key) }),
        errno,
        cause: cause.to_owned(),
        field: field.to_owned(),
    }
}

#[test]
fn every_trouble_of_a_node_is_a_line() {
    let vip = frontend("10.100.100.100", 8080, wire::Protocol::Tcp);
    let trouble = wire::NodeState {
        failures: vec![
            failure(
                wire::item_key::Kind::Backend(wire::item_key::Backend {
                    frontend: Some(vip.clone()),
                    address: "10.0.0.11".to_owned(),
                    port: 8080,
                }),
                2,
                "scheduler mh is not in this kernel",
                "",
            ),
            failure(
                wire::item_key::Kind::VirtualService(vip),
                22,
                "",
                "scheduler",
            ),
            failure(
                wire::item_key::Kind::LoopbackEntry(wire::item::LoopbackEntry {
                    address: "fd00::11".to_owned(),
                    protocol: wire::Protocol::Udp.into(),
                    port: 53,
                    source: "fd00::11".to_owned(),
                }),
                4099,
                "the set is full",
                "",
            ),
            failure(
                wire::item_key::Kind::Vip(wire::item_key::Vip {
                    address: "fd00::1".to_owned(),
                }),
                0,
                "held by eth0",
                "",
            ),
            wire::ItemFailure::default(),
        ],
        failure_count: 105,
        rejection: "the journal is full".to_owned(),
        ..state("node-a")
    };
    assert_eq!(
        node_troubles(&trouble),
        [
            "takes no further generation: the journal is full",
            "backend 10.0.0.11:8080 of 10.100.100.100:8080 TCP: ENOENT: scheduler mh is not in this kernel",
            "virtual service 10.100.100.100:8080 TCP: scheduler: EINVAL",
            "loopback entry fd00::11,udp:53,fd00::11: IPSET_ERR_MAX_SETS: the set is full",
            "vip fd00::1: held by eth0",
            "an item",
            "and 100 more failures",
            "xt_set is missing: modprobe xt_set",
        ]
    );
}

#[test]
fn an_error_number_has_its_name() {
    let name = |number| super::failure::errno_name(number);
    assert_eq!(name(0), None);
    assert_eq!(name(2).as_deref(), Some("ENOENT"));
    assert_eq!(name(93).as_deref(), Some("EPROTONOSUPPORT"));
    assert_eq!(name(4096).as_deref(), Some("IPSET_ERR_PRIVATE"));
    assert_eq!(name(4114).as_deref(), Some("IPSET_ERR_SKBINFO"));
    assert_eq!(name(4352).as_deref(), Some("errno 4352"));
    assert_eq!(name(-1).as_deref(), Some("errno -1"));
}

#[test]
fn yaml_is_what_people_write() {
    let resource = wire::Resource {
        kind: Some(wire::resource::Kind::Service(web())),
        revision: 12,
        ..wire::Resource::default()
    };
    assert_eq!(
        yaml(&[resource], true).expect("it can be written"),
        r#"apiVersion: weir/v1
kind: Service
metadata:
  name: web
  labels:
    env: prod
    tier: front
  revision: 12
spec:
  frontends:
  - address: "10.100.100.100"
    port: 8080
    protocol: TCP
  scheduler: rr
  forwarding: DIRECT_ROUTE
  hairpin: false
  sessionAffinity: {}
  nodeSelector:
    rack: r3
  backends:
  - address: "10.0.0.11"
    port: 8080
    weight: 3
    node: node-a
  - address: "10.0.0.21"
    port: 8080
"#
    );
}

#[test]
fn json_of_several_is_a_list() {
    let node = wire::Node {
        name: "node-a".to_owned(),
        addresses: vec!["10.0.0.1".to_owned()],
        ..wire::Node::default()
    };
    let resource = wire::Resource {
        kind: Some(wire::resource::Kind::Node(node)),
        ..wire::Resource::default()
    };
    assert_eq!(
        json(&[resource], false).expect("it can be written"),
        r#"{
  "apiVersion": "weir/v1",
  "kind": "List",
  "items": [
    {
      "apiVersion": "weir/v1",
      "kind": "Node",
      "metadata": {
        "name": "node-a"
      },
      "spec": {
        "addresses": [
          "10.0.0.1"
        ]
      }
    }
  ]
}
"#
    );
}

mod round_trip;
