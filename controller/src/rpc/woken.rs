//! What is waited for beside something that happens all the time.

use std::future::{Future, pending};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

/// Something to wait for that is asked only when it was itself woken. An agent's task is woken by each thing that the agent
/// says: without this, all its clocks were looked at every time.
#[derive(Debug)]
pub(super) struct Woken<F>(FuturesUnordered<F>);

impl<F: Future> Woken<F> {
    /// Waits for this.
    pub(super) fn new(waits: F) -> Self {
        Self(FuturesUnordered::from_iter([waits]))
    }

    /// Gives what comes of it, once. Who stops waiting goes on with the next call.
    pub(super) async fn next(&mut self) -> F::Output {
        match self.0.next().await {
            Some(came) => came,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn it_is_asked_when_it_was_woken_and_no_more() {
        let asked = Cell::new(0);
        let (send, mut sent) = oneshot::channel();
        let mut woken = Woken::new(poll_fn(|cx| {
            asked.set(asked.get() + 1);
            pin!(&mut sent).poll(cx)
        }));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert_eq!(pin!(woken.next()).poll(&mut cx), Poll::Pending);
            assert_eq!(asked.get(), 1);
        }
        send.send(7).expect("it waits for it");
        assert_eq!(pin!(woken.next()).poll(&mut cx), Poll::Ready(Ok(7)));
        assert_eq!(asked.get(), 2);
        assert_eq!(pin!(woken.next()).poll(&mut cx), Poll::Pending);
    }
}
