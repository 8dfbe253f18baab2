use std::collections::BTreeMap;
use std::sync::Arc;

use weir_proto::model::{
    BackendKey, Drain, Family, Generation, Hold, ItemFailure, Resource, Revision, VipBinding,
    Weight, source,
};

use super::super::samples::{
    backends, endpoint, frontend, node, node_name, service, service_name, virtual_service,
};
use super::*;
use crate::desired::Batch;

const VIP: &str = "10.1.0.1:80";

pub(super) fn visit(client: &str) -> Visit {
    let client = (!client.is_empty()).then(|| client.parse().expect("an address"));
    Visit {
        frontend: frontend(VIP),
        client,
    }
}

pub(super) fn range(text: &str) -> ipnet::IpNet {
    source(text, Family::V4).expect("a range")
}

fn claim() -> Claim {
    let behind = |at: &str| Behind {
        endpoint: endpoint(at),
        drained: false,
        cordoned: false,
        weight: 1,
    };
    Claim {
        service: Some(service_name("web")),
        backends: vec![behind("10.0.0.1:80"), behind("10.0.0.2:80")],
        nodes: 2,
        ..Claim::default()
    }
}

pub(super) fn wanted() -> Wanted {
    let frontend = frontend(VIP);
    let Item::VirtualService(service) = virtual_service(VIP, "web") else {
        panic!("a virtual service");
    };
    let backends = backends(&["10.0.0.1:80", "10.0.0.2:80"]);
    let backend = |endpoint: &Endpoint| {
        NodeBackend::new(BackendKey {
            frontend,
            endpoint: *endpoint,
        })
    };
    Wanted {
        service,
        vip: frontend.vip().map(Vip::new),
        backends: backends.keys().map(backend).collect(),
        drained: false,
        loopback: backends.keys().copied().collect(),
    }
}

fn status() -> NodeStatus {
    NodeStatus {
        name: node_name("node-a"),
        connected: true,
        agent_version: "1".to_owned(),
        wanted: Generation(5),
        accepted: Generation(5),
        converged: Generation(5),
        wanted_items: 4,
        failures: Vec::new(),
        failure_count: 0,
        rejection: None,
        capabilities: Vec::new(),
        last_heard_unix_ms: 1,
        hold: None,
        degraded: None,
        drain_count: 0,
        repairs: Arc::default(),
        repair_counts: BTreeMap::new(),
        certificate_expires_unix_ms: 0,
        disconnection: String::new(),
        cordoned: false,
    }
}

fn object(kind: &str, object: &str, words: &str) -> Seen {
    Seen {
        object: object.to_owned(),
        kind: kind.to_owned(),
        desired: Some(words.to_owned()),
        kernel: Some(words.to_owned()),
        ..Seen::default()
    }
}

fn backend(at: &str) -> Seen {
    Seen {
        backend: Some((endpoint(at), 1)),
        ..object(
            "backend",
            &format!("backend {at} of {VIP} TCP"),
            "weight 1, masquerade",
        )
    }
}

fn seen() -> Vec<Seen> {
    vec![
        object("setting", "sysctl net.ipv4.vs.conntrack", "1"),
        object("setting", "sysctl net.ipv4.ip_forward", "1"),
        object("link", "link weir0", "up"),
        object("guard", "opening 10.1.0.1:80/TCP", "there"),
        object("guard", "locked vip 10.1.0.1", "there"),
        object("virtual_service", "virtual service 10.1.0.1:80/TCP", "wrr"),
        backend("10.0.0.1:80"),
        backend("10.0.0.2:80"),
        object("vip", "vip 10.1.0.1", "address"),
    ]
}

fn failure(key: ItemKey) -> ItemFailure {
    ItemFailure {
        key,
        errno: 1,
        cause: "not permitted".to_owned(),
        field: String::new(),
    }
}

