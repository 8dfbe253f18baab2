//! The records of the journal as bytes.
//!
//! | key | value |
//! |---|---|
//! | `b` | the boot in which the ledger was written, as the kernel names it |
//! | `c` | the cluster that is served |
//! | `d` + generation + ItemKey | a drain: when it began, its deadline (8 bytes each), `k` or `r`, and the backend as an Item |
//! | `g` | the accepted generation, 8 bytes big-endian |
//! | `h` | something is held back: the generation that is served, and Hold as on the wire |
//! | `hc` | the cluster of what is held back |
//! | `i` + ItemKey as on the wire | the Item as on the wire |
//! | `k` + ItemKey | the Item that is served while something is held back; empty: none is |
//! | `n` + ItemKey | what passed through a service or a backend: see [`super::numbers`] |
//! | `nc` | what connection tracking lost |
//! | `o` + object | nothing: the object is ours |
//! | `s` + dotted name | the value the setting had before us |
//! | `u` | nothing: what is remembered may be older than what was accepted last |
//! | `x` + ItemKey | an item that is not taken: its digest as sent (16 bytes), the version that refused it and a NUL, and ItemFailure |
//! | `r` | nothing: what was ours was released, and what hangs on `weir0` is not to be claimed |
//!
//! An object is `l` (the link), `s4` `s6` (a loopback set), `r4` `r6` (its rule), `d4` `d6` (a lockdown) or `i` + ItemKey.

use prost::Message;
use weir_proto::convert::{
    hold_from_wire, hold_to_wire, item_from_wire, item_key_from_wire, item_key_to_wire,
    item_to_wire,
};
use weir_proto::digest::Digest;
use weir_proto::disk::Batch;
use weir_proto::model::{Family, Generation, Item, ItemKey, OnDeadline};
use weir_proto::wire;

use super::{JournalError, Remembered};
use crate::plan::{
    Begun, Change, DrainId, Drained, Hold, HoldChange, Key, LedgerChange, RefusedChange,
    RefusedItem, Setting, Taking,
};

const GENERATION: &[u8] = b"g";
const CLUSTER: &[u8] = b"c";
const HOLD: &[u8] = b"h";
const HELD_CLUSTER: &[u8] = b"hc";
/// Of the generation, the beginning and the deadline of a drain.
const NUMBER: usize = size_of::<u64>();
/// Of the digest of an item.
const DIGEST: usize = 16;
pub(super) const BOOT: &[u8] = b"b";
const RELEASED: &[u8] = b"r";
pub(super) const DOUBT: &[u8] = b"u";

/// Takes one record into what is remembered.
pub(super) fn remember(
    key: &[u8],
    payload: &[u8],
    into: &mut Remembered,
) -> Result<(), JournalError> {
    let bad = |why: String| JournalError::Record {
        key: key.escape_ascii().to_string(),
        why,
    };
    match key.split_first() {
        Some((b'g', [])) => {
            let (generation, _) = number(payload).map_err(bad)?;
            into.keeping.accepted.generation = Generation(generation);
        }
        Some((b'i', _)) => {
            let item = item(payload).map_err(bad)?;
            into.keeping.accepted.state.insert(item);
        }
        // in the order of records it comes behind all items that are held
        Some((b'x', key)) => {
            let key = item_key(key).map_err(bad)?;
            let item = refused_item(payload).map_err(bad)?;
            into.keeping.accepted.refuse(key, item);
        }
        Some((b'c', [])) => into.keeping.cluster = text(payload).map_err(bad)?,
        Some((b'h', [])) => {
            let (served, told) = number(payload).map_err(bad)?;
            let told = wire::Hold::decode(told).map_err(|error| bad(error.to_string()))?;
            let hold = into.keeping.hold.get_or_insert_default();
            hold.served = Generation(served);
            hold.told = hold_from_wire(told);
        }
        Some((b'h', b"c")) => {
            into.keeping.hold.get_or_insert_default().cluster = text(payload).map_err(bad)?;
        }
        Some((b'k', key)) => {
            let key = item_key(key).map_err(bad)?;
            let kept = match payload {
                [] => None,
                payload => Some(item(payload).map_err(bad)?),
            };
            let hold = into.keeping.hold.get_or_insert_default();
            hold.kept.insert(key, kept);
        }
        Some((b'd', name)) => into.drains.push(drain(name, payload).map_err(bad)?),
        // the ledger's, and compared by whoever opens
        Some((b'b', [])) => {}
        Some((b'u', [])) => into.keeping.unsure = true,
        Some((b'n', key)) => {
            super::numbers::remember(key, payload, &mut into.totals).map_err(bad)?
        }
        Some((b'o', object)) => {
            let object = object_from_bytes(object).map_err(bad)?;
            into.ledger.apply(&LedgerChange {
                made: [object].into(),
                ..LedgerChange::default()
            });
        }
        Some((b's', name)) => {
            let name = text(name).map_err(bad)?;
            let value = text(payload).map_err(bad)?;
            let setting =
                Setting::from_name(&name).ok_or_else(|| bad("no such setting".to_owned()))?;
            into.ledger.apply(&LedgerChange {
                found: [(setting, value)].into(),
                ..LedgerChange::default()
            });
        }
        Some((b'r', [])) => into.ledger.release(),
        _ => return Err(bad("no such kind of record".to_owned())),
    }
    Ok(())
}

