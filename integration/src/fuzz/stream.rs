//! A whole stream to an agent: what the controller says, one message behind the other, into what the agent keeps.
//!
//! A fuzzer finds neither a digest nor the generation that an agent holds. Where it is that alone which is not right, the
//! update is put right and offered again, as a controller would that knows what the agent holds.

use prost::Message;
use weir_agent::journal::Remembered;
use weir_agent::plan::{Change, Held, Keeping, Refusal, Taking, Update};
use weir_agent::session::Assembly;
use weir_proto::digest::Digest;
use weir_proto::model::Generation;
use weir_proto::wire;
use weir_proto::wire::sync_response::Message as Said;

use super::seeds::all_items;

/// When everything happens.
const NOW: u64 = 1_000;

/// An agent without a socket, a disk and a kernel.
#[derive(Default)]
struct Agent {
    keeping: Keeping,
    /// What the kernel was told, change by change.
    served: Held,
}

/// Messages, each behind its length of two bytes.
pub(super) fn stream(bytes: &[u8]) -> bool {
    let mut agent = Agent::default();
    let mut assembly = Assembly::default();
    let (mut taken, mut read) = (false, true);
    for message in messages(bytes) {
        let Ok(response) = wire::SyncResponse::decode(message) else {
            read = false;
            continue;
        };
        match response.message {
            Some(Said::Update(update)) => match assembly.take(update) {
                Ok(Some(assembled)) => taken |= agent.offer(assembled.update),
                Ok(None) => {}
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    read = false;
                }
            },
            Some(Said::Release(release)) => {
                if let Some(taking) = agent.keeping.release(Generation(release.generation)) {
                    agent.take(&taking);
                }
            }
            // its update is put together and folded as any other
            Some(Said::Question(_)) | None => {}
        }
    }
    read && taken
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first_chunk()?;
        let (message, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        bytes = rest;
        Some(message)
    })
}

impl Agent {
    /// Offers an update. Says whether it is taken.
    fn offer(&mut self, update: Update) -> bool {
        let mut update = update;
        let held = self.keeping.accepted.clone();
        if let Err(Refusal::Base { .. }) = self.keeping.take(update.clone(), NOW) {
            update.base = Some(held.generation);
        }
        if let Err(Refusal::Digest { results, .. }) = self.keeping.take(update.clone(), NOW) {
            update.digest = results;
        }
        match self.keeping.take(update.clone(), NOW) {
            Ok(Some(taking)) => {
                self.take(&taking);
                self.holds(&update, &held);
                true
            }
            Ok(None) => {
                assert_eq!(update.generation, held.generation);
                assert_eq!(update.digest, held.digest());
                false
            }
            Err(refused) => {
                let known = match refused {
                    Refusal::Stale { .. } => update.generation < held.generation,
                    Refusal::Conflict(generation) => generation == held.generation,
                    Refusal::Base { .. } | Refusal::Digest { .. } => false,
                };
                assert!(known, "{refused} of {update:?} on {held:?}");
                false
            }
        }
    }

    /// Takes what an update does, and looks at what that leaves.
    fn take(&mut self, taking: &Taking) {
        self.keeping.apply(taking);
        if let Some(served) = &taking.served {
            self.served.apply(Change::clone(served));
        }
        assert_eq!(self.served.state, self.keeping.serving().state);
        let remembered = Remembered {
            keeping: self.keeping.clone(),
            ..Remembered::default()
        };
        let again = Remembered::from_records(&remembered.to_records());
        let again = again.unwrap_or_else(|error| panic!("what was written is refused: {error}"));
        assert_eq!(again.keeping, self.keeping);
    }

