//! Puts the chunks of an update together. They count only when the last one is in.

use weir_proto::convert::{FieldErrors, digest_from_wire, item_from_wire, item_key_from_wire};
use weir_proto::model::Generation;
use weir_proto::wire;

use crate::plan::Update;

/// The chunks of one update so far.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    chunks: Option<wire::Update>,
}

/// An update with all its chunks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assembled {
    /// What it says.
    pub(super) update: Update,
    /// The trace it belongs to.
    pub(super) traceparent: String,
}

/// Why chunks make no update.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AssemblyError {
    #[error("chunk {found} of generation {generation} came where chunk {wanted} should have been")]
    Order {
        generation: u64,
        found: u32,
        wanted: u32,
    },
    #[error("the update cannot be read")]
    Fields(#[from] FieldErrors),
}

impl Assembly {
    /// Takes the next chunk; gives the update when it was the last. After an error it starts anew.
    pub(super) fn take(&mut self, chunk: wire::Update) -> Result<Option<Assembled>, AssemblyError> {
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
    } = update;
    let mut errors = Vec::new();
    let mut note = |result: Result<_, FieldErrors>| result.map_err(|FieldErrors(found)| errors.extend(found)).ok();
    let mut items = Vec::with_capacity(upserted.len());
    for (place, item) in upserted.iter().enumerate() {
        items.extend(note(item_from_wire(item, &format!("upserted[{place}]"))));
    }
    let mut keys = Vec::with_capacity(removed.len());
    for (place, key) in removed.iter().enumerate() {
        match item_key_from_wire(key, &format!("removed[{place}]")) {
            Ok(key) => keys.push(key),
            Err(FieldErrors(found)) => errors.extend(found),
        }
    }
    let mut problems = weir_proto::convert::Problems::default();
    let digest = problems.take("digest", digest_from_wire(&digest));
    match problems.finish(digest) {
        Ok(digest) if errors.is_empty() => Ok(Assembled {
            update: Update {
                generation: Generation(generation),
                base: (base_generation > 0).then_some(Generation(base_generation)),
                upserted: items,
                removed: keys,
                digest,
            },
            traceparent,
        }),
        Ok(_) => Err(FieldErrors(errors)),
        Err(FieldErrors(found)) => {
            errors.extend(found);
            Err(FieldErrors(errors))
        }
    }
}
