use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Endpoint as Controller;
use tonic::{Request, Response, Status as Refusal, Streaming};
use weir_proto::convert::{Problems, increment_from_wire};
use weir_proto::model::{
    BackendKey, Endpoint, Forwarding, Frontend, ItemKey, Listener, Port, Protocol,
};
use weir_proto::wire::node_reports_server::{NodeReports, NodeReportsServer};

use super::*;
use crate::kernel::Kernel as _;
use crate::kernel::fake::Fake;
use crate::plan::{BackendSpec, Counters, Key, Object, ServiceSpec};
use crate::session::{Connect as _, Contact};

/// Longer than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(20);
const OFTEN: Duration = Duration::from_millis(5);

/// A controller that hands each report to the test, and ends a call when it is told to.
struct Reports(mpsc::Sender<wire::ReportRequest>);

#[tonic::async_trait]
impl NodeReports for Reports {
    async fn report(
        &self,
        request: Request<Streaming<wire::ReportRequest>>,
    ) -> Result<Response<wire::ReportResponse>, Refusal> {
        let mut reports = request.into_inner();
        while let Some(report) = reports.message().await? {
            let _ = self.0.send(report).await;
        }
        Ok(Response::new(wire::ReportResponse {}))
    }
}

struct Rig {
    kernel: Fake,
    reports: mpsc::Receiver<wire::ReportRequest>,
    link: watch::Sender<Link>,
    controller: Shared<Controller>,
}

impl Rig {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let (sender, reports) = mpsc::channel(1);
        let server = tonic::transport::Server::builder()
            .add_service(NodeReportsServer::new(Reports(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        let kernel = Fake::new();
        kernel.tamper(|table| {
            let service = Key::Item(ItemKey::VirtualService(backend().frontend));
            table.insert(service, Object::Service(ServiceSpec::default()));
            let key = Key::Item(ItemKey::Backend(backend()));
            let backend = BackendSpec {
                forwarding: Some(Forwarding::Masquerade),
                ..BackendSpec::default()
            };
            table.insert(key, Object::Backend(backend));
        });
        let controller = Controller::from_shared(url).expect("a URL");
        let (controller, connection) = Shared::new(controller);
        let link = watch::Sender::new(Link::default());
        let node = NodeName::new("a").expect("a name");
        let sampler = Sampler::new(node, kernel.meter(), OFTEN);
        tokio::spawn(sampler.run(link.subscribe(), connection));
        Self {
            kernel,
            reports,
            link,
            controller,
        }
    }

    /// Connects as a session does.
    async fn connect(&self) -> Channel {
        let channel = self.controller.connect().await.expect("a connection");
        self.set(true);
        channel
    }

    fn set(&self, connected: bool) {
        let contact = if connected {
            Contact::Now
        } else {
            Contact::Never
        };
        self.link.send_modify(|link| link.contact = contact);
    }

    fn count(&self, connections: u64) {
        let counters = Counters {
            connections,
            packets_in: connections,
            ..Counters::default()
        };
        self.kernel.count(backend(), counters);
    }

    async fn report(&mut self) -> (String, u64, u64) {
        let report = tokio::time::timeout(PATIENCE, self.reports.recv()).await;
        let report = report.expect("in time").expect("a report");
        assert!(report.interval_ms > 0);
        let [counters] = report.backends.try_into().expect("one backend");
        let mut problems = Problems::default();
        let increment = increment_from_wire(counters, "backends[0]", &mut problems);
        let increment = problems.finish(increment).expect("an increment");
        assert_eq!(increment.backend, backend());
        (report.node, increment.connections, increment.failed)
    }

    /// Counts until a first report comes: when the first look was is not to be seen.
    async fn first(&mut self) -> u64 {
        for connections in 1.. {
            self.count(connections);
            if !self.reports.is_empty() {
                return connections;
            }
            tokio::task::yield_now().await;
        }
        0
    }
}

fn backend() -> BackendKey {
    let port = Port::new(80).expect("a port");
    BackendKey {
        frontend: Frontend::Address(Listener {
            address: [10, 100, 0, 1].into(),
            port,
            protocol: Protocol::Tcp,
        }),
        endpoint: Endpoint {
            address: [10, 0, 0, 1].into(),
            port,
        },
    }
}

#[tokio::test]
async fn what_comes_is_told_while_there_is_a_stream() {
    let mut rig = Rig::start().await;
    let _session = rig.connect().await;
    let counted = rig.first().await;
    let (node, mut connections, mut failed) = rig.report().await;
    assert_eq!(node, "a");
    rig.count(counted + 7);
    // whatever the first look missed was there before it
    while connections < 7 {
        let (_, more, of_these) = rig.report().await;
        (connections, failed) = (connections + more, failed + of_these);
    }
    assert_eq!(connections, failed, "nobody answered any");
}

#[tokio::test]
async fn a_session_that_connects_again_takes_the_reports_with_it() {
    let mut rig = Rig::start().await;
    let first = rig.connect().await;
    rig.first().await;
    rig.report().await;
    rig.set(false);
    drop(first);
    let _second = rig.connect().await;
    rig.count(1_000_000);
    loop {
        let (_, connections, _) = rig.report().await;
        if connections > 100_000 {
            break;
        }
    }
}

#[tokio::test]
async fn it_ends_with_its_session_though_that_had_a_stream_to_the_last() {
    let link = watch::Sender::new(Link::default());
    let node = NodeName::new("a").expect("a name");
    let (_, connection) = Shared::new(());
    let sampler = Sampler::new(node, Fake::new().meter(), OFTEN);
    let sampling = tokio::spawn(sampler.run(link.subscribe(), connection));
    link.send_modify(|link| link.contact = Contact::Now);
    tokio::task::yield_now().await;
    drop(link);
    let ended = tokio::time::timeout(PATIENCE, sampling).await;
    ended.expect("in time").expect("without a panic");
}
