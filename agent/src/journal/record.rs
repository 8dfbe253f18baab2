//! The records of the journal as bytes.
//!
//! | key | value |
//! |---|---|
//! | `b` | the boot in which the ledger was written, as the kernel names it |
//! | `g` | the accepted generation, 8 bytes big-endian |
//! | `i` + ItemKey as on the wire | the Item as on the wire |
//! | `o` + object | nothing: the object is ours |
//! | `s` + dotted name | the value the setting had before us |
//! | `r` | nothing: what was ours was released, and what hangs on `weir0` is not to be claimed |
//!
//! An object is `l` (the link), `s4` `s6` (a loopback set), `r4` `r6` (its rule), `d4` `d6` (a lockdown) or `i` + ItemKey.

use prost::Message;
use weir_proto::convert::{item_from_wire, item_key_from_wire, item_key_to_wire, item_to_wire};
use weir_proto::disk::Batch;
use weir_proto::model::{Family, Generation, ItemKey};
use weir_proto::wire;

use super::{JournalError, Remembered};
use crate::plan::{Change, Held, Key, LedgerChange, Setting};

const GENERATION: &[u8] = b"g";
pub(super) const BOOT: &[u8] = b"b";
const RELEASED: &[u8] = b"r";

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
            let bytes = payload
                .try_into()
                .map_err(|_| bad("not 8 bytes".to_owned()))?;
            into.held.generation = Generation(u64::from_be_bytes(bytes));
        }
        Some((b'i', _)) => {
            let wire = wire::Item::decode(payload).map_err(|error| bad(error.to_string()))?;
            let item = item_from_wire(&wire, "item").map_err(|error| bad(error.to_string()))?;
            into.held.state.insert(item);
        }
        // the ledger's, and compared by whoever opens
        Some((b'b', [])) => {}
        Some((b'o', object)) => {
            let object = object_from_bytes(object).map_err(bad)?;
            into.ledger.apply(&LedgerChange {
                made: [object].into(),
                ..LedgerChange::default()
            });
        }
        Some((b's', name)) => {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
            let name = text(name).map_err(|error| bad(error.to_string()))?;
            let value = text(payload).map_err(|error| bad(error.to_string()))?;
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

/// Writes that nothing is accepted where `held` was.
pub(super) fn of_nothing(held: &Held) -> Batch {
    let mut batch = Batch::default();
    for key in held.state.items().keys() {
        batch.delete(item_record(key));
    }
    batch.delete(GENERATION.to_vec());
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

/// Writes that a kernel was booted: nothing in it is ours yet, and no setting was changed.
pub(super) fn of_boot<'a>(boot: &str, keys: impl Iterator<Item = &'a Vec<u8>>) -> Batch {
    let mut batch = Batch::default();
    for key in keys.filter(|key| matches!(key.first(), Some(b'o' | b's'))) {
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
        [b'i', key @ ..] => {
            let wire = wire::ItemKey::decode(key).map_err(|error| error.to_string())?;
            item_key_from_wire(&wire, "key")
                .map(Key::Item)
                .map_err(|error| error.to_string())
        }
        _ => Err("no such kind of object".to_owned()),
    }
}

fn digit(family: Family) -> u8 {
    match family {
        Family::V4 => b'4',
        Family::V6 => b'6',
    }
}
