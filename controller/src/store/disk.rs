//! The store in a directory of this machine.
//!
//! Records by key: `resource/<kind>/<name>` is the resource as it goes over the wire, its revision and age included;
//! `meta/revision` is the cluster's revision (8 bytes, big-endian); `meta/served` is there once there was a
//! service; `nodes/<block>` is the generation and digest of the state of some nodes, up to which generation each may take away
//! what it must, and whether it has taken an update that names this cluster, and `meta/rises` how far those generations may be
//! behind, see `blocks`;
//! `capabilities/<name>` is what a node's kernel can do, as a `Hello` that says nothing else; `meta/cluster` is the
//! cluster's identity as text; `drain/<what>` is a drain that an operator asked for, as a `DrainState` that says nothing of
//! nodes; `history/<revision>` is a write of an operator; `rollout` is the last rollout; `event/<slot>`, the slot as four hexadecimal
//! digits, is an event.

mod blocks;

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;
use weir_proto::convert::{
    asked_from_wire, asked_to_wire, capability_from_wire, capability_to_wire,
};
use weir_proto::disk::{Batch, Disk, Records, Writer, aside};
use weir_proto::machine::draw;
use weir_proto::model::{NodeName, ResourceRef, Revision};
use weir_proto::wire;

use self::blocks::{Blocks, Changes, RISES, Rises, read_block, read_rises};
use super::events::{read_event, written_event};
use super::past::{read_past, read_resource, written_past, written_resource};
use super::rollout::{read_rollout, written_rollout};
use super::{Saved, Store, StoreError, Write};
use crate::desired::EventBatch;
use crate::desired::events::MOST_EVENTS;

/// Grows when a record's meaning changes, with a migration beside it. Schema 1, a record for each node, was never released:
/// it is refused.
const SCHEMA: u8 = 2;
const REVISION: &[u8] = b"meta/revision";
const SERVED: &[u8] = b"meta/served";
const CLUSTER: &[u8] = b"meta/cluster";
const RESOURCE: &str = "resource/";
const CAPABILITIES: &str = "capabilities/";
const DRAIN: &str = "drain/";
const HISTORY: &str = "history/";
const ROLLOUT: &[u8] = b"rollout";
const EVENT: &str = "event/";

/// The store in a directory.
#[derive(Debug)]
pub(crate) struct DiskStore {
    writer: Writer,
    /// The nodes as they were last written. After an error they are ahead of the disk, and nothing more is taken.
    nodes: Blocks,
}

type Cause = Box<dyn Error + Send + Sync>;

impl DiskStore {
    /// Opens the store in a directory, made if it is not there, and gives what was kept in it. One that has no identity
    /// gets one for good.
    pub(crate) async fn open(directory: PathBuf) -> Result<(Self, Saved), StoreError> {
        let at = directory.clone();
        let opened = aside(&at, move || Disk::open(&directory, SCHEMA)).await;
        let (disk, records) = opened
            .map_err(|error| StoreError::Open(error.into()))?
            .map_err(|error| StoreError::Open(error.into()))?;
        let (mut saved, rises) = read(&records)?;
        let store = Self {
            writer: Writer::new(disk),
            nodes: Blocks::of(&saved, rises),
        };
        if saved.cluster.is_empty() {
            saved.cluster = identity();
            let mut batch = Batch::default();
            batch.put(CLUSTER.to_vec(), saved.cluster.clone().into_bytes());
            store.put(batch).await?;
        }
        Ok((store, saved))
    }

    /// Puts off what nodes' generations become, however few there are: as in a fleet of thousands.
    #[cfg(feature = "simulated")]
    pub(crate) fn putting_off(self) -> Self {
        Self {
            nodes: self.nodes.at_once(0),
            ..self
        }
    }

    async fn put(&self, batch: Batch) -> Result<(), StoreError> {
        put(&self.writer, batch).await
    }
}

async fn put(writer: &Writer, batch: Batch) -> Result<(), StoreError> {
    let committed = writer.commit(batch).await;
    committed.map_err(|error| StoreError::Commit(error.into()))
}

impl Store for DiskStore {
    async fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        let batch = batch(write, &mut self.nodes);
        self.put(batch).await
    }

    fn keep(
        &mut self,
        events: EventBatch,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let writer = self.writer.clone();
        let mut batch = Batch::default();
        put_events(&events, &mut batch);
        async move { put(&writer, batch).await }
    }
}

fn put_events(events: &EventBatch, batch: &mut Batch) {
    for (slot, event) in events {
        batch.put(event_key(*slot).into_bytes(), written_event(event));
    }
}