/// Writes what a change does to the accepted state.
pub(super) fn of_change(change: &Change) -> Batch {
    let Change {
        generation,
        upserted,
        removed,
    } = change;
    let mut batch = Batch::default();
    for item in upserted {
        batch.put(item_record(&item.key()), item_to_wire(item).encode_to_vec());
    }
    for key in removed {
        batch.delete(item_record(key));
    }
    batch.put(GENERATION.to_vec(), generation.0.to_be_bytes().to_vec());
    batch
}

fn of_refused(change: &RefusedChange, batch: &mut Batch) {
    let RefusedChange { refused, gone } = change;
    for key in gone {
        batch.delete(refused_record(key));
    }
    for (key, item) in refused {
        let RefusedItem {
            digest,
            cause,
            field,
            version,
        } = item;
        let failure = wire::ItemFailure {
            // it stands in the key of the record
            key: None,
            errno: 0,
            cause: cause.clone(),
            field: field.clone(),
        };
        let mut payload = digest.to_bytes().to_vec();
        payload.extend(version.as_bytes());
        payload.push(0);
        payload.extend(failure.encode_to_vec());
        batch.put(refused_record(key), payload);
    }
}

/// Writes what accepting or releasing does, with the drains that begin by it.
pub(super) fn of_taking(taking: &Taking, begun: &[Begun]) -> Batch {
    let Taking {
        accepted,
        refused,
        served: _,
        hold,
        cluster,
        sure,
    } = taking;
    let mut batch = accepted.as_ref().map(of_change).unwrap_or_default();
    of_refused(refused, &mut batch);
    if *sure {
        batch.delete(DOUBT.to_vec());
    }
    match hold {
        HoldChange::None => {}
        HoldChange::Held(hold) => of_hold(hold, &mut batch),
        HoldChange::Over(keys) => {
            batch.delete(HOLD.to_vec());
            batch.delete(HELD_CLUSTER.to_vec());
            for key in keys {
                batch.delete(kept_record(key));
            }
        }
    }
    if let Some(cluster) = cluster {
        batch.put(CLUSTER.to_vec(), cluster.clone().into_bytes());
    }
    batch.extend(of_begun(begun));
    batch
}

/// Writes that drains begin.
pub(super) fn of_begun(begun: &[Begun]) -> Batch {
    let mut batch = Batch::default();
    for begun in begun {
        of_drain(begun, &mut batch);
    }
    batch
}

/// Writes everything there is to remember but the ledger and the boot.
pub(super) fn of_remembered(remembered: &Remembered) -> Batch {
    let Remembered {
        keeping,
        ledger: _,
        drains,
        totals: _,
    } = remembered;
    let taking = Taking {
        accepted: Some(Change {
            generation: keeping.accepted.generation,
            upserted: keeping.accepted.state.items().values().cloned().collect(),
            removed: Vec::new(),
        }),
        refused: RefusedChange {
            refused: keeping
                .accepted
                .refused
                .iter()
                .map(|(key, item)| (*key, item.clone()))
                .collect(),
            gone: Vec::new(),
        },
        served: None,
        hold: keeping
            .hold
            .clone()
            .map_or(HoldChange::None, HoldChange::Held),
        cluster: (!keeping.cluster.is_empty()).then(|| keeping.cluster.clone()),
        sure: false,
    };
    let mut batch = of_taking(&taking, drains);
    if keeping.unsure {
        batch.put(DOUBT.to_vec(), Vec::new());
    }
    batch
}

