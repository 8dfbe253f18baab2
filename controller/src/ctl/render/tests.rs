use std::collections::BTreeMap;

use weir_proto::wire;

use super::*;
use crate::ctl::args::DocumentForm;

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

fn resource(kind: wire::resource::Kind, revision: u64, created_unix_ms: u64) -> wire::Resource {
    wire::Resource {
        kind: Some(kind),
        revision,
        created_unix_ms,
    }
}

fn listing_of(dns: wire::Service, web: wire::Service) -> Listing {
    let set = wire::BackendSet {
        name: "web-b".to_owned(),
        labels: labels(&[("zone", "b")]),
        service: "web".to_owned(),
        backends: vec![
            backend("10.0.0.21", Some(9), "node-b"),
            backend("10.0.0.31", None, "node-b"),
        ],
    };
    use wire::resource::Kind;
    Listing::new([
        resource(Kind::Service(dns), 4, 0),
        resource(Kind::Service(web), 12, NOW - 90_000),
        resource(Kind::BackendSet(set), 13, NOW - 5_000),
    ])
}

fn listing() -> Listing {
    listing_of(dns(), web())
}

/// Unix milliseconds.
const NOW: u64 = 1_700_000_000_000;

fn detail(wide: bool) -> Detail {
    Detail { wide, now: NOW }
}

/// Sets the rows that each service has.
fn of_services(
    listing: &Listing,
    header: Vec<&'static str>,
    rows: impl Fn(&listing::Known<wire::Service>) -> Vec<Vec<String>>,
) -> String {
    let rows = listing.services.values().flat_map(rows).collect();
    table(&Table { header, rows })
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
    let listing = listing();
    let row = |known: &_| vec![service_row(&listing, known, detail(false))];
    assert_eq!(
        of_services(&listing, service_header(false), row),
        "\
NAME   FRONTENDS                                                        SCHEDULER   FORWARDING     BACKENDS   REVISION   AGE
dns    [fd00::1]:53/UDP,[fd00::2]:53/UDP,[fd00::3]:53/UDP + 2 more...   wrr         MASQUERADE     0          4          <unknown>
web    10.100.100.100:8080/TCP                                          rr          DIRECT_ROUTE   3          12         1m30s
"
    );
}

#[test]
fn wide_services_show_everything() {
    let mut web = web();
    web.drain = Some(wire::Drain {
        deadline_seconds: Some(600),
        on_deadline: wire::OnDeadline::Reset.into(),
    });
    let mut dns = dns();
    dns.frontends.truncate(1);
    let listing = listing_of(dns, web);
    let row = |known: &_| vec![service_row(&listing, known, detail(true))];
    assert_eq!(
        of_services(&listing, service_header(true), row),
        "\
NAME   FRONTENDS                 SCHEDULER   FORWARDING     BACKENDS   REVISION   AFFINITY   HAIRPIN   BINDING   LOCKDOWN   DRAIN       SELECTOR   LABELS                AGE
dns    [fd00::1]:53/UDP          wrr         MASQUERADE     0          4          <none>     true      ADDRESS   true       5m,KEEP     <all>      <none>                <unknown>
web    10.100.100.100:8080/TCP   rr          DIRECT_ROUTE   3          12         300s       false     ADDRESS   true       10m,RESET   rack=r3    env=prod,tier=front   1m30s
"
    );
}

#[test]
fn frontends_are_shown_by_service() {
    let mut dns = dns();
    dns.frontends.truncate(1);
    dns.frontends[0].allow_sources = vec!["fd00::/8".to_owned()];
    dns.frontends.push(wire::Frontend {
        firewall_mark: 7,
        address_family: wire::AddressFamily::Ipv4.into(),
        ..wire::Frontend::default()
    });
    let listing = listing_of(dns, web());
    let rows = |known: &_| frontend_rows(&listing, known, detail(true));
    assert_eq!(
        of_services(&listing, frontend_header(true), rows),
        "\
NAME                      SERVICE   SCHEDULER   FORWARDING     BACKENDS   AFFINITY   LOCKDOWN   SOURCES    SELECTOR   AGE
[fd00::1]:53/UDP          dns       wrr         MASQUERADE     0          <none>     true       fd00::/8   <all>      <unknown>
mark:7/IPV4               dns       wrr         MASQUERADE     0          <none>     true       <all>      <all>      <unknown>
10.100.100.100:8080/TCP   web       rr          DIRECT_ROUTE   3          300s       true       <all>      rack=r3    1m30s
"
    );
}

