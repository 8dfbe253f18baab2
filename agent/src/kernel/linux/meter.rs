//! The counters of IPVS, by a socket of their own.
//!
//! One dump of the services tells through which of them anything has passed; only their backends are asked for. What is read
//! costs little when little runs, however many services there are. Services whose backends have connections are asked for in
//! turn though nothing passes: connections end by themselves.

mod tracking;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nix::errno::Errno;
use weir_proto::model::{Conntrack, Endpoint, Frontend, usable};

use self::tracking::Tracking;
pub(super) use self::tracking::state;
use super::ipvs::{DestStatus, Ipvs, ServiceStatus, Stats};
use super::netlink::{Counts, NlError};
use super::objects::{backend_key, backend_spec, frontend, service_key};
use super::verdict;
use crate::kernel::{KernelError, Meter};
use crate::plan::{Connections, Counted, CountedService, Counters, Passed, VipStates};

/// So many services at a look are asked for their connections though nothing passes through them: some 40 us each, so that 10,000
/// of them with connections that last are looked at within minutes, for a few hundredths of a core.
const IN_TURN: usize = 128;

/// The meter of the network namespace that it is first used in.
#[derive(Default)]
pub struct LinuxMeter {
    ipvs: Option<Ipvs>,
    passage: Passage,
    tracking: Tracking,
}

/// What had passed through each service at the last look that succeeded.
#[derive(Debug, Default)]
struct Passage {
    services: BTreeMap<Frontend, Passed>,
    /// Those whose backends had connections when they were asked for last.
    connected: BTreeSet<Frontend>,
    /// Which of them was asked for in its turn last.
    turn: Option<Frontend>,
}

/// Where counters are read.
trait Source {
    /// What has passed through each service.
    async fn services(&mut self) -> Result<BTreeMap<Frontend, Passed>, NlError>;
    /// The counters of the backends of one.
    async fn backends(
        &mut self,
        frontend: Frontend,
    ) -> Result<BTreeMap<Endpoint, Counters>, NlError>;
}

impl Meter for LinuxMeter {
    async fn counters(&mut self) -> Result<Counted, KernelError> {
        match self.look().await {
            Ok(counted) => Ok(counted),
            // a kernel without IPVS has nothing to count
            Err(NlError::Errno(errno)) if self.ipvs.is_none() && errno == Errno::ENOENT as i32 => {
                Ok(std::mem::take(&mut self.passage).gone(&BTreeMap::new()))
            }
            Err(error) => {
                // ENOENT: the family has another number since the module was loaded anew. What was counted before is
                // remembered: from it the next look tells what went meanwhile.
                self.ipvs = None;
                Err(verdict::unreadable("the IPVS counters", error))
            }
        }
    }

    async fn conntrack(&mut self) -> Result<Option<Conntrack>, KernelError> {
        let looked = self.tracking.look().await;
        looked.map_err(|error| verdict::unreadable("the state of connection tracking", error))
    }

    async fn vip_connections(&mut self, vips: &BTreeSet<IpAddr>) -> Result<VipStates, KernelError> {
        let counted = self.tracking.count(vips).await;
        counted.map_err(|error| verdict::unreadable("the connections of VIPs", error))
    }
}

impl LinuxMeter {
    /// Gives what was said so far to IPVS, since it was opened last, and to connection tracking, for tests that count.
    pub fn counts(&self) -> [Counts; 2] {
        let ipvs = self.ipvs.as_ref().map(Ipvs::counts);
        [ipvs.unwrap_or_default(), self.tracking.counts()]
    }

    async fn look(&mut self) -> Result<Counted, NlError> {
        let ipvs = match &mut self.ipvs {
            Some(ipvs) => ipvs,
            none => none.insert(Ipvs::open().await?),
        };
        self.passage.look(ipvs).await
    }
}