    /// Looks whether what is accepted is what an update says, which came on top of `before`.
    fn holds(&self, update: &Update, before: &Held) {
        let accepted = &self.keeping.accepted;
        assert!(accepted.generation > before.generation);
        assert_eq!(accepted.generation, update.generation);
        assert_eq!(accepted.digest(), update.digest);
        let told = accepted.refused.failures(usize::MAX);
        let mut digest = Digest::default();
        for (key, item) in accepted.state.items() {
            assert_eq!(item.key(), *key);
            if accepted.refused.get(key).is_none() {
                digest.add(item);
            }
        }
        for failure in &told {
            let refused = accepted.refused.get(&failure.key).expect("it is told");
            digest += refused.digest;
        }
        assert_eq!(digest, update.digest);
        for (key, refused) in &update.refused {
            let kept = accepted.refused.get(key).expect("it is refused");
            let twice = update.refused.iter().filter(|(other, _)| other == key);
            assert!(kept == refused || twice.count() > 1);
            // what served before serves on, unless it was said anew in the same breath
            let said = update.upserted.iter().any(|item| item.key() == *key);
            let removed = update.removed.contains(key);
            if !said && !removed {
                assert_eq!(accepted.state.get(key), before.state.get(key));
            }
        }
        for item in &update.upserted {
            let key = item.key();
            if accepted.refused.get(&key).is_none() {
                let last = update.upserted.iter().rfind(|item| item.key() == key);
                assert_eq!(accepted.state.get(&key), last);
            }
        }
        for key in &update.removed {
            let said = |item: &weir_proto::model::Item| item.key() == *key;
            let refused = update.refused.iter().any(|(other, _)| other == key);
            if !refused && !update.upserted.iter().any(said) {
                assert!(accepted.state.get(key).is_none() && accepted.refused.get(key).is_none());
            }
        }
    }
}

/// Streams that a controller could have sent.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let all = all_items();
    let (first, rest) = all.split_at(all.len() / 2);
    let digest = |items: &[wire::Item]| {
        let mut digest = Digest::default();
        for item in items {
            digest += Digest::of_encoded(&item.encode_to_vec());
        }
        digest.to_bytes().to_vec()
    };
    let update = |generation: u64, items: &[wire::Item]| wire::Update {
        generation,
        upserted: items
            .iter()
            .map(|item| item.encode_to_vec().into())
            .collect(),
        digest: digest(items),
        last: true,
        cluster: "one".to_owned(),
        ..Default::default()
    };
    let unknown = all.iter().cloned().map(|mut item| {
        use wire::item::Kind;
        match &mut item.kind {
            Some(Kind::Vip(vip)) => vip.binding = 77,
            Some(Kind::Backend(backend)) => backend.weight = 70_000,
            Some(Kind::VirtualService(service)) => service.scheduler = "later".to_owned(),
            _ => {}
        }
        item
    });
    let unknown: Vec<wire::Item> = unknown.collect();
    let delta = wire::Update {
        base_generation: 3,
        digest: digest(&all),
        ..update(4, rest)
    };
    let chunk = |number: u32| wire::Update {
        chunk: number,
        last: number == 1,
        digest: if number == 1 {
            digest(&all)
        } else {
            Vec::new()
        },
        ..update(6, if number == 0 { first } else { rest })
    };
    let release = Said::Release(wire::Release { generation: 9 });
    let streams = [
        vec![Said::Update(update(3, first)), Said::Update(delta)],
        vec![Said::Update(chunk(0)), Said::Update(chunk(1))],
        vec![
            Said::Update(update(3, &all)),
            Said::Update(update(5, &unknown)),
            Said::Update(update(8, &all)),
        ],
        vec![
            Said::Update(update(3, first)),
            Said::Update(wire::Update {
                cluster: "two".to_owned(),
                ..update(9, &[])
            }),
            release,
        ],
    ];
    let framed = |message: Said| {
        let message = wire::SyncResponse {
            message: Some(message),
        };
        let bytes = message.encode_to_vec();
        let len = u16::try_from(bytes.len()).expect("a small message");
        [&len.to_le_bytes(), bytes.as_slice()].concat()
    };
    let streams = streams.into_iter();
    streams
        .map(|stream| stream.into_iter().flat_map(framed).collect())
        .collect()
}
