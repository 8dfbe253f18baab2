//! The wait for the end of a certificate.

use std::time::Duration;

use tokio::time::sleep;

use crate::machine::now_unix_ms;

/// How often the clock is looked at: what waits is months, in which it is set right, and stands still while a machine
/// sleeps.
const LOOK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Waits until the machine's clock is at a time in Unix milliseconds.
pub async fn expiry(unix_ms: u64) {
    loop {
        match unix_ms.saturating_sub(now_unix_ms()) {
            0 => return,
            left => sleep(Duration::from_millis(left).min(LOOK_AGAIN)).await,
        }
    }
}
