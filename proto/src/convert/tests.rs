use std::collections::BTreeMap;

use prost::Message;

use super::*;
use crate::digest::Digest;
use crate::model::{Item, Resource, Revision};

mod round_trip;

fn frontend(address: &str, port: u32, protocol: i32) -> wire::Frontend {
    wire::Frontend {
        address: address.to_owned(),
        port,
        protocol,
        ..wire::Frontend::default()
    }
}

fn backend(address: &str, port: u32) -> wire::Backend {
    wire::Backend {
        address: address.to_owned(),
        port,
        ..wire::Backend::default()
    }
}

fn service(service: wire::Service) -> wire::Resource {
    wire::Resource {
        kind: Some(wire::resource::Kind::Service(service)),
        ..wire::Resource::default()
    }
}

fn problems(batch: Vec<wire::Resource>) -> Vec<String> {
    let FieldErrors(errors) = resources_from_wire(batch).expect_err("refused");
    errors.iter().map(FieldError::to_string).collect()
}

#[test]
fn every_bad_field_of_a_batch_is_named_by_its_path() {
    let bad = wire::Service {
        name: "web".to_owned(),
        labels: BTreeMap::from([("a b".to_owned(), "x".to_owned())]),
        frontends: vec![
            frontend("10.1.0.1", 0, 1),
            frontend("10.1.0", 80, 0),
            frontend("10.1.0.1", 80, 9),
        ],
        scheduler: Some("fast".to_owned()),
        forwarding: Some(0),
        backends: vec![
            wire::Backend {
                weight: Some(65_536),
                node: "Node".to_owned(),
                ..backend("127.0.0.1", 70_000)
            },
            backend("10.0.0.1", 80),
            backend("10.0.0.1", 80),
        ],
        session_affinity: Some(wire::SessionAffinity {
            timeout_seconds: Some(0),
            ipv4_prefix_length: Some(33),
            ipv6_prefix_length: Some(0),
            persistence_engine: "h323".to_owned(),
        }),
        scheduler_flags: Some(wire::SchedulerFlags::default()),
        vip_binding: Some(9),
        ..wire::Service::default()
    };
    let nameless = wire::Service {
        frontends: vec![frontend("10.1.0.2", 80, 1)],
        ..wire::Service::default()
    };
    assert_eq!(
        problems(vec![
            service(bad),
            service(nameless),
            wire::Resource::default()
        ]),
        [
            "services[web].labels[a b]: \"a b\" is not a label (at most 63 letters, digits, \"-\", \"_\", \".\" and \"/\"; a key is not empty)",
            "services[web].frontends[0].port: 0 is not a port (1-65535)",
            "services[web].frontends[1].address: \"10.1.0\" is not an IP address",
            "services[web].frontends[1].protocol: missing",
            "services[web].frontends[2].protocol: 9 is not a protocol",
            "services[web].scheduler: \"fast\" is not a scheduler (rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos)",
            "services[web].forwarding: missing",
            "services[web].backends[0].address: 127.0.0.1 is a loopback address, which no host can be reached at",
            "services[web].backends[0].port: 70000 is not a port (1-65535)",
            "services[web].backends[0].weight: 65536 is not a weight (0-65535)",
            "services[web].backends[0].node: \"Node\" is not a name (1-63 characters of a-z, 0-9, \"-\" and \".\", with a letter or digit at both ends)",
            "services[web].backends[2]: 10.0.0.1:80 is named twice",
            "services[web].session_affinity.timeout_seconds: 0 is not an affinity time-out (1-86400 seconds)",
            "services[web].session_affinity.ipv4_prefix_length: 33 is not a prefix length (1-32 for IPv4)",
            "services[web].session_affinity.ipv6_prefix_length: 0 is not a prefix length (1-128 for IPv6)",
            "services[web].session_affinity.persistence_engine: \"h323\" is not a persistence engine (there is sip)",
            "services[web].vip_binding: 9 is not a VIP binding",
            "services[1].name: missing",
            "resources[2]: missing",
        ]
    );
}

#[test]
fn a_backend_that_does_not_fit_its_frontends_is_refused() {
    let mixed = wire::Service {
        name: "dr".to_owned(),
        frontends: vec![frontend("10.1.0.1", 80, 1), frontend("fd00::1", 80, 1)],
        forwarding: Some(wire::Forwarding::DirectRoute.into()),
        backends: vec![backend("10.0.0.1", 8080)],
        ..wire::Service::default()
    };
    assert_eq!(
        problems(vec![service(mixed)]),
        [
            "services[dr].backends[0]: port 8080 differs from frontend port 80, and DIRECT_ROUTE cannot rewrite ports",
            "services[dr].backends[0]: 10.0.0.1 is not of the family of frontend [fd00::1]:80/TCP",
            "services[dr].backends[0]: port 8080 differs from frontend port 80, and DIRECT_ROUTE cannot rewrite ports",
        ]
    );
}

