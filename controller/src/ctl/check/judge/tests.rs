use weir_proto::checkup::Outcome;

use super::*;

const DAY_MS: u64 = 86_400_000;
const NOW: u64 = 1_795_374_000_000;

fn node(name: &str) -> wire::NodeState {
    wire::NodeState {
        name: name.to_owned(),
        connected: true,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        wanted_generation: 7,
        accepted_generation: 7,
        converged_generation: 7,
        last_heard_unix_ms: NOW - 60_000,
        certificate_expires_unix_ms: NOW + 90 * DAY_MS,
        ..wire::NodeState::default()
    }
}

fn fleet<'a>(nodes: &'a [wire::NodeState]) -> Fleet<'a> {
    Fleet {
        url: "https://lb:7420",
        now: NOW,
        skew_ms: Some(0),
        own_expires_unix_ms: Some(NOW + 30 * DAY_MS),
        certificate_expires_unix_ms: Some(NOW + 60 * DAY_MS),
        revision: 12,
        rollout: None,
        nodes,
        drains: &[],
        services: &[],
        sets: &[],
        machines: &[],
    }
}

fn amiss(fleet: &Fleet<'_>) -> Vec<(&'static str, String, Outcome, String)> {
    let findings = judge(fleet).into_iter();
    let amiss = findings.filter(|it| it.outcome > Outcome::Skipped);
    amiss
        .map(|it| (it.group, it.name, it.outcome, it.detail))
        .collect()
}

#[test]
fn a_fleet_with_which_all_is_well_has_only_ticks() {
    assert_eq!(amiss(&fleet(&[node("node-a"), node("node-b")])), []);
}

#[test]
fn what_is_the_matter_with_a_node_is_told_by_its_name() {
    type Change = fn(&mut wire::NodeState);
    let (failed, warning) = (Outcome::Failed, Outcome::Warning);
    let cases: [(Change, Outcome, &str); 6] = [
        (
            |node| node.connected = false,
            failed,
            "not connected for 1m; converged on generation 7 of 7",
        ),
        (
            |node| node.converged_generation = 5,
            warning,
            "accepted generation 7, converged on generation 5 of 7",
        ),
        (
            |node| {
                node.hold = Some(wire::Hold {
                    dropped: 3,
                    served: 4,
                    since_unix_ms: NOW - 5_000,
                    ..wire::Hold::default()
                });
            },
            failed,
            "held for 5s: would drop 3 of 4 services; weirctl node release node-a",
        ),
        (
            |node| {
                node.degraded = Some(wire::Degraded {
                    reason: "no space".to_owned(),
                    since_unix_ms: NOW - 5_000,
                });
            },
            failed,
            "degraded for 5s: no space",
        ),
        (
            |node| node.rejection = "stale".to_owned(),
            failed,
            "takes no further generation: stale",
        ),
        (
            |node| {
                node.capabilities = vec![wire::Capability {
                    name: "dummy".to_owned(),
                    detail: "no dummy links".to_owned(),
                    ..wire::Capability::default()
                }];
            },
            failed,
            "dummy is missing: no dummy links",
        ),
    ];
    for (change, outcome, detail) in cases {
        let mut amiss_node = node("node-a");
        change(&mut amiss_node);
        let told = ("nodes", "node-a".to_owned(), outcome, detail.to_owned());
        assert_eq!(amiss(&fleet(&[amiss_node, node("node-b")])), [told]);
    }
}

#[test]
fn versions_that_differ_and_certificates_that_end_are_told() {
    let mut old = node("node-a");
    old.agent_version = "0.0.9".to_owned();
    let mut ending = node("node-b");
    ending.certificate_expires_unix_ms = NOW + DAY_MS;
    let nodes = [old, ending];
    let fleet = Fleet {
        own_expires_unix_ms: Some(NOW - DAY_MS),
        skew_ms: Some(400_000),
        ..fleet(&nodes)
    };
    let told: Vec<(&str, String, Outcome)> = amiss(&fleet)
        .into_iter()
        .map(|(group, name, outcome, _)| (group, name, outcome))
        .collect();
    let expected = [
        ("controller", "versions", Outcome::Warning),
        ("clock", "against the controller", Outcome::Failed),
        ("certificates", "yours", Outcome::Failed),
        ("certificates", "node-b", Outcome::Warning),
    ];
    assert_eq!(
        told,
        expected.map(|(group, name, outcome)| (group, name.to_owned(), outcome))
    );
}

#[test]
fn a_drain_past_its_deadline_and_a_rollout_that_stopped_are_told() {
    let progress = |node: &str, deadline, active, done| wire::drain_state::OnNode {
        node: node.to_owned(),
        progress: Some(wire::DrainProgress {
            deadline_unix_ms: deadline,
            active_connections: active,
            done,
            ..wire::DrainProgress::default()
        }),
    };
    let target = wire::DrainTarget {
        target: Some(wire::drain_target::Target::Node("node-a".to_owned())),
    };
    let drains = [wire::DrainState {
        target: Some(target),
        nodes: vec![
            progress("node-a", NOW - 60_000, 3, false),
            progress("node-b", NOW - 90_000, 3, true),
            progress("node-c", NOW + 60_000, 3, false),
        ],
        ..wire::DrainState::default()
    }];
    let rollout = wire::Rollout {
        revision: 9,
        phase: Phase::Halted.into(),
        reason: "node-a refuses".to_owned(),
        ..wire::Rollout::default()
    };
    let nodes = [node("node-a")];
    let fleet = Fleet {
        drains: &drains,
        rollout: Some(&rollout),
        ..fleet(&nodes)
    };
    let expected = [
        (
            "drains",
            "node-a".to_owned(),
            Outcome::Warning,
            "past its deadline for 1m on node-a: 3 active connections are waited for".to_owned(),
        ),
        (
            "rollout",
            "revision 9".to_owned(),
            Outcome::Failed,
            "halted: node-a refuses".to_owned(),
        ),
    ];
    assert_eq!(amiss(&fleet), expected);
}

