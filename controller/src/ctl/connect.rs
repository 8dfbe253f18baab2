//! The connection to the controller.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status, Streaming};
use weir_proto::checkup::skew_ms;
use weir_proto::tls::{Call, CallError, Connector, Flags, Part, Tls};
use weir_proto::wire;
use weir_proto::wire::operator_client::OperatorClient;

use super::args::To;
use super::now;
use super::outcome::{Trouble, plain};
use super::render::human;
use super::trace::Carrier;

/// The largest answer that is read: the state of 1,000 nodes with 100 failures each is some 20 MB.
const LARGEST_ANSWER: usize = 64 << 20;
/// Resources asked for at a time; the most a page can hold.
const PAGE: u32 = 1000;

/// A controller that can be called.
pub(crate) struct Controller {
    pub(crate) client: OperatorClient<InterceptedService<Channel, Carrier>>,
    /// Unix milliseconds when its certificate expires; none: it is called without TLS.
    pub(crate) certificate_expires_unix_ms: Option<u64>,
    /// Unix milliseconds when one's own certificate expires; none: called without TLS.
    pub(crate) own_expires_unix_ms: Option<u64>,
    url: String,
    timeout: Duration,
}

/// What is there of some resources that were named.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) resources: Vec<wire::Resource>,
    pub(crate) missing: Vec<wire::ResourceRef>,
}

impl Controller {
    /// Connects.
    pub(crate) async fn connect(to: &To) -> Result<Self> {
        let To {
            controller: url,
            tls_cert,
            tls_key,
            tls_ca,
            insecure,
            timeout,
        } = to;
        let flags = Flags {
            url,
            certificate: tls_cert.clone(),
            key: tls_key.clone(),
            authority: tls_ca.clone(),
            insecure: *insecure,
        };
        let tls = match flags.check() {
            Ok(Call::Plaintext) => None,
            Ok(Call::Tls(files)) => Some(Tls::load(files, Part::Operator)?),
            Err(bad) => {
                let bad: Vec<String> = bad.iter().map(ToString::to_string).collect();
                return Err(Trouble::Usage(bad.join("\n       ")).into());
            }
        };
        let own = tls.as_ref().map(|tls| tls.own()).transpose()?;
        let endpoint = Endpoint::from_shared(url.clone())?.connect_timeout(*timeout);
        let connector = Connector::new(endpoint, tls);
        let channel = match tokio::time::timeout(*timeout, connector.connect()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(unconnected(url, &error)),
            Err(_) => return Err(unreachable(url, &silence(*timeout))),
        };
        Ok(Self {
            client: OperatorClient::with_interceptor(channel, Carrier)
                .max_decoding_message_size(LARGEST_ANSWER),
            certificate_expires_unix_ms: connector.theirs().map(|shown| shown.expires_unix_ms),
            own_expires_unix_ms: own.map(|own| own.expires_unix_ms),
            url: url.clone(),
            timeout: *timeout,
        })
    }

    /// Waits for the answer to a call, at most as long as the operator wants to.
    pub(crate) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T> {
        self.attempt(call)
            .await
            .map_err(|error| self.refusal(&error))
    }

