//! What runs through backends, from one look at their counters to the next.

mod silence;
mod totals;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::model::{BackendKey, Endpoint, Forwarding, Frontend, Increment, Protocol};

use self::silence::Silence;
use super::Connections;

pub use totals::{Counter, Losses, SavedTotals, Total, Totals, TotalsChange};

/// What has passed through a service, or through one backend of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; those of direct route and tunnel do not pass here.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

/// What has passed through one backend since it is there, and what it has now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Since it is there, or its counters were zeroed.
    pub passed: Passed,
    /// Connections there are now.
    pub now: Connections,
    /// How packets reach it; none: in a way that is not ours.
    pub forwarding: Option<Forwarding>,
}

/// The counters of one service, whole: a backend that is not named is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountedService {
    /// Through the service, those backends included that have gone since.
    pub passed: Passed,
    /// Each of its backends.
    pub backends: BTreeMap<Endpoint, Counters>,
}

/// The counters of some services; none of one that is not there any more.
pub type Counted = BTreeMap<Frontend, Option<CountedService>>;

/// Backends that wait to be told of, at most: while the controller is away for days, backends come and go. Past it all that
/// waits is forgotten, which costs accuracy.
const MOST_UNTOLD: usize = 200_000;

/// What was counted at the look before, and what of it the controller was not told.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// None: nobody has looked.
    before: Option<BTreeMap<Frontend, BTreeMap<Endpoint, Seen>>>,
    silent: BTreeSet<BackendKey>,
    untold: BTreeMap<BackendKey, Increment>,
}

/// One backend at the look before.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    counters: Counters,
    silence: Silence,
}

impl Passed {
    /// Gives the numbers, in the order of the fields.
    pub fn each(&self) -> [u64; 5] {
        let Self {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        } = *self;
        [connections, packets_in, packets_out, bytes_in, bytes_out]
    }

    /// Takes the numbers, in the order of the fields.
    pub fn with(each: [u64; 5]) -> Self {
        let [connections, packets_in, packets_out, bytes_in, bytes_out] = each;
        Self {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        }
    }

    /// Gives what came since; none when anything went back: the kernel counts an object as a whole, so all of it began anew
    /// (it was zeroed, or another stands in its place; `ip_vs_zero_stats` in `net/netfilter/ipvs/ip_vs_ctl.c`).
    fn since(&self, before: &Self) -> Option<Self> {
        let mut since = self.each();
        for (now, before) in since.iter_mut().zip(before.each()) {
            *now = now.checked_sub(before)?;
        }
        Some(Self::with(since))
    }

    /// Gives the sum of both.
    pub fn plus(&self, more: &Self) -> Self {
        let mut sum = self.each();
        for (sum, more) in sum.iter_mut().zip(more.each()) {
            *sum = sum.saturating_add(more);
        }
        Self::with(sum)
    }

    fn is_nothing(&self) -> bool {
        self.connections == 0 && self.packets_in == 0 && self.packets_out == 0
    }
}

impl Traffic {
    /// Takes a look at the services of which anything is new since the one before, and gives what passed. At the first look
    /// nothing is known of before: what an agent's predecessor told is not told again. A counter that went back began anew.
    pub fn look(&mut self, counted: Counted) -> Vec<Increment> {
        let first = self.before.is_none();
        let before = self.before.get_or_insert_default();
        let mut increments = Vec::new();
        for (frontend, service) in counted {
            let mut of_before = before.remove(&frontend).unwrap_or_default();
            let backends = service.unwrap_or_default().backends;
            let mut seen = BTreeMap::new();
            for (endpoint, counters) in backends {
                let mut had = of_before.remove(&endpoint).unwrap_or_default();
                let backend = BackendKey { frontend, endpoint };
                if !first {
                    let passed = counters.since(&had.counters);
                    if !passed.is_nothing() || counters.now != had.counters.now {
                        let increment = had.increment(backend, passed, &counters);
                        match increment.silent {
                            true => self.silent.insert(backend),
                            false => self.silent.remove(&backend),
                        };
                        increments.push(increment);
                    }
                }
                had.counters = counters;
                seen.insert(endpoint, had);
            }
            for endpoint in of_before.into_keys() {
                self.silent.remove(&BackendKey { frontend, endpoint });
            }
            if !seen.is_empty() {
                before.insert(frontend, seen);
            }
        }
        self.keep(&increments);
        increments
    }

    /// Notes that nothing was told yet on a stream that begins: every level there is, and who is silent.
    pub fn begin(&mut self) {
        for (frontend, backends) in self.before.iter().flatten() {
            for (endpoint, seen) in backends {
                let backend = BackendKey {
                    frontend: *frontend,
                    endpoint: *endpoint,
                };
                let silent = seen.silence.is_certain();
                if seen.counters.now != Connections::default() || silent {
                    let level = seen.counters.told(backend, Passed::default(), 0, silent);
                    self.untold.entry(backend).or_insert(level);
                }
            }
        }
    }