impl Passage {
    /// Gives the counters of the services through which anything has passed since the look before, of some of those that have
    /// connections, and none for those that have gone. One that fails is as if it had not been.
    async fn look(&mut self, source: &mut impl Source) -> Result<Counted, NlError> {
        let now = source.services().await?;
        let mut counted = self.gone(&now);
        let mut quiet = Vec::new();
        let moved = now.iter().filter(|(frontend, passed)| {
            let moved = self.services.get(*frontend) != Some(*passed);
            if !moved && self.connected.contains(*frontend) {
                quiet.push(**frontend);
            }
            moved
        });
        let moved: Vec<Frontend> = moved.map(|(frontend, _)| *frontend).collect();
        let in_turn = in_turn(&quiet, self.turn);
        for frontend in moved.into_iter().chain(in_turn.iter().copied()) {
            let service = CountedService {
                passed: now.get(&frontend).copied().unwrap_or_default(),
                backends: source.backends(frontend).await?,
            };
            counted.insert(frontend, Some(service));
        }
        for (frontend, service) in &counted {
            let backends = service.iter().flat_map(|service| service.backends.values());
            if backends.map(|counters| counters.now.total()).sum::<u64>() > 0 {
                self.connected.insert(*frontend);
            } else {
                self.connected.remove(frontend);
            }
        }
        self.turn = in_turn.last().copied().or(self.turn);
        self.services = now;
        Ok(counted)
    }

    /// Gives the services that are not there now.
    fn gone(&self, now: &BTreeMap<Frontend, Passed>) -> Counted {
        let gone = self
            .services
            .keys()
            .filter(|frontend| !now.contains_key(frontend));
        gone.map(|frontend| (*frontend, None)).collect()
    }
}

/// Gives those behind `turn`, which were not asked for longest; `quiet` is in order.
fn in_turn(quiet: &[Frontend], turn: Option<Frontend>) -> Vec<Frontend> {
    let behind = turn.map_or(0, |turn| quiet.partition_point(|one| *one <= turn));
    let (before, after) = quiet.split_at(behind);
    let all = after.iter().chain(before).copied();
    all.take(IN_TURN).collect()
}

impl Source for Ipvs {
    async fn services(&mut self) -> Result<BTreeMap<Frontend, Passed>, NlError> {
        let services = Self::services(self).await?.into_iter();
        let ours = services.filter_map(|ServiceStatus { service, stats, .. }| {
            let frontend = frontend(&service.key)?;
            // one that nobody could ask weir for cannot be told of either
            frontend
                .vip()
                .is_none_or(|vip| usable(vip).is_ok())
                .then(|| (frontend, passed(&stats)))
        });
        Ok(ours.collect())
    }

    async fn backends(
        &mut self,
        frontend: Frontend,
    ) -> Result<BTreeMap<Endpoint, Counters>, NlError> {
        let dests = self.dests(&service_key(frontend)).await?;
        let ours = dests.iter().filter_map(|dest| counters(frontend, dest));
        Ok(ours.collect())
    }
}

fn passed(stats: &Stats) -> Passed {
    Passed {
        connections: stats.connections,
        packets_in: stats.in_packets,
        packets_out: stats.out_packets,
        bytes_in: stats.in_bytes,
        bytes_out: stats.out_bytes,
    }
}

fn counters(frontend: Frontend, status: &DestStatus) -> Option<(Endpoint, Counters)> {
    let DestStatus {
        dest,
        active,
        inactive,
        stats,
        ..
    } = status;
    let counters = Counters {
        passed: passed(stats),
        now: Connections {
            active: *active,
            inactive: *inactive,
        },
        forwarding: backend_spec(dest).forwarding,
    };
    usable(dest.address.ip()).ok()?;
    Some((backend_key(frontend, dest.address)?.endpoint, counters))
}

#[cfg(test)]
mod tests {
    use weir_proto::model::{Family, Mark};

    use super::*;

    /// Services by how much passed, each with one backend that has so many connections.
    #[derive(Default)]
    struct Kernel {
        services: BTreeMap<Frontend, (Passed, u32)>,
        fails: bool,
        asked: Vec<Frontend>,
    }

