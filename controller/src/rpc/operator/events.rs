//! What happened of late, and what happens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use weir_proto::convert::Problems;
use weir_proto::model::{NodeName, Refused};
use weir_proto::wire;

use super::{ANSWERS, Answers};
use crate::cluster::{Cluster, EventList};
use crate::desired::events::{EventObject, EventType, ObjectKind};
use crate::desired::{Event, Reason};
use crate::rpc::ending::{Ending, last_word};
use crate::rpc::status::{controller_stops, invalid, refusal};
use crate::store::{event_to_wire, reason_from_wire, type_from_wire};

/// What a message takes at most, as events.proto says.
const LARGEST: usize = 1 << 20;
/// What an event takes in a message beside its own bytes: the tag, and a length below 2 MiB.
const BESIDE: usize = 4;
/// How often events are told at most: a fleet that comes back makes thousands at once.
const AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// Which events are asked for.
#[derive(Debug, Default)]
struct Filter {
    node: Option<NodeName>,
    objects: Vec<EventObject>,
    types: BTreeSet<EventType>,
    reasons: BTreeSet<Reason>,
    since_unix_ms: u64,
}

/// Tells events, once or for as long as somebody listens.
pub(super) async fn events(
    cluster: &Cluster,
    stopping: &watch::Receiver<bool>,
    request: Request<wire::EventsRequest>,
) -> Result<Response<Answers<wire::EventsResponse>>, Status> {
    let ending = Ending::of(stopping, &request);
    let request = request.into_inner();
    let (watch, limit) = (request.watch, request.limit);
    let filter = Filter::read(request)?;
    // before the first answer, so that nothing between the two is missed
    let bell = cluster.events_changed();
    let first = cluster.events(0).await.map_err(refusal)?;
    let (answers, stream) = mpsc::channel(ANSWERS);
    let telling = Telling {
        cluster: cluster.clone(),
        filter,
        bell,
        watch,
    };
    tokio::spawn(telling.run((first, limit), answers, ending));
    Ok(Response::new(ReceiverStream::new(stream)))
}

impl Filter {
    fn read(request: wire::EventsRequest) -> Result<Self, Status> {
        let wire::EventsRequest {
            node,
            objects: named,
            types,
            reasons,
            since_unix_ms,
            limit: _,
            watch: _,
        } = request;
        let mut problems = Problems::default();
        let node = match node.as_str() {
            "" => None,
            name => problems.take("node", NodeName::new(name)),
        };
        let mut objects = Vec::with_capacity(named.len());
        for (place, wire::event::Object { kind, name }) in named.into_iter().enumerate() {
            let unknown = || {
                let kinds = ObjectKind::ALL.map(ObjectKind::as_str).join(", ");
                Refused::Other(format!("{kind:?} is no kind of object (there are {kinds})"))
            };
            let path = format!("objects[{place}].kind");
            let kind = problems.take(path, ObjectKind::parse(&kind).ok_or_else(unknown));
            if name.is_empty() {
                problems.add(format!("objects[{place}].name"), Refused::Missing);
            }
            objects.extend(kind.map(|kind| EventObject { kind, name }));
        }
        let mut wanted = Self {
            node,
            objects,
            since_unix_ms,
            ..Self::default()
        };
        for (place, number) in types.into_iter().enumerate() {
            let read = problems.take(format!("types[{place}]"), type_from_wire(number));
            wanted.types.extend(read);
        }
        for (place, number) in reasons.into_iter().enumerate() {
            let read = problems.take(format!("reasons[{place}]"), reason_from_wire(number));
            wanted.reasons.extend(read);
        }
        let read = problems.finish(Some(wanted));
        read.map_err(|errors| invalid(&errors))
    }

