//! Items that are not taken: what is told of them, and that nobody loses count.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_proto::model::{ItemKey, UnreadKey};

use super::*;
use crate::plan::{Held, RefusedItem};

/// A VIP that says `value`: two of them make sense, and no version of today knows the others.
fn sent(last: u8, value: u8) -> wire::Item {
    use wire::item::Kind;
    let mut item = item_to_wire(&vip(last));
    if let Some(Kind::Vip(vip)) = &mut item.kind {
        match value {
            0 | 1 => vip.lockdown ^= value == 1,
            unknown => vip.binding = 70 + i32::from(unknown),
        }
    }
    item
}

fn taken(last: u8, value: u8) -> Option<Item> {
    weir_proto::convert::item_from_wire(&sent(last, value), "").ok()
}

fn digest_of(items: &[wire::Item]) -> Digest {
    let mut digest = Digest::default();
    for item in items {
        digest += Digest::of_encoded(&item.encode_to_vec());
    }
    digest
}

fn encoded_all(items: &[wire::Item]) -> Vec<Bytes> {
    let items = items.iter();
    items.map(|item| item.encode_to_vec().into()).collect()
}

/// A snapshot of items as they are sent, whether they make sense or not.
fn raw(generation: u64, items: &[wire::Item]) -> wire::Update {
    wire::Update {
        generation,
        upserted: encoded_all(items),
        digest: digest_of(items).to_bytes().to_vec(),
        last: true,
        ..wire::Update::default()
    }
}

fn failure(last: u8, value: u8) -> wire::ItemFailure {
    wire::ItemFailure {
        key: Some(item_key_to_wire(&vip(last).key())),
        errno: 0,
        cause: format!("{} is not a VIP binding", 70 + value),
        field: "binding".to_owned(),
    }
}

fn accepted(generation: u64, refused: Vec<wire::ItemFailure>) -> Message {
    Message::Accepted(wire::Accepted {
        generation,
        refused_count: refused.len() as u64,
        refused,
    })
}

#[tokio::test]
async fn an_item_that_cannot_be_is_told_and_its_neighbours_are_taken() {
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    let first = [sent(1, 0), sent(2, 9), sent(3, 0)];
    stream.send(raw(5, &first)).await;
    assert_eq!(stream.next().await, accepted(5, vec![failure(2, 9)]));
    let change = rig.changes.recv().await.expect("a change").change;
    assert_eq!(change.upserted, [vip(1), vip(3)]);
    assert_eq!(rig.link.borrow().refused, 1);
    // a later one is told with those that are still refused
    let delta = wire::Update {
        base_generation: 5,
        digest: digest_of(&[sent(1, 0), sent(2, 9), sent(3, 8)])
            .to_bytes()
            .to_vec(),
        ..raw(6, &[sent(3, 8)])
    };
    stream.send(delta).await;
    assert_eq!(
        stream.next().await,
        accepted(6, vec![failure(2, 9), failure(3, 8)])
    );
    let change = rig.changes.recv().await.expect("a change").change;
    assert_eq!(
        (change.upserted, change.removed),
        (vec![], vec![]),
        "what was held under its key serves on"
    );
    // whoever comes back holds just what the controller says
    drop(stream);
    let (mut stream, hello) = rig.stream().await;
    let all = [sent(1, 0), sent(2, 9), sent(3, 8)];
    assert_eq!(hello.held, Some((Generation(6), digest_of(&all))));
    assert_eq!(
        stream.next().await,
        accepted(6, vec![failure(2, 9), failure(3, 8)]),
        "a controller that was restarted hears of them again"
    );
    // one is corrected, one removed
    let delta = wire::Update {
        base_generation: 6,
        removed: vec![item_key_to_wire(&vip(3).key())],
        digest: digest(&[vip(1), vip(2)]).to_bytes().to_vec(),
        ..raw(7, &[sent(2, 0)])
    };
    stream.send(delta).await;
    assert_eq!(stream.next().await, accepted(7, vec![]));
    let change = rig.changes.recv().await.expect("a change").change;
    assert_eq!(
        (change.upserted, change.removed),
        (vec![vip(2)], vec![vip(3).key()])
    );
}

/// A snapshot, or with a base a delta, of items as a later version writes them.
fn later(generation: u64, items: &[Bytes], all: &[Bytes]) -> wire::Update {
    let mut digest = Digest::default();
    for item in all {
        digest += Digest::of_encoded(item);
    }
    wire::Update {
        upserted: items.to_vec(),
        digest: digest.to_bytes().to_vec(),
        ..raw(generation, &[])
    }
}

