//! Where whoever waits for a change says that it is there, at once and with the time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::sync::Notify;
use tokio::time::timeout;

/// A board. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inside: Mutex<Inside>,
    all_there: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    /// What is waited for: a number that nothing had before.
    mark: u64,
    /// How often each still has to see it.
    missing: Vec<usize>,
    /// When each had seen it as often as it must.
    seen: Vec<Option<Instant>>,
    /// How many have not.
    left: usize,
}

impl Board {
    /// Begins to wait for a mark: each of those that wait must see it so many times.
    pub(crate) fn expect(&self, mark: u64, missing: Vec<usize>) {
        let left = missing.iter().filter(|times| **times > 0).count();
        let seen = vec![None; missing.len()];
        *self.lock() = Inside {
            mark,
            missing,
            seen,
            left,
        };
    }

    /// Says that one of them sees a mark.
    pub(crate) fn saw(&self, who: usize, mark: u64) {
        let mut inside = self.lock();
        if inside.mark != mark {
            return;
        }
        let Some(missing) = inside.missing.get_mut(who).filter(|times| **times > 0) else {
            return;
        };
        *missing -= 1;
        if *missing > 0 {
            return;
        }
        if let Some(seen) = inside.seen.get_mut(who) {
            *seen = Some(Instant::now());
        }
        inside.left -= 1;
        if inside.left == 0 {
            self.0.all_there.notify_one();
        }
    }

    /// Waits until all have seen it, and gives when each had; none: it did not have to.
    pub(crate) async fn all(&self, patience: Duration) -> Result<Vec<Option<Instant>>> {
        let all_there = async {
            loop {
                {
                    let inside = self.lock();
                    if inside.left == 0 {
                        return inside.seen.clone();
                    }
                }
                self.0.all_there.notified().await;
            }
        };
        if let Ok(seen) = timeout(patience, all_there).await {
            return Ok(seen);
        }
        let inside = self.lock();
        ensure!(
            inside.left == 0,
            "{} of {} had not seen change {} within {} s",
            inside.left,
            inside.seen.len(),
            inside.mark,
            patience.as_secs()
        );
        Ok(inside.seen.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        let inside = self.0.inside.lock();
        inside.unwrap_or_else(|held| held.into_inner())
    }
}