    fn lets_through(&self, event: &Event) -> bool {
        let is_one = |object: &EventObject| is_of(event, object);
        (self.node.is_none() || self.node == event.node)
            && (self.objects.is_empty() || self.objects.iter().any(is_one))
            && (self.types.is_empty() || self.types.contains(&event.reason.event_type()))
            && (self.reasons.is_empty() || self.reasons.contains(&event.reason))
            && event.last_unix_ms >= self.since_unix_ms
    }
}

/// Says whether an event is of an object: of a node is what happens on it, of a service what happens to its backends.
fn is_of(event: &Event, object: &EventObject) -> bool {
    let on_node = event.node.as_ref().map(NodeName::as_str);
    let of = event.object.as_ref();
    match object.kind {
        ObjectKind::Node if on_node == Some(&object.name) => true,
        ObjectKind::Service if let Some(of) = of.filter(|of| of.kind == ObjectKind::Backend) => {
            let service = of.name.split_once('/');
            service.is_some_and(|(service, _)| service == object.name)
        }
        _ => of == Some(object),
    }
}

/// Events, told once, or again as they come.
struct Telling {
    cluster: Cluster,
    filter: Filter,
    bell: watch::Receiver<u64>,
    watch: bool,
}

type Told = mpsc::Sender<Result<wire::EventsResponse, Status>>;

impl Telling {
    async fn run(mut self, first: (EventList, u32), answers: Told, ending: Ending) {
        let end = tokio::select! {
            end = self.tell(first, &answers) => end,
            status = ending.comes() => Some(status),
            () = answers.closed() => None,
        };
        if let Some(end) = end {
            last_word(&answers, end).await;
        }
    }

    /// Gives why it ended; none: nobody listens, or all is told.
    async fn tell(&mut self, (first, limit): (EventList, u32), answers: &Told) -> Option<Status> {
        let EventList { events, mut change } = first;
        let mut wanted = self.wanted(events);
        if limit > 0 {
            let beyond = wanted.len().saturating_sub(limit as usize);
            wanted.drain(..beyond);
        }
        if !send(wanted, self.watch, answers).await || !self.watch {
            return None;
        }
        loop {
            tokio::time::sleep(AT_MOST_EVERY).await;
            if self.bell.changed().await.is_err() {
                return Some(controller_stops());
            }
            let list = match self.cluster.events(change).await {
                Ok(list) => list,
                Err(gone) => return Some(refusal(gone)),
            };
            change = list.change;
            let wanted = self.wanted(list.events);
            if !send(wanted, false, answers).await {
                return None;
            }
        }
    }

    fn wanted(&self, mut events: Vec<Arc<Event>>) -> Vec<Arc<Event>> {
        events.retain(|event| self.filter.lets_through(event));
        events
    }
}

/// Sends events in as many messages as it takes; none make one if there must be one. Says whether somebody listens.
async fn send(events: Vec<Arc<Event>>, at_least_one: bool, answers: &Told) -> bool {
    let mut chunks = chunks(&events, LARGEST).peekable();
    if at_least_one && chunks.peek().is_none() {
        return answers
            .send(Ok(wire::EventsResponse::default()))
            .await
            .is_ok();
    }
    for events in chunks {
        if answers
            .send(Ok(wire::EventsResponse { events }))
            .await
            .is_err()
        {
            return false;
        }
    }
    true
}

/// Cuts events into messages, each made when it is its turn.
fn chunks(events: &[Arc<Event>], largest: usize) -> impl Iterator<Item = Vec<wire::Event>> {
    let mut rest = events.iter().map(|event| event_to_wire(event)).peekable();
    std::iter::from_fn(move || {
        let mut chunk = vec![rest.next()?];
        let size = |event: &wire::Event| event.encoded_len() + BESIDE;
        let mut bytes: usize = chunk.iter().map(size).sum();
        while let Some(event) = rest.next_if(|event| bytes + size(event) <= largest) {
            bytes += size(&event);
            chunk.push(event);
        }
        Some(chunk)
    })
}

#[cfg(test)]
mod tests;