#[test]
fn what_does_not_go_together_is_refused() {
    let refused = |change: wire::Service| {
        problems(vec![service(wire::Service {
            name: "web".to_owned(),
            ..change
        })])
    };
    let tcp = || vec![frontend("10.1.0.1", 80, 1)];
    let mark = wire::Frontend {
        firewall_mark: 7,
        allow_sources: vec!["10.0.0.0/8".to_owned()],
        ..frontend("10.1.0.1", 0, 0)
    };
    let marked = wire::Service {
        frontends: vec![
            mark,
            wire::Frontend {
                address_family: 1,
                allow_sources: vec!["10.0.0.1/8".to_owned(), "fd00::/8".to_owned()],
                ..frontend("10.1.0.1", 80, 1)
            },
        ],
        ..wire::Service::default()
    };
    assert_eq!(
        refused(marked),
        [
            "services[web].frontends[0].address: not with a firewall mark",
            "services[web].frontends[0].address_family: missing",
            "services[web].frontends[1].address_family: only with a firewall mark",
            "services[web].frontends[1].allow_sources[0]: 10.0.0.1/8 has bits set beyond its prefix: 10.0.0.0/8 is meant",
            "services[web].frontends[1].allow_sources[1]: fd00::/8 is not of IPv4, the family of the frontend",
        ]
    );
    let tunnelled = wire::Service {
        frontends: tcp(),
        tunnel: Some(wire::Tunnel::default()),
        scheduler_flags: Some(wire::SchedulerFlags::default()),
        one_packet: Some(true),
        session_affinity: Some(wire::SessionAffinity {
            persistence_engine: "sip".to_owned(),
            ..wire::SessionAffinity::default()
        }),
        backends: vec![wire::Backend {
            upper_threshold: Some(3),
            lower_threshold: Some(4),
            ..backend("10.0.0.1", 80)
        }],
        ..wire::Service::default()
    };
    assert_eq!(
        refused(tunnelled),
        [
            "services[web].scheduler_flags: only with scheduler sh or mh",
            "services[web].tunnel: only with forwarding TUNNEL",
            "services[web].backends[0].lower_threshold: lower threshold 4 is above upper threshold 3",
            "services[web].session_affinity.persistence_engine: only with UDP frontends",
            "services[web].one_packet: only with UDP frontends",
            "services[web].one_packet: not with session affinity",
        ]
    );
    let gue = wire::Service {
        frontends: tcp(),
        forwarding: Some(wire::Forwarding::Tunnel.into()),
        tunnel: Some(wire::Tunnel {
            r#type: Some(wire::TunnelType::Gue.into()),
            ..wire::Tunnel::default()
        }),
        ..wire::Service::default()
    };
    assert_eq!(refused(gue), ["services[web].tunnel: GUE needs a port"]);
}

#[test]
fn a_tunnel_carries_either_family_in_either() {
    let six_in_four = wire::Service {
        name: "web".to_owned(),
        frontends: vec![frontend("fd00::1", 80, 1)],
        forwarding: Some(wire::Forwarding::Tunnel.into()),
        backends: vec![backend("10.0.0.1", 80)],
        ..wire::Service::default()
    };
    let read = resource_from_wire(service(six_in_four)).expect("a service");
    let Resource::Service(service) = read else {
        panic!("{read:?}");
    };
    assert_eq!(service.backends.len(), 1);
}

