//! What a program takes from the machine it runs on beside disk and network: the clock on the wall, chance, the name of the
//! boot, and memory.
//!
//! With the feature `simulated`, which nothing that is shipped has, each runtime may be a machine of its own, see
//! [`simulated`].

mod heap;
#[cfg(feature = "simulated")]
pub mod simulated;

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

pub use heap::give_back;

/// Another one at each boot (`drivers/char/random.c`, `proc_do_uuid`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Gives the time by the clock on the wall.
pub fn now_unix_ms() -> u64 {
    #[cfg(feature = "simulated")]
    if let Some(now) = simulated::now_unix_ms() {
        return now;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // a clock before 1970 makes every deadline a long one
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Draws 64 bits by lot: the keys that the standard library seeds its hashes with come from the system's generator.
pub fn draw() -> u64 {
    #[cfg(feature = "simulated")]
    if let Some(drawn) = simulated::draw() {
        return drawn;
    }
    RandomState::new().hash_one(())
}

/// Gives the name of this boot.
pub fn boot() -> io::Result<String> {
    #[cfg(feature = "simulated")]
    if let Some(boot) = simulated::boot() {
        return Ok(boot);
    }
    let boot = fs::read_to_string(BOOT_ID)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read {BOOT_ID}: {error}")))?;
    Ok(boot.trim_end().to_owned())
}

/// A lot that is drawn from a seed: the same draws for the same seed, on every machine and in every version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot(u64);

impl Lot {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws 64 bits: SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // the bias is below 2^-32 for every bound that a simulation has
        self.draw().checked_rem(bound).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lot_draws_what_its_seed_says() {
        // the first three that the authors' own program prints for this seed
        let mut lot = Lot::new(1_234_567);
        let drawn = [lot.draw(), lot.draw(), lot.draw()];
        let known = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(drawn, known);
        assert_eq!(lot.below(0), 0);
        assert!((0..100).all(|_| lot.below(3) < 3));
    }
}
