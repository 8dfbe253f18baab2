use super::*;

const SCHEMA: u8 = 1;

fn records() -> Records {
    (0..3u8)
        .map(|number| (vec![b'k', number], vec![number; 5]))
        .collect()
}

fn encoded() -> Vec<u8> {
    let sealed: Vec<(Vec<u8>, Vec<u8>)> = records()
        .into_iter()
        .map(|(key, payload)| {
            let record = seal(SCHEMA, &key, &payload);
            (key, record)
        })
        .collect();
    let sealed = sealed
        .iter()
        .map(|(key, record)| (key.as_slice(), record.as_slice()));
    encode(SCHEMA, 7, sealed)
}

#[test]
fn a_snapshot_has_what_was_written_to_it() {
    assert_eq!(decode(SCHEMA, &encoded()), Some((7, records())));
    let empty = encode(SCHEMA, 0, std::iter::empty());
    assert_eq!(decode(SCHEMA, &empty), Some((0, Records::new())));
}

#[test]
fn a_snapshot_with_any_bit_flipped_is_none() {
    let whole = encoded();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(SCHEMA, &damaged), None, "bit {bit}");
    }
}

#[test]
fn a_snapshot_that_is_cut_or_longer_is_none() {
    let mut whole = encoded();
    for len in 0..whole.len() {
        assert_eq!(decode(SCHEMA, &whole[..len]), None, "{len} bytes");
    }
    whole.push(0);
    assert_eq!(decode(SCHEMA, &whole), None);
}

#[test]
fn a_snapshot_of_another_schema_is_none() {
    assert_eq!(decode(SCHEMA + 1, &encoded()), None);
}