#[test]
fn a_vip_in_somebodys_way_is_told() {
    let service = |name: &str, vip: &str, rack: &str| wire::Resource {
        kind: Some(Kind::Service(wire::Service {
            name: name.to_owned(),
            frontends: vec![wire::Frontend {
                address: vip.to_owned(),
                port: 80,
                protocol: wire::Protocol::Tcp.into(),
                ..wire::Frontend::default()
            }],
            node_selector: [("rack".to_owned(), rack.to_owned())].into(),
            ..wire::Service::default()
        })),
        ..wire::Resource::default()
    };
    let machine = wire::Resource {
        kind: Some(Kind::Node(wire::Node {
            name: "node-a".to_owned(),
            addresses: vec!["10.0.0.1".to_owned()],
            ..wire::Node::default()
        })),
        ..wire::Resource::default()
    };
    let services = [
        service("web", "10.0.0.1", "r1"),
        service("dns", "10.0.0.2", "r1"),
        service("ntp", "10.0.0.2", "r2"),
    ];
    let machines = [machine];
    let nodes = [node("node-a")];
    let fleet = Fleet {
        services: &services,
        machines: &machines,
        ..fleet(&nodes)
    };
    let told: Vec<(String, Outcome)> = amiss(&fleet)
        .into_iter()
        .map(|(_, name, outcome, _)| (name, outcome))
        .collect();
    let expected = [
        ("10.0.0.1", Outcome::Failed),
        ("10.0.0.2", Outcome::Warning),
    ];
    assert_eq!(
        told,
        expected.map(|(name, outcome)| (name.to_owned(), outcome))
    );
}

#[test]
fn without_a_controller_nothing_else_is_known() {
    let findings = unreached("cannot reach it");
    assert_eq!(findings[0].outcome, Outcome::Failed);
    assert!(
        findings[1..]
            .iter()
            .all(|it| it.outcome == Outcome::Skipped)
    );
}

#[test]
fn a_service_that_cordons_leave_without_a_backend_is_told() {
    let machine = |name: &str, cordoned: bool| wire::Resource {
        kind: Some(Kind::Node(wire::Node {
            name: name.to_owned(),
            cordoned: Some(cordoned),
            ..wire::Node::default()
        })),
        ..wire::Resource::default()
    };
    let backend = |last: u8, node: &str, weight: u32| wire::Backend {
        address: format!("10.0.0.{last}"),
        port: 80,
        node: node.to_owned(),
        weight: Some(weight),
        ..wire::Backend::default()
    };
    let service = |name: &str, backends: &[wire::Backend]| wire::Resource {
        kind: Some(Kind::Service(wire::Service {
            name: name.to_owned(),
            backends: backends.to_vec(),
            ..wire::Service::default()
        })),
        ..wire::Resource::default()
    };
    let set = wire::Resource {
        kind: Some(Kind::BackendSet(wire::BackendSet {
            name: "more".to_owned(),
            service: "by-set".to_owned(),
            backends: vec![backend(4, "node-c", 1)],
            ..wire::BackendSet::default()
        })),
        ..wire::Resource::default()
    };
    let services = [
        service("by-set", &[backend(3, "node-a", 1)]),
        service("none", &[]),
        service("shut", &[backend(1, "node-a", 1), backend(2, "node-c", 0)]),
        service("weightless", &[backend(5, "node-a", 0)]),
    ];
    let (nodes, sets) = ([node("node-a")], [set]);
    let told = |a: bool, c: bool| {
        let machines = [machine("node-a", a), machine("node-c", c)];
        let fleet = Fleet {
            services: &services,
            sets: &sets,
            machines: &machines,
            ..fleet(&nodes)
        };
        let findings = judge(&fleet).into_iter();
        let cordons = findings.filter(|it| it.group == "cordons");
        cordons
            .map(|it| (it.name, it.outcome, it.detail))
            .collect::<Vec<_>>()
    };
    let fine = |detail: &str| ("nodes".to_owned(), Outcome::Fine, detail.to_owned());
    let warning = |service: &str, on: &str| {
        let detail = format!("no backend takes a new connection: cordoned {on}");
        (service.to_owned(), Outcome::Warning, detail)
    };
    assert_eq!(told(false, false), [fine("none is cordoned")]);
    let elsewhere = "node-c cordoned, and every service has a backend elsewhere";
    assert_eq!(told(false, true), [fine(elsewhere)]);
    assert_eq!(told(true, false), [warning("shut", "node-a")]);
    assert_eq!(
        told(true, true),
        [
            warning("by-set", "node-a, node-c"),
            warning("shut", "node-a")
        ]
    );
}