    /// Takes what is to be told.
    pub fn tell(&mut self) -> Vec<Increment> {
        std::mem::take(&mut self.untold).into_values().collect()
    }

    /// Keeps what passed until it is told; newer levels stand for older ones.
    pub fn keep(&mut self, increments: &[Increment]) {
        for increment in increments {
            if self.untold.len() >= MOST_UNTOLD {
                self.untold.clear();
            }
            match self.untold.entry(increment.backend) {
                Entry::Occupied(mut untold) => add(untold.get_mut(), increment),
                Entry::Vacant(empty) => {
                    empty.insert(*increment);
                }
            }
        }
    }

    /// Gives the backends that receive connections and answer none.
    pub fn silent(&self) -> &BTreeSet<BackendKey> {
        &self.silent
    }

    /// Gives the addresses of the services that had a backend at the look before.
    pub fn vips(&self) -> BTreeSet<IpAddr> {
        let frontends = self.before.iter().flatten().map(|(frontend, _)| frontend);
        frontends.filter_map(|frontend| frontend.vip()).collect()
    }

    /// Gives the levels of a service's backends.
    pub fn levels(
        &self,
        frontend: Frontend,
    ) -> impl Iterator<Item = (Endpoint, Connections)> + use<'_> {
        let services = self.before.as_ref();
        let backends = services.and_then(|services| services.get(&frontend));
        let backends = backends.into_iter().flatten();
        backends.map(|(endpoint, seen)| (*endpoint, seen.counters.now))
    }
}

fn add(untold: &mut Increment, more: &Increment) {
    let mut sum = *more;
    for (sum, before) in [
        (&mut sum.connections, untold.connections),
        (&mut sum.failed, untold.failed),
        (&mut sum.packets_in, untold.packets_in),
        (&mut sum.packets_out, untold.packets_out),
        (&mut sum.bytes_in, untold.bytes_in),
        (&mut sum.bytes_out, untold.bytes_out),
    ] {
        *sum = sum.saturating_add(before);
    }
    *untold = sum;
}

impl Seen {
    /// Gives what passed, and learns from it whether the backend is silent.
    fn increment(&mut self, key: BackendKey, passed: Passed, now: &Counters) -> Increment {
        let failed = failed(&passed, now.forwarding, key.frontend);
        self.silence.look(passed.connections, failed);
        now.told(key, passed, failed, self.silence.is_certain())
    }
}

impl Counters {
    fn since(&self, before: &Self) -> Passed {
        let since = self.passed.since(&before.passed);
        since.unwrap_or(self.passed)
    }

    fn told(&self, backend: BackendKey, passed: Passed, failed: u64, silent: bool) -> Increment {
        let Passed {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        } = passed;
        Increment {
            backend,
            connections,
            failed,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
            active: self.now.active.into(),
            inactive: self.now.inactive.into(),
            silent,
        }
    }
}

/// Estimates how many of the new connections of an interval the backend refused or did not answer, from the counters
/// alone.
///
/// IPVS counts a connection when it schedules one (`ip_vs_conn_stats`), at its first packet, and every packet from the client
/// (`ip_vs_in_stats`) and, where it is translated back, to it (`ip_vs_out_stats`; all in `net/netfilter/ipvs/ip_vs_core.c`). A
/// connection that is opened has at least two packets in (TCP: SYN and ACK; SCTP: INIT and COOKIE ECHO), and one out. One
/// that is refused has one in (the RST or ABORT is out), one that is not answered none out. So of c connections with i packets
/// in and o out
///
/// - at least c - o were not answered: every other one has a packet out;
/// - at least 2c - i were refused or given up at once: every other one has two packets in.
///
/// Where replies do not pass here (direct route, tunnel), o says nothing. Every further packet of a connection that goes well
/// hides one that failed, so this is a lower bound: a backend that is dead as a whole is seen, one that drops a few
/// connections is not. A handshake that is under way when the counters are read counts as failed in one interval: of an
/// interval of 5 s and a round trip of 50 ms that is one connection in a hundred, and only where little else passes.
/// UDP has no handshake, and what is behind a firewall mark is not known.
fn failed(passed: &Passed, forwarding: Option<Forwarding>, frontend: Frontend) -> u64 {
    let protocol = frontend.listener().map(|listener| listener.protocol);
    if !matches!(protocol, Some(Protocol::Tcp | Protocol::Sctp)) {
        return 0;
    }
    let opened = passed.connections;
    let refused = opened.saturating_mul(2).saturating_sub(passed.packets_in);
    let unanswered = match forwarding {
        Some(Forwarding::Masquerade) => opened.saturating_sub(passed.packets_out),
        Some(Forwarding::DirectRoute | Forwarding::Tunnel(_)) => 0,
        None => return 0,
    };
    refused.max(unanswered).min(opened)
}

#[cfg(test)]
mod tests;
