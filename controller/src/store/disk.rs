//! The store in a directory of this machine.
//!
//! Records by key: `resource/<kind>/<name>` is the resource as it goes over the wire, its revision and age included;
//! `meta/revision` is the cluster's revision (8 bytes, big-endian); `meta/served` is there once there was a
//! service; `node/<name>` is the generation and digest of a node's state (8 and 16 bytes, big-endian);
//! `capabilities/<name>` is what a node's kernel can do, as a `Hello` that says nothing else; `meta/cluster` is the
//! cluster's identity as text; `drain/<what>` is a drain that an operator asked for, as a `DrainState` that says nothing of
//! nodes; `confirmed/<name>` is the generation up to which a node may take away what it must (8 bytes, big-endian);
//! `named/<name>` is there once a node has taken an update that names this cluster; `history/<revision>` is a write of an
//! operator; `rollout` is the last rollout.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;
use weir_proto::convert::{
    asked_from_wire, asked_to_wire, capability_from_wire, capability_to_wire,
};
use weir_proto::digest::Digest;
use weir_proto::disk::{Batch, Disk, Records, Writer, aside};
use weir_proto::machine::draw;
use weir_proto::model::{Generation, NodeName, ResourceRef, Revision};
use weir_proto::wire;

use super::past::{read_past, read_resource, written_past, written_resource};
use super::rollout::{read_rollout, written_rollout};
use super::{Saved, Store, StoreError, Write};
/// Grows when a record's meaning changes, with a migration beside it.
const SCHEMA: u8 = 1;
const REVISION: &[u8] = b"meta/revision";
const SERVED: &[u8] = b"meta/served";
const CLUSTER: &[u8] = b"meta/cluster";
const RESOURCE: &str = "resource/";
const NODE: &str = "node/";
const CAPABILITIES: &str = "capabilities/";
const DRAIN: &str = "drain/";
const CONFIRMED: &str = "confirmed/";
const NAMED: &str = "named/";
const HISTORY: &str = "history/";
const ROLLOUT: &[u8] = b"rollout";

/// The store in a directory.
#[derive(Debug, Clone)]
pub(crate) struct DiskStore(Writer);

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
        let store = Self(Writer::new(disk));
        let mut saved = read(&records)?;
        if saved.cluster.is_empty() {
            saved.cluster = identity();
            let mut batch = Batch::default();
            batch.put(CLUSTER.to_vec(), saved.cluster.clone().into_bytes());
            store.put(batch).await?;
        }
        Ok((store, saved))
    }

    async fn put(&self, batch: Batch) -> Result<(), StoreError> {
        let committed = self.0.commit(batch).await;
        committed.map_err(|error| StoreError::Commit(error.into()))
    }
}

impl Store for DiskStore {
    async fn commit(&self, write: Write) -> Result<(), StoreError> {
        self.put(batch(write)).await
    }
}

/// Draws 128 bits by lot.
fn identity() -> String {
    format!("{:016x}{:016x}", draw(), draw())
}

fn batch(write: Write) -> Batch {
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
    for (name, node) in nodes {
        let key = format!("{NODE}{name}").into_bytes();
        match node {
            Some((generation, digest)) => {
                let mut bytes = generation.0.to_be_bytes().to_vec();
                bytes.extend(digest.to_bytes());
                batch.put(key, bytes);
            }
            None => batch.delete(key),
        }
    }
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
    for (name, generation) in confirmed {
        let key = format!("{CONFIRMED}{name}").into_bytes();
        match generation {
            Some(generation) => batch.put(key, generation.0.to_be_bytes().to_vec()),
            None => batch.delete(key),
        }
    }
    for (name, named) in named {
        let key = format!("{NAMED}{name}").into_bytes();
        if named {
            batch.put(key, Vec::new());
        } else {
            batch.delete(key);
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
    batch
}

fn resource_key(reference: &ResourceRef) -> Vec<u8> {
    format!("{RESOURCE}{}/{}", reference.kind.plural(), reference.name).into_bytes()
}

fn read(records: &Records) -> Result<Saved, StoreError> {
    let mut saved = Saved::default();
    for (key, payload) in records {
        let key = String::from_utf8_lossy(key);
        read_record(&key, payload, &mut saved).map_err(|source| StoreError::Record {
            key: key.into_owned(),
            source,
        })?;
    }
    Ok(saved)
}

fn read_record(key: &str, payload: &[u8], saved: &mut Saved) -> Result<(), Cause> {
    if key.as_bytes() == REVISION {
        saved.revision = Revision(u64::from_be_bytes(payload.try_into()?));
    } else if key.as_bytes() == SERVED {
        saved.served = true;
    } else if key.starts_with(RESOURCE) {
        saved.resources.push(read_resource(payload)?);
    } else if let Some(name) = key.strip_prefix(NODE) {
        let (generation, digest) = payload.split_at_checked(8).ok_or("it is too short")?;
        let generation = Generation(u64::from_be_bytes(generation.try_into()?));
        let digest = Digest::from_bytes(digest.try_into()?);
        saved
            .nodes
            .insert(NodeName::new(name)?, (generation, digest));
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
    } else if let Some(name) = key.strip_prefix(CONFIRMED) {
        let generation = Generation(u64::from_be_bytes(payload.try_into()?));
        saved.confirmed.insert(NodeName::new(name)?, generation);
    } else if let Some(name) = key.strip_prefix(NAMED) {
        saved.named.insert(NodeName::new(name)?);
    } else if let Some(revision) = key.strip_prefix(HISTORY) {
        let past = read_past(payload)?;
        if past.revision.to_string() != revision {
            return Err("it is of another revision".into());
        }
        saved.history.insert(past.revision, past);
    } else if key.as_bytes() == ROLLOUT {
        saved.rollout = Some(read_rollout(payload)?);
    } else {
        return Err("no record has such a key".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