#[test]
fn backends_are_shown_by_service_and_the_services_own_counts() {
    let listing = listing();
    let rows = |known: &_| backend_rows(&listing, known, detail(false));
    assert_eq!(
        of_services(&listing, backend_header(false), rows),
        "\
NAME                 SERVICE   ADDRESS          WEIGHT   NODE     SET      AGE
web/10.0.0.11:8080   web       10.0.0.11:8080   3        node-a   <none>   1m30s
web/10.0.0.21:8080   web       10.0.0.21:8080   1        <all>    <none>   1m30s
web/10.0.0.31:8080   web       10.0.0.31:8080   1        node-b   web-b    5s
"
    );
}

#[test]
fn vips_are_shown_with_all_services_that_have_them() {
    let mut dns = dns();
    dns.frontends = vec![
        frontend("10.100.100.100", 53, wire::Protocol::Udp),
        frontend("fd00::1", 53, wire::Protocol::Udp),
    ];
    let listing = listing_of(dns, web());
    let rows = listing.vips();
    let rows = rows.filter_map(|vip| vip_row(&listing, vip, detail(true)));
    let rows = Table {
        header: vip_header(true),
        rows: rows.collect(),
    };
    assert_eq!(
        table(&rows),
        "\
NAME             SERVICES   PORTS             BINDING   LOCKDOWN   SELECTORS         AGE
10.100.100.100   dns,web    53/UDP,8080/TCP   ADDRESS   true       <all> | rack=r3   <unknown>
fd00::1          dns        53/UDP            ADDRESS   true       <all>             <unknown>
"
    );
}

#[test]
fn backend_sets_are_shown_one_a_line() {
    let listing = listing();
    let shown = |wide: bool| {
        let rows = listing.sets.values();
        let rows = rows.map(|set| set_row(set, detail(wide))).collect();
        let header = set_header(wide);
        table(&Table { header, rows })
    };
    assert_eq!(
        shown(false),
        "\
NAME    SERVICE   BACKENDS   REVISION   AGE
web-b   web       2          13         5s
"
    );
    assert_eq!(
        shown(true),
        "\
NAME    SERVICE   BACKENDS   REVISION   ADDRESSES                       LABELS   AGE
web-b   web       2          13         10.0.0.21:8080,10.0.0.31:8080   zone=b   5s
"
    );
}

#[test]
fn nodes_are_shown_with_how_far_they_are() {
    let node = |name: &str, addresses: &[&str]| {
        let node = wire::Node {
            name: name.to_owned(),
            labels: labels(&[("rack", "r3")]),
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
            ..wire::Node::default()
        };
        resource(wire::resource::Kind::Node(node), 1, NOW - 5_000)
    };
    let listing = Listing::new([
        node("node-a", &["10.0.0.1", "fd00::1"]),
        node("node-b", &["10.0.0.2"]),
        node("node-c", &[]),
    ]);
    let gone = wire::NodeState {
        connected: false,
        capabilities: vec![],
        ..state("node-b")
    };
    let valid = wire::NodeState {
        certificate_expires_unix_ms: NOW + 87 * 86_400_000,
        ..state("node-a")
    };
    let states = BTreeMap::from([("node-a".to_owned(), valid), ("node-b".to_owned(), gone)]);
    let shown = |wide: bool| {
        let rows = listing.nodes.values();
        let rows = rows.map(|node| node_row(node, states.get(&node.it.name), detail(wide)));
        let rows = rows.collect();
        let header = node_header(wide);
        table(&Table { header, rows })
    };
    assert_eq!(
        shown(false),
        "\
NAME     STATE       WANTED   ACCEPTED   CONVERGED   ADDRESSES          AGE
node-a   connected   7        7          6           10.0.0.1,fd00::1   5s
node-b   gone        7        7          6           10.0.0.2           5s
node-c   unheard     0        -          -           <none>             5s
"
    );
    assert_eq!(
        shown(true),
        "\
NAME     STATE       WANTED   ACCEPTED   CONVERGED   ADDRESSES          VERSION   CERTIFICATE   LABELS    MISSING                 AGE
node-a   connected   7        7          6           10.0.0.1,fd00::1   0.1.0     87d           rack=r3   xt_set,scheduler_twos   5s
node-b   gone        7        7          6           10.0.0.2           0.1.0     <none>        rack=r3   <none>                  5s
node-c   unheard     0        -          -           <none>             <none>    -             rack=r3   <none>                  5s
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
            "backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP: ENOENT: scheduler mh is not in this kernel",
            "virtual service 10.100.100.100:8080/TCP: scheduler: EINVAL",
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
        resources(&[resource], true, DocumentForm::Yaml).expect("it can be written"),
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
        resources(&[resource], false, DocumentForm::Json).expect("it can be written"),
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
