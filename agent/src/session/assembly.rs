//! Puts the chunks of an update together. They count only when the last one is in.

use weir_proto::convert::{
    FieldError, FieldErrors, Problems, RefusedSent, digest_from_wire, item_from_sent,
    item_key_from_wire,
};
use weir_proto::model::{Generation, ItemKey};
use weir_proto::wire;

use crate::plan::{RefusedItem, Update, VERSION, shortened};

/// How many chunks wait for their last at most: of at most 1 MiB each they hold some two million backends, and a controller
/// that never comes to an end does not take all memory.
const MOST_CHUNKS: u32 = 256;
/// The longest cause: a sentence or two. A thousand of them must fit a message.
const LONGEST_CAUSE: usize = 300;

/// The chunks of one update so far.
#[derive(Debug, Default)]
pub struct Assembly {
    chunks: Option<wire::Update>,
}

/// An update with all its chunks.
#[derive(Debug, PartialEq, Eq)]
pub struct Assembled {
    /// What it says.
    pub update: Update,
    /// The trace it belongs to.
    pub traceparent: String,
}

/// Why chunks make no update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum AssemblyError {
    #[error("chunk {found} of generation {generation} came where chunk {wanted} should have been")]
    Order {
        generation: u64,
        found: u32,
        wanted: u32,
    },
    #[error("generation {generation} comes in more than {MOST_CHUNKS} chunks")]
    TooLarge { generation: u64 },
    #[error("the update cannot be read")]
    Fields(#[from] FieldErrors),
}

impl Assembly {
    /// Takes the next chunk; gives the update when it was the last. After an error it starts anew.
    pub fn take(&mut self, chunk: wire::Update) -> Result<Option<Assembled>, AssemblyError> {
        let begun = match self.chunks.take() {
            // chunk 0 always begins an update: the one before it was given up
            _ if chunk.chunk == 0 => chunk,
            Some(begun) if follows(&begun, &chunk) => join(begun, chunk),
            begun => {
                let wanted = begun.map_or(0, |begun| begun.chunk + 1);
                return Err(AssemblyError::Order {
                    generation: chunk.generation,
                    found: chunk.chunk,
                    wanted,
                });
            }
        };
        if begun.chunk >= MOST_CHUNKS {
            return Err(AssemblyError::TooLarge {
                generation: begun.generation,
            });
        }
        if begun.last {
            Ok(Some(read(begun)?))
        } else {
            self.chunks = Some(begun);
            Ok(None)
        }
    }
}

fn follows(begun: &wire::Update, chunk: &wire::Update) -> bool {
    let of = |update: &wire::Update| (update.generation, update.base_generation);
    of(begun) == of(chunk) && begun.chunk.checked_add(1) == Some(chunk.chunk)
}

fn join(mut begun: wire::Update, chunk: wire::Update) -> wire::Update {
    begun.upserted.extend(chunk.upserted);
    begun.removed.extend(chunk.removed);
    begun.chunk = chunk.chunk;
    begun.last = chunk.last;
    begun.digest = chunk.digest;
    if begun.traceparent.is_empty() {
        begun.traceparent = chunk.traceparent;
    }
    begun
}

fn read(update: wire::Update) -> Result<Assembled, FieldErrors> {
    let wire::Update {
        generation,
        base_generation,
        upserted,
        removed,
        digest,
        traceparent,
        chunk: _,
        last: _,
        cluster,
        allow_mass_delete,
        // of the stream, not of the state
        answer_within_ms: _,
    } = update;
    let mut problems = Problems::default();
    let mut items = Vec::with_capacity(upserted.len());
    let (mut refused, mut written) = (Vec::new(), Vec::new());
    for (place, item) in upserted.iter().enumerate() {
        let path = format!("upserted[{place}]");
        match item_from_sent(item, &path, &mut written) {
            Ok(item) => items.push(item),
            Err(why) => refused.push(refuse(*why, &path)),
        }
    }
    // a key of another version is of an item that was refused under no key of its own: which one it was, the digest says no
    // more, and a snapshot is asked for
    let keys = removed.iter();
    let keys = keys.filter_map(|key| item_key_from_wire(key, "removed").ok());
    let keys: Vec<ItemKey> = keys.collect();
    let digest = problems.take("digest", digest_from_wire(&digest));
    let digest = problems.finish(digest)?;
    Ok(Assembled {
        update: Update {
            generation: Generation(generation),
            base: (base_generation > 0).then_some(Generation(base_generation)),
            upserted: items,
            refused,
            removed: keys,
            digest,
            cluster,
            allow_mass_delete,
        },
        traceparent,
    })
}

