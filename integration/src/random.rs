//! Choices that look like chance and are the same every time.

/// A source of choices: xorshift64*.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins with a number that decides everything after.
    pub fn new(number: u64) -> Self {
        // never zero, and far apart for numbers that follow each other
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Gives a number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // the upper half, whose bits are the better ones
        let random = u32::try_from(self.next() >> 32).unwrap_or_default();
        random as usize % bound.max(1)
    }

    /// Gives a byte.
    pub fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// Picks one of several; panics when there is none.
    pub fn pick<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[self.below(some.len())]
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
