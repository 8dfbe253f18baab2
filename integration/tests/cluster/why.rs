//! Why a client reaches a frontend, or does not, asked of a controller and its agents.

use std::collections::BTreeMap;

use weir_agent::plan::{Key, Object, Setting, Visit, Visited};
use weir_proto::model::{ConnectionState, Endpoint, ItemKey};
use weir_proto::wire;
use weir_proto::wire::client_rule::Kind;
use weir_proto::wire::why_response::Part;
use weir_proto::wire::{ErrorReason, Obstacle};

use super::SPREAD;
use super::fleet::{Fleet, backend, service, vip};

const BOTH: [&str; 2] = ["node-a", "node-b"];
const CLIENT: &str = "10.9.0.1";

struct Why {
    subject: wire::WhySubject,
    nodes: BTreeMap<String, wire::NodeWhy>,
}

impl Why {
    fn obstacles(&self) -> Vec<(&str, Obstacle)> {
        let nodes = self.nodes.iter();
        let of = |node: &wire::NodeWhy| node.verdict.clone().unwrap_or_default().obstacle();
        nodes
            .map(|(name, node)| (name.as_str(), of(node)))
            .collect()
    }
}

async fn why(fleet: &Fleet, frontend: wire::Frontend, nodes: &[&str]) -> Why {
    let request = wire::WhyRequest {
        frontend: Some(frontend),
        client: CLIENT.to_owned(),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
    };
    let parts = fleet.operator().await.why(request).await;
    let mut parts = parts.expect("an answer").into_inner();
    let mut why = Why {
        subject: wire::WhySubject::default(),
        nodes: BTreeMap::new(),
    };
    while let Some(part) = parts.message().await.expect("a part") {
        match part.part.expect("a part") {
            Part::Subject(subject) => why.subject = subject,
            Part::Node(node) => {
                why.nodes.insert(node.node.clone(), node);
            }
        }
    }
    why
}

fn frontend(service: &wire::Service) -> wire::Frontend {
    service.frontends[0].clone()
}

#[tokio::test]
async fn what_works_is_told_with_its_service_its_rules_and_the_connections_of_the_client() {
    let fleet = Fleet::start(&BOTH).await;
    let web = service("web", "10.100.0.1", &SPREAD);
    let response = fleet.apply(web.clone()).await;
    let revision = response.revision;
    fleet.converged(response).await;
    let of = backend("10.100.0.1", SPREAD[0].0);
    let Key::Item(ItemKey::Backend(key)) = of else {
        panic!("{of}");
    };
    let visit = Visit {
        frontend: key.frontend,
        client: Some(CLIENT.parse().expect("an address")),
    };
    let visited = Visited {
        port: Some(40_000),
        backend: Some(key.endpoint),
        state: ConnectionState::Established,
    };
    fleet.kernel("node-a").visit(visit, visited);
    fleet.take_steps();
    let told = why(&fleet, frontend(&web), &[]).await;
    let steps = fleet.take_steps();
    assert!(
        steps.values().all(Vec::is_empty),
        "nothing is done by asking"
    );
    let subject = &told.subject;
    assert_eq!(
        (
            &*subject.service,
            subject.service_revision,
            subject.node_count
        ),
        ("web", revision, 2)
    );
    let last = subject.last_change.clone().expect("the write");
    assert_eq!((last.revision, &*last.what), (revision, "apply"));
    assert_eq!(subject.verdict, None);
    let fine = Obstacle::Unspecified;
    assert_eq!(told.obstacles(), [("node-a", fine), ("node-b", fine)]);
    let node = &told.nodes["node-a"];
    let rules: Vec<Kind> = node.rules.iter().map(|rule| rule.kind()).collect();
    assert_eq!(rules, [Kind::Lockdown, Kind::Forwarding]);
    let Endpoint { address, port } = key.endpoint;
    let connection = wire::ClientConnection {
        client_port: 40_000,
        backend: address.to_string(),
        backend_port: port.get().into(),
        state: "ESTABLISHED".to_owned(),
    };
    assert_eq!(node.connections, [connection]);
    assert_eq!(told.nodes["node-b"].connection_count, 0);
}

#[tokio::test]
async fn what_nobody_has_is_told_of_the_cluster_and_no_node_is_asked() {
    let fleet = Fleet::start(&["node-a"]).await;
    let web = service("web", "10.100.0.1", &SPREAD);
    let response = fleet.apply(web.clone()).await;
    fleet.converged(response).await;
    let other_vip = wire::Frontend {
        address: "10.100.0.9".to_owned(),
        ..frontend(&web)
    };
    let other_port = wire::Frontend {
        port: 1,
        ..frontend(&web)
    };
    for (asked, obstacle) in [
        (other_vip, Obstacle::VipUnknown),
        (other_port, Obstacle::PortUnknown),
    ] {
        let told = why(&fleet, asked, &["node-a"]).await;
        let verdict = told.subject.verdict.clone().expect("a verdict");
        assert_eq!((verdict.works, verdict.obstacle()), (false, obstacle));
        assert_eq!(told.obstacles(), []);
    }
    let request = wire::WhyRequest {
        frontend: Some(frontend(&web)),
        nodes: vec!["node-z".to_owned()],
        ..wire::WhyRequest::default()
    };
    let refused = fleet.operator().await.why(request).await;
    assert_eq!(refused.expect_err("refused").code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn each_node_tells_what_is_in_the_way_there() {
    let mut fleet = Fleet::start(&BOTH).await;
    let web = service("web", "10.100.0.1", &SPREAD);
    let response = fleet.apply(web.clone()).await;
    fleet.converged(response).await;
    fleet.stop_agent("node-b").await;
    fleet.until("node-b", |node| !node.connected).await;
    // somebody else's hand, before the next audit finds it
    let forward = Key::Setting(Setting::ForwardV4);
    let off = Object::Value("0".to_owned());
    fleet.kernel("node-a").tamper(|table| {
        table.insert(forward, off);
    });
    let told = why(&fleet, frontend(&web), &[]).await;
    let expected = [
        ("node-a", Obstacle::Setting),
        ("node-b", Obstacle::NodeAway),
    ];
    assert_eq!(told.obstacles(), expected);
    let away = told.nodes["node-b"]
        .unanswered
        .clone()
        .expect("nobody to ask");
    assert_eq!(away.reason(), ErrorReason::NodeAway);
    fleet.kernel("node-a").tamper(|table| {
        table.insert(forward, Object::Value("1".to_owned()));
        table.remove(&vip("10.100.0.1"));
    });
    let told = why(&fleet, frontend(&web), &["node-a"]).await;
    assert_eq!(told.obstacles(), [("node-a", Obstacle::NoAddress)]);
}