#[test]
fn what_is_set_on_a_node_is_checked_field_by_field() {
    let node = |timeouts, daemons: Vec<wire::SyncDaemon>| wire::Resource {
        kind: Some(wire::resource::Kind::Node(wire::Node {
            name: "node-a".to_owned(),
            strict_arp: Some(true),
            cordoned: Some(true),
            connection_timeouts: Some(timeouts),
            sync_daemons: daemons,
            ..wire::Node::default()
        })),
        ..wire::Resource::default()
    };
    let good = wire::SyncDaemon {
        role: 1,
        interface: "eth1".to_owned(),
        sync_id: 7,
        group: "239.1.1.1".to_owned(),
        port: 9000,
        ttl: 2,
        max_length: 1400,
    };
    let timeouts = wire::ConnectionTimeouts {
        tcp_seconds: 600,
        ..wire::ConnectionTimeouts::default()
    };
    let wire = node(timeouts, vec![good.clone()]);
    let read = resource_from_wire(wire.clone()).expect("a node");
    assert_eq!(resource_to_wire(&read, Revision(0)), wire);
    let bad = wire::SyncDaemon {
        role: 0,
        interface: "eth1:1".to_owned(),
        sync_id: 256,
        group: "10.0.0.1".to_owned(),
        port: 65_536,
        ttl: 256,
        max_length: 65_508,
    };
    let timeouts = wire::ConnectionTimeouts {
        tcp_seconds: 2_147_484,
        ..timeouts
    };
    assert_eq!(
        problems(vec![node(timeouts, vec![good.clone(), bad, good])]),
        [
            "nodes[node-a].connection_timeouts.tcp_seconds: 2147484 is not a connection time-out (1-2147483 seconds, or 0)",
            "nodes[node-a].sync_daemons[1].role: missing",
            "nodes[node-a].sync_daemons[1].interface: \"eth1:1\" is not the name of a link (1-15 characters, no \"/\", \":\" or white space)",
            "nodes[node-a].sync_daemons[1].sync_id: 256 is not in 0-255",
            "nodes[node-a].sync_daemons[1].group: 10.0.0.1 is not a multicast address",
            "nodes[node-a].sync_daemons[1].port: 65536 is not a port (1-65535)",
            "nodes[node-a].sync_daemons[1].ttl: 256 is not in 0-255",
            "nodes[node-a].sync_daemons[1].max_length: 65508 is not in 1-65507",
            "nodes[node-a].sync_daemons[2]: MASTER is named twice",
        ]
    );
}

#[test]
fn a_resource_named_twice_in_one_batch_is_refused() {
    let web = || {
        service(wire::Service {
            name: "web".to_owned(),
            frontends: vec![frontend("10.1.0.1", 80, 1)],
            ..wire::Service::default()
        })
    };
    assert_eq!(
        problems(vec![web(), web()]),
        ["services[web]: web is named twice"]
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let read = resource_from_wire(service(wire::Service {
        name: "web".to_owned(),
        frontends: vec![frontend("10.1.0.1", 80, 1)],
        backends: vec![backend("10.0.0.1", 8080)],
        session_affinity: Some(wire::SessionAffinity::default()),
        ..wire::Service::default()
    }))
    .expect("service");
    let wire = resource_to_wire(&read, Revision(7));
    assert_eq!(
        wire,
        wire::Resource {
            kind: Some(wire::resource::Kind::Service(wire::Service {
                name: "web".to_owned(),
                frontends: vec![frontend("10.1.0.1", 80, 1)],
                scheduler: Some("wrr".to_owned()),
                forwarding: Some(wire::Forwarding::Masquerade.into()),
                backends: vec![wire::Backend {
                    weight: Some(1),
                    ..backend("10.0.0.1", 8080)
                }],
                session_affinity: Some(wire::SessionAffinity {
                    timeout_seconds: Some(300),
                    ..wire::SessionAffinity::default()
                }),
                hairpin: Some(true),
                vip_binding: Some(wire::VipBinding::Address.into()),
                lockdown: Some(true),
                drain: Some(wire::Drain {
                    deadline_seconds: Some(300),
                    on_deadline: wire::OnDeadline::Keep.into(),
                }),
                ..wire::Service::default()
            })),
            revision: 7,
            ..wire::Resource::default()
        }
    );
}

#[test]
fn the_digest_has_the_bytes_the_language_promises() {
    let item = Item::Vip(crate::model::Vip {
        address: "10.100.100.100".parse().expect("address"),
        binding: crate::model::VipBinding::Address,
        lockdown: true,
    });
    let mut digest = Digest::default();
    digest.add(&item);
    // xxh3-128 of a Vip: its address, binding 1, lockdown true
    let bytes = b"\x0a\x14\x0a\x0e10.100.100.100\x10\x01\x18\x01";
    assert_eq!(item_to_wire(&item).encode_to_vec(), bytes);
    assert_eq!(
        digest.to_bytes(),
        xxhash_rust::xxh3::xxh3_128(bytes).to_be_bytes()
    );
}

#[test]
fn a_hello_comes_back_from_the_wire() {
    let hello = Hello {
        node: crate::model::Node::new(
            crate::model::NodeName::new("node-a").expect("name"),
            Labels::new([("rack".to_owned(), "3".to_owned())]).expect("labels"),
            vec!["192.0.2.7".parse().expect("address")],
        ),
        agent_version: "0.1.0".to_owned(),
        held: Some((crate::model::Generation(4), Digest::from_bytes([7; 16]))),
        capabilities: vec![crate::model::Capability {
            name: "ip_vs".to_owned(),
            available: true,
            detail: "1.2.1".to_owned(),
            optional: true,
        }],
    };
    assert_eq!(hello_from_wire(hello_to_wire(&hello)), Ok(hello));
    let FieldErrors(errors) = hello_from_wire(wire::Hello {
        node: String::new(),
        held_generation: 1,
        held_digest: vec![1, 2],
        ..wire::Hello::default()
    })
    .expect_err("refused");
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["hello.node", "hello.held_digest"]);
}

