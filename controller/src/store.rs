//! The durable state of the cluster, behind one narrow trait that knows nothing of any database.
//!
//! One commit is one write of the cluster, or several that were made one after the other: all of it survives a power cut. After an error it is there whole or not
//! at all, which is known when the store is opened again, and no other write is taken until then.

mod disk;
mod events;
#[cfg(test)]
pub(crate) mod memory;
mod past;
mod rollout;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

pub(crate) use disk::DiskStore;
pub(crate) use events::{event_to_wire, reason_from_wire, type_from_wire};
pub(crate) use past::{read_resource, stored_to_wire, written_resource};
use weir_proto::digest::Digest;
use weir_proto::model::{
    AskedDrain, Capability, DrainTarget, Generation, NodeName, ResourceRef, Revision,
};

use crate::desired::{Event, EventBatch, HistoryBatch, Past, Rollout, Stored};

/// Why a record cannot be read.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Where the cluster is kept.
pub(crate) trait Store: Send + Sync + 'static {
    /// Makes a write durable: when this returns, all of it survives a power cut.
    fn commit(&mut self, write: Write) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes events durable that go with no write, beside the writes that are made meanwhile: of an event that both say,
    /// either may stay.
    fn keep(
        &mut self,
        events: EventBatch,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<Self>;
}

/// One write of the cluster, or several in one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Write {
    /// The cluster's revision after it.
    pub(crate) revision: Revision,
    /// What each resource becomes; none: it goes.
    pub(crate) resources: BTreeMap<ResourceRef, Option<Arc<Stored>>>,
    /// The generation and digest that each node's state gets; none: the node goes.
    pub(crate) nodes: BTreeMap<NodeName, Option<(Generation, Digest)>>,
    /// Whether there is, or ever was, a service.
    pub(crate) served: bool,
    /// What each node's kernel can do from here on; nothing: it is no longer known.
    pub(crate) capabilities: BTreeMap<NodeName, Vec<Capability>>,
    /// What becomes of drains that operators asked for; none: they end.
    pub(crate) drains: BTreeMap<DrainTarget, Option<AskedDrain>>,
    /// Up to which generation an operator has confirmed that a node may take away what it must; none: the node goes.
    pub(crate) confirmed: BTreeMap<NodeName, Option<Generation>>,
    /// Whether each node has taken an update that names this cluster; false: the node goes.
    pub(crate) named: BTreeMap<NodeName, bool>,
    /// What becomes of the history.
    pub(crate) history: HistoryBatch,
    /// What the rollout becomes; none: it stays as it is.
    pub(crate) rollout: Option<Rollout>,
    /// What events become, by their slot.
    pub(crate) events: EventBatch,
}

impl Write {
    /// Adds a later write: what both say of something, it becomes as the later one says.
    pub(crate) fn then(&mut self, later: Self) {
        let Self {
            revision,
            resources,
            nodes,
            served,
            capabilities,
            drains,
            confirmed,
            named,
            history,
            rollout,
            events,
        } = later;
        self.revision = revision;
        self.resources.extend(resources);
        self.nodes.extend(nodes);
        self.served |= served;
        self.capabilities.extend(capabilities);
        self.drains.extend(drains);
        self.confirmed.extend(confirmed);
        self.named.extend(named);
        self.history.extend(history);
        if rollout.is_some() {
            self.rollout = rollout;
        }
        self.events.extend(events);
    }
}

/// What was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Tells this cluster from every other: drawn by lot when the store was made, and never empty in one that was opened.
    pub(crate) cluster: String,
    pub(crate) revision: Revision,
    pub(crate) resources: Vec<Stored>,
    pub(crate) nodes: BTreeMap<NodeName, (Generation, Digest)>,
    pub(crate) served: bool,
    pub(crate) capabilities: BTreeMap<NodeName, Vec<Capability>>,
    pub(crate) drains: BTreeMap<DrainTarget, AskedDrain>,
    pub(crate) confirmed: BTreeMap<NodeName, Generation>,
    /// The nodes that have taken an update that names this cluster.
    pub(crate) named: BTreeSet<NodeName>,
    /// The last writes of operators, by the revision after each.
    pub(crate) history: BTreeMap<Revision, Past>,
    /// The last one.
    pub(crate) rollout: Option<Rollout>,
    /// The last events, by their slot.
    pub(crate) events: BTreeMap<u16, Event>,
}

/// The store did what it could not: the cause says what.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// A write cannot be made durable.
    #[error("cannot make the change durable")]
    Commit(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was kept cannot be had.
    #[error("cannot open the store")]
    Open(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A record is not what this version writes.
    #[error("record {key:?} cannot be read")]
    Record {
        /// Which.
        key: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
