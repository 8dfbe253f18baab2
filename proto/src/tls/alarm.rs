//! Something that comes to an end once, in hours or days, and is asked about with each message until then.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Rings when a future is over. Asking costs next to nothing while that does not stir.
pub(super) struct Alarm {
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    bell: Arc<Bell>,
    /// Who was told to be woken last.
    asked: Option<Waker>,
}

/// What the future wakes.
#[derive(Default)]
struct Bell {
    stirred: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.stirred.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Alarm {
    /// Rings when a future is over.
    pub(super) fn new(over: impl Future<Output = ()> + Send + 'static) -> Self {
        let bell = Bell::default();
        bell.stirred.store(true, Ordering::Relaxed);
        Self {
            over: Box::pin(over),
            bell: Arc::new(bell),
            asked: None,
        }
    }

    /// Says whether it is over; the task is woken when it is. Once it has rung it is not to be asked again.
    pub(super) fn rings(&mut self, cx: &Context<'_>) -> bool {
        let stirred = self.bell.stirred.load(Ordering::Acquire);
        let known = self.asked.as_ref();
        let known = known.is_some_and(|asked| asked.will_wake(cx.waker()));
        if !stirred && known {
            return false;
        }
        self.bell.stirred.store(false, Ordering::Release);
        // a bell that stirred forgets whom it woke; what stirs from here on wakes this one
        self.bell.task.register(cx.waker());
        if !known {
            self.asked = Some(cx.waker().clone());
        }
        let waker = Waker::from(Arc::clone(&self.bell));
        let over = self.over.as_mut();
        over.poll(&mut Context::from_waker(&waker)) == Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    async fn rings(alarm: &mut Alarm) {
        poll_fn(|cx| match alarm.rings(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_wakes_whoever_asked_last() {
        let began = Instant::now();
        let mut alarm = Alarm::new(async {
            sleep(Duration::from_secs(1)).await;
            sleep(Duration::from_secs(1)).await;
        });
        // this one asks and goes away
        assert!(!alarm.rings(&Context::from_waker(Waker::noop())));
        let other = tokio::spawn(async move { rings(&mut alarm).await });
        other.await.expect("no panic");
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test]
    async fn what_is_over_rings_at_once() {
        rings(&mut Alarm::new(std::future::ready(()))).await;
    }
}