/// Says why an item is not taken.
fn refuse(item: RefusedSent, path: &str) -> (ItemKey, RefusedItem) {
    let RefusedSent {
        key,
        digest,
        why: FieldErrors(errors),
    } = item;
    // the path begins with the place in the message and the kind of item, and people know both
    let field = |error: &FieldError| {
        let within = error.path.strip_prefix(path).unwrap_or(&error.path);
        let within = within.trim_start_matches('.');
        within
            .split_once('.')
            .map_or("", |(_, field)| field)
            .to_owned()
    };
    // the field of the first is told beside the cause
    let cause = |(place, error): (usize, &FieldError)| match field(error) {
        field if place == 0 || field.is_empty() => error.problem.to_string(),
        field => format!("{field}: {}", error.problem),
    };
    let causes: Vec<String> = errors.iter().enumerate().map(cause).collect();
    let item = RefusedItem {
        digest,
        cause: shortened(&causes.join("; "), LONGEST_CAUSE),
        field: errors.first().map(field).unwrap_or_default(),
        version: VERSION.to_owned(),
    };
    (key, item)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost::bytes::Bytes;
    use weir_proto::convert::item_to_wire;
    use weir_proto::digest::Digest;
    use weir_proto::model::Item;

    use super::*;

    fn vip(last: u8) -> Item {
        Item::Vip(weir_proto::model::Vip::new([10, 1, 0, last].into()))
    }

    fn sent(item: &Item) -> Bytes {
        item_to_wire(item).encode_to_vec().into()
    }

    fn chunk(generation: u64, number: u32, last: bool, items: &[Item]) -> wire::Update {
        wire::Update {
            generation,
            chunk: number,
            last,
            upserted: items.iter().map(sent).collect(),
            digest: if last { vec![0; 16] } else { Vec::new() },
            ..wire::Update::default()
        }
    }

    #[test]
    fn an_update_counts_only_when_its_last_chunk_is_in() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(chunk(7, 0, false, &[vip(1)])), Ok(None));
        assert_eq!(assembly.take(chunk(7, 1, false, &[vip(2)])), Ok(None));
        let assembled = assembly.take(chunk(7, 2, true, &[vip(3)]));
        let update = Update {
            generation: Generation(7),
            base: None,
            upserted: vec![vip(1), vip(2), vip(3)],
            removed: vec![],
            digest: Digest::default(),
            ..Update::default()
        };
        assert_eq!(
            assembled,
            Ok(Some(Assembled {
                update,
                traceparent: String::new()
            }))
        );
    }

    #[test]
    fn a_chunk_out_of_order_is_refused_and_a_first_one_starts_anew() {
        let mut assembly = Assembly::default();
        let order = |generation, found, wanted| {
            Err(AssemblyError::Order {
                generation,
                found,
                wanted,
            })
        };
        assert_eq!(assembly.take(chunk(7, 1, true, &[])), order(7, 1, 0));
        assert_eq!(assembly.take(chunk(7, 0, false, &[vip(1)])), Ok(None));
        assert_eq!(assembly.take(chunk(8, 1, true, &[])), order(8, 1, 1));
        assert_eq!(assembly.take(chunk(7, 0, false, &[vip(1)])), Ok(None));
        let assembled = assembly.take(chunk(8, 0, true, &[vip(2)]));
        let upserted = assembled.map(|whole| whole.map(|whole| whole.update.upserted));
        assert_eq!(upserted, Ok(Some(vec![vip(2)])));
    }

    #[test]
    fn an_update_that_never_ends_is_refused() {
        let mut assembly = Assembly::default();
        for number in 0..MOST_CHUNKS {
            assert_eq!(assembly.take(chunk(7, number, false, &[])), Ok(None));
        }
        assert_eq!(
            assembly.take(chunk(7, MOST_CHUNKS, true, &[])),
            Err(AssemblyError::TooLarge { generation: 7 })
        );
        assert_eq!(assembly.take(chunk(7, 0, false, &[])), Ok(None));
    }

    #[test]
    fn an_item_that_cannot_be_is_told_by_every_bad_field() {
        use weir_proto::wire::item::{Backend, Kind};
        let mut update = chunk(7, 0, true, &[vip(1)]);
        let frontend = wire::Frontend {
            address: "10.1.0.1".to_owned(),
            port: 80,
            protocol: wire::Protocol::Tcp.into(),
            ..wire::Frontend::default()
        };
        let backend = Backend {
            frontend: Some(frontend),
            address: "10.0.0.1".to_owned(),
            port: 80,
            weight: 70_000,
            forwarding: 9,
            ..Backend::default()
        };
        let item = wire::Item {
            kind: Some(Kind::Backend(backend)),
        };
        let item = item.encode_to_vec();
        update.upserted.push(item.clone().into());
        let assembled = Assembly::default().take(update).expect("read");
        let update = assembled.expect("whole").update;
        assert_eq!(update.upserted, [vip(1)]);
        let [(key, refused)] = &update.refused[..] else {
            panic!("one is refused: {:?}", update.refused);
        };
        assert_eq!(key.to_string(), "backend 10.0.0.1:80 of 10.1.0.1:80/TCP");
        assert_eq!(
            *refused,
            RefusedItem {
                digest: Digest::of_encoded(&item),
                cause: "70000 is not a weight (0-65535); forwarding: 9 is not a forwarding"
                    .to_owned(),
                field: "weight".to_owned(),
                version: VERSION.to_owned(),
            }
        );
    }

    #[test]
    fn an_update_without_a_digest_is_refused() {
        let mut update = chunk(7, 0, true, &[vip(1)]);
        update.digest.clear();
        let error = Assembly::default().take(update).expect_err("refused");
        let AssemblyError::Fields(FieldErrors(errors)) = error else {
            panic!("{error}");
        };
        let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, ["digest"]);
    }
}
