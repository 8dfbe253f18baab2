//! What operators drain, and what nodes tell of drains and of themselves.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use weir_proto::convert::{item_from_sent, progress_to_wire};
use weir_proto::model::{
    BackendKey, Drain, DrainProgress, Endpoint, Frontend, Item, ItemKey, Listener, OnDeadline,
    Port, Protocol,
};
use weir_proto::wire;
use weir_proto::wire::drain_target::Target;
use weir_proto::wire::sync_request::Message;

use crate::admin::page;
use crate::rig::{Rig, web};

fn backend(service: &str, address: &str) -> wire::DrainTarget {
    let backend = wire::drain_target::Backend {
        service: service.to_owned(),
        address: address.to_owned(),
        port: 80,
    };
    wire::DrainTarget {
        target: Some(Target::Backend(backend)),
    }
}

fn node(name: &str) -> wire::DrainTarget {
    wire::DrainTarget {
        target: Some(Target::Node(name.to_owned())),
    }
}

const RESET_IN_60: wire::Drain = wire::Drain {
    deadline_seconds: Some(60),
    on_deadline: wire::OnDeadline::Reset as i32,
};

async fn drain(
    rig: &Rig,
    targets: Vec<wire::DrainTarget>,
    drain: Option<wire::Drain>,
) -> Result<wire::DrainResponse, Status> {
    let request = wire::DrainRequest { targets, drain };
    let drained = rig.operator().await.drain(request).await;
    drained.map(tonic::Response::into_inner)
}

async fn list(rig: &Rig) -> Vec<wire::DrainState> {
    let request = wire::ListDrainsRequest {};
    let listed = rig.operator().await.list_drains(request).await;
    listed.expect("a list").into_inner().drains
}

/// Gives how each backend and the node itself are drained by an update.
fn drained(update: &wire::Update) -> BTreeMap<String, Option<Drain>> {
    let items = update.upserted.iter();
    let items = items.map(|item| item_from_sent(item, "item", &mut Vec::new()).expect("an item"));
    items
        .filter_map(|item| match &item {
            Item::Backend(backend) => Some((item.key().to_string(), backend.drain)),
            Item::NodeDrain(drain) => Some((item.key().to_string(), Some(*drain))),
            _ => None,
        })
        .collect()
}

/// The service of the rig, with its backends on some nodes.
fn web_on(nodes: &[&str]) -> wire::Resource {
    let mut resource = web("web", 1, &vec![3; nodes.len()]);
    if let Some(wire::resource::Kind::Service(service)) = &mut resource.kind {
        for (backend, node) in service.backends.iter_mut().zip(nodes) {
            backend.node = (*node).to_owned();
        }
    }
    resource
}

