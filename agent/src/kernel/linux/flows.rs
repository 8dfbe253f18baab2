//! The flows of backends, as conntrack has them.

use std::collections::BTreeSet;

use nix::errno::Errno;
use weir_proto::model::{BackendKey, ConnectionState, Endpoint, Frontend, Port, Protocol};

use super::conntrack::{Command, Conntrack, Flow, Tracked, Translation, VisitFilter};
use super::meter::state;
use super::netlink::{Counts, Message, NetlinkSocket, NlError, Protocol as Netlink};
use super::objects::socket;
use super::verdict;
use crate::kernel::KernelError;
use crate::plan::{Visit, Visited, Visits};

/// Length of the `nfgenmsg` in front of the attributes.
const NFGEN_HEADER_LEN: usize = 4;

/// Conntrack of one network namespace.
#[derive(Default)]
pub(super) struct Flows {
    conntrack: Option<Conntrack>,
}

/// Why flows could not be deleted.
#[derive(Debug, thiserror::Error)]
enum FlowsError {
    /// `nfnetlink_rcv_msg` in `net/netfilter/nfnetlink.c` says `EINVAL` of a subsystem that is not there.
    #[error(
        "no conntrack over netlink: load the module nf_conntrack_netlink (CONFIG_NF_CT_NETLINK)"
    )]
    Absent,
    #[error(transparent)]
    Netlink(NlError),
}

impl Flows {
    /// Gives what was said so far, in order to see flows and in order to delete them; nothing, before it was needed.
    pub(super) fn counts(&self) -> [Counts; 2] {
        let counts = self.conntrack.as_ref().map(Conntrack::counts);
        counts.unwrap_or_default()
    }

    /// Deletes the flows of these backends and gives how many there were.
    pub(super) async fn forget(&mut self, of: &BTreeSet<BackendKey>) -> Result<u64, KernelError> {
        let wanted: BTreeSet<Translation> = of.iter().filter_map(translation).collect();
        if wanted.is_empty() {
            return Ok(0);
        }
        let (first, deleted) = self.forget_once(&wanted).await;
        if first.is_ok() {
            return Ok(deleted);
        }
        // an answer lost, a module loaded anew: a second time it counts
        let (second, more) = self.forget_once(&wanted).await;
        second
            .map(|()| deleted + more)
            .map_err(|error| verdict::unreadable("the flows of backends", error))
    }

    async fn forget_once(
        &mut self,
        wanted: &BTreeSet<Translation>,
    ) -> (Result<(), FlowsError>, u64) {
        let conntrack = match &mut self.conntrack {
            Some(conntrack) => conntrack,
            none => match Conntrack::open() {
                Ok(conntrack) => none.insert(conntrack),
                Err(error) => return (Err(FlowsError::Netlink(error)), 0),
            },
        };
        let before = conntrack.deleted();
        let outcome = conntrack.forget(wanted).await;
        let deleted = conntrack.deleted() - before;
        if outcome.is_err() {
            // what was learned of it may be wrong
            self.conntrack = None;
        }
        let outcome = outcome.map_err(|error| match error.errno() {
            Some(errno) if errno == Errno::EINVAL as i32 => FlowsError::Absent,
            _ => FlowsError::Netlink(error),
        });
        (outcome, deleted)
    }
}

/// Gives the tracked connections of a client to a frontend, as they are shown: one that goes meanwhile may be among them.
pub(super) async fn visits(of: &Visit) -> Result<Visits, KernelError> {
    let (Some(client), Frontend::Address(listener)) = (of.client, of.frontend) else {
        return Ok(Visits::default());
    };
    let filter = VisitFilter {
        protocol: listener.protocol.number(),
        destination: (listener.address, listener.port.get()).into(),
        client,
    };
    let found = match ask(&Command::Visits(&filter), &filter).await {
        // a filter that the kernel does not know: each flow is looked at again in any case
        Err(NlError::Errno(errno)) if refuses(errno) => {
            ask(&Command::All(filter.family()), &filter).await
        }
        found => found,
    };
    let found = found.map_err(|error| match error.errno() {
        Some(errno) if errno == Errno::EINVAL as i32 => FlowsError::Absent,
        _ => FlowsError::Netlink(error),
    });
    found.map_err(|error| verdict::unreadable("the connections of a client", error))
}

async fn ask(command: &Command<'_>, of: &VisitFilter) -> Result<Visits, NlError> {
    let mut visits = Visits::default();
    let mut socket = NetlinkSocket::open(Netlink::Netfilter)?;
    let take = |message: Message<'_>| {
        let attrs = || message.attrs(NFGEN_HEADER_LEN);
        // one that cannot be read is no connection to a frontend
        if let (Ok(flow), Ok(tracked)) = (Flow::decode(attrs()), Tracked::decode(attrs()))
            && of.has(&flow)
        {
            visits.add(visited(&flow, &tracked));
        }
    };
    match socket.dump(&command.encode(), take).await {
        // it changed under the dump: what was shown is what there was
        Ok(()) | Err(NlError::Interrupted) => Ok(visits),
        Err(error) => Err(error),
    }
}

fn visited(flow: &Flow, tracked: &Tracked) -> Visited {
    let replier = flow.reply.source;
    let same = (replier, flow.reply.source_port)
        == (flow.original.destination, flow.original.destination_port);
    let port = flow.reply.source_port.filter(|_| !same);
    let port = port.and_then(|port| Port::new(port.into()).ok());
    let protocol = Protocol::from_number(tracked.protocol);
    Visited {
        port: flow.original.source_port,
        backend: port.map(|port| Endpoint {
            address: replier,
            port,
        }),
        state: protocol.map_or(ConnectionState::Other, |it| state(it, tracked.state)),
    }
}

/// Says whether it may be the filter that a kernel refuses.
fn refuses(errno: i32) -> bool {
    [Errno::EINVAL as i32, Errno::EOPNOTSUPP as i32].contains(&errno)
}

/// Gives what conntrack makes of a backend; nothing of one that is reached by a mark, which no flow bears.
fn translation(backend: &BackendKey) -> Option<Translation> {
    match backend.frontend {
        Frontend::Address(listener) => Some(Translation {
            protocol: listener.protocol.number(),
            destination: (listener.address, listener.port.get()).into(),
            replier: socket(backend.endpoint),
        }),
        Frontend::Mark(_) => None,
    }
}
