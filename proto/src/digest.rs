//! The digest of a node's state: the same whatever the order of its items, and updated item by item.
//!
//! It is the sum modulo 2^128 of xxh3-128 over each item as it goes over the wire. It finds accidents
//! (a lost delta, a bug, a damaged journal), not attacks: the stream's peers are authenticated elsewhere.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use prost::Message;
use xxhash_rust::xxh3::xxh3_128;

use crate::convert::item_to_wire;
use crate::model::Item;

/// The digest of a set of items; the default is that of the empty one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(u128);

impl Digest {
    /// Gives the digest of one thing alone by its bytes: of an item as it was encoded, whether it makes sense or not.
    pub fn of_encoded(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes))
    }

    /// Gives the digest of one item alone.
    pub fn of(item: &Item) -> Self {
        Self(hash(item))
    }

    /// Adds an item that was not in the set.
    pub fn add(&mut self, item: &Item) {
        self.0 = self.0.wrapping_add(hash(item));
    }

    /// Takes away an item that was in the set.
    pub fn remove(&mut self, item: &Item) {
        self.0 = self.0.wrapping_sub(hash(item));
    }

    /// Gives its 16 bytes, big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Takes its 16 bytes, big-endian.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// Gives the digest of two sets together that have nothing in common.
impl Add for Digest {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

/// Gives the digest of what is left of a set without a part of it.
impl Sub for Digest {
    type Output = Self;

    fn sub(self, part: Self) -> Self {
        Self(self.0.wrapping_sub(part.0))
    }
}

/// Adds a set that has nothing in common with this one.
impl AddAssign for Digest {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Takes away a part of this set.
impl SubAssign for Digest {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

fn hash(item: &Item) -> u128 {
    xxh3_128(&item_to_wire(item).encode_to_vec())
}
