//! Waiting without sleeping blindly: ask again until it holds or the deadline has passed.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Asking costs a process or a connection in most tests; 20 ms is about what one of them takes in the guest.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until the answer is `Ok`, or fails with the last error once `deadline` has passed.
pub fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if start.elapsed() >= deadline => {
                return Err(error)
                    .with_context(|| format!("not within {} s: {what}", deadline.as_secs_f32()));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn it_asks_until_the_answer_is_there() {
        let mut asked = 0;
        let answer = eventually("three", Duration::from_secs(5), || {
            asked += 1;
            if asked < 3 {
                bail!("only {asked}");
            }
            Ok(asked)
        });
        assert_eq!(answer.ok(), Some(3));
    }

    #[test]
    fn past_the_deadline_the_last_error_is_told() {
        let gone = eventually("the moon", Duration::ZERO, || -> Result<()> {
            bail!("still cheese")
        });
        let error = gone.expect_err("the deadline is zero");
        assert_eq!(
            format!("{error:#}"),
            "not within 0 s: the moon: still cheese"
        );
    }
}
