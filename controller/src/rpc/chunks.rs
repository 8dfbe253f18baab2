//! Cuts an update into messages of at most 1 MiB.
//!
//! What several nodes are sent alike is encoded by the first that needs it, in pieces that go into the chunks of all of them
//! as they are; for each node only the numbers around it and what it alone is sent are.

use std::sync::Arc;

use prost::Message;
use prost::encoding::{encoded_len_varint, key_len, message};
use tracing::info_span;
use weir_proto::convert::{item_key_to_wire, item_to_wire};
use weir_proto::model::{Generation, Item, ItemKey};
use weir_proto::trace::{SPANS, part_of};
use weir_proto::wire;

use crate::cluster::Beside;
use crate::desired::{Content, Shared, Update};

/// What a chunk may take at most, as node.proto says.
const LARGEST: usize = 1 << 20;
/// What a chunk takes beside its items: counters, digest, trace context, the cluster's name, and the envelope around it.
const BESIDE: usize = 256;

/// The numbers of Update.upserted and Update.removed.
const UPSERTED: u32 = 3;
const REMOVED: u32 = 4;

/// The chunks of an update, made one after the other as they are sent.
#[derive(Debug)]
pub(super) struct Chunks {
    generation: Generation,
    base: Generation,
    common: Option<Arc<Shared>>,
    /// How many pieces of that went.
    pieces: usize,
    upserted: std::vec::IntoIter<Item>,
    removed: std::vec::IntoIter<ItemKey>,
    digest: Vec<u8>,
    beside: Beside,
    /// What did not fit into the chunk before.
    next: Option<Part>,
    chunk: u32,
    done: bool,
}

/// An encoded Update, in two parts that belong one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) own: Vec<u8>,
    pub(super) common: Option<Arc<[u8]>>,
}

#[derive(Debug)]
enum Part {
    Upserted(wire::Item),
    Removed(wire::ItemKey),
}

impl Chunks {
    /// Cuts up an update. Says also how often something was encoded for it that others are sent as well.
    pub(super) fn new(update: Update, beside: Beside) -> (Self, u64) {
        let Update {
            generation,
            base,
            content,
            digest,
        } = update;
        let Content {
            common,
            upserted,
            removed,
        } = content;
        let mut encodings = 0;
        if let Some(common) = &common {
            common.encoded(|upserted, removed| {
                encodings += 1;
                let _encode = part_of(&beside.traceparent, || {
                    info_span!(target: SPANS, parent: None, "encode", items = upserted.len() + removed.len())
                });
                encode(upserted, removed)
            });
        }
        let mut chunks = Self {
            generation,
            base: base.unwrap_or_default(),
            common,
            pieces: 0,
            upserted: upserted.into_iter(),
            removed: removed.into_iter(),
            digest: digest.to_bytes().to_vec(),
            beside,
            next: None,
            chunk: 0,
            done: false,
        };
        chunks.next = chunks.part();
        (chunks, encodings)
    }

    /// Says whether the last chunk was given.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    fn part(&mut self) -> Option<Part> {
        let item = self.upserted.next();
        let item = item.map(|item| Part::Upserted(item_to_wire(&item)));
        item.or_else(|| {
            let key = self.removed.next()?;
            Some(Part::Removed(item_key_to_wire(&key)))
        })
    }

    /// Gives a piece of what is common, and whether it is the last; none: there is no more.
    fn piece(&mut self) -> (Option<Arc<[u8]>>, bool) {
        let Some(common) = &self.common else {
            return (None, true);
        };
        let pieces = common.encoded(encode);
        let piece = pieces.get(self.pieces).cloned();
        self.pieces += 1;
        (piece, self.pieces >= pieces.len())
    }
}

impl Iterator for Chunks {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        if self.done {
            return None;
        }
        let mut update = wire::Update {
            generation: self.generation.0,
            base_generation: self.base.0,
            chunk: self.chunk,
            traceparent: self.beside.traceparent.to_string(),
            cluster: self.beside.cluster.to_string(),
            allow_mass_delete: self.beside.allow_mass_delete,
            answer_within_ms: self.beside.answer_within.as_millis() as u32,
            ..wire::Update::default()
        };
        let (common, last_piece) = self.piece();
        let mut bytes = BESIDE + common.as_ref().map_or(0, |piece| piece.len());
        while let Some(part) = self.next.take_if(|_| last_piece) {
            bytes += part.encoded_len();
            if bytes > LARGEST {
                self.next = Some(part);
                break;
            }
            match part {
                Part::Upserted(item) => update.upserted.push(item.encode_to_vec().into()),
                Part::Removed(key) => update.removed.push(key),
            }
            self.next = self.part();
        }
        self.chunk += 1;
        if last_piece && self.next.is_none() {
            self.done = true;
            update.last = true;
            update.digest = std::mem::take(&mut self.digest);
        }
        Some(Chunk {
            own: update.encode_to_vec(),
            common,
        })
    }
}

/// Encodes what comes and goes as fields of an Update, in pieces each of which fits into a chunk.
fn encode(upserted: &[Item], removed: &[ItemKey]) -> Vec<Arc<[u8]>> {
    let upserted = upserted
        .iter()
        .map(|item| Part::Upserted(item_to_wire(item)));
    let removed = removed
        .iter()
        .map(|key| Part::Removed(item_key_to_wire(key)));
    let mut pieces = Vec::new();
    let mut piece: Vec<u8> = Vec::new();
    for part in upserted.chain(removed) {
        if piece.len() + part.encoded_len() > LARGEST - BESIDE {
            pieces.push(std::mem::take(&mut piece).into());
        }
        match part {
            Part::Upserted(item) => message::encode(UPSERTED, &item, &mut piece),
            Part::Removed(key) => message::encode(REMOVED, &key, &mut piece),
        }
    }
    if !piece.is_empty() {
        pieces.push(piece.into());
    }
    pieces
}

impl Part {
    /// What it takes in an update, with its tag and length.
    fn encoded_len(&self) -> usize {
        let bytes = match self {
            Self::Upserted(item) => item.encoded_len(),
            Self::Removed(key) => key.encoded_len(),
        };
        // both fields have one-byte tags
        key_len(UPSERTED) + encoded_len_varint(bytes as u64) + bytes
    }
}

#[cfg(test)]
mod tests;
