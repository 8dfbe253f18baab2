//! The clock that certificates go by, and the wait for the end of one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::sleep;

/// How often the clock is looked at: what waits is months, in which it is set right, and stands still while a machine
/// sleeps.
const LOOK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Gives the machine's clock in Unix milliseconds.
pub fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Waits until the machine's clock is past a time in Unix milliseconds.
pub async fn expiry(unix_ms: u64) {
    // far from what a clock can be set to it is the same as never
    let end = UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms));
    while let Some(left) = left(end) {
        sleep(left.min(LOOK_AGAIN)).await;
    }
}

/// Gives what is left of something; none: nothing is.
fn left(end: Option<SystemTime>) -> Option<Duration> {
    let Some(end) = end else {
        return Some(LOOK_AGAIN);
    };
    let left = end.duration_since(SystemTime::now()).ok()?;
    // not a shorter sleep than timers know
    (!left.is_zero()).then_some(left.max(Duration::from_millis(1)))
}
