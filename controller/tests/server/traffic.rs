//! What passes through services, from the nodes' reports to who asks.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use weir_proto::wire;
use weir_proto::wire::node_reports_client::NodeReportsClient;

use crate::rig::{Rig, web};

/// What takes longer than this does not happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stream of reports of a node.
struct Reports(mpsc::Sender<wire::ReportRequest>);

impl Reports {
    async fn open(rig: &Rig) -> Self {
        let (reports, sent) = mpsc::channel(4);
        let mut client = NodeReportsClient::new(rig.channel().await);
        tokio::spawn(async move { client.report(ReceiverStream::new(sent)).await });
        Self(reports)
    }

    async fn say(&self, report: wire::ReportRequest) {
        self.0.send(report).await.expect("the stream is open");
    }
}

/// What passed through backend `last` of the service at VIP 1.
fn counters(last: u8, connections: u64) -> wire::BackendCounters {
    wire::BackendCounters {
        backend: Some(wire::item_key::Backend {
            frontend: Some(wire::Frontend {
                address: "10.1.0.1".to_owned(),
                port: 80,
                protocol: wire::Protocol::Tcp.into(),
                ..wire::Frontend::default()
            }),
            address: format!("10.0.1.{last}"),
            port: 80,
        }),
        connections,
        packets_in: 4 * connections,
        bytes_in: 400 * connections,
        active_connections: 3,
        silent: last == 2,
        ..wire::BackendCounters::default()
    }
}

fn report(node: &str, backends: Vec<wire::BackendCounters>) -> wire::ReportRequest {
    wire::ReportRequest {
        node: node.to_owned(),
        interval_ms: 5_000,
        backends,
        conntrack: Some(wire::Conntrack {
            entries: 7,
            max_entries: 100,
            dropped: 2,
            ..wire::Conntrack::default()
        }),
        vips: vec![wire::VipConnections {
            address: "10.1.0.1".to_owned(),
            protocol: wire::Protocol::Tcp.into(),
            state: "ESTABLISHED".to_owned(),
            connections: 6,
        }],
    }
}

async fn ask(rig: &Rig, request: wire::TrafficRequest) -> Result<wire::TrafficResponse, Status> {
    let mut told = rig.operator().await.traffic(request).await?.into_inner();
    let first = told.message().await?;
    Ok(first.expect("an answer"))
}

