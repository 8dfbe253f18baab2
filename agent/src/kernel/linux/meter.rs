//! The counters of IPVS, by a socket of their own.
//!
//! One dump of the services tells through which of them anything has passed; only their backends are asked for. What is read
//! costs little when little runs, however many services there are.

use std::collections::BTreeMap;

use nix::errno::Errno;
use weir_proto::model::{Endpoint, Frontend};

use super::ipvs::{DestStatus, Ipvs, ServiceStatus, Stats};
use super::netlink::NlError;
use super::objects::{backend_key, backend_spec, frontend, service_key};
use super::verdict;
use crate::kernel::{KernelError, Meter};
use crate::plan::{Connections, Counted, Counters};

/// The meter of the network namespace that it is first used in.
#[derive(Default)]
pub(super) struct IpvsMeter {
    ipvs: Option<Ipvs>,
    passage: Passage,
}

/// What had passed through each service at the last look that succeeded.
#[derive(Debug, Default)]
struct Passage(BTreeMap<Frontend, Passed>);

/// Connections, packets in and packets out.
type Passed = [u64; 3];

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

impl Meter for IpvsMeter {
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
}

impl IpvsMeter {
    async fn look(&mut self) -> Result<Counted, NlError> {
        let ipvs = match &mut self.ipvs {
            Some(ipvs) => ipvs,
            none => none.insert(Ipvs::open().await?),
        };
        self.passage.look(ipvs).await
    }
}

impl Passage {
    /// Gives the counters of the services through which anything has passed since the look before; without backends those
    /// that have gone. One that fails is as if it had not been.
    async fn look(&mut self, source: &mut impl Source) -> Result<Counted, NlError> {
        let now = source.services().await?;
        let mut counted = self.gone(&now);
        for (frontend, passed) in &now {
            if self.0.get(frontend) != Some(passed) {
                counted.insert(*frontend, source.backends(*frontend).await?);
            }
        }
        self.0 = now;
        Ok(counted)
    }

    /// Gives the services that are not there now, without backends.
    fn gone(&self, now: &BTreeMap<Frontend, Passed>) -> Counted {
        let gone = self.0.keys().filter(|frontend| !now.contains_key(frontend));
        gone.map(|frontend| (*frontend, BTreeMap::new())).collect()
    }
}

impl Source for Ipvs {
    async fn services(&mut self) -> Result<BTreeMap<Frontend, Passed>, NlError> {
        let services = Self::services(self).await?.into_iter();
        let ours = services.filter_map(|ServiceStatus { service, stats, .. }| {
            Some((frontend(&service.key)?, passed_through(&stats)))
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

fn passed_through(stats: &Stats) -> Passed {
    [stats.connections, stats.in_packets, stats.out_packets]
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
        connections: stats.connections,
        packets_in: stats.in_packets,
        packets_out: stats.out_packets,
        bytes_in: stats.in_bytes,
        bytes_out: stats.out_bytes,
        now: Connections {
            active: *active,
            inactive: *inactive,
        },
        forwarding: backend_spec(dest).forwarding,
    };
    Some((backend_key(frontend, dest.address)?.endpoint, counters))
}

#[cfg(test)]
mod tests {
    use weir_proto::model::{Family, Mark};

    use super::*;

    /// Services by how many packets passed, each with one backend.
    struct Kernel {
        services: BTreeMap<Frontend, Passed>,
        fails: bool,
    }

    impl Source for Kernel {
        async fn services(&mut self) -> Result<BTreeMap<Frontend, Passed>, NlError> {
            Ok(self.services.clone())
        }

        async fn backends(
            &mut self,
            frontend: Frontend,
        ) -> Result<BTreeMap<Endpoint, Counters>, NlError> {
            if self.fails {
                return Err(NlError::Errno(Errno::ENOBUFS as i32));
            }
            Ok(backend(self.services[&frontend]))
        }
    }

    fn service(number: u32) -> Frontend {
        Frontend::Mark(Mark {
            number: number.try_into().expect("a mark"),
            family: Family::V4,
        })
    }

    fn backend([connections, packets_in, packets_out]: Passed) -> BTreeMap<Endpoint, Counters> {
        let endpoint = Endpoint {
            address: [10, 0, 0, 1].into(),
            port: weir_proto::model::Port::new(80).expect("a port"),
        };
        let counters = Counters {
            connections,
            packets_in,
            packets_out,
            ..Counters::default()
        };
        [(endpoint, counters)].into()
    }

    #[tokio::test]
    async fn a_look_that_fails_forgets_nothing_of_the_one_before() {
        let [moves, stays, goes] = [1, 2, 3].map(service);
        let mut kernel = Kernel {
            services: [moves, stays, goes].map(|it| (it, [5, 50, 40])).into(),
            fails: false,
        };
        let mut meter = Passage::default();
        let first = meter.look(&mut kernel).await.expect("read");
        let all = [moves, stays, goes].map(|it| (it, backend([5, 50, 40])));
        assert_eq!(first, Counted::from(all));
        kernel.services.insert(moves, [6, 60, 48]);
        kernel.services.remove(&goes);
        kernel.fails = true;
        assert!(meter.look(&mut kernel).await.is_err());
        kernel.fails = false;
        let next = meter.look(&mut kernel).await.expect("read");
        let since = [(moves, backend([6, 60, 48])), (goes, BTreeMap::new())];
        assert_eq!(next, Counted::from(since), "what came and went meanwhile");
        let last = meter.look(&mut kernel).await.expect("read");
        assert_eq!(last, Counted::new());
    }
}
