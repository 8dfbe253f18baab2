//! The clock on the wall, for what outlives the process.

use std::time::{SystemTime, UNIX_EPOCH};

/// Gives the time by the clock on the wall, since a drain's deadline outlives the process.
pub(crate) fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // a clock before 1970 makes every deadline a long one
    since.map_or(0, |since| since.as_millis() as u64)
}
