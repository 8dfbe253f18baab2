//! Resources and writes of the past as bytes.
//!
//! A resource is as it goes over the wire, its revision and age included. A write of the past is a `HistoryEntry`, and after it, where
//! that is kept, each resource that it updated or deleted as it was before; each of these with its length before it.

use prost::Message as _;
use weir_proto::convert::{
    Problems, drain_target_from_wire, drain_target_to_wire, reference_from_wire, reference_to_wire,
    resource_from_wire, resource_to_wire,
};
use weir_proto::model::Revision;
use weir_proto::wire;
use weir_proto::wire::change::Outcome as Wire;

use crate::desired::{Before, Outcome, Past, Stored};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Gives a resource as it goes over the wire.
pub(crate) fn stored_to_wire(stored: &Stored) -> wire::Resource {
    wire::Resource {
        created_unix_ms: stored.created_unix_ms,
        ..resource_to_wire(&stored.resource, stored.revision)
    }
}

/// Writes a resource.
pub(crate) fn written_resource(stored: &Stored) -> Vec<u8> {
    stored_to_wire(stored).encode_to_vec()
}

/// Reads a resource.
pub(crate) fn read_resource(bytes: &[u8]) -> Result<Stored, Cause> {
    let resource = wire::Resource::decode(bytes)?;
    let revision = Revision(resource.revision);
    let created_unix_ms = resource.created_unix_ms;
    let resource = resource_from_wire(resource)?;
    Ok(Stored {
        resource,
        revision,
        created_unix_ms,
    })
}

/// Writes a write.
pub(super) fn written_past(past: &Past) -> Vec<u8> {
    let Past {
        revision,
        unix_ms,
        who,
        what,
        changes,
        drains,
        before,
    } = past;
    let changes = changes.iter().map(|(reference, outcome)| wire::Change {
        r#ref: Some(reference_to_wire(reference)),
        outcome: outcome_to_wire(*outcome).into(),
    });
    let entry = wire::HistoryEntry {
        revision: revision.0,
        unix_ms: *unix_ms,
        who: who.clone(),
        what: what.clone(),
        changes: changes.collect(),
        drains: drains.iter().map(drain_target_to_wire).collect(),
    };
    let mut bytes = entry.encode_length_delimited_to_vec();
    for resource in before.iter().flat_map(Before::values) {
        prost::encoding::encode_varint(resource.len() as u64, &mut bytes);
        bytes.extend_from_slice(resource);
    }
    bytes
}

/// Reads a write.
pub(super) fn read_past(mut bytes: &[u8]) -> Result<Past, Cause> {
    let wire::HistoryEntry {
        revision,
        unix_ms,
        who,
        what,
        changes,
        drains,
    } = wire::HistoryEntry::decode(delimited(&mut bytes)?)?;
    let mut problems = Problems::default();
    let mut read = Vec::with_capacity(changes.len());
    for (place, change) in changes.into_iter().enumerate() {
        let outcome = outcome_from_wire(change.outcome());
        let reference = change.r#ref.unwrap_or_default();
        let path = format!("changes[{place}].ref");
        let reference = reference_from_wire(&reference, &path, &mut problems);
        read.extend(reference.zip(Some(outcome.ok_or("a change has no outcome")?)));
    }
    let mut drained = Vec::with_capacity(drains.len());
    for (place, target) in drains.iter().enumerate() {
        let path = format!("drains[{place}]");
        drained.extend(drain_target_from_wire(target, &path, &mut problems));
    }
    let (changes, drains) = problems.finish(Some((read, drained)))?;
    let mut before = Before::new();
    while !bytes.is_empty() {
        let resource = delimited(&mut bytes)?;
        // what cannot be read now could not be gone back to later
        let reference = read_resource(resource)?.resource.reference();
        before.insert(reference, resource.into());
    }
    let known = changes
        .iter()
        .filter(|(_, outcome)| *outcome != Outcome::Created)
        .all(|(reference, _)| before.contains_key(reference));
    Ok(Past {
        revision: Revision(revision),
        unix_ms,
        who,
        what,
        changes,
        drains,
        before: known.then_some(before),
    })
}

/// Takes bytes with their length before them.
fn delimited<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Cause> {
    let len = prost::encoding::decode_varint(bytes)?;
    let (taken, rest) = bytes
        .split_at_checked(len.try_into()?)
        .ok_or("it is too short")?;
    *bytes = rest;
    Ok(taken)
}

fn outcome_to_wire(outcome: Outcome) -> Wire {
    match outcome {
        Outcome::Created => Wire::Created,
        Outcome::Updated => Wire::Updated,
        Outcome::Unchanged => Wire::Unchanged,
        Outcome::Deleted => Wire::Deleted,
    }
}

fn outcome_from_wire(outcome: Wire) -> Option<Outcome> {
    match outcome {
        Wire::Unspecified => None,
        Wire::Created => Some(Outcome::Created),
        Wire::Updated => Some(Outcome::Updated),
        Wire::Unchanged => Some(Outcome::Unchanged),
        Wire::Deleted => Some(Outcome::Deleted),
    }
}
