//! The records of totals: numbers of 8 bytes, big-endian, one after another.
//!
//! Of a service or a backend, known by its ItemKey: what had passed when the kernel last began anew (connections, packets and
//! bytes, each in and out), the same of what the kernel showed last, and how many connections failed. Of connection tracking: what it had
//! lost (packets dropped, entries not inserted, entries thrown out early) when the kernel last began anew, and what the kernel showed last.

use prost::Message;
use weir_proto::convert::item_key_to_wire;
use weir_proto::disk::Batch;
use weir_proto::model::{BackendKey, ItemKey};

use super::record::{item_key, number};
use crate::plan::{Counter, Losses, Passed, SavedTotals, Total, TotalsChange};

/// Of connection tracking. No ItemKey begins like that: it would be a group, of which there are none.
const LOST: &[u8] = b"nc";

/// Takes one record into what is remembered of totals.
pub(super) fn remember(key: &[u8], payload: &[u8], into: &mut SavedTotals) -> Result<(), String> {
    if key == b"c" {
        let [a, b, c, d, e, f] = numbers(payload)?;
        into.lost = Losses {
            before: [a, b, c],
            counted: [d, e, f],
        };
        return Ok(());
    }
    let counter: Counter = match item_key(key) {
        Ok(ItemKey::VirtualService(frontend)) => (frontend, None),
        Ok(ItemKey::Backend(backend)) => (backend.frontend, Some(backend.endpoint)),
        // numbers of what cannot be are not worth an agent that does not start
        Ok(_) | Err(_) => return Ok(()),
    };
    let [a, b, c, d, e, f, g, h, i, j, failed] = numbers(payload)?;
    let total = Total {
        before: Passed::with([a, b, c, d, e]),
        counted: Passed::with([f, g, h, i, j]),
        failed,
    };
    into.passed.insert(counter, total);
    Ok(())
}

/// Writes what is to be remembered of totals.
pub(super) fn of_totals(change: &TotalsChange) -> Batch {
    let TotalsChange {
        passed,
        forgotten,
        lost,
    } = change;
    let mut batch = Batch::default();
    for counter in forgotten {
        batch.delete(record(counter));
    }
    for (counter, total) in passed {
        let Total {
            before,
            counted,
            failed,
        } = total;
        let all = before.each().into_iter().chain(counted.each());
        batch.put(record(counter), bytes(all.chain([*failed])));
    }
    if let Some(Losses { before, counted }) = lost {
        batch.put(LOST.to_vec(), bytes(before.iter().chain(counted).copied()));
    }
    batch
}

fn record((frontend, endpoint): &Counter) -> Vec<u8> {
    let key = match endpoint {
        None => ItemKey::VirtualService(*frontend),
        Some(endpoint) => ItemKey::Backend(BackendKey {
            frontend: *frontend,
            endpoint: *endpoint,
        }),
    };
    [b"n", item_key_to_wire(&key).encode_to_vec().as_slice()].concat()
}

fn bytes(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
    numbers.flat_map(u64::to_be_bytes).collect()
}

fn numbers<const N: usize>(mut bytes: &[u8]) -> Result<[u64; N], String> {
    let mut numbers = [0; N];
    for slot in &mut numbers {
        (*slot, bytes) = number(bytes)?;
    }
    Ok(numbers)
}
