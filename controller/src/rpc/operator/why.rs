//! Why: what the cluster knows of a frontend, and what each node's kernel holds of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use weir_proto::convert::{Problems, frontend_key_from_wire, frontend_to_wire};
use weir_proto::model::{Endpoint, Family, NodeName, Port, Refused, unicast};
use weir_proto::wire;
use weir_proto::wire::kernel_object::Value;
use weir_proto::wire::question::Question;
use weir_proto::wire::why_response::Part;

use super::Answers;
use super::inquiries::{AT_ONCE, PARTS, put};
use crate::cluster::{Cluster, Known, KnownNode, WhyQuery};
use crate::desired::why::{
    Facts, Obstacle, Rule, RuleKind, Seen, Verdict, Visit, everywhere, rules, verdict,
};
use crate::desired::{NodeStatus, TrafficQuery};
use crate::rpc::ending::{Ending, last_word};
use crate::rpc::status::{invalid, refusal};
use crate::traffic::Traffic;

/// How many backends of a node are told, as why.proto says.
const MOST_BACKENDS: usize = 1_000;

type Told = mpsc::Sender<Result<wire::WhyResponse, Status>>;

/// What is asked of every node.
#[derive(Debug)]
struct Asked {
    visit: Visit,
    silent: BTreeSet<Endpoint>,
}

pub(super) async fn why(
    (cluster, traffic): (&Cluster, &Traffic),
    stopping: &watch::Receiver<bool>,
    request: Request<wire::WhyRequest>,
) -> Result<Response<Answers<wire::WhyResponse>>, Status> {
    let ending = Ending::of(stopping, &request);
    let query = read(request.into_inner())?;
    let visit = query.visit;
    let known = cluster.why(query).await.map_err(refusal)?;
    let silent = match &known.claim.service {
        None => BTreeSet::new(),
        Some(service) => {
            let query = TrafficQuery {
                services: vec![service.clone()],
                backends: true,
                nodes: false,
            };
            // of a service that nobody has reported of nothing is silent
            let passing = traffic.passing(query).await.unwrap_or_default();
            let backends = passing.backends.iter();
            let silent = backends.filter(|backend| backend.sum.now.silent > 0);
            silent.map(|backend| backend.endpoint).collect()
        }
    };
    let (answers, stream) = mpsc::channel(PARTS);
    let cluster = cluster.clone();
    tokio::spawn(async move {
        let asked = Asked { visit, silent };
        let end = tokio::select! {
            () = tell(&cluster, known, asked, &answers) => None,
            status = ending.comes() => Some(status),
            () = answers.closed() => None,
        };
        if let Some(end) = end {
            last_word(&answers, end).await;
        }
    });
    Ok(Response::new(ReceiverStream::new(stream)))
}

fn read(request: wire::WhyRequest) -> Result<WhyQuery, Status> {
    let wire::WhyRequest {
        frontend,
        client,
        nodes,
    } = request;
    let mut problems = Problems::default();
    let frontend = match frontend {
        Some(frontend) => problems.absorb(frontend_key_from_wire(&frontend, "frontend")),
        None => {
            problems.add("frontend", Refused::Missing);
            None
        }
    };
    let client = match client.as_str() {
        "" => None,
        text => problems.take("client", unicast(text)),
    };
    if let (Some(frontend), Some(client)) = (frontend, client)
        && frontend.family() != Family::of(client)
    {
        let other = format!("{client} is of another family than {frontend}");
        problems.add("client", Refused::Other(other));
    }
    let mut names = Vec::with_capacity(nodes.len());
    for (place, name) in nodes.iter().enumerate() {
        names.extend(problems.take(format!("nodes[{place}]"), NodeName::new(name)));
    }
    let query = frontend.map(|frontend| WhyQuery {
        visit: Visit { frontend, client },
        nodes: names,
    });
    problems.finish(query).map_err(|errors| invalid(&errors))
}

