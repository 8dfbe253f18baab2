//! A trial as it goes to an agent: in chunks, as an update does.

use prost::Message as _;
use weir_proto::convert::{item_key_to_wire, item_to_wire};
use weir_proto::model::Generation;
use weir_proto::wire;
use weir_proto::wire::question::Question;

use super::How;
use crate::cluster::Asking;
use crate::desired::Staged;

/// A chunk is at most 1 MiB (`questions.proto`), with room for what is around the items.
const CHUNK: usize = 512 << 10;
/// Of a question at most: as much as four batches may carry. A node that is to hold more is planned better in parts.
const MOST: usize = 16 << 20;

/// Writes the question, chunk by chunk; nothing, if it is too large.
pub(super) fn chunks(of: &Asking, how: How) -> Option<Vec<Vec<u8>>> {
    let also = match how.everything || !how.compare {
        true => Vec::new(),
        false => of.keys.iter().map(item_key_to_wire).collect(),
    };
    let also_bytes: usize = also.iter().map(wire::ItemKey::encoded_len).sum();
    if also_bytes > CHUNK {
        return None;
    }
    let mut trials = of
        .staged
        .as_ref()
        .map_or_else(|| Some(Vec::new()), |it| parts(it, of.held))?;
    if trials.is_empty() {
        trials.push(wire::Trial::default());
    }
    let count = trials.len();
    for (place, trial) in trials.iter_mut().enumerate() {
        trial.chunk = u32::try_from(place).ok()?;
        trial.last = place + 1 == count;
        trial.allow_mass_delete = how.allow_mass_delete;
        trial.everything = how.everything;
        trial.compare = how.compare;
    }
    if let Some(last) = trials.last_mut() {
        last.also = also;
    }
    let chunks = trials.into_iter().map(|trial| {
        let question = Some(Question::Trial(trial));
        wire::Question { id: 0, question }.encode_to_vec()
    });
    Some(chunks.collect())
}

/// Writes what would be sent, in chunks; nothing, if it is too large.
fn parts(staged: &Staged, held: Generation) -> Option<Vec<wire::Trial>> {
    let Staged {
        generation,
        upserted,
        removed,
        digest,
    } = staged;
    let empty = wire::Trial {
        // as it would be sent: above all that the node holds
        generation: (*generation).max(held.next()).0,
        base_generation: held.0,
        digest: digest.to_bytes().to_vec(),
        ..wire::Trial::default()
    };
    let (mut all, mut bytes, mut done) = (0, 0, vec![empty.clone()]);
    let mut put = |size: usize, put: &mut dyn FnMut(&mut wire::Trial)| {
        all += size;
        if bytes + size > CHUNK && bytes > 0 {
            done.push(empty.clone());
            bytes = 0;
        }
        bytes += size;
        if let Some(filling) = done.last_mut() {
            put(filling);
        }
        all <= MOST
    };
    for item in upserted {
        let item = item_to_wire(item).encode_to_vec();
        if !put(item.len(), &mut |trial| {
            trial.upserted.push(item.clone().into())
        }) {
            return None;
        }
    }
    for key in removed {
        let key = item_key_to_wire(key);
        if !put(key.encoded_len(), &mut |trial| {
            trial.removed.push(key.clone())
        }) {
            return None;
        }
    }
    Some(done)
}

#[cfg(test)]
mod tests {
    use weir_proto::digest::Digest;
    use weir_proto::model::{ItemKey, NodeName};

    use super::*;
    use crate::cluster::Line;
    use crate::desired::samples::backend;

    const PLAN: How = How {
        compare: false,
        everything: false,
        allow_mass_delete: false,
    };

    fn asking(staged: Option<Staged>, keys: Vec<ItemKey>) -> Asking {
        Asking {
            node: NodeName::new("node-a").expect("a name"),
            generation: Generation(6),
            held: Generation(5),
            staged,
            keys,
            version: String::new(),
            line: Line::Away,
        }
    }

    fn trials(chunks: Vec<Vec<u8>>) -> Vec<wire::Trial> {
        let trial = |chunk: Vec<u8>| {
            let question = wire::Question::decode(chunk.as_slice()).expect("a question");
            let Some(Question::Trial(trial)) = question.question else {
                panic!("{question:?}");
            };
            trial
        };
        chunks.into_iter().map(trial).collect()
    }

    fn staged(count: u32) -> Staged {
        let at = |n: u32| format!("{}:80", std::net::Ipv4Addr::from(0x0a00_0000 + n));
        Staged {
            generation: Generation(6),
            upserted: (0..count)
                .map(|n| backend("10.1.0.1:80", &at(n), 1))
                .collect(),
            removed: Vec::new(),
            digest: Digest::default(),
        }
    }

    #[test]
    fn a_large_trial_goes_in_chunks_that_fit() {
        let staged = staged(30_000);
        let chunks = chunks(&asking(Some(staged.clone()), vec![]), PLAN).expect("chunks");
        assert!(chunks.len() > 1, "{}", chunks.len());
        assert!(chunks.iter().all(|chunk| chunk.len() < 1 << 20));
        let trials = trials(chunks);
        let items: usize = trials.iter().map(|trial| trial.upserted.len()).sum();
        assert_eq!(items, staged.upserted.len());
        let lasts: Vec<bool> = trials.iter().map(|trial| trial.last).collect();
        let wanted: Vec<bool> = (1..=trials.len()).map(|at| at == trials.len()).collect();
        assert_eq!(lasts, wanted);
        assert!(
            trials
                .iter()
                .all(|trial| (trial.generation, trial.base_generation) == (6, 5))
        );
    }

    #[test]
    fn what_is_too_much_is_no_question() {
        assert_eq!(chunks(&asking(Some(staged(500_000)), vec![]), PLAN), None);
    }

    #[test]
    fn a_comparison_without_a_change_names_what_is_looked_at() {
        let how = How {
            compare: true,
            ..PLAN
        };
        let key = ItemKey::Vip([10, 1, 0, 1].into());
        let trials = trials(chunks(&asking(None, vec![key]), how).expect("chunks"));
        let wanted = wire::Trial {
            last: true,
            also: vec![item_key_to_wire(&key)],
            compare: true,
            ..wire::Trial::default()
        };
        assert_eq!(trials, [wanted]);
    }
}