/// Writes that what is remembered may be older than what was accepted, and that nothing in the kernel is known to be ours.
pub(super) fn of_doubt<'a>(keys: impl Iterator<Item = &'a Vec<u8>>) -> Batch {
    let mut batch = Batch::default();
    for key in keys.filter(|key| key.first() == Some(&b'o')) {
        batch.delete(key.clone());
    }
    batch.put(DOUBT.to_vec(), Vec::new());
    batch
}

fn of_hold(hold: &Hold, batch: &mut Batch) {
    let Hold {
        told,
        served,
        cluster,
        kept,
    } = hold;
    let mut head = served.0.to_be_bytes().to_vec();
    head.extend(hold_to_wire(told).encode_to_vec());
    batch.put(HOLD.to_vec(), head);
    batch.put(HELD_CLUSTER.to_vec(), cluster.clone().into_bytes());
    for (key, item) in kept {
        let item = item.as_ref().map(|item| item_to_wire(item).encode_to_vec());
        batch.put(kept_record(key), item.unwrap_or_default());
    }
}

fn of_drain(begun: &Begun, batch: &mut Batch) {
    let Begun {
        generation: _,
        what,
        started_unix_ms,
        deadline_unix_ms,
        on_deadline,
    } = begun;
    let mut payload = Vec::new();
    payload.extend(started_unix_ms.to_be_bytes());
    payload.extend(deadline_unix_ms.to_be_bytes());
    payload.push(match on_deadline {
        OnDeadline::Keep => b'k',
        OnDeadline::Reset => b'r',
    });
    if let Drained::Backend(backend) = what {
        payload.extend(item_to_wire(&Item::Backend(backend.clone())).encode_to_vec());
    }
    batch.put(drain_record(begun.id()), payload);
}

/// Writes that drains are over.
pub(super) fn of_ended(drains: &[DrainId]) -> Batch {
    let mut batch = Batch::default();
    for id in drains {
        batch.delete(drain_record(*id));
    }
    batch
}

/// Writes that nothing is accepted any more.
pub(super) fn of_nothing(remembered: &Remembered) -> Batch {
    let mut records = weir_proto::disk::Records::new();
    of_remembered(remembered).write_into(&mut records);
    let mut batch = Batch::default();
    for key in records.into_keys() {
        batch.delete(key);
    }
    batch
}

/// Writes that all of these records are forgotten, and what they said is ours with them.
pub(super) fn of_release<'a>(keys: impl Iterator<Item = &'a Vec<u8>>) -> Batch {
    let mut batch = Batch::default();
    for key in keys {
        batch.delete(key.clone());
    }
    batch.put(RELEASED.to_vec(), Vec::new());
    batch
}

/// Writes that a kernel was booted: nothing in it is ours yet, no setting was changed, and nothing is connected to what was
/// drained.
pub(super) fn of_boot<'a>(boot: &str, keys: impl Iterator<Item = &'a Vec<u8>>) -> Batch {
    let mut batch = Batch::default();
    for key in keys.filter(|key| matches!(key.first(), Some(b'o' | b's' | b'd'))) {
        batch.delete(key.clone());
    }
    batch.put(BOOT.to_vec(), boot.as_bytes().to_vec());
    batch
}

/// Writes what a change does to the ledger.
pub(super) fn of_ledger(change: &LedgerChange) -> Batch {
    let LedgerChange {
        made,
        found,
        gone,
        restored,
    } = change;
    let mut batch = Batch::default();
    for record in made.iter().filter_map(|key| object_record(*key)) {
        batch.put(record, Vec::new());
    }
    if made.contains(&Key::Link) {
        batch.delete(RELEASED.to_vec());
    }
    for record in gone.iter().filter_map(|key| object_record(*key)) {
        batch.delete(record);
    }
    for (setting, value) in found {
        batch.put(setting_record(*setting), value.clone().into_bytes());
    }
    for setting in restored {
        batch.delete(setting_record(*setting));
    }
    batch
}

fn item_record(key: &ItemKey) -> Vec<u8> {
    [b"i", item_key_to_wire(key).encode_to_vec().as_slice()].concat()
}

fn refused_record(key: &ItemKey) -> Vec<u8> {
    [b"x", item_key_to_wire(key).encode_to_vec().as_slice()].concat()
}

