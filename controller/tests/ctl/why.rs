//! `why`.

use tonic::Code;
use weir_proto::wire::kernel_object::Value;
use weir_proto::wire::{
    ClientConnection, ClientRule, Forwarding, Frontend, KernelBackend, KernelObject, KernelService,
    LastChange, NodeWhy, Obstacle, Protocol, SeenObject, Verdict, WhyRequest, WhyResponse,
    WhySubject, client_rule, why_response,
};

use super::fake::Fake;
use super::{Ran, fine, run, start};

fn frontend() -> Frontend {
    Frontend {
        address: "10.100.100.100".to_owned(),
        port: 8080,
        protocol: Protocol::Tcp.into(),
        ..Frontend::default()
    }
}

fn subject(subject: WhySubject) -> WhyResponse {
    WhyResponse {
        part: Some(why_response::Part::Subject(WhySubject {
            frontend: Some(frontend()),
            revision: 7,
            ..subject
        })),
    }
}

fn web() -> WhyResponse {
    subject(WhySubject {
        service: "web".to_owned(),
        service_revision: 4,
        last_change: Some(LastChange {
            revision: 4,
            unix_ms: 0,
            who: "operator/ada".to_owned(),
            what: "apply".to_owned(),
        }),
        node_count: 18,
        ..WhySubject::default()
    })
}

fn node(node: NodeWhy) -> WhyResponse {
    WhyResponse {
        part: Some(why_response::Part::Node(node)),
    }
}

fn there(object: &str, kind: &str, words: &str, value: Option<Value>) -> SeenObject {
    let kernel = KernelObject {
        object: object.to_owned(),
        kind: kind.to_owned(),
        words: words.to_owned(),
        value,
    };
    SeenObject {
        object: object.to_owned(),
        kind: kind.to_owned(),
        desired: Some(kernel.clone()),
        kernel: Some(kernel),
        ..SeenObject::default()
    }
}

fn service() -> SeenObject {
    let value = Value::Service(KernelService {
        frontend: Some(frontend()),
        scheduler: "sh".to_owned(),
        affinity_seconds: 300,
        affinity_prefix: 24,
        engine: String::new(),
        flags: 0x8 | 0x10,
    });
    let name = "virtual service 10.100.100.100:8080/TCP";
    there(name, "virtual_service", "sh", Some(value))
}

fn backend(address: &str, weight: u32, forwarding: Forwarding) -> SeenObject {
    let value = Value::Backend(KernelBackend {
        frontend: Some(frontend()),
        address: address.to_owned(),
        port: 8080,
        weight,
        forwarding: Some(forwarding.into()),
        ..KernelBackend::default()
    });
    let name = format!("backend {address}:8080 of 10.100.100.100:8080/TCP");
    let words = format!("weight {weight}, masquerade");
    SeenObject {
        active_connections: Some(3),
        inactive_connections: Some(12),
        ..there(&name, "backend", &words, Some(value))
    }
}

fn rule(kind: client_rule::Kind, words: &str, rejects: bool) -> ClientRule {
    ClientRule {
        kind: kind.into(),
        words: words.to_owned(),
        rejects,
    }
}

fn connection(client_port: u32, backend: &str) -> ClientConnection {
    ClientConnection {
        client_port,
        backend: backend.to_owned(),
        backend_port: if backend.is_empty() { 0 } else { 8080 },
        state: "ESTABLISHED".to_owned(),
    }
}

fn works() -> NodeWhy {
    NodeWhy {
        node: "node-a".to_owned(),
        generation: 9,
        held_generation: 9,
        verdict: Some(Verdict {
            works: true,
            obstacle: Obstacle::Unspecified.into(),
            sentence:
                "new connections of 10.1.2.3 go to one of 2 backends, by sh, as far as is known"
                    .to_owned(),
        }),
        objects: vec![
            there("sysctl net.ipv4.ip_forward", "setting", "1", None),
            service(),
            backend("10.0.0.11", 1, Forwarding::Masquerade),
            backend("fd00::11", 65_535, Forwarding::DirectRoute),
            there("vip 10.100.100.100", "vip", "address", None),
        ],
        left_out: 2,
        rules: vec![
            rule(
                client_rule::Kind::Lockdown,
                "of 10.100.100.100 only frontends are reached",
                false,
            ),
            rule(
                client_rule::Kind::SourceRange,
                "10.0.0.0/8 lets 10.1.2.3 in",
                false,
            ),
        ],
        connections: vec![connection(40_000, "10.0.0.11"), connection(40_001, "")],
        connection_count: 2,
        ..NodeWhy::default()
    }
}

