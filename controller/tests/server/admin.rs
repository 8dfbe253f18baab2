//! What machines ask: health, reflection, metrics, reports.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use weir_controller::{BACKEND_METRICS, METRICS};
use weir_proto::metrics::problems;
use weir_proto::wire;
use weir_proto::wire::node_reports_client::NodeReportsClient;

use crate::rig::{Rig, service, web};

pub(crate) async fn page(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn a_controller_that_serves_is_live_and_ready() {
    let rig = Rig::start().await;
    for path in ["/livez", "/readyz"] {
        let answer = page(rig.running.admin_addr(), path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let mut health = HealthClient::new(rig.channel().await);
    for service in [
        "",
        "weir.v1.Operator",
        "weir.v1.NodeSync",
        "weir.v1.NodeReports",
    ] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let status = health.check(request).await.expect(service).into_inner();
        assert_eq!(status.status(), ServingStatus::Serving, "{service:?}");
    }
}

#[tokio::test]
async fn metrics_count_what_was_done() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1, 1])]).await;
    rig.apply(vec![web("web", 1, &[1, 1])]).await;
    let mut agent = rig.agent("a", None).await;
    let snapshot = agent.update().await;
    agent.converge(&snapshot).await;
    rig.apply(vec![web("web", 1, &[1, 2])]).await;
    agent.update().await;
    let page = page(rig.running.admin_addr(), "/metrics").await;
    for line in [
        "weir_controller_revision 3",
        "weir_controller_services 1",
        "weir_controller_backends 2",
        "weir_controller_nodes 1",
        "weir_controller_nodes_connected 1",
        "weir_controller_service_compilations_total 2",
        "weir_controller_apply_total{outcome=\"written\"} 2",
        "weir_controller_apply_total{outcome=\"unchanged\"} 1",
        "weir_controller_updates_sent_total{kind=\"snapshot\"} 1",
        "weir_controller_updates_sent_total{kind=\"delta\"} 1",
        "weir_controller_events_total{type=\"Normal\",reason=\"NodeConnected\"} 1",
        "weir_controller_events_dropped_total 0",
        "# EOF",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}\n{page}");
    }
    // as many as there were when the page was made: that a node knows the cluster's name may be on its way
    let commits = "\nweir_controller_store_commits_total ";
    assert!(page.contains(commits), "{page}");
}

#[tokio::test]
async fn the_page_of_a_controller_is_as_its_table_says_and_tells_how_long_stages_took() {
    let rig = Rig::start().await;
    let mut agent = rig.agent("a", None).await;
    rig.apply(vec![web("web", 1, &[1, 1])]).await;
    let snapshot = agent.update().await;
    let lagging = page(rig.running.admin_addr(), "/metrics").await;
    let line = "weir_controller_nodes_behind 1";
    assert!(lagging.lines().any(|one| one == line), "{lagging}");
    agent.converge(&snapshot).await;
    rig.node("a", |node| {
        node.converged_generation == node.wanted_generation
    })
    .await;
    let page = page(rig.running.admin_addr(), "/metrics").await;
    let (_, numbers) = page.split_once("\r\n\r\n").expect("a body");
    for stage in ["accept", "encode", "wire", "ack", "total"] {
        let name = "weir_network_programming_duration_seconds_count";
        let line = format!("{name}{{stage=\"{stage}\"}} 1");
        assert!(page.lines().any(|one| one == line), "{line}\n{page}");
    }
    for line in [
        "weir_controller_nodes_behind 0",
        "weir_controller_convergence_lag_seconds 0.0",
        "weir_controller_service_backends{service=\"web\"} 2",
        "weir_controller_backend_connections_total{service=\"web\",backend=\"10.0.1.1:80\"} 0",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}\n{page}");
    }
    let table = [METRICS, BACKEND_METRICS].concat();
    // what did not happen has no labels yet
    assert_eq!(
        problems(numbers, &table),
        [
            "weir_controller_repairs: is not on the page",
            "weir_controller_updates_rejected: is not on the page",
        ]
    );
}

