//! Generations of records that anybody can write and check: what a journal holds while its disk is cut, filled or
//! damaged.

use weir_proto::disk::{Batch, Records};

/// Of the records below.
pub const SCHEMA: u8 = 1;

/// Items that come, change and go.
const ITEMS: u64 = 7;

/// Those of which there are many: more than one batch of sled's takes.
const MANY: u64 = 1_100;

/// How large the items are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A few bytes: all files together stay below 16 KiB.
    Small,
    /// Some are kept in pieces.
    Large,
    /// As large, and in each second generation as many come, and as many go, as are committed in a new database.
    Many,
}

/// Gives what generation `number` changes; the first is 1.
pub fn batch(number: u64, size: Size) -> Batch {
    let mut batch = Batch::default();
    batch.put(b"g".to_vec(), number.to_be_bytes().to_vec());
    let key = |item: u64| format!("i{item}").into_bytes();
    let len = match size {
        Size::Small => 20 + number % 30,
        Size::Large | Size::Many if number.is_multiple_of(4) => 5_000 + number,
        Size::Large | Size::Many => 100 + number * 7 % 300,
    };
    let letters = (0..len).map(|place| b'a' + ((place + number) % 26) as u8);
    batch.put(key(number % ITEMS), letters.collect());
    if number.is_multiple_of(3) {
        batch.delete(key((number + 2) % ITEMS));
    }
    if size == Size::Many && number.is_multiple_of(2) {
        let key = |number: u64, place: u64| format!("m{number}.{place}").into_bytes();
        for place in 0..MANY {
            batch.put(key(number, place), place.to_be_bytes().to_vec());
            batch.delete(key(number - 2, place));
        }
    }
    batch
}

/// Gives all records as of a generation.
pub fn records(number: u64, size: Size) -> Records {
    let mut records = Records::new();
    for number in 1..=number {
        batch(number, size).write_into(&mut records);
    }
    records
}

/// Says which generation records are of: with one item more, less or other they are of none.
pub fn generation(found: &Records, size: Size) -> Option<u64> {
    let number = match found.get(b"g".as_slice()) {
        None => 0,
        Some(bytes) => u64::from_be_bytes(bytes.as_slice().try_into().ok()?),
    };
    // no test goes further, and a number out of nowhere is not to be counted up to
    (number < 10_000 && *found == records(number, size)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_generation_are_known_and_others_are_not() {
        for number in [0, 1, 20] {
            let mut some = records(number, Size::Large);
            assert_eq!(generation(&some, Size::Large), Some(number));
            some.insert(b"i9".to_vec(), Vec::new());
            assert_eq!(generation(&some, Size::Large), None);
        }
    }
}