#[tokio::test]
async fn what_nodes_report_is_told_for_services_backends_and_nodes() {
    let rig = Rig::start().await;
    rig.apply(vec![web("idle", 2, &[1]), web("web", 1, &[1, 1, 1])])
        .await;
    let _agents = (rig.agent("a", None).await, rig.agent("b", None).await);
    let (a, b) = (Reports::open(&rig).await, Reports::open(&rig).await);
    a.say(report("a", vec![counters(1, 50), counters(2, 10)]))
        .await;
    b.say(report("b", vec![counters(1, 100)])).await;

    let request = wire::TrafficRequest {
        backends: true,
        nodes: true,
        watch: true,
        interval_ms: 500,
        ..wire::TrafficRequest::default()
    };
    let told = rig.operator().await.traffic(request).await;
    let mut told = told.expect("a stream").into_inner();
    let mut last = None;
    let whole = timeout(PATIENCE, async {
        loop {
            let answer = told.message().await.expect("no end").expect("an answer");
            let counted: u64 = answer
                .nodes
                .iter()
                .map(|node| connections(&node.counters))
                .sum();
            last = Some(answer.clone());
            if counted == 160 {
                return answer;
            }
        }
    });
    let whole = match whole.await {
        Ok(whole) => whole,
        Err(_) => panic!("{last:#?}"),
    };

    let services: Vec<_> = whole
        .services
        .iter()
        .map(|service| {
            (
                service.name.as_str(),
                connections(&service.counters),
                service.backend_count,
                service.silent_backend_count,
                service.imbalance,
            )
        })
        .collect();
    assert_eq!(
        services,
        [("idle", 0, 1, 0, 0.0), ("web", 160, 3, 1, 2.8125)]
    );
    let backends: Vec<_> = whole
        .backends
        .iter()
        .map(|backend| {
            (
                backend.service.as_str(),
                backend.address.as_str(),
                connections(&backend.counters),
                backend.silent,
            )
        })
        .collect();
    assert_eq!(
        backends,
        [
            ("idle", "10.0.2.1", 0, false),
            ("web", "10.0.1.1", 150, false),
            ("web", "10.0.1.2", 10, true),
            ("web", "10.0.1.3", 0, false),
        ]
    );
    let first = whole.backends.get(1).and_then(|it| it.counters);
    assert_eq!(
        first.expect("counters"),
        wire::Counters {
            connections: 150,
            packets_in: 600,
            bytes_in: 60_000,
            active_connections: 6,
            connections_per_second: 30.0,
            packets_in_per_second: 120.0,
            bytes_in_per_second: 12_000.0,
            ..wire::Counters::default()
        }
    );
    let node = whole.nodes.first().expect("a node");
    assert_eq!((node.name.as_str(), connections(&node.counters)), ("a", 60));
    let sent = report("a", Vec::new());
    assert_eq!(
        (node.conntrack, node.vips.clone()),
        (sent.conntrack, sent.vips)
    );

    // a service that goes ends an answer that names it, and no other
    let named = wire::TrafficRequest {
        services: vec!["web".to_owned()],
        watch: true,
        interval_ms: 500,
        ..wire::TrafficRequest::default()
    };
    let one = ask(&rig, named.clone()).await.expect("an answer");
    let names: Vec<_> = one.services.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        (names, one.backends.len(), one.nodes.len()),
        (vec!["web"], 0, 0)
    );
    let told = rig.operator().await.traffic(named.clone()).await;
    let mut told = told.expect("a stream").into_inner();
    let delete = wire::DeleteRequest {
        refs: vec![crate::rig::reference(wire::Kind::Service, "web")],
        ..wire::DeleteRequest::default()
    };
    rig.operator().await.delete(delete).await.expect("deleted");
    let end = timeout(PATIENCE, async {
        loop {
            match told.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ends with a reason"),
                Err(status) => return status,
            }
        }
    });
    assert_eq!(end.await.expect("an end").code(), Code::NotFound);
}

fn connections(counters: &Option<wire::Counters>) -> u64 {
    counters.as_ref().map_or(0, |counters| counters.connections)
}

#[tokio::test]
async fn what_cannot_be_asked_of_traffic_is_named() {
    let rig = Rig::start().await;
    for (request, code, reason, message) in [
        (
            wire::TrafficRequest {
                services: vec!["web".to_owned()],
                ..wire::TrafficRequest::default()
            },
            Code::NotFound,
            "RESOURCE_NOT_FOUND",
            "not found: services[web]",
        ),
        (
            wire::TrafficRequest {
                services: vec!["W".to_owned()],
                interval_ms: 1_000,
                ..wire::TrafficRequest::default()
            },
            Code::InvalidArgument,
            "FIELDS_INVALID",
            "services[0]: \"W\" is not a name (1-63 characters of a-z, 0-9, \"-\" and \".\", with a letter or digit at \
             both ends)\ninterval_ms: only with watch",
        ),
        (
            wire::TrafficRequest {
                watch: true,
                interval_ms: 499,
                ..wire::TrafficRequest::default()
            },
            Code::InvalidArgument,
            "FIELDS_INVALID",
            "interval_ms: 499 is not in 500-60000",
        ),
    ] {
        let status = ask(&rig, request).await.expect_err("refused");
        let info = status.get_details_error_info().expect("a reason");
        assert_eq!(
            (status.code(), info.reason.as_str(), status.message()),
            (code, reason, message)
        );
    }
}
