//! What is kept of each node, many nodes to a record.
//!
//! A change that all nodes see would write a record for each of them. So each is in one of a fixed number of blocks, which its
//! name chooses, and a block is a record: a change of all nodes writes as many as there are blocks, one of a node writes the
//! nodes of its block.
//!
//! A block has its nodes in the order of their names, each as: the length of its name (varint) and the name; what follows (1
//! byte); if that says so, the generation (varint) and the digest (16 bytes, big-endian) of its state, and the generation up to
//! which it may take away what it must (varint). A node of which nothing is kept is in no block, and a block of no nodes is no
//! record.

use std::collections::{BTreeMap, BTreeSet};

use prost::encoding::{decode_varint, encode_varint};
use weir_proto::digest::Digest;
use weir_proto::disk::Batch;
use weir_proto::model::{Generation, NodeName};

use super::Cause;
use crate::store::Saved;

/// How many blocks there are: of 1,000 nodes some 16 are in each, half a KiB. With 2,000 and more a block is more than the one
/// KiB that goes into a record of the database, so a change of one node writes a few; of twice as many blocks a change of all
/// nodes would write twice as many records. Another number is another schema.
pub(super) const BLOCKS: u8 = 64;
const BLOCK: &str = "nodes/";

/// What follows the name of a node.
const STATE: u8 = 1;
const CONFIRMED: u8 = 2;
const NAMED: u8 = 4;

/// What becomes of nodes.
pub(super) struct Changes {
    pub(super) nodes: BTreeMap<NodeName, Option<(Generation, Digest)>>,
    pub(super) confirmed: BTreeMap<NodeName, Option<Generation>>,
    pub(super) named: BTreeMap<NodeName, bool>,
}

/// What is kept of all nodes, by their block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Blocks(BTreeMap<u8, Block>);

type Block = BTreeMap<NodeName, Kept>;

/// What is kept of one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kept {
    state: Option<(Generation, Digest)>,
    confirmed: Option<Generation>,
    named: bool,
}

impl Blocks {
    /// Takes what was kept.
    pub(super) fn of(saved: &Saved) -> Self {
        let mut blocks = Self::default();
        for (name, state) in &saved.nodes {
            blocks.keep(name.clone(), |kept| kept.state = Some(*state));
        }
        for (name, generation) in &saved.confirmed {
            blocks.keep(name.clone(), |kept| kept.confirmed = Some(*generation));
        }
        for name in &saved.named {
            blocks.keep(name.clone(), |kept| kept.named = true);
        }
        blocks
    }

    /// Changes nodes, and adds the blocks that they are in to what is written.
    pub(super) fn change(&mut self, changes: Changes, batch: &mut Batch) {
        let Changes {
            nodes,
            confirmed,
            named,
        } = changes;
        let mut changed = BTreeSet::new();
        for (name, state) in nodes {
            changed.insert(self.keep(name, |kept| kept.state = state));
        }
        for (name, generation) in confirmed {
            changed.insert(self.keep(name, |kept| kept.confirmed = generation));
        }
        for (name, named) in named {
            changed.insert(self.keep(name, |kept| kept.named = named));
        }
        for number in changed {
            let key = key_of(number).into_bytes();
            let Some(block) = self.0.get_mut(&number) else {
                continue;
            };
            block.retain(|_, kept| *kept != Kept::default());
            if block.is_empty() {
                self.0.remove(&number);
                batch.delete(key);
            } else {
                batch.put(key, written(block));
            }
        }
    }

    /// Changes what is kept of a node. Gives the number of its block.
    fn keep(&mut self, name: NodeName, change: impl FnOnce(&mut Kept)) -> u8 {
        let number = number_of(&name);
        let block = self.0.entry(number).or_default();
        change(block.entry(name).or_default());
        number
    }
}

/// Reads the block that is kept under a key; none: no block is.
pub(super) fn read_block(
    key: &str,
    payload: &[u8],
    saved: &mut Saved,
) -> Option<Result<(), Cause>> {
    let number = key.strip_prefix(BLOCK)?;
    let number = u8::from_str_radix(number, 16).ok();
    let number = number.filter(|number| *number < BLOCKS && key_of(*number) == key)?;
    Some(read_nodes(number, payload, saved))
}

fn key_of(number: u8) -> String {
    format!("{BLOCK}{number:02x}")
}

/// Gives the number of the block that a node is in, by a hash that is the same on every machine, for good.
fn number_of(name: &NodeName) -> u8 {
    let hash = Digest::of_encoded(name.as_str().as_bytes()).to_bytes();
    let [.., last] = hash;
    last % BLOCKS
}

fn written(block: &Block) -> Vec<u8> {
    // the length, what follows, two short generations and a digest
    let bytes = block.keys().map(|name| name.as_str().len() + 24);
    let mut bytes = Vec::with_capacity(bytes.sum());
    for (name, kept) in block {
        let Kept {
            state,
            confirmed,
            named,
        } = kept;
        let follows = [
            (state.is_some(), STATE),
            (confirmed.is_some(), CONFIRMED),
            (*named, NAMED),
        ];
        let follows = follows.into_iter().filter(|(is_there, _)| *is_there);
        let name = name.as_str();
        encode_varint(name.len() as u64, &mut bytes);
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(follows.fold(0, |all, (_, one)| all | one));
        if let Some((generation, digest)) = state {
            encode_varint(generation.0, &mut bytes);
            bytes.extend_from_slice(&digest.to_bytes());
        }
        if let Some(generation) = confirmed {
            encode_varint(generation.0, &mut bytes);
        }
    }
    bytes
}

fn read_nodes(number: u8, mut bytes: &[u8], saved: &mut Saved) -> Result<(), Cause> {
    let mut last = None;
    if bytes.is_empty() {
        return Err("it has no nodes".into());
    }
    while !bytes.is_empty() {
        let name = read_name(&mut bytes)?;
        if number_of(&name) != number {
            return Err(format!("node {name} is of another block").into());
        }
        if last.as_ref().is_some_and(|last| *last >= name) {
            return Err(format!("node {name} is out of order").into());
        }
        let (follows, rest) = bytes.split_first().ok_or("it is too short")?;
        bytes = rest;
        if *follows == 0 || *follows & !(STATE | CONFIRMED | NAMED) != 0 {
            return Err(format!("what follows node {name} is unknown").into());
        }
        if follows & STATE != 0 {
            let generation = Generation(decode_varint(&mut bytes)?);
            let (digest, rest) = bytes.split_first_chunk().ok_or("it is too short")?;
            bytes = rest;
            let state = (generation, Digest::from_bytes(*digest));
            saved.nodes.insert(name.clone(), state);
        }
        if follows & CONFIRMED != 0 {
            let generation = Generation(decode_varint(&mut bytes)?);
            saved.confirmed.insert(name.clone(), generation);
        }
        if follows & NAMED != 0 {
            saved.named.insert(name.clone());
        }
        last = Some(name);
    }
    Ok(())
}

fn read_name(bytes: &mut &[u8]) -> Result<NodeName, Cause> {
    let length = usize::try_from(decode_varint(bytes)?)?;
    let (name, rest) = bytes
        .split_at_checked(length)
        .ok_or("a name in it is cut short")?;
    *bytes = rest;
    Ok(NodeName::new(std::str::from_utf8(name)?)?)
}

#[cfg(test)]
mod tests;
