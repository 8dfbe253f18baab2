//! What is kept of each node, many nodes to a record.
//!
//! A change that all nodes see would write a record for each of them. So each is in one of a fixed number of blocks, which its
//! name chooses, and a block is a record: one of a node writes the nodes of its block. A change of many nodes writes only a few
//! of their blocks, in turn, and by how much generations rose at most in each of the others since it was written: who starts
//! again counts on from there. No generation is given twice by that, and a node whose content is what it was is sent nothing.
//!
//! A block has its nodes in the order of their names, each as: the length of its name (varint) and the name; what follows (1
//! byte); if that says so, the generation (varint) and the digest (16 bytes, big-endian) of its state, and the generation up to
//! which it may take away what it must (varint). A node of which nothing is kept is in no block, and a block of no nodes is no
//! record. `meta/rises` has a varint for each block, in their order; none of them is there while all would be 0.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

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
/// By how much generations rose since the blocks were written.
pub(super) const RISES: &str = "meta/rises";
/// A change that raises the generations of no more blocks than these writes all of them: a cluster of a few nodes is kept as it is.
const AT_ONCE: usize = 8;
/// After how many changes of many nodes a block is written at the latest, so that two of 64 are at each. A generation that is
/// passed over costs nothing, but people read them.
const TURNS: u8 = 32;

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

/// What is kept of all nodes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    blocks: BTreeMap<u8, Block>,
    rises: Rises,
    /// Whose turn it is to be written.
    turn: u8,
    at_once: usize,
}

/// By how much the generations of the nodes of each block may have risen since it was written; those that are not there did not.
pub(super) type Rises = BTreeMap<u8, u64>;

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
    pub(super) fn of(saved: &Saved, rises: Rises) -> Self {
        let mut blocks = Self {
            blocks: BTreeMap::new(),
            rises,
            turn: 0,
            at_once: AT_ONCE,
        };
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
        let (mut changed, mut rose) = (BTreeSet::new(), Rises::new());
        for (name, state) in nodes {
            let (number, before) = self.keep(name, |kept| mem::replace(&mut kept.state, state));
            let generation = |state: Option<(Generation, Digest)>| state.map(|(it, _)| it.0);
            let both = generation(state).zip(generation(before));
            match both.and_then(|(now, before)| now.checked_sub(before)) {
                Some(by) => {
                    let most = rose.entry(number).or_default();
                    *most = by.max(*most);
                }
                // it comes or goes, or counts anew
                None => drop(changed.insert(number)),
            }
        }
        for (name, generation) in confirmed {
            let keep = |kept: &mut Kept| kept.confirmed = generation;
            changed.insert(self.keep(name, keep).0);
        }
        for (name, named) in named {
            changed.insert(self.keep(name, |kept| kept.named = named).0);
        }
        let before = self.rises.clone();
        self.put_off(rose, &mut changed);
        for number in changed {
            self.write(number, batch);
        }
        if self.rises != before {
            let key = RISES.as_bytes().to_vec();
            match self.rises.is_empty() {
                true => batch.delete(key),
                false => batch.put(key, written_rises(&self.rises)),
            }
        }
    }

    /// Writes all blocks whose generations rise only where they are no more than so many.
    #[cfg(any(test, feature = "simulated"))]
    pub(super) fn at_once(self, at_once: usize) -> Self {
        Self { at_once, ..self }
    }

    /// Adds the blocks to those that are written whose generations rose; where they are many, only those whose turn it is.
    fn put_off(&mut self, rose: Rises, changed: &mut BTreeSet<u8>) {
        if rose.len() <= self.at_once {
            changed.extend(rose.into_keys());
            return;
        }
        for (number, by) in rose {
            if number % TURNS == self.turn {
                changed.insert(number);
            }
            let rise = self.rises.entry(number).or_default();
            *rise = rise.saturating_add(by);
        }
        self.turn = (self.turn + 1) % TURNS;
    }

    fn write(&mut self, number: u8, batch: &mut Batch) {
        self.rises.remove(&number);
        let key = key_of(number).into_bytes();
        let Some(block) = self.blocks.get_mut(&number) else {
            return;
        };
        block.retain(|_, kept| *kept != Kept::default());
        if block.is_empty() {
            self.blocks.remove(&number);
            batch.delete(key);
        } else {
            batch.put(key, written(block));
        }
    }

    /// Changes what is kept of a node. Gives the number of its block, and what the change gives.
    fn keep<T>(&mut self, name: NodeName, change: impl FnOnce(&mut Kept) -> T) -> (u8, T) {
        let number = number_of(&name);
        let block = self.blocks.entry(number).or_default();
        let changed = change(block.entry(name).or_default());
        (number, changed)
    }
}

/// Reads by how much generations may have risen since their blocks were written, and raises them by that.
pub(super) fn read_rises(mut bytes: &[u8], saved: &mut Saved) -> Result<Rises, Cause> {
    let mut rises = Rises::new();
    for number in 0..BLOCKS {
        let rise = decode_varint(&mut bytes)?;
        if rise > 0 {
            rises.insert(number, rise);
        }
    }
    if !bytes.is_empty() {
        return Err("it is of more blocks than there are".into());
    }
    for (name, (generation, _)) in &mut saved.nodes {
        let rise = rises.get(&number_of(name)).copied();
        generation.0 = generation.0.saturating_add(rise.unwrap_or_default());
    }
    Ok(rises)
}

fn written_rises(rises: &Rises) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(usize::from(BLOCKS));
    for number in 0..BLOCKS {
        encode_varint(rises.get(&number).copied().unwrap_or_default(), &mut bytes);
    }
    bytes
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