fn event_key(slot: u16) -> String {
    format!("{EVENT}{slot:04x}")
}

/// Draws 128 bits by lot.
fn identity() -> String {
    format!("{:016x}{:016x}", draw(), draw())
}

fn batch(write: Write, blocks: &mut Blocks) -> Batch {
    let Write {
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
    } = write;
    let mut batch = Batch::default();
    batch.put(REVISION.to_vec(), revision.0.to_be_bytes().to_vec());
    if served {
        batch.put(SERVED.to_vec(), Vec::new());
    }
    for (reference, resource) in resources {
        let key = resource_key(&reference);
        match resource {
            Some(stored) => batch.put(key, written_resource(&stored)),
            None => batch.delete(key),
        }
    }
    let changes = Changes {
        nodes,
        confirmed,
        named,
    };
    blocks.change(changes, &mut batch);
    for (name, capabilities) in capabilities {
        let key = format!("{CAPABILITIES}{name}").into_bytes();
        if capabilities.is_empty() {
            batch.delete(key);
        } else {
            let said = wire::Hello {
                capabilities: capabilities.iter().map(capability_to_wire).collect(),
                ..wire::Hello::default()
            };
            batch.put(key, said.encode_to_vec());
        }
    }
    for (target, asked) in drains {
        let key = format!("{DRAIN}{target}").into_bytes();
        match asked {
            Some(asked) => batch.put(key, asked_to_wire(&target, asked).encode_to_vec()),
            None => batch.delete(key),
        }
    }
    for (revision, past) in history {
        let key = format!("{HISTORY}{revision}").into_bytes();
        match past {
            Some(past) => batch.put(key, written_past(&past)),
            None => batch.delete(key),
        }
    }
    if let Some(rollout) = rollout {
        batch.put(ROLLOUT.to_vec(), written_rollout(&rollout));
    }
    put_events(&events, &mut batch);
    batch
}

fn resource_key(reference: &ResourceRef) -> Vec<u8> {
    format!("{RESOURCE}{}/{}", reference.kind.plural(), reference.name).into_bytes()
}

fn read(records: &Records) -> Result<(Saved, Rises), StoreError> {
    let mut saved = Saved::default();
    let mut rises = None;
    for (key, payload) in records {
        let key = String::from_utf8_lossy(key);
        if key == RISES {
            rises = Some(payload);
            continue;
        }
        read_record(&key, payload, &mut saved).map_err(|source| StoreError::Record {
            key: key.into_owned(),
            source,
        })?;
    }
    // once all nodes are there
    let rises = rises.map(|payload| read_rises(payload, &mut saved));
    let rises = rises.transpose().map_err(|source| StoreError::Record {
        key: RISES.to_owned(),
        source,
    })?;
    Ok((saved, rises.unwrap_or_default()))
}

fn read_record(key: &str, payload: &[u8], saved: &mut Saved) -> Result<(), Cause> {
    if key.as_bytes() == REVISION {
        saved.revision = Revision(u64::from_be_bytes(payload.try_into()?));
    } else if key.as_bytes() == SERVED {
        saved.served = true;
    } else if key.starts_with(RESOURCE) {
        saved.resources.push(read_resource(payload)?);
    } else if let Some(read) = read_block(key, payload, saved) {
        read?;
    } else if let Some(name) = key.strip_prefix(CAPABILITIES) {
        let said = wire::Hello::decode(payload)?.capabilities.into_iter();
        saved.capabilities.insert(
            NodeName::new(name)?,
            said.map(capability_from_wire).collect(),
        );
    } else if key.as_bytes() == CLUSTER {
        saved.cluster = String::from_utf8(payload.to_vec())?;
    } else if key.starts_with(DRAIN) {
        let (target, asked) = asked_from_wire(&wire::DrainState::decode(payload)?)?;
        saved.drains.insert(target, asked);
    } else if let Some(revision) = key.strip_prefix(HISTORY) {
        let past = read_past(payload)?;
        if past.revision.to_string() != revision {
            return Err("it is of another revision".into());
        }
        saved.history.insert(past.revision, past);
    } else if key.as_bytes() == ROLLOUT {
        saved.rollout = Some(read_rollout(payload)?);
    } else if let Some(slot) = key.strip_prefix(EVENT) {
        let slot = u16::from_str_radix(slot, 16).ok();
        let slot = slot.filter(|slot| *slot < MOST_EVENTS && event_key(*slot) == key);
        let slot = slot.ok_or("there is no such slot")?;
        saved.events.insert(slot, read_event(payload)?);
    } else {
        return Err("no record has such a key".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
