//! The handshakes under way, and whose gives way when there are too many: no source of connections keeps the others out.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};

/// Handshakes under way. One takes some 20 kB and a millisecond of a core.
pub(super) const MOST: usize = 256;
/// What each has, however many others wait: all of them at once on one core take a quarter of it, and what is left is three
/// round trips across an ocean.
const ASSURED: Duration = Duration::from_secs(1);

/// Handshakes under way. Dropped, none goes on.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    under_way: JoinSet<()>,
    /// The oldest first.
    open: VecDeque<Open>,
}

/// Who is likely to be one and the same: an IPv4 address, or the 64 bits of an IPv6 address that one network has (RFC 4291
/// section 2.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Source(IpAddr);

#[derive(Debug)]
struct Open {
    source: Source,
    began: Instant,
    task: Id,
    abort: AbortHandle,
}

impl Handshakes {
    /// Waits until there is room for one more. When there is none the oldest of the source that has the most gives way, once
    /// it had its time.
    pub(super) async fn room(&mut self) {
        self.forget_all();
        while self.open.len() >= MOST {
            let Some(next) = gives_way(self.open.iter().map(|open| open.source)) else {
                return;
            };
            let Open { began, task, .. } = self.open[next];
            let due = began + ASSURED;
            tokio::select! {
                biased;
                Some(ended) = self.under_way.join_next_with_id() => self.forget(ended),
                () = sleep_until(due) => {
                    // first all go on for whom something has come: where a core is short they wait for us, not for their
                    // peers, and were each to give way for the next, none would ever end
                    yield_now().await;
                    self.forget_all();
                    if self.open.len() >= MOST {
                        self.end(task);
                    }
                }
            }
        }
    }

    /// Begins one.
    pub(super) fn begin(
        &mut self,
        address: SocketAddr,
        handshake: impl Future<Output = ()> + Send + 'static,
    ) {
        let abort = self.under_way.spawn(handshake);
        self.open.push_back(Open {
            source: Source::of(address.ip()),
            began: Instant::now(),
            task: abort.id(),
            abort,
        });
    }

    /// Ends one, if it is still there.
    fn end(&mut self, task: Id) {
        let place = self.open.iter().position(|open| open.task == task);
        if let Some(open) = place.and_then(|place| self.open.remove(place)) {
            open.abort.abort();
        }
    }

    /// Forgets all that have ended.
    fn forget_all(&mut self) {
        while let Some(ended) = self.under_way.try_join_next_with_id() {
            self.forget(ended);
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = match ended {
            Ok((task, ())) => task,
            Err(error) => error.id(),
        };
        // the one that gave way is not among them any more
        self.open.retain(|open| open.task != task);
    }
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self([a, b, c, d, 0, 0, 0, 0].into())
            }
            v4 => Self(v4),
        }
    }
}

/// Gives the place of the one that gives way: the first of the source that has the most; of several such sources the one
/// that came first.
fn gives_way<S: Copy + Eq + Hash>(sources: impl Iterator<Item = S> + Clone) -> Option<usize> {
    let mut counts: HashMap<S, usize> = HashMap::new();
    for source in sources.clone() {
        *counts.entry(source).or_default() += 1;
    }
    let most = counts.values().max().copied()?;
    let mut sources = sources;
    sources.position(|source| counts.get(&source) == Some(&most))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;
    use tokio::time::advance;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect("an address"), 1)
    }

    /// A handshake that never ends, and says so for as long as it goes on.
    fn silent(handshakes: &mut Handshakes, from: &str, going_on: &Arc<Semaphore>) {
        let place = going_on.clone().try_acquire_owned().expect("a place");
        handshakes.begin(address(from), async move {
            let _place = place;
            std::future::pending().await
        });
    }

    #[test]
    fn the_oldest_of_whoever_has_the_most_gives_way() {
        for (sources, expected) in [
            ("", None),
            ("a", Some(0)),
            ("abc", Some(0)),
            ("abcb", Some(1)),
            ("abbaa", Some(0)),
            ("abccba", Some(0)),
        ] {
            assert_eq!(gives_way(sources.chars()), expected, "{sources}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_so_is_an_address_of_ipv4() {
        let of = |text: &str| Source::of(address(text).ip());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn one_source_that_takes_all_room_gives_way_to_others_and_they_do_not() {
        let mut handshakes = Handshakes::default();
        let (greedy, honest) = (Arc::new(Semaphore::new(MOST)), Arc::new(Semaphore::new(9)));
        silent(&mut handshakes, "10.0.0.1", &honest);
        for _ in 1..MOST {
            handshakes.room().await;
            silent(&mut handshakes, "192.0.2.1", &greedy);
        }
        let began = Instant::now();
        for last in 2..=9 {
            handshakes.room().await;
            silent(&mut handshakes, &format!("10.0.0.{last}"), &honest);
        }
        assert_eq!(began.elapsed(), ASSURED, "all of them are as old");
        assert_eq!(honest.available_permits(), 0, "none of these gave way");
        let ended = greedy.acquire_many(1 + 8).await;
        ended.expect("as many of the other ended").forget();
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_fleet_of_one_source_comes_in_where_a_core_is_short() {
        const FLEET: usize = 1_000;
        // a round of all that are under way takes longer than each is assured of, and each needs several
        let step = ASSURED * 2 / u32::try_from(MOST).expect("few");
        let mut handshakes = Handshakes::default();
        let shaken = Arc::new(AtomicUsize::new(0));
        for _ in 0..FLEET {
            handshakes.room().await;
            let shaken = shaken.clone();
            handshakes.begin(address("192.0.2.1"), async move {
                for _ in 0..3 {
                    advance(step).await;
                }
                shaken.fetch_add(1, Ordering::Relaxed);
            });
        }
        while handshakes.under_way.join_next().await.is_some() {}
        let shaken = shaken.load(Ordering::Relaxed);
        assert!(shaken > FLEET * 9 / 10, "{shaken} of {FLEET}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_makes_room_at_once() {
        let mut handshakes = Handshakes::default();
        let silence = Arc::new(Semaphore::new(MOST));
        for _ in 1..MOST {
            silent(&mut handshakes, "192.0.2.1", &silence);
        }
        handshakes.begin(address("10.0.0.1"), async {});
        let began = Instant::now();
        handshakes.room().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(silence.available_permits(), 1, "nobody gave way");
    }
}
