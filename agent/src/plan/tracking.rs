//! What connection tracking holds, and when it is worth to look at it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use weir_proto::model::{ConnectionState, Conntrack, Protocol, VipConnections};

/// How many connections there are to a VIP, by protocol and state. What is not named is 0.
pub type VipStates = BTreeMap<(IpAddr, Protocol, ConnectionState), u64>;

/// Between two looks at the connections of VIPs, at least. The kernel walks its whole table for one, and shows what is left of it:
/// some 2 us for each connection.
const EVERY: Duration = Duration::from_secs(30);
/// And so many times as long as the look itself took: with a million connections that is a look every few minutes, and never
/// more than a hundredth of a core.
const REST: u32 = 100;
/// So little of what was told, or so few, the number of entries may differ before it is told again: it is never the same for long.
const SHARE: u64 = 16;
const FEW: u64 = 64;

/// What was found at the last looks, and what of it the controller was told.
#[derive(Debug, Clone, Default)]
pub struct Tracking {
    /// As the kernel counts; none: there is no connection tracking, or nobody has looked.
    now: Option<Conntrack>,
    /// What was lost and not told.
    untold: [u64; 3],
    /// Entries and their limit as they were told on this stream.
    told: Option<(u64, u64)>,
    vips: VipStates,
    told_vips: VipStates,
    /// When VIPs may be looked at again.
    due: Duration,
    /// Something may have changed since they were.
    moved: bool,
}

impl Tracking {
    /// Takes a look at how full it is and what it lost, as the kernel counts. Of what was lost before the first look nobody is
    /// told.
    pub fn look(&mut self, now: Option<Conntrack>) {
        let entries = |look: &Option<Conntrack>| look.as_ref().map(|look| look.entries);
        self.moved |= entries(&now) != entries(&self.now);
        if let (Some(now), Some(before)) = (&now, &self.now) {
            let [now, before] = [now, before].map(losses);
            let went_back = now.iter().zip(&before).any(|(now, before)| now < before);
            for (place, untold) in self.untold.iter_mut().enumerate() {
                let before = if went_back { 0 } else { before[place] };
                *untold = untold.saturating_add(now[place] - before);
            }
        }
        self.now = now;
    }

    /// Notes that something passed through a VIP.
    pub fn passed(&mut self) {
        self.moved = true;
    }

    /// Says whether VIPs are worth a look, so long after the start: none is while nothing changed.
    pub fn wants_vips(&self, at: Duration) -> bool {
        self.now.is_some() && self.moved && at >= self.due
    }

    /// Takes a look at them that ended so long after the start and took so long; none if it failed.
    pub fn look_at_vips(&mut self, at: Duration, took: Duration, vips: Option<VipStates>) {
        self.due = at.saturating_add(EVERY.max(took.saturating_mul(REST)));
        if let Some(vips) = vips {
            self.vips = vips;
            self.moved = false;
        }
    }

    /// Notes that nothing was told yet on a stream that begins.
    pub fn begin(&mut self) {
        self.told = None;
        self.told_vips.clear();
    }

    /// Takes what is to be told, at most so many of the VIPs' numbers.
    pub fn tell(&mut self, most: usize) -> (Option<Conntrack>, Vec<VipConnections>) {
        let conntrack = self.now.filter(|now| self.is_news(now)).map(|now| {
            self.told = Some((now.entries, now.max_entries));
            let [dropped, insert_failed, early_dropped] = std::mem::take(&mut self.untold);
            Conntrack {
                dropped,
                insert_failed,
                early_dropped,
                ..now
            }
        });
        let left = self.told_vips.keys();
        let left = left.filter(|key| !self.vips.contains_key(*key));
        let left = left.map(|key| (*key, 0));
        let other = self.vips.iter().map(|(key, count)| (*key, *count));
        let other = other.filter(|(key, count)| self.told_vips.get(key) != Some(count));
        let news: Vec<_> = left.chain(other).take(most).collect();
        for (key, count) in &news {
            match count {
                0 => self.told_vips.remove(key),
                count => self.told_vips.insert(*key, *count),
            };
        }
        let told = news
            .into_iter()
            .map(|((address, protocol, state), connections)| VipConnections {
                address,
                protocol,
                state,
                connections,
            });
        (conntrack, told.collect())
    }

    /// Gives how full it is.
    pub fn now(&self) -> Option<&Conntrack> {
        self.now.as_ref()
    }

    /// Gives the connections of VIPs at the last look at them.
    pub fn vips(&self) -> &VipStates {
        &self.vips
    }

    fn is_news(&self, now: &Conntrack) -> bool {
        let Some((entries, max_entries)) = self.told else {
            return true;
        };
        self.untold != [0; 3]
            || now.max_entries != max_entries
            || now.entries.abs_diff(entries) > FEW.max(entries / SHARE)
    }
}