#[tokio::test]
async fn a_drained_backend_is_sent_so_survives_a_restart_and_goes_with_its_backend() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1, 1])]).await;
    let mut agent = rig.agent("a", None).await;
    let first = agent.hears_next(1).await;
    agent.converge(&first).await;
    let target = backend("web", "10.0.1.1");
    let answer = drain(&rig, vec![target.clone()], Some(RESET_IN_60)).await;
    let answer = answer.expect("drained");
    let touched = wire::NodeTarget {
        node: "a".to_owned(),
        generation: 2,
    };
    assert_eq!((answer.revision, answer.targets), (3, vec![touched]));
    let second = agent.hears_next(2).await;
    let reset = Drain {
        deadline: weir_proto::model::DrainDeadline::new(60).expect("a deadline"),
        on_deadline: OnDeadline::Reset,
    };
    let key = "backend 10.0.1.1:80 of 10.1.0.1:80/TCP".to_owned();
    assert_eq!(
        drained(&second),
        BTreeMap::from([(key.clone(), Some(reset))])
    );
    agent.converge(&second).await;
    rig.node("a", |node| node.converged_generation == 2).await;

    // the same again is no write; the file applied again ends nothing
    let again = drain(&rig, vec![target.clone()], Some(RESET_IN_60)).await;
    assert_eq!(again.expect("drained").revision, 3);
    let same = rig.apply(vec![web("web", 1, &[1, 1])]).await;
    assert_eq!(same.revision, 3);
    let rig = rig.restart().await;
    let listed = list(&rig).await;
    assert_eq!(listed.len(), 1);
    assert!(listed[0].asked_unix_ms > 0);
    let state = wire::DrainState {
        target: Some(target.clone()),
        asked: true,
        drain: Some(RESET_IN_60),
        asked_unix_ms: listed[0].asked_unix_ms,
        nodes: Vec::new(),
    };
    assert_eq!(listed, [state]);
    let mut agent = rig.agent("a", Some((2, &second.digest))).await;
    let changed = drain(&rig, vec![target.clone()], None).await;
    assert_eq!(changed.expect("drained").revision, 4);
    let third = agent.hears_next(3).await;
    let as_the_service = Some(Drain::default());
    assert_eq!(
        drained(&third),
        BTreeMap::from([(key.clone(), as_the_service)])
    );
    agent.converge(&third).await;

    // taken out of the service, and put back: it is drained no longer
    let deleted = rig.apply(vec![web("web", 1, &[])]).await;
    assert_eq!(deleted.revision, 5);
    assert_eq!(list(&rig).await, []);
    let fourth = agent.hears_next(4).await;
    agent.converge(&fourth).await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let fifth = agent.hears_next(5).await;
    assert_eq!(drained(&fifth), BTreeMap::from([(key, None)]));
}

#[tokio::test]
async fn a_drained_node_drains_what_runs_on_it_on_every_node_until_it_is_undrained() {
    let rig = Rig::start().await;
    rig.apply(vec![web_on(&["a", "b"])]).await;
    let mut agents = Vec::new();
    for name in ["a", "b"] {
        let mut agent = rig.agent(name, None).await;
        let first = agent.hears_next(1).await;
        agent.converge(&first).await;
        rig.node(name, |node| node.converged_generation == 1).await;
        agents.push(agent);
    }
    let answer = drain(&rig, vec![node("a")], None).await.expect("drained");
    let names: Vec<&str> = answer
        .targets
        .iter()
        .map(|target| target.node.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let key = "backend 10.0.1.1:80 of 10.1.0.1:80/TCP".to_owned();
    let there = (key.clone(), Some(Drain::default()));
    let itself = ("node drain".to_owned(), Some(Drain::default()));
    let at_a = agents[0].hears_next(2).await;
    assert_eq!(drained(&at_a), BTreeMap::from([there.clone(), itself]));
    let at_b = agents[1].hears_next(2).await;
    assert_eq!(drained(&at_b), BTreeMap::from([there]));
    agents[1].converge(&at_b).await;
    let request = wire::UndrainRequest {
        targets: vec![node("a")],
    };
    let undrained = rig.operator().await.undrain(request).await;
    undrained.expect("undrained");
    let at_b = agents[1].hears_next(3).await;
    assert_eq!(drained(&at_b), BTreeMap::from([(key, None)]));
}

#[tokio::test]
async fn everything_that_is_missing_or_bad_in_a_drain_is_named_and_nothing_is_drained() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let good = backend("web", "10.0.1.1");
    let missing = vec![good.clone(), backend("shop", "10.0.1.1"), node("z")];
    let refused = drain(&rig, missing, None).await.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::NotFound,
            "not found: services[shop].backends[10.0.1.1:80], nodes[z]"
        )
    );
    let bad = vec![
        good.clone(),
        wire::DrainTarget::default(),
        backend("web", "x"),
    ];
    let for_ever = wire::Drain {
        deadline_seconds: Some(700_000),
        on_deadline: 0,
    };
    let refused = drain(&rig, bad, Some(for_ever)).await.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::InvalidArgument,
            "targets[1]: missing\n\
             targets[2].backend.address: \"x\" is not an IP address\n\
             drain.deadline_seconds: 700000 is not a drain deadline (0-604800 seconds)"
        )
    );
    let request = wire::UndrainRequest {
        targets: vec![good],
    };
    let refused = rig.operator().await.undrain(request).await;
    let refused = refused.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::NotFound,
            "not drained: services[web].backends[10.0.1.1:80]"
        )
    );
    assert_eq!(list(&rig).await, []);
}