fn hindered() -> NodeWhy {
    let vip = there("vip 10.100.100.100", "vip", "address", None);
    let weight = backend("10.0.0.11", 4, Forwarding::Masquerade);
    let desired = backend("10.0.0.11", 1, Forwarding::Masquerade).desired;
    NodeWhy {
        node: "node-b".to_owned(),
        generation: 9,
        held_generation: 8,
        verdict: Some(Verdict {
            works: false,
            obstacle: Obstacle::NoAddress.into(),
            sentence: "vip 10.100.100.100 is not on weir0 of node-b".to_owned(),
        }),
        objects: vec![
            service(),
            SeenObject { desired, ..weight },
            SeenObject {
                kernel: None,
                ..vip
            },
        ],
        rules: vec![rule(
            client_rule::Kind::SourceRange,
            "10.1.2.3 is not in 10.8.0.0/16",
            true,
        )],
        connections_unknown: "cannot read the connections of a client from the kernel".to_owned(),
        ..NodeWhy::default()
    }
}

const WHY: [&str; 4] = ["why", "10.100.100.100:8080", "from", "10.1.2.3"];

fn why(fake: &Fake, arguments: &[&str]) -> Ran {
    run(&fake.url, &[&WHY, arguments].concat(), "")
}

#[test]
fn what_works_is_shown_with_the_entry_the_rules_and_the_connections() {
    let fake = start();
    fake.state().why = vec![web(), node(works())];
    let shown = include_str!("pages/why-works.txt");
    assert_eq!(why(&fake, &["on", "node-a"]), fine(shown));
    let asked = fake.state().why_asked.remove(0);
    let expected = WhyRequest {
        frontend: Some(frontend()),
        client: "10.1.2.3".to_owned(),
        nodes: vec!["node-a".to_owned()],
    };
    assert_eq!(asked, expected);
    assert_eq!(fake.state().writes, 0);
}

#[test]
fn what_is_in_the_way_is_status_1_and_said_of_each_node() {
    let fake = start();
    let mut first = web();
    if let Some(why_response::Part::Subject(subject)) = &mut first.part {
        subject.left_out = 16;
    }
    fake.state().why = vec![first, node(hindered()), node(works())];
    let shown = Ran {
        status: 1,
        ..fine(include_str!("pages/why-hindered.txt"))
    };
    assert_eq!(why(&fake, &[]), shown);
}

#[test]
fn what_nobody_has_is_said_of_the_cluster() {
    let fake = start();
    fake.state().why = vec![subject(WhySubject {
        verdict: Some(Verdict {
            works: false,
            obstacle: Obstacle::VipUnknown.into(),
            sentence: "no service has the VIP 10.100.100.100".to_owned(),
        }),
        ..WhySubject::default()
    })];
    let shown = Ran {
        status: 1,
        ..fine(
            "\
10.100.100.100:8080/TCP: of no service
in the way: no service has the VIP 10.100.100.100
",
        )
    };
    assert_eq!(why(&fake, &[]), shown);
}

#[test]
fn it_is_written_for_programs() {
    let fake = start();
    fake.state().why = vec![web(), node(hindered()), node(works())];
    let shown = Ran {
        status: 1,
        ..fine(include_str!("pages/why.json"))
    };
    assert_eq!(why(&fake, &["-o", "json"]), shown);
    let yaml = why(&fake, &["-o", "yaml"]);
    assert_eq!(yaml.status, 1);
    assert!(yaml.out.contains("\nkind: Why\n"), "{}", yaml.out);
}

#[test]
fn what_cannot_be_asked_is_status_2() {
    let fake = start();
    for (words, told) in [
        (&["why", "web"][..], "\"web\" is not VIP:PORT"),
        (
            &["why", "10.0.0.1:80", "to", "me"],
            "\"to\" is neither from ADDRESS nor on NODE",
        ),
    ] {
        let ran = run(&fake.url, words, "");
        assert_eq!((ran.status, &*ran.out), (2, ""));
        assert!(ran.err.contains(told), "{}", ran.err);
    }
    let refusal = tonic::Status::new(Code::NotFound, "not found: node/c");
    fake.state().refusal = Some(refusal);
    let ran = why(&fake, &["on", "c"]);
    assert_eq!((ran.status, &*ran.out), (2, ""));
    assert!(ran.err.contains("not found: node/c"), "{}", ran.err);
}
