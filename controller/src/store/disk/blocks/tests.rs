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

fn read(records: &Records) -> Saved {
    let mut saved = Saved::default();
    for (key, payload) in records {
        let key = std::str::from_utf8(key).expect("text");
        let read = read_block(key, payload, &mut saved).expect("a block");
        read.expect("it is readable");
    }
    saved
}

#[test]
fn blocks_are_read_as_they_were_written_whatever_changed() {
    let names = fleet(300);
    let (mut blocks, mut records) = (Blocks::default(), Records::new());
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
        assert_eq!(Blocks::of(&wanted), blocks, "as who starts again has them");
    }
}

#[test]
fn a_change_of_all_nodes_writes_no_more_than_the_blocks_and_of_one_node_its_own() {
    let names = fleet(1_000);
    let mut blocks = Blocks::default();
    let mut records = Records::new();
    for turn in 1..=3 {
        let batch = put(&mut blocks, changes(&names, Some(state(turn))));
        assert_eq!(batch.len(), usize::from(BLOCKS));
        batch.write_into(&mut records);
    }
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
fn a_block_goes_with_its_last_node() {
    let names = fleet(200);
    let (mut blocks, mut records) = (Blocks::default(), Records::new());
    put(&mut blocks, changes(&names, Some(state(1)))).write_into(&mut records);
    put(&mut blocks, changes(&names[1..], None)).write_into(&mut records);
    assert_eq!(read(&records).nodes, [(names[0].clone(), state(1))].into());
    assert_eq!(records.len(), 1);
    put(&mut blocks, changes(&names[..1], None)).write_into(&mut records);
    assert_eq!(records, Records::new());
    assert_eq!(blocks, Blocks::default());
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