/// Tells what the cluster knows, and then of each node as it answers.
async fn tell(cluster: &Cluster, known: Known, asked: Asked, answers: &Told) {
    let part = Some(Part::Subject(subject(&known, asked.visit)));
    if answers.send(Ok(wire::WhyResponse { part })).await.is_err() {
        return;
    }
    let (room, asked) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(asked));
    // those that are asked are let be when this ends
    let mut asking = JoinSet::new();
    for node in known.nodes {
        let (room, asked, answers) = (Arc::clone(&room), Arc::clone(&asked), answers.clone());
        let cluster = cluster.clone();
        asking.spawn(async move {
            // it is never closed
            let _room = room.acquire_owned().await;
            let part = Some(Part::Node(node_why(&cluster, node, &asked).await));
            let _ = answers.send(Ok(wire::WhyResponse { part })).await;
        });
    }
    while asking.join_next().await.is_some() {}
}

fn subject(known: &Known, visit: Visit) -> wire::WhySubject {
    let claim = &known.claim;
    let service = claim.service.as_ref();
    let sources = claim.sources.iter();
    wire::WhySubject {
        frontend: Some(wire::Frontend {
            allow_sources: sources.map(ToString::to_string).collect(),
            ..frontend_to_wire(visit.frontend)
        }),
        service: service.map_or_else(String::new, ToString::to_string),
        service_revision: known.service_revision.0,
        revision: known.revision.0,
        last_change: known.last.as_ref().map(|past| wire::LastChange {
            revision: past.revision.0,
            unix_ms: past.unix_ms,
            who: past.who.clone(),
            what: past.what.clone(),
        }),
        node_count: claim.nodes as u64,
        left_out: known.left_out as u64,
        verdict: everywhere(visit, claim).map(told),
    }
}

/// Notes how far a node that has answered is by that: what it says of updates may wait, and comes before what it is asked at
/// the latest. What it is to have is what it was to have when it was asked.
async fn catch_up(cluster: &Cluster, status: &mut NodeStatus) {
    if status.accepted.min(status.converged) >= status.wanted {
        return;
    }
    // one that is gone meanwhile stays as it was known
    let Ok(now) = cluster.statuses(vec![status.name.clone()]).await else {
        return;
    };
    if let Some(now) = now.nodes.into_iter().next() {
        let wanted = status.wanted;
        *status = NodeStatus { wanted, ..now };
    }
}

async fn node_why(cluster: &Cluster, node: KnownNode, asked: &Asked) -> wire::NodeWhy {
    let KnownNode {
        asking,
        mut status,
        wanted,
    } = node;
    let client = asked.visit.client;
    let look = wire::Look {
        frontend: Some(frontend_to_wire(asked.visit.frontend)),
        client: client.map_or_else(String::new, |client| client.to_string()),
    };
    let question = wire::Question {
        id: 0,
        question: Some(Question::Look(look)),
    };
    let answered = put(&asking, question).await;
    let (sight, unanswered) = match answered {
        Ok(chunks) => (whole(chunks), None),
        Err(why) => (wire::Sight::default(), Some(why)),
    };
    if unanswered.is_none() {
        catch_up(cluster, &mut status).await;
    }
    let seen: Vec<Seen> = sight.objects.iter().map(seen).collect();
    let facts = Facts {
        visit: asked.visit,
        status: &status,
        wanted: wanted.as_ref(),
        seen: match &unanswered {
            None => Ok(&seen),
            Some(why) => Err(&why.detail),
        },
        silent: &asked.silent,
    };
    let judged = verdict(&facts);
    let rules = wanted.as_ref().map(|wanted| rules(asked.visit, wanted));
    let mut objects = sight.objects;
    let left_out = shorten(&mut objects);
    wire::NodeWhy {
        node: asking.node.to_string(),
        generation: asking.generation.0,
        held_generation: asking.held.0,
        unanswered,
        verdict: Some(told(judged)),
        objects,
        left_out,
        rules: rules.into_iter().flatten().map(rule).collect(),
        connections: sight.connections,
        connection_count: sight.connection_count,
        connections_unknown: sight.connections_unknown,
    }
}

