use proptest::prelude::*;

use super::*;

fn vip(last: u8) -> Item {
    Item::Vip(weir_proto::model::Vip::new([10, 100, 0, last].into()))
}

fn held(generation: u64, items: &[Item]) -> Held {
    Held {
        generation: Generation(generation),
        state: items.iter().cloned().collect(),
        ..Held::default()
    }
}

fn digest(items: &[Item]) -> Digest {
    items.iter().cloned().collect::<NodeState>().digest()
}

fn delta(generation: u64, base: u64, upserted: &[Item], removed: &[Item]) -> Update {
    Update {
        generation: Generation(generation),
        base: Some(Generation(base)),
        upserted: upserted.to_vec(),
        removed: removed.iter().map(Item::key).collect(),
        digest: Digest::default(),
        ..Update::default()
    }
}

fn snapshot(generation: u64, items: &[Item]) -> Update {
    Update {
        base: None,
        digest: digest(items),
        ..delta(generation, 0, items, &[])
    }
}

#[test]
fn a_delta_on_what_is_held_is_taken() {
    let held = held(3, &[vip(1), vip(2)]);
    let update = Update {
        digest: digest(&[vip(2), vip(3)]),
        ..delta(4, 3, &[vip(2), vip(3)], &[vip(1), vip(9)])
    };
    let Folded { change, refused } = fold(&held, update).expect("taken").expect("a change");
    assert_eq!(refused, RefusedChange::default());
    assert_eq!(
        change,
        Change {
            generation: Generation(4),
            upserted: vec![vip(3)],
            removed: vec![vip(1).key()],
        }
    );
    let mut after = held;
    after.apply(change);
    assert_eq!(after, super::tests::held(4, &[vip(2), vip(3)]));
}

#[test]
fn a_snapshot_removes_what_it_leaves_out() {
    let held = held(3, &[vip(1), vip(2)]);
    let change = fold(&held, snapshot(7, &[vip(2), vip(3)]));
    assert_eq!(
        change,
        Ok(Some(Folded {
            change: Change {
                generation: Generation(7),
                upserted: vec![vip(3)],
                removed: vec![vip(1).key()],
            },
            refused: RefusedChange::default(),
        }))
    );
}

#[test]
fn an_older_generation_is_refused() {
    let refused = fold(&held(3, &[vip(1)]), snapshot(2, &[vip(2)]));
    assert_eq!(
        refused,
        Err(Refusal::Stale {
            offered: Generation(2),
            held: Generation(3)
        })
    );
}

#[test]
fn a_same_generation_with_the_same_content_changes_nothing() {
    assert_eq!(fold(&held(3, &[vip(1)]), snapshot(3, &[vip(1)])), Ok(None));
}

#[test]
fn a_same_generation_with_other_content_is_refused() {
    let refused = fold(&held(3, &[vip(1)]), snapshot(3, &[vip(2)]));
    assert_eq!(refused, Err(Refusal::Conflict(Generation(3))));
}

#[test]
fn a_delta_on_another_base_is_refused() {
    let refused = fold(&held(3, &[vip(1)]), delta(5, 4, &[vip(2)], &[]));
    assert_eq!(
        refused,
        Err(Refusal::Base {
            base: Generation(4),
            held: Generation(3)
        })
    );
}

#[test]
fn a_state_that_comes_out_with_another_digest_is_refused() {
    let update = Update {
        digest: digest(&[vip(1), vip(3)]),
        ..delta(4, 3, &[vip(2)], &[])
    };
    let refused = fold(&held(3, &[vip(1)]), update);
    assert_eq!(
        refused,
        Err(Refusal::Digest {
            results: digest(&[vip(1), vip(2)]),
            says: digest(&[vip(1), vip(3)]),
        })
    );
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    proptest::collection::btree_set(1u8..20, 0..10)
        .prop_map(|numbers| numbers.into_iter().map(vip).collect())
}

proptest! {
    #[test]
    fn deltas_and_a_snapshot_lead_to_the_same_state(states in proptest::collection::vec(items(), 1..8)) {
        let mut held = Held::default();
        for (step, next) in states.iter().enumerate() {
            let now: Vec<Item> = held.state.items().values().cloned().collect();
            let removed: Vec<Item> = now.into_iter().filter(|item| !next.contains(item)).collect();
            let update = Update {
                digest: digest(next),
                ..delta(step as u64 + 1, step as u64, next, &removed)
            };
            let folded = fold(&held, update).expect("taken").expect("a change");
            held.take(folded);
        }
        let mut other = Held::default();
        let last = states.last().expect("one");
        let folded = fold(&other, snapshot(states.len() as u64, last)).expect("taken").expect("a change");
        other.take(folded);
        prop_assert_eq!(held, other);
    }
}
