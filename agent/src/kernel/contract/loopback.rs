//! What every kernel does with loopback sets, rules and entries, whichever engine holds them. These cases need nothing
//! else of a kernel: no virtual services, no link.

use std::collections::BTreeSet;

use weir_proto::model::{Family, ItemKey, LoopbackEntry, Protocol};

use super::{Kernel, NETS, Net, add, edit, errno, must, port, read};
use crate::plan::{Key, Object, Scope, Step, Table, Unit};

/// Runs every case on `kernel` and gives the names of those that passed; panics at the first that does not.
pub async fn run<K: Kernel>(kernel: &mut K) -> Vec<&'static str> {
    let mut passed = Vec::new();
    macro_rules! cases {
        ($($case:ident)*) => {
            $(
                $case(kernel).await;
                for family in Family::ALL {
                    take_down(kernel, family).await;
                }
                let left = found(kernel, entries(Family::V4, 0..2)).await;
                assert_eq!(left, Table::new(), "after {}", stringify!($case));
                passed.push(stringify!($case));
            )*
        };
    }
    cases! {
        entries_of_both_families_are_read_back
        a_rule_or_an_entry_without_its_set_is_refused
        a_set_that_a_rule_uses_stays
        a_set_takes_its_entries_with_it
        a_large_change_is_whole_and_leaves_the_rest
        a_set_that_is_mended_keeps_its_entries
    }
    passed
}

/// Gives the entries of these numbers, as keys.
fn entries(family: Family, numbers: std::ops::Range<u16>) -> Vec<Key> {
    let entry = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let address = match family {
            Family::V4 => [10, 9, high, low].into(),
            Family::V6 => [0xfd09, 0, 0, 0, 0, 0, 0, number].into(),
        };
        Key::Item(ItemKey::LoopbackEntry(LoopbackEntry {
            address,
            protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][usize::from(number % 3)],
            port: port(8000 + u32::from(number % 7)),
            source: address,
        }))
    };
    numbers.map(entry).collect()
}

/// Reads sets, rules and which of these entries are there.
async fn found<K: Kernel>(kernel: &mut K, entries: Vec<Key>) -> Table {
    let units = entries.into_iter().map(Key::unit).chain([Unit::Base]);
    let mut table = read(kernel, &Scope::Units(units.collect())).await;
    table.retain(|key, _| !matches!(key, Key::Setting(_) | Key::Link));
    table
}

fn base(family: Family) -> [Key; 2] {
    [Key::LoopbackSet(family), Key::LoopbackRule(family)]
}

async fn put_up<K: Kernel>(kernel: &mut K, family: Family) {
    must(kernel, &base(family).map(|key| add(key, Object::Present))).await;
}

async fn take_down<K: Kernel>(kernel: &mut K, family: Family) {
    let there = found(kernel, Vec::new()).await;
    let ours = base(family).into_iter().rev();
    let steps: Vec<Step> = ours
        .filter(|key| there.contains_key(key))
        .map(|key| Step::Remove { key })
        .collect();
    must(kernel, &steps).await;
}

fn table(keys: impl IntoIterator<Item = Key>) -> Table {
    keys.into_iter().map(|key| (key, Object::Present)).collect()
}

fn adding(keys: &[Key]) -> Vec<Step> {
    keys.iter().map(|key| add(*key, Object::Present)).collect()
}

fn removing(keys: &[Key]) -> Vec<Step> {
    keys.iter().map(|key| Step::Remove { key: *key }).collect()
}

async fn entries_of_both_families_are_read_back<K: Kernel>(kernel: &mut K) {
    let mut keys = Vec::new();
    for family in Family::ALL {
        put_up(kernel, family).await;
        keys.extend(entries(family, 0..10));
    }
    must(kernel, &adding(&keys)).await;
    let all = table(
        keys.iter()
            .copied()
            .chain(Family::ALL.into_iter().flat_map(base)),
    );
    assert_eq!(found(kernel, keys.clone()).await, all);
    // and one by one
    for key in &keys {
        let scope = Scope::Units(BTreeSet::from([key.unit()]));
        assert_eq!(read(kernel, &scope).await, table([*key]), "{key}");
    }
    must(kernel, &removing(&keys[..5])).await;
    let some = found(kernel, keys.clone()).await;
    assert!(keys[..5].iter().all(|key| !some.contains_key(key)));
    assert!(keys[5..].iter().all(|key| some.contains_key(key)));
}

async fn a_rule_or_an_entry_without_its_set_is_refused<K: Kernel>(kernel: &mut K) {
    for net in &NETS {
        let steps = [
            add(Key::LoopbackRule(net.family), Object::Present),
            add(Net::entry(net, 0), Object::Present),
        ];
        for step in steps {
            let verdicts = kernel.apply(std::slice::from_ref(&step)).await;
            assert_eq!(errno(&verdicts[0]), 2, "ENOENT: {step:?}");
        }
    }
}

async fn a_set_that_a_rule_uses_stays<K: Kernel>(kernel: &mut K) {
    super::a_set_that_a_rule_uses_stays(kernel).await;
}

async fn a_set_takes_its_entries_with_it<K: Kernel>(kernel: &mut K) {
    for family in Family::ALL {
        let keys = entries(family, 0..3);
        put_up(kernel, family).await;
        must(kernel, &adding(&keys)).await;
        take_down(kernel, family).await;
        put_up(kernel, family).await;
        let there = found(kernel, keys).await;
        assert_eq!(there, table(base(family)));
        take_down(kernel, family).await;
    }
}

async fn a_large_change_is_whole_and_leaves_the_rest<K: Kernel>(kernel: &mut K) {
    for family in Family::ALL {
        let keys = entries(family, 0..3000);
        put_up(kernel, family).await;
        must(kernel, &adding(&keys[..2000])).await;
        let expected = |numbers: std::ops::Range<usize>| {
            table(keys[numbers].iter().copied().chain(base(family)))
        };
        assert_eq!(found(kernel, keys.clone()).await, expected(0..2000));
        // more, then fewer: what is not named stays
        must(kernel, &adding(&keys[2000..])).await;
        assert_eq!(found(kernel, keys.clone()).await, expected(0..3000));
        must(kernel, &removing(&keys[..1500])).await;
        assert_eq!(found(kernel, keys.clone()).await, expected(1500..3000));
        must(kernel, &removing(&keys[1500..])).await;
        assert_eq!(found(kernel, keys.clone()).await, expected(0..0));
        take_down(kernel, family).await;
    }
}

async fn a_set_that_is_mended_keeps_its_entries<K: Kernel>(kernel: &mut K) {
    for family in Family::ALL {
        let keys = entries(family, 0..100);
        put_up(kernel, family).await;
        must(kernel, &adding(&keys)).await;
        let steps = base(family).map(|key| edit(key, Object::Present));
        must(kernel, &steps).await;
        let there = found(kernel, keys.clone()).await;
        assert_eq!(there, table(keys.into_iter().chain(base(family))));
        take_down(kernel, family).await;
    }
}
