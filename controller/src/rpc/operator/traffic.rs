//! What passes through services.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use weir_proto::convert::{Problems, conntrack_to_wire, vip_connections_to_wire};
use weir_proto::machine::now_unix_ms;
use weir_proto::model::{Refused, ServiceName};
use weir_proto::wire;

use super::Answers;
use crate::desired::{
    BackendPassing, NodePassing, Passing, ServicePassing, Sum, Totals, TrafficQuery,
};
use crate::rpc::ending::{Ending, last_word};
use crate::rpc::status::{invalid, refusal};
use crate::traffic::Traffic;

/// Between two answers, in milliseconds, as traffic.proto says.
const EVERY: u32 = 2_000;
const LEAST: u32 = 500;
const MOST: u32 = 60_000;
/// How many answers wait for their reader: one that is late is not told what was.
const ANSWERS: usize = 1;

/// What passes, told once, or again and again.
struct Telling {
    traffic: Traffic,
    query: TrafficQuery,
    /// None: once.
    every: Option<Duration>,
}

type Told = mpsc::Sender<Result<wire::TrafficResponse, Status>>;

/// Tells what passes.
pub(super) async fn traffic(
    traffic: &Traffic,
    stopping: &watch::Receiver<bool>,
    request: Request<wire::TrafficRequest>,
) -> Result<Response<Answers<wire::TrafficResponse>>, Status> {
    let ending = Ending::of(stopping, &request);
    let (query, every) = read(request.into_inner())?;
    let first = traffic.passing(query.clone()).await.map_err(refusal)?;
    let (answers, stream) = mpsc::channel(ANSWERS);
    let telling = Telling {
        traffic: traffic.clone(),
        query,
        every,
    };
    tokio::spawn(telling.run(first, answers, ending));
    Ok(Response::new(ReceiverStream::new(stream)))
}

/// Reads what is asked, and how often.
fn read(request: wire::TrafficRequest) -> Result<(TrafficQuery, Option<Duration>), Status> {
    let wire::TrafficRequest {
        services,
        backends,
        nodes,
        watch,
        interval_ms,
    } = request;
    let mut problems = Problems::default();
    let mut names = Vec::with_capacity(services.len());
    for (place, name) in services.iter().enumerate() {
        names.extend(problems.take(format!("services[{place}]"), ServiceName::new(name)));
    }
    let every = match (watch, interval_ms) {
        (false, 0) => None,
        (true, 0) => Some(EVERY),
        (true, LEAST..=MOST) => Some(interval_ms),
        (true, _) => {
            problems.add("interval_ms", Refused::OutOf(interval_ms, LEAST, MOST));
            None
        }
        (false, _) => {
            problems.add("interval_ms", Refused::OnlyWith("watch"));
            None
        }
    };
    let query = TrafficQuery {
        services: names,
        backends,
        nodes,
    };
    let query = problems.finish(Some(query));
    let query = query.map_err(|errors| invalid(&errors))?;
    Ok((
        query,
        every.map(|every| Duration::from_millis(every.into())),
    ))
}

impl Telling {
    async fn run(self, first: Passing, answers: Told, ending: Ending) {
        let end = tokio::select! {
            end = self.tell(first, &answers) => end,
            status = ending.comes() => Some(status),
            () = answers.closed() => None,
        };
        if let Some(end) = end {
            last_word(&answers, end).await;
        }
    }

    /// Gives why it ended; none: nobody listens, or there is no more to tell.
    async fn tell(&self, first: Passing, answers: &Told) -> Option<Status> {
        if answers.send(Ok(response(first))).await.is_err() {
            return None;
        }
        let mut ticks = interval(self.every?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // the first comes at once, and was just told
        ticks.tick().await;
        loop {
            ticks.tick().await;
            // room first, so that what is told is of when it is read
            let room = answers.reserve().await.ok()?;
            match self.traffic.passing(self.query.clone()).await {
                Ok(now) => room.send(Ok(response(now))),
                Err(refused) => return Some(refusal(refused)),
            }
        }
    }
}

fn response(passing: Passing) -> wire::TrafficResponse {
    let Passing {
        fleet: _,
        services,
        backends,
        nodes,
    } = passing;
    wire::TrafficResponse {
        at_unix_ms: now_unix_ms(),
        services: services.into_iter().map(service).collect(),
        backends: backends.into_iter().map(backend).collect(),
        nodes: nodes.into_iter().map(node).collect(),
    }
}

fn service(passing: ServicePassing) -> wire::ServiceTraffic {
    let ServicePassing {
        name,
        sum,
        backends,
        silent,
        imbalance,
    } = passing;
    wire::ServiceTraffic {
        name: name.to_string(),
        counters: Some(counters(&sum)),
        backend_count: u32::try_from(backends).unwrap_or(u32::MAX),
        silent_backend_count: u32::try_from(silent).unwrap_or(u32::MAX),
        imbalance,
    }
}

fn backend(passing: BackendPassing) -> wire::BackendTraffic {
    let BackendPassing {
        service,
        endpoint,
        sum,
    } = passing;
    wire::BackendTraffic {
        service: service.to_string(),
        address: endpoint.address.to_string(),
        port: endpoint.port.get().into(),
        counters: Some(counters(&sum)),
        silent: sum.now.silent > 0,
    }
}

fn node(passing: NodePassing) -> wire::NodeTraffic {
    let NodePassing {
        name,
        sum,
        conntrack,
        vips,
    } = passing;
    wire::NodeTraffic {
        name: name.to_string(),
        counters: Some(counters(&sum)),
        conntrack: conntrack.as_ref().map(conntrack_to_wire),
        vips: vips.iter().map(vip_connections_to_wire).collect(),
    }
}

fn counters(sum: &Sum) -> wire::Counters {
    let Sum { total, now } = sum;
    let Totals {
        connections,
        failed,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
    } = *total;
    wire::Counters {
        connections,
        failed_connections: failed,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        active_connections: now.active,
        inactive_connections: now.inactive,
        connections_per_second: now.per_second(|rates| rates.connections),
        failed_connections_per_second: now.per_second(|rates| rates.failed),
        packets_in_per_second: now.per_second(|rates| rates.packets_in),
        packets_out_per_second: now.per_second(|rates| rates.packets_out),
        bytes_in_per_second: now.per_second(|rates| rates.bytes_in),
        bytes_out_per_second: now.per_second(|rates| rates.bytes_out),
    }
}
