use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint as Controller};
use tonic::{Request, Response, Status as Refusal, Streaming};
use weir_proto::convert::{
    Problems, conntrack_from_wire, increment_from_wire, vip_connections_from_wire,
};
use weir_proto::model::{
    BackendKey, ConnectionState, Conntrack, Endpoint, Forwarding, Frontend, ItemKey, Listener,
    Port, Protocol, VipConnections,
};
use weir_proto::wire::node_reports_server::{NodeReports, NodeReportsServer};

use super::*;
use crate::kernel::Kernel as _;
use crate::kernel::fake::Fake;
use crate::plan::{BackendSpec, Counters, Key, Object, Passed, ServiceSpec, Total};
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
    numbers: watch::Receiver<Numbers>,
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
        let numbers = sampler.numbers();
        tokio::spawn(sampler.run(link.subscribe(), connection));
        Self {
            kernel,
            reports,
            link,
            controller,
            numbers,
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
        self.kernel.count(backend(), opened(connections));
    }

    async fn any(&mut self) -> wire::ReportRequest {
        let report = tokio::time::timeout(PATIENCE, self.reports.recv()).await;
        let report = report.expect("in time").expect("a report");
        assert!(report.interval_ms > 0);
        report
    }

    /// The next report of a backend.
    async fn report(&mut self) -> (String, u64, u64) {
        let report = loop {
            let report = self.any().await;
            if !report.backends.is_empty() {
                break report;
            }
        };
        let [counters] = report.backends.try_into().expect("one backend");
        let mut problems = Problems::default();
        let increment = increment_from_wire(counters, "backends[0]", &mut problems);
        let increment = problems.finish(increment).expect("an increment");
        assert_eq!(increment.backend, backend());
        (report.node, increment.connections, increment.failed)
    }

    /// Waits until a look is over that began after this, at the latest the second one.
    async fn looked(&mut self) {
        let before = self.numbers.borrow().looks.count();
        let over = |numbers: &Numbers| numbers.looks.count() > before + 1;
        let waited = tokio::time::timeout(PATIENCE, self.numbers.wait_for(over)).await;
        waited.expect("in time").expect("it runs");
    }
}

/// So many connections that nobody answered.
fn opened(connections: u64) -> Counters {
    Counters {
        passed: Passed {
            connections,
            packets_in: connections,
            ..Passed::default()
        },
        ..Counters::default()
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
async fn what_comes_is_told_and_what_came_before_a_stream_with_its_first() {
    let mut rig = Rig::start().await;
    rig.looked().await;
    rig.count(7);
    rig.looked().await;
    rig.count(8);
    rig.looked().await;
    let _session = rig.connect().await;
    assert_eq!(rig.report().await, ("a".to_owned(), 8, 8));
    rig.count(20);
    let (mut connections, mut failed) = (0, 0);
    while connections < 12 {
        let (_, more, of_these) = rig.report().await;
        (connections, failed) = (connections + more, failed + of_these);
    }
    assert_eq!((connections, failed), (12, 12), "nobody answered any");
}

#[tokio::test]
async fn a_session_that_connects_again_takes_the_reports_with_it() {
    let mut rig = Rig::start().await;
    rig.looked().await;
    let first = rig.connect().await;
    rig.count(1);
    assert_eq!(rig.report().await.1, 1);
    rig.set(false);
    drop(first);
    rig.count(1_000_001);
    let _second = rig.connect().await;
    assert_eq!(rig.report().await.1, 1_000_000);
}

#[tokio::test]
async fn connection_tracking_is_told_when_it_changes() {
    let mut rig = Rig::start().await;
    let holding = |entries, dropped| Conntrack {
        entries,
        max_entries: 1_000,
        dropped,
        insert_failed: 0,
        early_dropped: 0,
    };
    let vip = VipConnections {
        address: [10, 100, 0, 1].into(),
        protocol: Protocol::Tcp,
        state: ConnectionState::SynSent,
        connections: 9,
    };
    rig.kernel.track(holding(9, 5));
    let key = (vip.address, vip.protocol, vip.state);
    rig.kernel.track_vips([(key, vip.connections)].into());
    rig.looked().await;
    let _session = rig.connect().await;
    let (mut conntrack, mut vips) = (None, Vec::new());
    while conntrack.is_none() || vips.is_empty() {
        let report = rig.any().await;
        conntrack = conntrack.or(report.conntrack.map(conntrack_from_wire));
        vips.extend(report.vips);
    }
    assert_eq!(
        conntrack,
        Some(holding(9, 0)),
        "what was lost before it ran"
    );
    let [told] = &vips[..] else {
        panic!("{vips:?}");
    };
    let mut problems = Problems::default();
    let told = vip_connections_from_wire(told, "vips[0]", &mut problems);
    assert_eq!(problems.finish(told), Ok(vip));
    rig.kernel.track(holding(10, 7));
    let report = rig.any().await;
    let told = report.conntrack.map(conntrack_from_wire);
    assert_eq!(told, Some(holding(10, 2)));
}

#[tokio::test]
async fn an_agent_that_starts_again_tells_nothing_twice_and_its_totals_go_on() {
    let rig = Rig::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let node = NodeName::new("a").expect("a name");
    let run = async |connections: [u64; 2]| {
        let (journal, remembered) = Journal::open(dir.path(), "boot").expect("a journal");
        rig.count(connections[0]);
        let sampler = Sampler::new(node.clone(), rig.kernel.meter(), OFTEN);
        let sampler = sampler.remembering(journal, remembered.totals, false);
        let mut numbers = sampler.numbers();
        let (link, (_, connection)) = (watch::Sender::new(Link::default()), Shared::new(()));
        let sampling = tokio::spawn(sampler.run(link.subscribe(), connection));
        let looks = async |numbers: &mut watch::Receiver<Numbers>, connections: u64| {
            let seen = |numbers: &Numbers| {
                let mut passed = numbers.totals.passed();
                passed.any(|(_, total)| total.counted.connections == connections)
            };
            let waited = tokio::time::timeout(PATIENCE, numbers.wait_for(seen)).await;
            waited.expect("in time").expect("it runs").clone()
        };
        let first = looks(&mut numbers, connections[0]).await;
        rig.count(connections[1]);
        let last = looks(&mut numbers, connections[1]).await;
        drop(link);
        let ended = tokio::time::timeout(PATIENCE, sampling).await;
        ended.expect("in time").expect("without a panic");
        let mut first = first;
        let total = |numbers: &Numbers| {
            let totals: Vec<Total> = numbers.totals.passed().map(|(_, total)| *total).collect();
            let [total] = totals[..] else {
                panic!("{totals:?}");
            };
            (total.passed().connections, total.failed)
        };
        let told: u64 = first
            .tell(9)
            .increments
            .iter()
            .map(|one| one.connections)
            .sum();
        (told, total(&first), total(&last))
    };
    assert_eq!(run([500, 510]).await, (0, (500, 0), (510, 10)));
    assert_eq!(run([515, 517]).await, (0, (515, 10), (517, 12)));
    // the kernel began anew meanwhile
    assert_eq!(run([3, 4]).await, (0, (520, 12), (521, 13)));
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
