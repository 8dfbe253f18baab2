use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus as Told;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::admin::{Sources, serve};
use crate::plan::Numbers;
use crate::reconciler::Status;

const MOST: Duration = Duration::from_secs(300);

#[tokio::test(start_paused = true)]
async fn a_state_is_stale_when_the_controller_was_not_heard_for_too_long() {
    let started = Instant::now();
    let staleness = Staleness {
        started,
        stale_after: Some(MOST),
    };
    let end = started + Duration::from_secs(1_000);
    let second = Duration::from_secs(1);
    for (contact, at, stale, age_s) in [
        (Contact::Never, started, false, 0),
        (Contact::Never, started + MOST - second, false, 299),
        (Contact::Never, started + MOST, true, 300),
        (Contact::Now, end + MOST, false, 0),
        (Contact::Until(end), end, false, 0),
        (Contact::Until(end), end + MOST - second, false, 299),
        (Contact::Until(end), end + MOST + second, true, 301),
    ] {
        let (judged, next) = staleness.judge(contact, at);
        assert_eq!(judged, stale, "{contact:?} at {at:?}");
        assert_eq!(contact.age(started, at).as_secs(), age_s);
        let waits = !stale && contact != Contact::Now;
        assert_eq!(
            next,
            waits.then(|| contact.silent_since(started).expect("silent") + MOST)
        );
    }
    let never = Staleness {
        started,
        stale_after: None,
    };
    assert_eq!(never.judge(Contact::Never, end + MOST), (false, None));
}

/// An agent's admin pages, with its session in the hands of the test.
struct Rig {
    link: watch::Sender<Link>,
    /// Nobody else has one.
    _status: watch::Sender<Status>,
    client: HealthClient<Channel>,
    address: std::net::SocketAddr,
}

impl Rig {
    async fn start(stale_after: Option<Duration>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listen");
        let address = listener.local_addr().expect("address");
        let (link, link_watch) = watch::channel(Link::default());
        let (status, status_watch) = watch::channel(Status {
            settled: true,
            ..Status::default()
        });
        let sources = Sources {
            stages: crate::admin::Stages::default(),
            status: status_watch,
            link: link_watch,
            degraded: watch::channel(None).1,
            numbers: watch::channel(Numbers::default()).1,
            staleness: Staleness {
                started: Instant::now(),
                stale_after,
            },
        };
        tokio::spawn(serve(listener, sources));
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
        let channel = endpoint.expect("url").connect().await.expect("connected");
        Self {
            link,
            _status: status,
            client: HealthClient::new(channel),
            address,
        }
    }

    fn contact(&self, contact: Contact) {
        self.link.send_modify(|link| link.contact = contact);
    }

    /// What is told of both names, which is one thing.
    async fn told(&mut self) -> Told {
        let mut told = Vec::new();
        for service in SERVICES {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let answer = self.client.check(request).await.expect("an answer");
            told.push(answer.into_inner().status());
        }
        assert_eq!(told[0], told[1]);
        told[0]
    }

    /// Waits until `wanted` is told.
    async fn must_tell(&mut self, wanted: Told) {
        let until = Instant::now() + Duration::from_secs(20);
        let mut told = self.told().await;
        while told != wanted {
            assert!(Instant::now() < until, "{told:?} is told, not {wanted:?}");
            tokio::task::yield_now().await;
            told = self.told().await;
        }
    }

    /// What a page says over HTTP/1.1 on the same port.
    async fn page(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }
}

#[tokio::test]
async fn an_agent_that_hears_nothing_is_not_serving_by_grpc_and_ready_all_the_same() {
    let mut rig = Rig::start(Some(Duration::from_secs(300))).await;
    rig.must_tell(Told::Serving).await;
    rig.contact(Contact::Now);
    rig.must_tell(Told::Serving).await;
    let long_ago = Instant::now().checked_sub(Duration::from_secs(301));
    let long_ago = long_ago.expect("a time before this machine was started");
    rig.contact(Contact::Until(long_ago));
    rig.must_tell(Told::NotServing).await;
    assert!(rig.page("/readyz").await.ends_with("ready\n"));
    assert!(rig.page("/livez").await.ends_with("alive\n"));
    assert!(rig.page("/none").await.starts_with("HTTP/1.1 404"));
    let metrics = rig.page("/metrics").await;
    assert!(
        metrics.contains("\nweir_state_age_seconds 301"),
        "{metrics}"
    );
    rig.contact(Contact::Now);
    rig.must_tell(Told::Serving).await;
    assert!(
        rig.page("/metrics")
            .await
            .contains("\nweir_state_age_seconds 0")
    );
}

#[tokio::test(start_paused = true)]
async fn health_turns_by_itself_when_time_passes() {
    let (link, watched) = watch::channel(Link::default());
    let staleness = Staleness {
        started: Instant::now(),
        stale_after: Some(MOST),
    };
    let (server, keep) = health(staleness, watched);
    tokio::spawn(keep);
    let told = async || {
        use tonic::Request;
        // what keeps it true runs first
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut client = HealthClient::new(server.clone());
        let answer = client.check(Request::new(HealthCheckRequest::default()));
        answer.await.expect("an answer").into_inner().status()
    };
    assert_eq!(told().await, Told::Serving);
    tokio::time::advance(MOST - Duration::from_secs(1)).await;
    assert_eq!(told().await, Told::Serving);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(told().await, Told::NotServing);
    link.send_modify(|link| link.contact = Contact::Now);
    assert_eq!(told().await, Told::Serving);
    tokio::time::advance(MOST * 9).await;
    assert_eq!(told().await, Told::Serving);
    link.send_modify(|link| link.contact = Contact::Until(Instant::now()));
    assert_eq!(told().await, Told::Serving);
    tokio::time::advance(MOST).await;
    assert_eq!(told().await, Told::NotServing);
}
