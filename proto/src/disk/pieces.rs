//! Large payloads as several small records.
//!
//! sled puts a node that is too large for its log into a file of its own, and the log may reach the disk before that
//! file's name does: after a power cut the database is damaged, though all that was synced is there. So no node
//! gets that large. The first piece stands under the record's own key, the others under `\0p`, that key, and
//! their number from 1 on (4 bytes, big-endian).

use super::{Batch, Records};

/// A node of sled's has up to some 20 records and may take a quarter of a segment, 32 KiB; this leaves room
/// for keys of 500 bytes.
const PIECE: usize = 1024;
const PREFIX: &[u8] = b"\0p";

/// Cuts what a batch puts into pieces. `is_there` says whether a record is kept under a key: of what is replaced
/// or removed, no piece may stay.
pub(super) fn split<E>(
    batch: &Batch,
    mut is_there: impl FnMut(&[u8]) -> Result<bool, E>,
) -> Result<Batch, E> {
    let mut pieces = Batch::default();
    for (key, payload) in &batch.0 {
        let mut count = 0;
        match payload {
            Some(payload) => count = put(key, payload, |key, piece| pieces.put_any(key, piece)),
            None => pieces.delete(key.clone()),
        }
        let mut surplus = key_of(key, count.max(1));
        while is_there(&surplus)? {
            pieces.delete(surplus);
            count = count.max(1) + 1;
            surplus = key_of(key, count);
        }
    }
    Ok(pieces)
}

/// Cuts records into pieces.
pub(super) fn split_all(records: &Records) -> Records {
    let mut pieces = Records::new();
    for (key, payload) in records {
        put(key, payload, |key, piece| {
            pieces.insert(key, piece);
        });
    }
    pieces
}

/// Puts records together again. A piece of nothing is a record that does not begin: none.
pub(super) fn join(pieces: Records) -> Option<Records> {
    let (later, mut records): (Records, Records) = pieces
        .into_iter()
        .partition(|(key, _)| key.starts_with(PREFIX));
    // the pieces of one key come in their order
    for (key, piece) in later {
        let (key, _) = key.strip_prefix(PREFIX)?.split_last_chunk::<4>()?;
        records.get_mut(key)?.extend(piece);
    }
    Some(records)
}

/// Gives each piece its key; says how many there are.
fn put(key: &[u8], payload: &[u8], mut piece: impl FnMut(Vec<u8>, Vec<u8>)) -> u32 {
    let (first, rest) = payload.split_at(payload.len().min(PIECE));
    piece(key.to_vec(), first.to_vec());
    let mut count = 1;
    for next in rest.chunks(PIECE) {
        piece(key_of(key, count), next.to_vec());
        count += 1;
    }
    count
}

fn key_of(key: &[u8], number: u32) -> Vec<u8> {
    [PREFIX, key, &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_any_length_come_together_again_and_nothing_stays_of_what_was_longer() {
        let lengths = [0, 1, PIECE, PIECE + 1, 5 * PIECE, 2 * PIECE, 0];
        let mut kept = Records::new();
        for (number, len) in lengths.into_iter().enumerate() {
            let mut batch = Batch::default();
            // a key that begins like another, and goes on like a number
            batch.put(b"a\0\0\0".to_vec(), vec![1; len]);
            batch.put(b"a".to_vec(), vec![2; len + number]);
            if number % 2 == 1 {
                batch.delete(b"b".to_vec());
            } else {
                batch.put(b"b".to_vec(), vec![3; len]);
            }
            let pieces = split(&batch, |key| Ok::<_, ()>(kept.contains_key(key))).expect("split");
            pieces.write_into(&mut kept);
            let mut records = Records::new();
            batch.write_into(&mut records);
            assert_eq!(kept, split_all(&records), "{len}");
            assert_eq!(join(kept.clone()), Some(records), "{len}");
        }
        assert!(kept.values().all(|piece| piece.len() <= PIECE));
    }

    #[test]
    fn a_piece_of_nothing_is_refused() {
        let pieces = [(key_of(b"a", 1), Vec::new())];
        assert_eq!(join(pieces.into()), None);
        assert_eq!(join([(b"\0p".to_vec(), Vec::new())].into()), None);
    }
}