    impl Source for Kernel {
        async fn services(&mut self) -> Result<BTreeMap<Frontend, Passed>, NlError> {
            let services = self.services.iter();
            Ok(services.map(|(key, (passed, _))| (*key, *passed)).collect())
        }

        async fn backends(
            &mut self,
            frontend: Frontend,
        ) -> Result<BTreeMap<Endpoint, Counters>, NlError> {
            if self.fails {
                return Err(NlError::Errno(Errno::ENOBUFS as i32));
            }
            self.asked.push(frontend);
            let (passed, active) = self.services[&frontend];
            Ok(backend(passed, active))
        }
    }

    fn service(number: u32) -> Frontend {
        Frontend::Mark(Mark {
            number: number.try_into().expect("a mark"),
            family: Family::V4,
        })
    }

    fn connections(connections: u64) -> Passed {
        Passed {
            connections,
            packets_in: 10 * connections,
            ..Passed::default()
        }
    }

    fn backend(passed: Passed, active: u32) -> BTreeMap<Endpoint, Counters> {
        let endpoint = Endpoint {
            address: [10, 0, 0, 1].into(),
            port: weir_proto::model::Port::new(80).expect("a port"),
        };
        let now = Connections {
            active,
            inactive: 0,
        };
        let counters = Counters {
            passed,
            now,
            ..Counters::default()
        };
        [(endpoint, counters)].into()
    }

    fn whole(passed: Passed) -> Option<CountedService> {
        let backends = backend(passed, 0);
        Some(CountedService { passed, backends })
    }

    #[tokio::test]
    async fn a_look_that_fails_forgets_nothing_of_the_one_before() {
        let [moves, stays, goes] = [1, 2, 3].map(service);
        let mut kernel = Kernel {
            services: [moves, stays, goes]
                .map(|it| (it, (connections(5), 0)))
                .into(),
            ..Kernel::default()
        };
        let mut meter = Passage::default();
        let first = meter.look(&mut kernel).await.expect("read");
        let all = [moves, stays, goes].map(|it| (it, whole(connections(5))));
        assert_eq!(first, Counted::from(all));
        kernel.services.insert(moves, (connections(6), 0));
        kernel.services.remove(&goes);
        kernel.fails = true;
        assert!(meter.look(&mut kernel).await.is_err());
        kernel.fails = false;
        let next = meter.look(&mut kernel).await.expect("read");
        let since = [(moves, whole(connections(6))), (goes, None)];
        assert_eq!(next, Counted::from(since), "what came and went meanwhile");
        let last = meter.look(&mut kernel).await.expect("read");
        assert_eq!(last, Counted::new());
    }

    #[tokio::test]
    async fn services_with_connections_are_asked_for_in_turn_until_these_end() {
        let count = u32::try_from(IN_TURN).expect("few") + 2;
        let idle = (connections(1), 1);
        let mut kernel = Kernel {
            services: (1..=count).map(|it| (service(it), idle)).collect(),
            ..Kernel::default()
        };
        let mut meter = Passage::default();
        meter.look(&mut kernel).await.expect("read");
        let mut asked = async |kernel: &mut Kernel| {
            kernel.asked.clear();
            meter.look(kernel).await.expect("read");
            std::mem::take(&mut kernel.asked)
        };
        let first: Vec<Frontend> = (1..=count - 2).map(service).collect();
        assert_eq!(asked(&mut kernel).await, first);
        let second = [count - 1, count].into_iter().chain(1..=count - 4);
        let second: Vec<Frontend> = second.map(service).collect();
        assert_eq!(asked(&mut kernel).await, second);
        for (_, connected) in kernel.services.values_mut() {
            *connected = 0;
        }
        asked(&mut kernel).await;
        asked(&mut kernel).await;
        assert_eq!(asked(&mut kernel).await, [], "all have ended");
    }
}