    /// As [`Self::answer`], for callers that have words of their own for some refusals.
    pub(crate) async fn attempt<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(silence(self.timeout))),
        }
    }

    /// As [`Self::answer`], with by how many milliseconds the controller's clock is ahead; none: it does not tell.
    pub(crate) async fn timed<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<(T, Option<i64>)> {
        let began = now();
        let answer = match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded(silence(self.timeout))),
        };
        let answer = answer.map_err(|error| self.refusal(&error))?;
        let date = answer.metadata().get("date");
        let date = date.and_then(|date| date.to_str().ok());
        let skew = date.and_then(|date| skew_ms(date, began, now()));
        Ok((answer.into_inner(), skew))
    }

    /// Puts a refusal into words.
    pub(crate) fn refusal(&self, status: &Status) -> anyhow::Error {
        let url = &self.url;
        match (status.source(), status.code()) {
            (Some(transport), _) => broken(url, transport),
            (None, Code::DeadlineExceeded) => {
                anyhow!("the controller at {url} is too slow: {}", status.message())
            }
            (None, code) => anyhow!("the controller says {}: {}", name(code), status.message()),
        }
    }

    /// Looks for resources by name: those that are there, and the names of those that are not.
    pub(crate) async fn find(&self, refs: &[wire::ResourceRef]) -> Result<Found> {
        let mut client = self.client.clone();
        let mut found = Found::default();
        for named in refs {
            let request = wire::GetRequest {
                r#ref: Some(named.clone()),
            };
            match self.attempt(client.get(request)).await {
                Ok(resource) => found.resources.push(resource),
                Err(status) if status.code() == Code::NotFound => {
                    found.missing.push(named.clone());
                }
                Err(status) => return Err(self.refusal(&status)),
            }
        }
        Ok(found)
    }

    /// Lists every resource of a kind, page by page.
    pub(crate) async fn list(&self, kind: wire::Kind) -> Result<Vec<wire::Resource>> {
        Ok(self.list_at(kind).await?.0)
    }

    /// As [`Self::list`], with the revision after which changes may be missing.
    pub(crate) async fn list_at(&self, kind: wire::Kind) -> Result<(Vec<wire::Resource>, u64)> {
        let mut client = self.client.clone();
        let mut resources = Vec::new();
        let mut from = None;
        let mut page_token = String::new();
        loop {
            let request = wire::ListRequest {
                kind: kind.into(),
                page_size: PAGE,
                page_token,
            };
            let page = self.answer(client.list(request)).await?;
            resources.extend(page.resources);
            let from = *from.get_or_insert(page.revision);
            if page.next_page_token.is_empty() {
                return Ok((resources, from));
            }
            page_token = page.next_page_token;
        }
    }

    /// Gives what is drained, and every drain under way.
    pub(crate) async fn drains(&self) -> Result<Vec<wire::DrainState>> {
        let mut client = self.client.clone();
        let listed = client.list_drains(wire::ListDrainsRequest {});
        Ok(self.answer(listed).await?.drains)
    }

    /// Gives events, which is asked for without watching.
    pub(crate) async fn events(&self, request: wire::EventsRequest) -> Result<Vec<wire::Event>> {
        let mut client = self.client.clone();
        let mut stream = self.answer(client.events(request)).await?;
        let mut events = Vec::new();
        while let Some(answer) = self.next(&mut stream).await? {
            events.extend(answer.events);
        }
        Ok(events)
    }

    /// Gives what passes through some services and their backends, those of them that are there, or through all; nothing where
    /// the controller does not count.
    pub(crate) async fn traffic(&self, services: &[String]) -> Result<wire::TrafficResponse> {
        let mut all = wire::TrafficResponse::default();
        // one by one: what is not there must not hide the others
        let asked: Vec<Vec<String>> = match services {
            [] => vec![Vec::new()],
            named => named.iter().map(|name| vec![name.clone()]).collect(),
        };
        for services in asked {
            let mut client = self.client.clone();
            let request = wire::TrafficRequest {
                services,
                backends: true,
                ..wire::TrafficRequest::default()
            };
            let mut told = match self.attempt(client.traffic(request)).await {
                Ok(told) => told,
                Err(status) if status.code() == Code::NotFound => continue,
                Err(status) if status.code() == Code::Unimplemented => break,
                Err(status) => return Err(self.refusal(&status)),
            };
            let answer = self.next(&mut told).await?.unwrap_or_default();
            all.services.extend(answer.services);
            all.backends.extend(answer.backends);
        }
        Ok(all)
    }

    /// Waits for an answer of a stream that is due at once; none: the stream ended.
    pub(crate) async fn next<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>> {
        self.answer(async { stream.message().await.map(Response::new) })
            .await
    }

    /// Says that an answer that was due did not come.
    pub(crate) fn silent_for(&self, waited: Duration) -> anyhow::Error {
        self.refusal(&Status::deadline_exceeded(silence(waited)))
    }

    /// Says that a stream ended though nobody asked for that.
    pub(crate) fn ended(&self) -> anyhow::Error {
        anyhow!("the controller at {} ended the call", self.url)
    }

    /// Gives the state of nodes as it is now; of all when none is named.
    pub(crate) async fn node_states(&self, names: Vec<String>) -> Result<Vec<wire::NodeState>> {
        let states = self.attempt_node_states(names).await;
        states.map_err(|error| self.refusal(&error))
    }

    /// As [`Self::node_states`], for callers that have words of their own for some refusals.
    pub(crate) async fn attempt_node_states(
        &self,
        names: Vec<String>,
    ) -> Result<Vec<wire::NodeState>, Status> {
        let mut client = self.client.clone();
        let request = wire::NodeStatusRequest {
            names,
            watch: false,
        };
        let mut stream = self.attempt(client.node_status(request)).await?;
        let answer = self
            .attempt(async { stream.message().await.map(Response::new) })
            .await?;
        Ok(answer.map_or_else(Vec::new, |status| status.nodes))
    }
}

fn silence(timeout: Duration) -> String {
    format!("no answer within {}", human(timeout))
}

/// Says why no connection came about.
fn unconnected(url: &str, error: &tonic::transport::Error) -> anyhow::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        // whom one talks to, rather than whether anybody is there
        if let Some(
            refused @ (CallError::Theirs(_) | CallError::Ours { .. } | CallError::Plaintext),
        ) = error.downcast_ref()
        {
            return anyhow!("the controller at {url} cannot be called: {refused}");
        }
        cause = error.source();
    }
    unreachable(url, &plain(error))
}

/// Says why a call was not answered over a connection that was there.
fn broken(url: &str, transport: &(dyn std::error::Error + 'static)) -> anyhow::Error {
    let cause = plain(transport);
    // what TLS says to plaintext, and HTTP/1 to HTTP/2
    if url.starts_with("http://") && cause.contains("frame with invalid size") {
        return anyhow!(
            "cannot reach the controller at {url}: what listens there speaks no plaintext HTTP/2; where it has \
             certificates, call it by https://, with --tls-cert, --tls-key and --tls-ca"
        );
    }
    unreachable(url, &cause)
}

fn unreachable(url: &str, cause: &str) -> anyhow::Error {
    anyhow!(
        "cannot reach the controller at {url}: {cause}; check that weir-controller runs there, \
         and that --controller or WEIR_CONTROLLER names it"
    )
}

/// Gives a code its name in gRPC.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
