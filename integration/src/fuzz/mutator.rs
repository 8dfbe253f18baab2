//! Damage, always the same for the same number: what a test can try without a fuzzer.

use crate::random::Random;

/// Most inputs kept beside the seeds, so that damage can add up.
const MOST_KEPT: usize = 256;
/// Longer ones are cut: a decoder has seen all there is to see by then.
const LONGEST: usize = 4096;
/// What goes wrong in a length or a number: nothing, a header, off by one, the most.
const NUMBERS: [u16; 12] = [0, 1, 3, 4, 5, 8, 12, 20, 0x7fff, 0x8000, 0xfffc, 0xffff];

/// Makes damaged inputs from good ones.
#[derive(Debug, Clone)]
pub struct Mutator {
    random: Random,
    seeds: Vec<Vec<u8>>,
    kept: Vec<Vec<u8>>,
}

impl Mutator {
    /// Begins with good inputs and a number that decides everything after; at least one input is needed.
    pub fn new(seeds: Vec<Vec<u8>>, number: u64) -> Self {
        assert!(!seeds.is_empty(), "nothing to damage");
        Self {
            random: Random::new(number),
            seeds,
            kept: Vec::new(),
        }
    }

    /// Gives the next input.
    pub fn damaged(&mut self) -> Vec<u8> {
        let mut bytes = self.pick().clone();
        for _ in 0..=self.below(4) {
            self.damage(&mut bytes);
        }
        bytes.truncate(LONGEST);
        bytes
    }

    /// Takes an input that could still be decoded, to damage it further.
    pub fn keep(&mut self, bytes: Vec<u8>) {
        if self.kept.len() < MOST_KEPT {
            self.kept.push(bytes);
        } else {
            let place = self.below(MOST_KEPT);
            self.kept[place] = bytes;
        }
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            bytes.push(self.byte());
            return;
        }
        let at = self.below(bytes.len());
        // attributes, their lengths and their numbers begin at multiples of four
        let even = at & !3;
        match self.below(9) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.byte(),
            2 => bytes.truncate(at),
            3 => {
                let some = (0..=self.below(8)).map(|_| self.byte()).collect::<Vec<_>>();
                bytes.splice(at..at, some);
            }
            4 => {
                let end = (at + 1 + self.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                // a piece twice
                let end = (even + 4 * (1 + self.below(8))).min(bytes.len());
                let piece = bytes[even..end].to_vec();
                bytes.splice(even..even, piece);
            }
            6 => {
                // the end of another
                let other = self.pick().clone();
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
            7 => {
                let number = NUMBERS[self.below(NUMBERS.len())];
                overwrite(bytes, even, number);
            }
            _ => {
                // a length that is a little off
                if let Some([low, high]) = bytes[even..].first_chunk().copied() {
                    let off = [-8, -4, -1, 1, 4, 8][self.below(6)];
                    let number = u16::from_le_bytes([low, high]).wrapping_add_signed(off);
                    overwrite(bytes, even, number);
                }
            }
        }
    }

    fn pick(&mut self) -> &Vec<u8> {
        let place = self.below(self.seeds.len() + self.kept.len());
        self.seeds
            .get(place)
            .unwrap_or_else(|| &self.kept[place - self.seeds.len()])
    }

    fn byte(&mut self) -> u8 {
        self.random.byte()
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }
}

fn overwrite(bytes: &mut [u8], at: usize, number: u16) {
    for (byte, new) in bytes[at..].iter_mut().zip(number.to_le_bytes()) {
        *byte = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_damage_and_another_gives_another() {
        let some = |number| {
            let mut mutator = Mutator::new(vec![vec![7; 40], Vec::new()], number);
            (0..1000).map(|_| mutator.damaged()).collect::<Vec<_>>()
        };
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
        let different: std::collections::BTreeSet<_> = some(1).into_iter().collect();
        assert!(different.len() > 500, "{} of 1000", different.len());
    }
}
