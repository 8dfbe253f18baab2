use std::collections::BTreeSet;

use weir_proto::disk::Records;

use super::*;
use crate::desired::samples::node_name;

fn state(number: u64) -> (Generation, Digest) {
    let digest = Digest::of_encoded(&number.to_be_bytes());
    (Generation(number), digest)
}

fn changes(names: &[NodeName], state: Option<(Generation, Digest)>) -> Changes {
    Changes {
        nodes: names.iter().map(|name| (name.clone(), state)).collect(),
        confirmed: BTreeMap::new(),
        named: BTreeMap::new(),
    }
}

fn fleet(size: usize) -> Vec<NodeName> {
    let numbers = 0..size;
    numbers
        .map(|number| node_name(&format!("node-{number}")))
        .collect()
}

/// Gives the records that a change writes.
fn put(blocks: &mut Blocks, changes: Changes) -> Batch {
    let mut batch = Batch::default();
    blocks.change(changes, &mut batch);
    batch
}

fn empty() -> Blocks {
    Blocks::of(&Saved::default(), Rises::new())
}

fn read(records: &Records) -> Saved {
    let mut saved = Saved::default();
    for (key, payload) in records {
        if key == RISES.as_bytes() {
            continue;
        }
        let key = std::str::from_utf8(key).expect("text");
        let read = read_block(key, payload, &mut saved).expect("a block");
        read.expect("it is readable");
    }
    if let Some(payload) = records.get(RISES.as_bytes()) {
        read_rises(payload, &mut saved).expect("it is readable");
    }
    saved
}

#[test]
fn blocks_are_read_as_they_were_written_whatever_changed() {
    let names = fleet(300);
    let (mut blocks, mut records) = (empty().at_once(usize::from(BLOCKS)), Records::new());
    let mut wanted = Saved::default();
    for turn in 0..40_u64 {
        let mut changes = changes(&[], None);
        for (place, name) in (0_u64..).zip(&names) {
            // what changes of which node has no order in it
            let drawn = Digest::of_encoded(&[turn as u8, place as u8, (place / 256) as u8]);
            let [what, value, more, ..] = drawn.to_bytes();
            let number = u64::from(value) << (more % 56);
            match what % 8 {
                0 => drop(changes.nodes.insert(name.clone(), Some(state(number)))),
                1 => drop(changes.nodes.insert(name.clone(), None)),
                2 => drop(
                    changes
                        .confirmed
                        .insert(name.clone(), Some(Generation(number))),
                ),
                3 => drop(changes.confirmed.insert(name.clone(), None)),
                4 => drop(changes.named.insert(name.clone(), value % 2 == 0)),
                _ => {}
            }
        }
        for (name, state) in changes.nodes.clone() {
            match state {
                Some(state) => drop(wanted.nodes.insert(name, state)),
                None => drop(wanted.nodes.remove(&name)),
            }
        }
        for (name, generation) in changes.confirmed.clone() {
            match generation {
                Some(generation) => drop(wanted.confirmed.insert(name, generation)),
                None => drop(wanted.confirmed.remove(&name)),
            }
        }
        for (name, named) in changes.named.clone() {
            match named {
                true => wanted.named.insert(name),
                false => wanted.named.remove(&name),
            };
        }
        put(&mut blocks, changes).write_into(&mut records);
        assert_eq!(read(&records), wanted);
        let again = Blocks::of(&wanted, Rises::new()).at_once(usize::from(BLOCKS));
        assert_eq!(again, blocks, "as who starts again has them");
    }
}