#[tokio::test]
async fn what_is_common_to_nodes_is_encoded_once_for_each_distinct_view() {
    let rig = Rig::start().await;
    let labelled = |name: &str, rack: &str| wire::Resource {
        kind: Some(wire::resource::Kind::Node(wire::Node {
            name: name.to_owned(),
            labels: [("rack".to_owned(), rack.to_owned())].into(),
            ..wire::Node::default()
        })),
        ..wire::Resource::default()
    };
    let names = ["a", "b", "c", "d", "e"];
    let racks = ["3", "3", "3", "4", "4"];
    let mut all: Vec<_> = names
        .iter()
        .zip(racks)
        .map(|(name, rack)| labelled(name, rack))
        .collect();
    all.push(web("all", 1, &[1, 1]));
    all.push(service(wire::Service {
        name: "three".to_owned(),
        frontends: vec![wire::Frontend {
            address: "10.1.0.9".to_owned(),
            port: 80,
            protocol: wire::Protocol::Tcp.into(),
            ..wire::Frontend::default()
        }],
        node_selector: [("rack".to_owned(), "3".to_owned())].into(),
        ..wire::Service::default()
    }));
    rig.apply(all).await;
    let mut agents = Vec::new();
    for name in names {
        let mut agent = rig.agent(name, None).await;
        let snapshot = agent.update().await;
        agent.converge(&snapshot).await;
        rig.node(name, |node| {
            node.converged_generation == snapshot.generation
        })
        .await;
        agents.push(agent);
    }
    let encodings = async || {
        let page = page(rig.running.admin_addr(), "/metrics").await;
        let of = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a line")
                .trim()
                .parse::<u64>()
                .expect("a number")
        };
        let encodings = of("weir_controller_update_encodings_total ");
        (encodings, of("weir_controller_views "))
    };
    assert_eq!(encodings().await, (2, 2), "snapshots");
    for weight in 2..5 {
        rig.apply(vec![web("all", 1, &[1, weight])]).await;
        for agent in &mut agents {
            let update = agent.update().await;
            assert_eq!((update.upserted.len(), update.removed.len()), (1, 0));
            agent.converge(&update).await;
        }
        for name in names {
            rig.node(name, |node| {
                node.converged_generation == node.wanted_generation
            })
            .await;
        }
        assert_eq!(encodings().await, (2 + 2 * u64::from(weight - 1), 2));
    }
}

#[tokio::test]
async fn reports_are_read_to_their_end_and_bad_ones_named() {
    let rig = Rig::start().await;
    let mut client = NodeReportsClient::new(rig.channel().await);
    let report = |node: &str| wire::ReportRequest {
        node: node.to_owned(),
        interval_ms: 1_000,
        ..wire::ReportRequest::default()
    };
    let good = tokio_stream::iter(vec![report("a"), report("a")]);
    client.report(good).await.expect("the end");
    let bad = tokio_stream::iter(vec![report("A B")]);
    let refused = client.report(bad).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("report.node: "));
}

/// Asks both versions of reflection for the services and for the file of one of them.
macro_rules! reflects {
    ($version:ident, $rig:expr) => {{
        use tonic_reflection::pb::$version::ServerReflectionRequest;
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
        let ask = |question| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(question),
        };
        let questions = vec![
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol(
                "weir.v1.Operator".to_owned(),
            )),
        ];
        let mut client = ServerReflectionClient::new($rig.channel().await);
        let answers = client.server_reflection_info(tokio_stream::iter(questions));
        let mut answers = answers.await.expect("a stream").into_inner();
        let first = answers.message().await.expect("an answer").expect("one");
        let Some(MessageResponse::ListServicesResponse(list)) = first.message_response else {
            panic!("{first:?}");
        };
        let names: Vec<String> = list.service.into_iter().map(|one| one.name).collect();
        for name in [
            "weir.v1.Operator",
            "weir.v1.NodeSync",
            "weir.v1.NodeReports",
        ] {
            assert!(names.iter().any(|one| one == name), "{names:?}");
        }
        let second = answers.message().await.expect("an answer").expect("one");
        let Some(MessageResponse::FileDescriptorResponse(_)) = second.message_response else {
            panic!("{second:?}");
        };
    }};
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let rig = Rig::start().await;
    reflects!(v1, rig);
    reflects!(v1alpha, rig);
}