/// An item of a kind that this version does not know.
fn of_kind_14(value: u8) -> Bytes {
    vec![14 << 3 | 2, 1, value].into()
}

/// A VIP with a field that this version does not know.
fn vip_with_field_9(last: u8) -> Bytes {
    let mut vip = match sent(last, 0).kind {
        Some(wire::item::Kind::Vip(vip)) => vip.encode_to_vec(),
        other => panic!("{other:?}"),
    };
    vip.extend([9 << 3, 1]);
    let mut item = vec![1 << 3 | 2, u8::try_from(vip.len()).expect("short")];
    item.extend(vip);
    item.into()
}

fn unread(item: &Bytes) -> wire::ItemFailure {
    let digest = Digest::of_encoded(item).to_bytes();
    let key = ItemKey::Unread(UnreadKey { kind: 14, digest });
    wire::ItemFailure {
        key: Some(item_key_to_wire(&key)),
        errno: 0,
        cause: "kind 14 is not known to this version".to_owned(),
        field: "14".to_owned(),
    }
}

#[tokio::test]
async fn what_a_later_version_says_is_refused_item_by_item_and_its_neighbours_are_taken() {
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    let (kind, field) = (of_kind_14(1), vip_with_field_9(2));
    let first = [encoded(&vip(1)), kind.clone(), field, encoded(&vip(3))];
    stream.send(later(5, &first, &first)).await;
    let of_field = wire::ItemFailure {
        cause: "field 9 is not known to this version".to_owned(),
        field: "9".to_owned(),
        ..failure(2, 0)
    };
    let refused = vec![of_field, unread(&kind)];
    assert_eq!(stream.next().await, accepted(5, refused));
    let change = rig.changes.recv().await.expect("a change").change;
    assert_eq!(change.upserted, [vip(1), vip(3)]);
    // of one that has no key it is not known which it takes the place of, nor which one goes
    let next = of_kind_14(2);
    let all = [
        encoded(&vip(1)),
        next.clone(),
        encoded(&vip(2)),
        encoded(&vip(3)),
    ];
    for removed in [vec![], vec![wire::ItemKey::default()]] {
        let delta = wire::Update {
            base_generation: 5,
            removed,
            ..later(6, &all[1..3], &all)
        };
        stream.send(delta).await;
        let Message::Rejected(rejected) = stream.next().await else {
            panic!("it is refused");
        };
        assert_eq!(rejected.reason(), wire::rejected::Reason::Digest);
    }
    stream.send(later(6, &all, &all)).await;
    assert_eq!(stream.next().await, accepted(6, vec![unread(&next)]));
    let change = rig.changes.recv().await.expect("a change").change;
    assert_eq!((change.upserted, change.removed), (vec![vip(2)], vec![]));
    drop(stream);
    let (_, hello) = rig.stream().await;
    let digest = hello.held.expect("it holds something").1;
    assert_eq!(digest.to_bytes().to_vec(), later(6, &all, &all).digest);
}

#[test]
fn what_has_no_key_is_remembered_until_a_snapshot_leaves_it_out() {
    let mut keeping = Keeping::default();
    let all = [encoded(&vip(1)), of_kind_14(1), of_kind_14(2)];
    for (generation, items, refused) in [(5, &all[..], 2), (6, &all[..2], 1), (7, &all[..1], 0)] {
        let update = later(generation, items, items);
        let assembled = Assembly::default().take(update).expect("read");
        let update = assembled.expect("whole").update;
        let taking = keeping.take(update, 1).expect("taken").expect("news");
        keeping.apply(&taking);
        assert_eq!(keeping.accepted.refused.count(), refused);
        let remembered = Remembered {
            keeping: keeping.clone(),
            ..Remembered::default()
        };
        let again = Remembered::from_records(&remembered.to_records());
        assert_eq!(again.expect("records").keeping, keeping);
    }
}