#[test]
fn what_is_in_the_way_everywhere_is_said_of_the_cluster() {
    let unclaimed = || Claim::default();
    let shared = |lockdown| Claim {
        others: vec![frontend("10.1.0.1:443")],
        lockdown,
        ..Claim::default()
    };
    let weights = |weights: [(bool, u16); 2]| {
        let mut claim = claim();
        for (behind, (drained, weight)) in claim.backends.iter_mut().zip(weights) {
            (behind.drained, behind.weight) = (drained, weight);
        }
        claim
    };
    let cordoned = |cordoned: [bool; 2], mut claim: Claim| {
        for (behind, cordoned) in claim.backends.iter_mut().zip(cordoned) {
            behind.cordoned = cordoned;
        }
        claim
    };
    let ranged = || Claim {
        sources: [range("10.9.0.0/16"), range("10.8.0.0/16")].into(),
        ..claim()
    };
    let cases = [
        (
            "",
            unclaimed(),
            Obstacle::VipUnknown,
            "no service has the VIP 10.1.0.1",
        ),
        (
            "",
            shared(false),
            Obstacle::PortUnknown,
            "no service has 10.1.0.1:80/TCP: 10.1.0.1 has 10.1.0.1:443/TCP",
        ),
        (
            "",
            shared(true),
            Obstacle::PortUnknown,
            "no service has 10.1.0.1:80/TCP: 10.1.0.1 has 10.1.0.1:443/TCP, and its lockdown rejects the rest",
        ),
        (
            "",
            Claim {
                nodes: 0,
                ..claim()
            },
            Obstacle::NoNode,
            "no node is selected by service/web: see its nodeSelector",
        ),
        (
            "10.7.0.1",
            ranged(),
            Obstacle::SourceRefused,
            "10.7.0.1 may not connect: allowSources of 10.1.0.1:80/TCP has 10.8.0.0/16, 10.9.0.0/16 alone",
        ),
        (
            "",
            Claim {
                backends: Vec::new(),
                ..claim()
            },
            Obstacle::NoBackend,
            "service/web has no backend, neither of its own nor in a set",
        ),
        (
            "",
            weights([(false, 0), (false, 0)]),
            Obstacle::NoWeight,
            "all 2 backends of service/web have weight 0",
        ),
        (
            "",
            weights([(true, 1), (true, 0)]),
            Obstacle::NoWeight,
            "all 2 backends of service/web are drained",
        ),
        (
            "",
            weights([(true, 1), (false, 0)]),
            Obstacle::NoWeight,
            "of the 2 backends of service/web 1 is drained, 1 has weight 0",
        ),
        (
            "",
            cordoned([true, true], weights([(false, 1), (false, 0)])),
            Obstacle::NoWeight,
            "all 2 backends of service/web run on cordoned nodes",
        ),
        (
            "",
            cordoned([true, true], weights([(true, 1), (false, 1)])),
            Obstacle::NoWeight,
            "of the 2 backends of service/web 1 is drained, 1 runs on a cordoned node",
        ),
    ];
    for (client, claim, obstacle, sentence) in cases {
        let expected = Verdict::not(obstacle, sentence.to_owned());
        assert_eq!(everywhere(visit(client), &claim), expected);
    }
    for (client, claim) in [
        ("", claim()),
        ("", ranged()),
        ("10.9.1.1", ranged()),
        ("", weights([(true, 1), (false, 1)])),
        ("", cordoned([true, false], claim())),
    ] {
        assert_eq!(everywhere(visit(client), &claim), None);
    }
}

/// Changes what is known of a node on which all is well, and gives the verdict.
fn judged(client: &str, change: impl FnOnce(&mut World)) -> (Option<Obstacle>, String) {
    let mut world = World {
        status: status(),
        wanted: Some(wanted()),
        seen: Ok(seen()),
        silent: BTreeSet::new(),
    };
    change(&mut world);
    let facts = Facts {
        visit: visit(client),
        status: &world.status,
        wanted: world.wanted.as_ref(),
        seen: match &world.seen {
            Ok(seen) => Ok(seen),
            Err(why) => Err(why),
        },
        silent: &world.silent,
    };
    let verdict = verdict(&facts);
    (verdict.obstacle, verdict.sentence)
}

struct World {
    status: NodeStatus,
    wanted: Option<Wanted>,
    seen: Result<Vec<Seen>, String>,
    silent: BTreeSet<Endpoint>,
}

impl World {
    fn wanted(&mut self) -> &mut Wanted {
        self.wanted.as_mut().expect("wanted")
    }

    fn seen(&mut self, object: &str) -> &mut Seen {
        let seen = self.seen.as_mut().expect("seen").iter_mut();
        let mut found = seen.filter(|it| it.object.starts_with(object));
        found.next().expect("an object")
    }
}