/// Puts the parts of an answer together.
fn whole(chunks: Vec<wire::Answer>) -> wire::Sight {
    let mut whole = wire::Sight::default();
    for sight in chunks.into_iter().filter_map(|chunk| chunk.sight) {
        whole.objects.extend(sight.objects);
        whole.connections.extend(sight.connections);
        whole.connection_count += sight.connection_count;
        whole.connections_unknown += &sight.connections_unknown;
    }
    whole
}

/// Leaves out the backends that are too many; gives how many.
fn shorten(objects: &mut Vec<wire::SeenObject>) -> u64 {
    let mut backends = 0;
    objects.retain(|object| {
        backends += usize::from(object.kind == "backend");
        object.kind != "backend" || backends <= MOST_BACKENDS
    });
    backends.saturating_sub(MOST_BACKENDS) as u64
}

fn seen(object: &wire::SeenObject) -> Seen {
    let words = |of: &Option<wire::KernelObject>| of.as_ref().map(|it| it.words.clone());
    let backend = object.kernel.as_ref().and_then(|it| match &it.value {
        Some(Value::Backend(backend)) => {
            let address = backend.address.parse().ok()?;
            let port = Port::new(backend.port).ok()?;
            Some((Endpoint { address, port }, backend.weight))
        }
        _ => None,
    });
    Seen {
        object: object.object.clone(),
        kind: object.kind.clone(),
        desired: words(&object.desired),
        kernel: words(&object.kernel),
        foreign: object.foreign,
        backend,
    }
}

fn rule(rule: Rule) -> wire::ClientRule {
    use wire::client_rule::Kind;
    let Rule {
        kind,
        words,
        rejects,
    } = rule;
    let kind = match kind {
        RuleKind::Lockdown => Kind::Lockdown,
        RuleKind::SourceRange => Kind::SourceRange,
        RuleKind::Affinity => Kind::Affinity,
        RuleKind::Loopback => Kind::Loopback,
        RuleKind::Forwarding => Kind::Forwarding,
    };
    wire::ClientRule {
        kind: kind.into(),
        words,
        rejects,
    }
}

fn told(verdict: Verdict) -> wire::Verdict {
    let Verdict { obstacle, sentence } = verdict;
    wire::Verdict {
        works: obstacle.is_none(),
        obstacle: obstacle
            .map_or(wire::Obstacle::Unspecified, wire_obstacle)
            .into(),
        sentence,
    }
}

fn wire_obstacle(obstacle: Obstacle) -> wire::Obstacle {
    match obstacle {
        Obstacle::VipUnknown => wire::Obstacle::VipUnknown,
        Obstacle::PortUnknown => wire::Obstacle::PortUnknown,
        Obstacle::NoNode => wire::Obstacle::NoNode,
        Obstacle::NoBackend => wire::Obstacle::NoBackend,
        Obstacle::NoWeight => wire::Obstacle::NoWeight,
        Obstacle::NotSelected => wire::Obstacle::NotSelected,
        Obstacle::SourceRefused => wire::Obstacle::SourceRefused,
        Obstacle::NodeDrained => wire::Obstacle::NodeDrained,
        Obstacle::NodeAway => wire::Obstacle::NodeAway,
        Obstacle::HeldBack => wire::Obstacle::HeldBack,
        Obstacle::Refused => wire::Obstacle::Refused,
        Obstacle::Behind => wire::Obstacle::Behind,
        Obstacle::NotSeen => wire::Obstacle::NotSeen,
        Obstacle::Setting => wire::Obstacle::Setting,
        Obstacle::NoService => wire::Obstacle::NoService,
        Obstacle::Foreign => wire::Obstacle::Foreign,
        Obstacle::NoAddress => wire::Obstacle::NoAddress,
        Obstacle::NoRoute => wire::Obstacle::NoRoute,
        Obstacle::Locked => wire::Obstacle::Locked,
        Obstacle::KernelWeight => wire::Obstacle::KernelWeight,
        Obstacle::Silent => wire::Obstacle::Silent,
    }
}
