//! The flows of backends, as conntrack has them.

use std::collections::BTreeSet;

use nix::errno::Errno;
use weir_proto::model::{BackendKey, Frontend};

use super::conntrack::{Conntrack, Translation};
use super::netlink::{Counts, NlError};
use super::objects::socket;
use super::verdict;
use crate::kernel::KernelError;

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