type Changed = (Obstacle, &'static str, fn(&mut World));

const CHANGED: &[Changed] = &[
    (
        Obstacle::NotSelected,
        "node-a is not selected by the service that has 10.1.0.1:80/TCP",
        |world| world.wanted = None,
    ),
    (
        Obstacle::SourceRefused,
        "10.9.0.1 may not connect: allowSources of 10.1.0.1:80/TCP has 10.8.0.0/16 alone",
        |world| world.wanted().service.sources = [range("10.8.0.0/16")].into(),
    ),
    (
        Obstacle::NoBackend,
        "service/web on node-a has no backend",
        |world| world.wanted().backends.clear(),
    ),
    (
        Obstacle::NoWeight,
        "all 2 backends of service/web on node-a have weight 0",
        |world| {
            for backend in &mut world.wanted().backends {
                backend.weight = Weight::new(0).expect("a weight");
            }
        },
    ),
    (
        Obstacle::NoWeight,
        "all 2 backends of service/web on node-a are drained",
        |world| {
            for backend in &mut world.wanted().backends {
                backend.drain = Some(Drain::default());
            }
        },
    ),
    (
        Obstacle::NodeDrained,
        "node-a is drained: its VIPs go when no connection is left",
        |world| world.wanted().drained = true,
    ),
    (
        Obstacle::NodeAway,
        "the agent of node-a is not connected: the kernel there goes on with what it had, which is not known here",
        |world| world.status.connected = false,
    ),
    (
        Obstacle::HeldBack,
        "node-a holds back what it was sent: 3 of 4 would go",
        |world| {
            world.status.hold = Some(Hold {
                generation: Generation(5),
                dropped: 3,
                served: 4,
                since_unix_ms: 1,
                cause: "3 of 4 would go".to_owned(),
            });
        },
    ),
    (
        Obstacle::Refused,
        "node-a refuses generation 5: its disk is full",
        |world| world.status.rejection = Some("its disk is full".to_owned()),
    ),
    (
        Obstacle::Refused,
        "node-a refuses vip 10.1.0.1: not permitted",
        |world| {
            let vip = frontend(VIP).vip().expect("a vip");
            world.status.failures = vec![failure(ItemKey::Vip(vip))];
        },
    ),
    (
        Obstacle::Refused,
        "node-a refuses backend 10.0.0.1:80 of 10.1.0.1:80/TCP: not permitted",
        |world| {
            let backends = world.wanted().backends.clone();
            let keys = backends.iter().map(|it| ItemKey::Backend(it.key));
            world.status.failures = keys.map(failure).collect();
        },
    ),
    (
        Obstacle::Behind,
        "node-a should hold generation 5, and has accepted 4",
        |world| world.status.accepted = Generation(4),
    ),
    (
        Obstacle::Behind,
        "node-a should hold generation 5, and has converged on 3",
        |world| world.status.converged = Generation(3),
    ),
    (
        Obstacle::NotSeen,
        "what the kernel of node-a holds is not known: it did not answer",
        |world| world.seen = Err("it did not answer".to_owned()),
    ),
    (
        Obstacle::Setting,
        "sysctl net.ipv4.ip_forward is 0 on node-a, and must be 1",
        |world| world.seen("sysctl net.ipv4.ip_forward").kernel = Some("0".to_owned()),
    ),
    (
        Obstacle::Setting,
        "sysctl net.ipv4.vs.conntrack is not there on node-a, and must be 1",
        |world| world.seen("sysctl net.ipv4.vs.conntrack").kernel = None,
    ),
    (
        Obstacle::Foreign,
        "the virtual service 10.1.0.1:80/TCP in the kernel of node-a is somebody else's",
        |world| world.seen("virtual service").foreign = true,
    ),
    (
        Obstacle::NoService,
        "the virtual service 10.1.0.1:80/TCP is not in the kernel of node-a",
        |world| world.seen("virtual service").kernel = None,
    ),
    (
        Obstacle::NoAddress,
        "the link weir0, which holds the VIPs, is not there on node-a",
        |world| world.seen("link").kernel = None,
    ),
    (
        Obstacle::NoAddress,
        "vip 10.1.0.1 is not on weir0 of node-a",
        |world| world.seen("vip").kernel = None,
    ),
    (
        Obstacle::NoRoute,
        "the local route of vip 10.1.0.1 is missing on node-a",
        |world| {
            let vip = world.wanted().vip.as_mut().expect("a vip");
            vip.binding = VipBinding::Route;
            world.seen("vip").kernel = None;
        },
    ),
    (
        Obstacle::Locked,
        "the lockdown of node-a lacks the opening 10.1.0.1:80/TCP",
        |world| world.seen("opening").kernel = None,
    ),
    (
        Obstacle::KernelWeight,
        "all 2 backends in the kernel of node-a have weight 0",
        |world| {
            for at in ["10.0.0.1:80", "10.0.0.2:80"] {
                world.seen(&format!("backend {at}")).backend = Some((endpoint(at), 0));
            }
        },
    ),
    (
        Obstacle::KernelWeight,
        "10.1.0.1:80/TCP has no backend in the kernel of node-a",
        |world| {
            let seen = world.seen.as_mut().expect("seen");
            seen.retain(|it| it.kind != "backend");
        },
    ),
    (
        Obstacle::Silent,
        "all 2 backends that take connections answer none: 10.0.0.1:80, 10.0.0.2:80",
        |world| world.silent = ["10.0.0.1:80", "10.0.0.2:80"].map(endpoint).into(),
    ),
];

#[test]
fn the_first_thing_in_the_way_on_a_node_is_told_with_its_cause() {
    for (obstacle, sentence, change) in CHANGED {
        let expected = (Some(*obstacle), (*sentence).to_owned());
        assert_eq!(judged("10.9.0.1", change), expected);
    }
    // whatever else is in the way behind it
    for (place, (obstacle, sentence, change)) in CHANGED.iter().enumerate() {
        let silent = |world: &mut World| {
            world.silent = ["10.0.0.1:80", "10.0.0.2:80"].map(endpoint).into();
            change(world);
        };
        let expected = (Some(*obstacle), (*sentence).to_owned());
        assert_eq!(judged("10.9.0.1", silent), expected, "{place}");
    }
}

#[test]
fn what_hinders_others_or_some_alone_is_not_in_the_way() {
    let works = |who: &str, to: &str| {
        let text = format!("{who} go to {to}, as far as is known");
        (None, text)
    };
    let two = "one of 2 backends, by wrr";
    let fine = judged("", |_| {});
    assert_eq!(fine, works("new connections", two));
    let client = "new connections of 10.9.0.1";
    let changes: [fn(&mut World); 5] = [
        |world| world.silent = [endpoint("10.0.0.1:80")].into(),
        |world| {
            let key = world.wanted().backends[0].key;
            world.status.failures = vec![failure(ItemKey::Backend(key))];
        },
        |world| {
            let other = frontend("10.1.0.2:80");
            world.status.failures = vec![failure(ItemKey::VirtualService(other))];
        },
        // an opening that nobody needs, since nothing is shut
        |world| {
            world.seen("opening").kernel = None;
            world.seen("locked vip").kernel = None;
        },
        |world| world.wanted().service.sources = [range("10.9.0.0/16")].into(),
    ];
    for change in changes {
        assert_eq!(judged("10.9.0.1", change), works(client, two));
    }
    let one = judged("10.9.0.1", |world| {
        world.seen("backend 10.0.0.2:80").backend = Some((endpoint("10.0.0.2:80"), 0));
    });
    assert_eq!(one, works(client, "its one backend"));
}

#[test]
fn an_opening_for_others_may_be_missing() {
    let opening = |range: &str| format!("opening 10.1.0.1:80/TCP from {range}");
    let missing = |range: &str| Seen {
        kernel: None,
        ..object("guard", &opening(range), "there")
    };
    let (ours, others) = (missing("10.9.0.0/16"), missing("10.8.0.0/16"));
    let of = |guard: Seen| {
        judged("10.9.0.1", |world| {
            world.seen.as_mut().expect("seen").push(guard)
        })
    };
    assert_eq!(of(others).0, None);
    assert_eq!(of(ours).0, Some(Obstacle::Locked));
}

#[test]
fn what_the_cluster_has_of_a_frontend_is_found() {
    let mut desired = Desired::default();
    let mut put = |resource: Resource| {
        let batch = Batch::from([(resource.reference(), Some(resource))]);
        let change = desired.prepare(batch);
        desired.take(change, Revision(1));
    };
    put(Resource::Node(node("node-a", &[])));
    put(Resource::Service(service(
        "web",
        &[VIP, "10.1.0.1:443"],
        &["10.0.0.1:80", "10.0.0.2:80*0"],
    )));
    let found = desired.claim(frontend(VIP));
    let behind = |at: &str, weight| Behind {
        endpoint: endpoint(at),
        drained: false,
        cordoned: at == "10.0.0.3:80",
        weight,
    };
    let expected = Claim {
        service: Some(service_name("web")),
        sources: Sources::new(),
        backends: vec![behind("10.0.0.1:80", 1), behind("10.0.0.2:80", 0)],
        others: vec![frontend("10.1.0.1:443")],
        lockdown: true,
        nodes: 1,
    };
    assert_eq!(found, expected);
    let unknown = Claim {
        others: vec![frontend(VIP), frontend("10.1.0.1:443")],
        lockdown: true,
        ..Claim::default()
    };
    assert_eq!(desired.claim(frontend("10.1.0.1:81")), unknown);
    assert_eq!(desired.claim(frontend("10.1.0.9:80")), Claim::default());
    let held = desired.wanted_of(&node_name("node-a"), frontend(VIP));
    let held = held.expect("it is held");
    let ports: Vec<Endpoint> = held.backends.iter().map(|it| it.key.endpoint).collect();
    assert_eq!(ports, ["10.0.0.1:80", "10.0.0.2:80"].map(endpoint));
    assert_eq!(held.loopback, ports.into_iter().collect());
    assert_eq!(held.vip, frontend(VIP).vip().map(Vip::new));
}