fn progress(active: u64, done: bool) -> wire::DrainProgress {
    let port = Port::new(80).expect("a port");
    let key = BackendKey {
        frontend: Frontend::Address(Listener {
            address: [10, 1, 0, 1].into(),
            port,
            protocol: Protocol::Tcp,
        }),
        endpoint: Endpoint {
            address: [10, 0, 1, 2].into(),
            port,
        },
    };
    progress_to_wire(&DrainProgress {
        key: ItemKey::Backend(key),
        active,
        inactive: 1,
        started_unix_ms: 1_000,
        deadline_unix_ms: 301_000,
        on_deadline: OnDeadline::Keep,
        done,
    })
}

#[tokio::test]
async fn what_a_node_tells_is_shown_and_what_cannot_be_read_is_left_out() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let mut agent = rig.agent("a", None).await;
    let degraded = wire::Degraded {
        reason: "the disk is full".to_owned(),
        since_unix_ms: 7,
    };
    agent
        .say(Message::Condition(wire::Condition {
            hold: None,
            degraded: Some(degraded.clone()),
        }))
        .await;
    let nonsense = wire::DrainProgress {
        key: None,
        ..progress(9, false)
    };
    agent
        .say(Message::Drains(wire::Drains {
            drains: vec![progress(5, false), nonsense, progress(0, true)],
            count: 2,
        }))
        .await;
    let repair = |kind: &str| wire::Repair {
        object: "vip 10.1.0.1".to_owned(),
        kind: kind.to_owned(),
        found: String::new(),
        expected: "bound".to_owned(),
        at_unix_ms: 8,
    };
    agent
        .say(Message::Repairs(wire::Repairs {
            repairs: vec![repair("vip"), repair("vip"), repair("moon")],
            counts: [("vip".to_owned(), 40)].into(),
        }))
        .await;
    let shown = rig.node("a", |node| !node.repairs.is_empty()).await;
    assert_eq!(shown.degraded, Some(degraded));
    assert_eq!(shown.drain_count, 2, "the one that cannot be read counts");
    assert_eq!(
        shown.repairs,
        [repair("vip"), repair("vip"), repair("moon")]
    );
    let counts = [("vip".to_owned(), 40), ("moon".to_owned(), 1)];
    assert_eq!(shown.repair_counts, BTreeMap::from(counts));
    let on_a = |progress| wire::drain_state::OnNode {
        node: "a".to_owned(),
        progress: Some(progress),
    };
    let taken_out = wire::DrainState {
        target: Some(backend("web", "10.0.1.2")),
        nodes: vec![on_a(progress(5, false)), on_a(progress(0, true))],
        ..wire::DrainState::default()
    };
    assert_eq!(list(&rig).await, [taken_out]);
    let metrics = page(rig.running.admin_addr(), "/metrics").await;
    for line in [
        "weir_controller_nodes_held 0",
        "weir_controller_nodes_degraded 1",
        "weir_controller_drains 2",
        "weir_controller_repairs_total{kind=\"vip\"} 40",
        "weir_controller_repairs_total{kind=\"other\"} 1",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }
    // the stream goes on, and the next one begins without a word of it
    drop(agent);
    rig.node("a", |node| !node.connected).await;
    let _agent = rig.agent("a", None).await;
    let shown = rig.node("a", |node| node.connected).await;
    assert_eq!((shown.degraded, shown.drain_count), (None, 0));
    assert_eq!(shown.repairs.len(), 3);
    assert_eq!(list(&rig).await, []);
}