#[tokio::test]
async fn another_version_is_sent_again_what_the_one_before_refused() {
    let held = Held {
        generation: Generation(5),
        state: [vip(1)].into_iter().collect(),
        ..Held::default()
    };
    let refused = |version: &str| RefusedItem {
        digest: digest_of(&[sent(2, 1)]),
        cause: "binding: unknown".to_owned(),
        field: "binding".to_owned(),
        version: version.to_owned(),
    };
    let mut same = held.clone();
    same.refuse(vip(2).key(), refused(VERSION));
    assert_eq!(same.told_digest(), digest_of(&[sent(1, 0), sent(2, 1)]));
    let mut other = held;
    other.refuse(vip(2).key(), refused("0.0.1"));
    let mut rig = Rig::holding(Keeping {
        accepted: other,
        ..Keeping::default()
    })
    .await;
    let (mut stream, hello) = rig.stream().await;
    assert_eq!(hello.held, Some((Generation(5), digest(&[vip(1)]))));
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    // the controller knows that digest from before, and sends what came after it
    let delta = wire::Update {
        base_generation: 5,
        digest: digest_of(&[sent(1, 0), sent(2, 1)]).to_bytes().to_vec(),
        ..raw(6, &[sent(2, 1)])
    };
    stream.send(delta).await;
    assert_eq!(stream.next().await, accepted(6, vec![]));
    let change = rig.changes.recv().await.expect("a change").change;
    assert_eq!(change.upserted, [taken(2, 1).expect("taken")]);
}

/// What the controller does next.
#[derive(Debug, Clone)]
enum Act {
    Set(u8, u8),
    Remove(u8),
    /// Everything, as it is.
    Snapshot,
    /// The agent comes back with what its journal remembers.
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Vec<Act>>> {
    let act = prop_oneof![
        6 => (0u8..6, 0u8..5).prop_map(|(key, value)| Act::Set(key, value)),
        2 => (0u8..6).prop_map(Act::Remove),
        1 => Just(Act::Snapshot),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(proptest::collection::vec(act, 1..5), 1..25)
}

proptest! {
    #[test]
    fn whatever_is_refused_the_digest_is_the_controllers_and_all_else_is_taken(rounds in acts()) {
        let mut keeping = Keeping::default();
        let mut wanted: BTreeMap<u8, u8> = BTreeMap::new();
        let mut good: BTreeMap<u8, Item> = BTreeMap::new();
        for (round, acts) in rounds.iter().enumerate() {
            let before = wanted.clone();
            let mut whole = false;
            for act in acts {
                match act {
                    Act::Set(key, value) => {
                        wanted.insert(*key, *value);
                    }
                    Act::Remove(key) => {
                        wanted.remove(key);
                    }
                    Act::Snapshot => whole = true,
                    Act::Restart => {
                        let remembered = Remembered {
                            keeping: keeping.clone(),
                            ..Remembered::default()
                        };
                        let again = Remembered::from_records(&remembered.to_records());
                        prop_assert_eq!(&again.expect("records").keeping, &keeping);
                    }
                }
            }
            let all: Vec<wire::Item> = wanted.iter().map(|(key, value)| sent(*key, *value)).collect();
            let generation = round as u64 + 1;
            let mut update = raw(generation, &all);
            if !whole && round > 0 {
                update.base_generation = round as u64;
                let news = wanted.iter();
                let news = news.filter(|(key, value)| before.get(key) != Some(value));
                let news: Vec<_> = news.map(|(key, value)| sent(*key, *value)).collect();
                update.upserted = encoded_all(&news);
                let gone = before.keys().filter(|key| !wanted.contains_key(key));
                update.removed = gone.map(|key| item_key_to_wire(&vip(*key).key())).collect();
            }
            let assembled = Assembly::default().take(update).expect("read").expect("whole");
            let taking = keeping.take(assembled.update, 1).expect("taken").expect("news");
            keeping.apply(&taking);
            good.retain(|key, _| wanted.contains_key(key));
            for (key, value) in &wanted {
                good.extend(taken(*key, *value).map(|item| (*key, item)));
            }
            let accepted = &keeping.accepted;
            prop_assert_eq!(accepted.generation, Generation(generation));
            prop_assert_eq!(accepted.digest(), digest_of(&all));
            let held: Vec<&Item> = accepted.state.items().values().collect();
            prop_assert_eq!(held, good.values().collect::<Vec<_>>());
            let refused: Vec<ItemKey> = accepted.refused.iter().map(|(key, _)| *key).collect();
            let bad = wanted.iter().filter(|(key, value)| taken(**key, **value).is_none());
            prop_assert_eq!(refused, bad.map(|(key, _)| vip(*key).key()).collect::<Vec<_>>());
        }
    }
}