#[test]
fn what_a_node_tells_comes_back_from_the_wire() {
    use crate::model::{Degraded, DrainProgress, Generation, Hold, OnDeadline, Repair};
    let progress = DrainProgress {
        key: crate::model::ItemKey::NodeDrain,
        active: 1,
        inactive: 2,
        started_unix_ms: 3,
        deadline_unix_ms: 4,
        on_deadline: OnDeadline::Reset,
        done: true,
    };
    let wire = progress_to_wire(&progress);
    assert_eq!(progress_from_wire(&wire, "drains[0]"), Ok(progress));
    let nonsense = wire::DrainProgress {
        on_deadline: 7,
        ..wire
    };
    let refused = progress_from_wire(&nonsense, "drains[0]").map_err(|errors| errors.to_string());
    assert_eq!(
        refused,
        Err("drains[0].on_deadline: 7 is not a drain's end".to_owned())
    );
    let hold = Hold {
        generation: Generation(5),
        dropped: 6,
        served: 7,
        since_unix_ms: 8,
        cause: "why".to_owned(),
    };
    assert_eq!(hold_from_wire(hold_to_wire(&hold)), hold);
    let degraded = Degraded {
        reason: "no space".to_owned(),
        since_unix_ms: 9,
    };
    assert_eq!(degraded_from_wire(degraded_to_wire(&degraded)), degraded);
    let repair = Repair {
        object: "vip 10.0.0.1".to_owned(),
        kind: "vip".to_owned(),
        found: String::new(),
        expected: "address".to_owned(),
        at_unix_ms: 10,
    };
    assert_eq!(repair_from_wire(repair_to_wire(&repair)), repair);
}

#[test]
fn a_drain_says_how_long_and_what_then_within_its_limits() {
    let long = wire::Drain {
        deadline_seconds: Some(604_801),
        on_deadline: 9,
    };
    let mut problems = Problems::default();
    let read = drain_or(
        crate::model::Drain::default(),
        Some(&long),
        "drain",
        &mut problems,
    );
    let refused = problems.finish(read).map_err(|errors| errors.to_string());
    assert_eq!(
        refused,
        Err(
            "drain.deadline_seconds: 604801 is not a drain deadline (0-604800 seconds); \
             drain.on_deadline: 9 is not a drain's end"
                .to_owned()
        )
    );
}

#[test]
fn what_is_to_be_drained_comes_back_and_every_bad_field_of_it_is_named() {
    use crate::model::{DrainTarget, DrainTerms};
    use wire::drain_target::{Backend, Target};
    let backend = |service: &str, port: u32| wire::DrainTarget {
        target: Some(Target::Backend(Backend {
            service: service.to_owned(),
            address: "fd00::1".to_owned(),
            port,
        })),
    };
    let node = |name: &str| wire::DrainTarget {
        target: Some(Target::Node(name.to_owned())),
    };
    let read = |targets: &[wire::DrainTarget]| {
        let mut problems = Problems::default();
        let read = drain_targets_from_wire(targets, &mut problems);
        problems
            .finish(Some(read))
            .map_err(|errors| errors.to_string())
    };
    let asked = [backend("web", 80), node("a")];
    let targets = read(&asked).expect("targets");
    let names: Vec<String> = targets.iter().map(DrainTarget::to_string).collect();
    assert_eq!(names, ["services[web].backends[[fd00::1]:80]", "nodes[a]"]);
    let written: Vec<_> = targets.iter().map(drain_target_to_wire).collect();
    assert_eq!(written, asked);

    assert_eq!(read(&[]), Err("targets: missing".to_owned()));
    let bad = [
        wire::DrainTarget::default(),
        backend("web", 0),
        node("a"),
        node("a"),
    ];
    assert_eq!(
        read(&bad),
        Err("targets[0]: missing; \
             targets[1].backend.port: 0 is not a port (1-65535); \
             targets[3]: nodes[a] is named twice"
            .to_owned())
    );
    for terms in [
        DrainTerms::default(),
        DrainTerms {
            deadline: Some(crate::model::DrainDeadline::default()),
            on_deadline: Some(crate::model::OnDeadline::Reset),
        },
    ] {
        let wire = drain_terms_to_wire(terms);
        let mut problems = Problems::default();
        let read = drain_terms_from_wire(Some(&wire), "drain", &mut problems);
        assert_eq!(problems.finish(read), Ok(terms));
    }
}
