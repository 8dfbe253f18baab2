//! Cuts an update into messages of at most 1 MiB.

use prost::Message;
use prost::encoding::{encoded_len_varint, key_len};
use weir_proto::convert::{item_key_to_wire, item_to_wire};
use weir_proto::model::{Generation, Item, ItemKey};
use weir_proto::wire;

use crate::cluster::Beside;
use crate::desired::Update;

/// What a chunk may take at most, as node.proto says.
const LARGEST: usize = 1 << 20;
/// What a chunk takes beside its items: counters, digest, trace context, the cluster's name, and the envelope around it.
const BESIDE: usize = 256;

/// The chunks of an update, made one after the other as they are sent.
#[derive(Debug)]
pub(super) struct Chunks {
    generation: Generation,
    base: Generation,
    upserted: std::vec::IntoIter<Item>,
    removed: std::vec::IntoIter<ItemKey>,
    digest: Vec<u8>,
    beside: Beside,
    /// What did not fit into the chunk before.
    next: Option<Part>,
    chunk: u32,
    done: bool,
}

#[derive(Debug)]
enum Part {
    Upserted(wire::Item),
    Removed(wire::ItemKey),
}

impl Chunks {
    /// Cuts up an update.
    pub(super) fn new(update: Update, beside: Beside) -> Self {
        let Update {
            generation,
            base,
            upserted,
            removed,
            digest,
        } = update;
        let mut chunks = Self {
            generation,
            base: base.unwrap_or_default(),
            upserted: upserted.into_iter(),
            removed: removed.into_iter(),
            digest: digest.to_bytes().to_vec(),
            beside,
            next: None,
            chunk: 0,
            done: false,
        };
        chunks.next = chunks.part();
        chunks
    }

    fn part(&mut self) -> Option<Part> {
        let item = self.upserted.next();
        let item = item.map(|item| Part::Upserted(item_to_wire(&item)));
        item.or_else(|| {
            let key = self.removed.next()?;
            Some(Part::Removed(item_key_to_wire(&key)))
        })
    }
}

impl Iterator for Chunks {
    type Item = wire::Update;

    fn next(&mut self) -> Option<wire::Update> {
        if self.done {
            return None;
        }
        let mut update = wire::Update {
            generation: self.generation.0,
            base_generation: self.base.0,
            chunk: self.chunk,
            traceparent: self.beside.traceparent.clone(),
            cluster: self.beside.cluster.to_string(),
            allow_mass_delete: self.beside.allow_mass_delete,
            ..wire::Update::default()
        };
        let mut bytes = BESIDE;
        while let Some(part) = self.next.take() {
            bytes += part.encoded_len();
            if bytes > LARGEST {
                self.next = Some(part);
                break;
            }
            match part {
                Part::Upserted(item) => update.upserted.push(item),
                Part::Removed(key) => update.removed.push(key),
            }
            self.next = self.part();
        }
        self.chunk += 1;
        if self.next.is_none() {
            self.done = true;
            update.last = true;
            update.digest = std::mem::take(&mut self.digest);
        }
        Some(update)
    }
}

impl Part {
    /// What it takes in an update, with its tag and length.
    fn encoded_len(&self) -> usize {
        let bytes = match self {
            Self::Upserted(item) => item.encoded_len(),
            Self::Removed(key) => key.encoded_len(),
        };
        // both fields have one-byte tags
        key_len(1) + encoded_len_varint(bytes as u64) + bytes
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use weir_proto::digest::Digest;
    use weir_proto::model::Vip;

    use super::*;

    fn update(vips: u32, removed: u32) -> Update {
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + number));
        Update {
            generation: Generation(7),
            base: Some(Generation(5)),
            upserted: (0..vips).map(|n| Item::Vip(Vip::new(address(n)))).collect(),
            removed: (0..removed).map(|n| ItemKey::Vip(address(n))).collect(),
            digest: Digest::default(),
        }
    }

    const CLUSTER: &str = "0123456789abcdef0123456789abcdef";

    fn beside(traceparent: &str) -> Beside {
        Beside {
            traceparent: traceparent.to_owned(),
            cluster: CLUSTER.into(),
            allow_mass_delete: true,
        }
    }

    #[test]
    fn a_small_update_is_one_chunk() {
        let chunks: Vec<_> = Chunks::new(update(1, 1), beside("00-a")).collect();
        assert_eq!(
            chunks,
            [wire::Update {
                generation: 7,
                base_generation: 5,
                upserted: vec![item_to_wire(&update(1, 0).upserted[0])],
                removed: vec![item_key_to_wire(&update(0, 1).removed[0])],
                digest: vec![0; 16],
                chunk: 0,
                last: true,
                traceparent: "00-a".to_owned(),
                cluster: CLUSTER.to_owned(),
                allow_mass_delete: true,
            }]
        );
    }

    #[test]
    fn an_empty_update_is_one_chunk() {
        let chunks: Vec<_> = Chunks::new(update(0, 0), beside("")).collect();
        assert_eq!(chunks.len(), 1);
        assert!(chunks[0].last);
    }

    #[test]
    fn a_large_update_is_cut_and_nothing_is_lost() {
        let whole = update(100_000, 50_000);
        let chunks: Vec<_> = Chunks::new(whole, beside(&"x".repeat(55))).collect();
        assert!(chunks.len() >= 2, "{} chunks", chunks.len());
        for (place, chunk) in chunks.iter().enumerate() {
            assert!(chunk.encoded_len() <= LARGEST, "{}", chunk.encoded_len());
            assert_eq!(chunk.chunk as usize, place);
            assert_eq!(
                (chunk.cluster.as_str(), chunk.allow_mass_delete),
                (CLUSTER, true)
            );
            assert_eq!(chunk.last, place + 1 == chunks.len());
            assert_eq!(chunk.digest.is_empty(), !chunk.last);
        }
        let upserted: usize = chunks.iter().map(|chunk| chunk.upserted.len()).sum();
        let removed: usize = chunks.iter().map(|chunk| chunk.removed.len()).sum();
        assert_eq!((upserted, removed), (100_000, 50_000));
    }
}