fn kept_record(key: &ItemKey) -> Vec<u8> {
    [b"k", item_key_to_wire(key).encode_to_vec().as_slice()].concat()
}

fn drain_record(id: DrainId) -> Vec<u8> {
    let key = item_key_to_wire(&id.key).encode_to_vec();
    [b"d", id.generation.0.to_be_bytes().as_slice(), &key].concat()
}

pub(super) fn number(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let (number, rest) = bytes
        .split_first_chunk::<NUMBER>()
        .ok_or("shorter than a number")?;
    Ok((u64::from_be_bytes(*number), rest))
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
}

fn item(bytes: &[u8]) -> Result<Item, String> {
    let wire = wire::Item::decode(bytes).map_err(|error| error.to_string())?;
    item_from_wire(&wire, "item").map_err(|error| error.to_string())
}

pub(super) fn item_key(bytes: &[u8]) -> Result<ItemKey, String> {
    let wire = wire::ItemKey::decode(bytes).map_err(|error| error.to_string())?;
    item_key_from_wire(&wire, "key").map_err(|error| error.to_string())
}

fn refused_item(bytes: &[u8]) -> Result<RefusedItem, String> {
    let (digest, rest) = bytes
        .split_first_chunk::<DIGEST>()
        .ok_or("shorter than a digest")?;
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let (Some(version), Some(failure)) = (parts.next(), parts.next()) else {
        return Err("no end of the version".to_owned());
    };
    let failure = wire::ItemFailure::decode(failure).map_err(|error| error.to_string())?;
    Ok(RefusedItem {
        digest: Digest::from_bytes(*digest),
        cause: failure.cause,
        field: failure.field,
        version: text(version)?,
    })
}

fn drain(name: &[u8], payload: &[u8]) -> Result<Begun, String> {
    let (generation, key) = number(name)?;
    let (started_unix_ms, rest) = number(payload)?;
    let (deadline_unix_ms, rest) = number(rest)?;
    let (on_deadline, backend) = match rest.split_first() {
        Some((b'k', backend)) => (OnDeadline::Keep, backend),
        Some((b'r', backend)) => (OnDeadline::Reset, backend),
        _ => return Err("no such end of a drain".to_owned()),
    };
    let what = match (item_key(key)?, backend) {
        (ItemKey::NodeDrain, []) => Drained::Node,
        (key, backend) => match item(backend)? {
            Item::Backend(backend) if ItemKey::Backend(backend.key) == key => {
                Drained::Backend(backend)
            }
            _ => return Err("another backend than its key says".to_owned()),
        },
    };
    Ok(Begun {
        generation: Generation(generation),
        what,
        started_unix_ms,
        deadline_unix_ms,
        on_deadline,
    })
}

fn setting_record(setting: Setting) -> Vec<u8> {
    [b"s", setting.name().as_bytes()].concat()
}

/// Gives the record that says an object is ours; none for an entry of a lockdown, which is ours as far as that is.
fn object_record(key: Key) -> Option<Vec<u8>> {
    let object = match key {
        // a setting is nobody's: what it was before us stands in a record of its own
        Key::Setting(setting) => return Some(setting_record(setting)),
        Key::Guard(_) => return None,
        Key::Link => b"l".to_vec(),
        Key::LoopbackSet(family) => vec![b's', digit(family)],
        Key::LoopbackRule(family) => vec![b'r', digit(family)],
        Key::Lockdown(family) => vec![b'd', digit(family)],
        Key::Item(key) => item_record(&key),
    };
    Some([b"o", object.as_slice()].concat())
}

fn object_from_bytes(object: &[u8]) -> Result<Key, String> {
    match object {
        b"l" => Ok(Key::Link),
        b"s4" => Ok(Key::LoopbackSet(Family::V4)),
        b"s6" => Ok(Key::LoopbackSet(Family::V6)),
        b"r4" => Ok(Key::LoopbackRule(Family::V4)),
        b"r6" => Ok(Key::LoopbackRule(Family::V6)),
        b"d4" => Ok(Key::Lockdown(Family::V4)),
        b"d6" => Ok(Key::Lockdown(Family::V6)),
        [b'i', key @ ..] => item_key(key).map(Key::Item),
        _ => Err("no such kind of object".to_owned()),
    }
}

fn digit(family: Family) -> u8 {
    match family {
        Family::V4 => b'4',
        Family::V6 => b'6',
    }
}