#[test]
fn what_comes_is_written_at_once_and_a_change_of_one_node_writes_its_block() {
    let names = fleet(1_000);
    let (mut blocks, mut records) = (empty(), Records::new());
    let batch = put(&mut blocks, changes(&names, Some(state(3))));
    assert_eq!(batch.len(), usize::from(BLOCKS));
    batch.write_into(&mut records);
    let sizes = records.values().map(Vec::len);
    // so that each is one record of the database
    assert!(sizes.clone().max() < Some(1_024), "{:?}", sizes.max());
    let batch = put(&mut blocks, changes(&names[..1], Some(state(4))));
    assert_eq!(batch.len(), 1);
    batch.write_into(&mut records);
    let saved = read(&records);
    let nodes = names.into_iter().map(|name| (name, state(3)));
    let mut nodes: BTreeMap<_, _> = nodes.collect();
    nodes.insert(node_name("node-0"), state(4));
    assert_eq!(saved.nodes, nodes);
}

#[test]
fn a_change_of_all_nodes_writes_a_few_blocks_and_no_generation_is_less_to_who_starts_again() {
    const CHANGES: u64 = 200;
    let names = fleet(1_000);
    let (mut blocks, mut records) = (empty(), Records::new());
    put(&mut blocks, changes(&names, Some(state(1)))).write_into(&mut records);
    let each = usize::from(BLOCKS / TURNS);
    for turn in 0..CHANGES {
        // not all of them see each change
        let seen = names.iter().enumerate();
        let seen = seen.filter(|(place, _)| turn % 7 != *place as u64 % 7);
        let rise = |name: &NodeName| {
            let (before, _) = blocks.blocks[&number_of(name)][name].state?;
            Some(state(before.0 + 1))
        };
        let nodes = seen.map(|(_, name)| (name.clone(), rise(name)));
        let all = Changes {
            nodes: nodes.collect(),
            ..changes(&[], None)
        };
        let batch = put(&mut blocks, all);
        assert_eq!(batch.len(), each + 1, "and how far they rose");
        batch.write_into(&mut records);
        if turn % 10 > 0 {
            continue;
        }
        let read = read(&records).nodes;
        assert_eq!(read.len(), names.len());
        for (name, (told, _)) in read {
            let kept = &blocks.blocks[&number_of(&name)][&name];
            let (is, _) = kept.state.expect("it has one");
            let above = told.0 - is.0;
            assert!(above <= TURNS.into(), "{name}: {told} and not {is}");
        }
    }
    // one of a node writes its block, and so does what is no rise
    let block = number_of(&names[0]);
    assert!(blocks.rises.contains_key(&block));
    let confirmed = [(names[0].clone(), Some(Generation(7)))];
    let confirmed = Changes {
        confirmed: confirmed.into(),
        ..changes(&[], None)
    };
    put(&mut blocks, confirmed).write_into(&mut records);
    assert!(!blocks.rises.contains_key(&block));
    let kept = blocks.blocks[&block][&names[0]];
    assert_eq!(read(&records).nodes.get(&names[0]), kept.state.as_ref());
}

#[test]
fn who_starts_again_goes_on_from_what_may_have_been() {
    let names = fleet(1_000);
    let (mut blocks, mut records) = (empty(), Records::new());
    for turn in 1..=5 {
        put(&mut blocks, changes(&names, Some(state(turn)))).write_into(&mut records);
    }
    let mut saved = Saved::default();
    for (key, payload) in &records {
        let key = std::str::from_utf8(key).expect("text");
        if let Some(read) = read_block(key, payload, &mut saved) {
            read.expect("it is readable");
        }
    }
    let rises = read_rises(&records[RISES.as_bytes()], &mut saved).expect("it is readable");
    assert_eq!(rises, blocks.rises);
    let generations = saved.nodes.values().map(|(generation, _)| *generation);
    assert!(generations.into_iter().all(|it| it == Generation(5)));
    let mut again = Blocks::of(&saved, rises);
    for turn in 6..=9 {
        put(&mut again, changes(&names, Some(state(turn)))).write_into(&mut records);
    }
    let generations = read(&records).nodes.into_values().map(|(it, _)| it);
    assert!(generations.into_iter().all(|it| it == Generation(9)));
}