fn losses(look: &Conntrack) -> [u64; 3] {
    [look.dropped, look.insert_failed, look.early_dropped]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(entries: u64, lost: [u64; 3]) -> Conntrack {
        let [dropped, insert_failed, early_dropped] = lost;
        Conntrack {
            entries,
            max_entries: 1_000,
            dropped,
            insert_failed,
            early_dropped,
        }
    }

    fn states(counts: &[(u8, ConnectionState, u64)]) -> VipStates {
        let of = |(vip, state, count): &(u8, ConnectionState, u64)| {
            let key = ([10, 100, 0, *vip].into(), Protocol::Tcp, *state);
            (key, *count)
        };
        counts.iter().map(of).collect()
    }

    fn told(tracking: &mut Tracking, most: usize) -> VipStates {
        let (_, vips) = tracking.tell(most);
        let of = |vip: VipConnections| ((vip.address, vip.protocol, vip.state), vip.connections);
        vips.into_iter().map(of).collect()
    }

    #[test]
    fn what_was_lost_is_told_once_and_never_what_was_lost_before_the_first_look() {
        let mut tracking = Tracking::default();
        assert_eq!(tracking.tell(9).0, None, "nobody has looked");
        tracking.look(Some(holding(10, [5, 6, 7])));
        assert_eq!(tracking.tell(9).0, Some(holding(10, [0; 3])));
        assert_eq!(tracking.tell(9).0, None);
        tracking.look(Some(holding(10, [6, 6, 9])));
        tracking.look(Some(holding(10, [7, 6, 9])));
        assert_eq!(tracking.tell(9).0, Some(holding(10, [2, 0, 2])));
        tracking.look(Some(holding(10, [1, 0, 0])));
        let began_anew = Some(holding(10, [1, 0, 0]));
        assert_eq!(tracking.tell(9).0, began_anew);
        tracking.look(None);
        assert_eq!(tracking.tell(9).0, None, "it has gone");
    }

    #[test]
    fn entries_are_told_again_when_they_are_quite_others() {
        let mut tracking = Tracking::default();
        let mut tells = |entries| {
            tracking.look(Some(holding(entries, [0; 3])));
            tracking.tell(9).0.is_some()
        };
        let looks = [100, 164, 165, 200, 20_000, 21_250, 21_251, 19_000];
        let told = [true, false, true, false, true, false, true, true];
        assert_eq!(looks.map(&mut tells), told);
        tracking.begin();
        assert!(tracking.tell(9).0.is_some(), "another stream");
    }

    #[test]
    fn of_vips_only_what_changed_is_told_and_on_another_stream_all() {
        use ConnectionState::{Established, SynSent};
        let mut tracking = Tracking::default();
        let looks = |tracking: &mut Tracking, counts: &[_]| {
            let vips = Some(states(counts));
            tracking.look_at_vips(Duration::ZERO, Duration::ZERO, vips);
        };
        looks(&mut tracking, &[(1, Established, 5), (2, SynSent, 1)]);
        let all = states(&[(1, Established, 5), (2, SynSent, 1)]);
        assert_eq!(told(&mut tracking, 9), all);
        assert_eq!(told(&mut tracking, 9), VipStates::new());
        looks(&mut tracking, &[(1, Established, 6), (3, SynSent, 2)]);
        let gone = states(&[(2, SynSent, 0)]);
        assert_eq!(told(&mut tracking, 1), gone, "as much as there is room for");
        let rest = states(&[(1, Established, 6), (3, SynSent, 2)]);
        assert_eq!(told(&mut tracking, 9), rest);
        tracking.begin();
        assert_eq!(told(&mut tracking, 9), rest);
    }

    #[test]
    fn vips_are_looked_at_seldom_and_not_while_nothing_changes() {
        let seconds = Duration::from_secs;
        let mut tracking = Tracking::default();
        tracking.passed();
        assert!(!tracking.wants_vips(seconds(0)), "nothing is tracked");
        tracking.look(Some(holding(1, [0; 3])));
        assert!(tracking.wants_vips(seconds(0)));
        tracking.look_at_vips(seconds(1), seconds(0), Some(VipStates::new()));
        assert!(!tracking.wants_vips(seconds(90)), "nothing changed");
        tracking.look(Some(holding(2, [0; 3])));
        assert!(!tracking.wants_vips(seconds(30)), "too soon");
        assert!(tracking.wants_vips(seconds(31)));
        tracking.look_at_vips(seconds(31), seconds(3), None);
        assert!(!tracking.wants_vips(seconds(330)), "it took three seconds");
        assert!(
            tracking.wants_vips(seconds(331)),
            "it failed, and changes nothing"
        );
        tracking.look_at_vips(seconds(331), seconds(0), Some(VipStates::new()));
        tracking.passed();
        assert!(tracking.wants_vips(seconds(361)));
    }
}