#[test]
fn bytes_that_are_no_rises_are_an_error() {
    let rises = Rises::from([(3, 300)]);
    let whole = written_rises(&rises);
    let read = |bytes: &[u8]| read_rises(bytes, &mut Saved::default()).ok();
    assert_eq!(read(&whole), Some(rises));
    for end in 0..whole.len() {
        assert_eq!(read(&whole[..end]), None, "{end}");
    }
    assert_eq!(read(&[whole, vec![0]].concat()), None);
}

#[test]
fn a_block_goes_with_its_last_node() {
    let names = fleet(200);
    let (mut blocks, mut records) = (empty(), Records::new());
    put(&mut blocks, changes(&names, Some(state(1)))).write_into(&mut records);
    put(&mut blocks, changes(&names[1..], None)).write_into(&mut records);
    assert_eq!(read(&records).nodes, [(names[0].clone(), state(1))].into());
    assert_eq!(records.len(), 1);
    put(&mut blocks, changes(&names[..1], None)).write_into(&mut records);
    assert_eq!(records, Records::new());
    assert_eq!(blocks, empty());
}

#[test]
fn a_node_is_in_the_same_block_on_every_machine_for_good() {
    let numbers = ["a", "node-1", "node-2", "rack-7.example.org"].map(|name| {
        let number = number_of(&node_name(name));
        (name, key_of(number))
    });
    let wanted = [
        ("a", "nodes/1f"),
        ("node-1", "nodes/0f"),
        ("node-2", "nodes/35"),
        ("rack-7.example.org", "nodes/28"),
    ];
    assert_eq!(numbers, wanted.map(|(name, key)| (name, key.to_owned())));
}

#[test]
fn nodes_are_spread_over_all_blocks() {
    let names = fleet(1_000);
    let numbers: BTreeSet<u8> = names.iter().map(number_of).collect();
    assert_eq!(numbers, (0..BLOCKS).collect());
}

#[test]
fn bytes_that_are_no_block_are_an_error() {
    let names = fleet(200);
    let [one, other] = names
        .iter()
        .find_map(|one| {
            let mut later = names.iter().filter(|other| *other > one);
            let other = later.find(|other| number_of(other) == number_of(one))?;
            Some([one.clone(), other.clone()])
        })
        .expect("two in one block");
    let kept = Kept {
        state: Some(state(300)),
        confirmed: Some(Generation(299)),
        named: true,
    };
    let whole = |name: &NodeName| written(&Block::from([(name.clone(), kept)]));
    let (whole_one, number) = (whole(&one), number_of(&one));
    let read = |key: &str, payload: &[u8]| {
        let mut saved = Saved::default();
        let read = read_block(key, payload, &mut saved);
        read.map(|read| read.map_err(|cause| cause.to_string()))
    };
    let key = key_of(number);
    assert_eq!(
        read(&key, &[whole_one.clone(), whole(&other)].concat()),
        Some(Ok(()))
    );
    for end in 0..whole_one.len() {
        let read = read(&key, &whole_one[..end]);
        assert!(matches!(read, Some(Err(_))), "{end}: {read:?}");
    }
    let refused = |payload: &[u8]| read(&key, payload);
    let says = |cause: String| Some(Err(cause));
    assert_eq!(
        refused(&[whole(&other), whole_one.clone()].concat()),
        says(format!("node {one} is out of order"))
    );
    assert_eq!(
        refused(&[whole_one.clone(), whole_one.clone()].concat()),
        says(format!("node {one} is out of order"))
    );
    for follows in [0, 8, 255] {
        let mut bytes = whole_one.clone();
        bytes[1 + one.as_str().len()] = follows;
        assert_eq!(
            refused(&bytes),
            says(format!("what follows node {one} is unknown"))
        );
    }
    let elsewhere = key_of((number + 1) % BLOCKS);
    assert_eq!(
        read(&elsewhere, &whole_one),
        says(format!("node {one} is of another block"))
    );
    for key in [
        "nodes/40", "nodes/", "nodes/1", "nodes/+1", "nodes/0A", "node/a",
    ] {
        assert_eq!(read(key, &whole_one), None, "{key}");
    }
}
