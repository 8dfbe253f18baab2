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
    /// What had passed through each service at the call before.
    passed: BTreeMap<Frontend, Passed>,
}

/// Connections, packets in and packets out.
type Passed = [u64; 3];

impl Meter for IpvsMeter {
    async fn counters(&mut self) -> Result<Counted, KernelError> {
        match self.look().await {
            Ok(counted) => Ok(counted),
            // a kernel without IPVS has nothing to count
            Err(NlError::Errno(errno)) if self.ipvs.is_none() && errno == Errno::ENOENT as i32 => {
                Ok(self.nothing_is_left())
            }
            Err(error) => {
                // ENOENT: the family has another number since the module was loaded anew
                *self = Self::default();
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
        let mut counted = Counted::new();
        let mut passed = BTreeMap::new();
        for ServiceStatus { service, stats, .. } in ipvs.services().await? {
            let Some(frontend) = frontend(&service.key) else {
                continue;
            };
            let now = passed_through(&stats);
            passed.insert(frontend, now);
            if self.passed.remove(&frontend) == Some(now) {
                continue;
            }
            let mut backends = BTreeMap::new();
            for dest in ipvs.dests(&service_key(frontend)).await? {
                backends.extend(counters(frontend, &dest));
            }
            counted.insert(frontend, backends);
        }
        counted.extend(self.nothing_is_left());
        self.passed = passed;
        Ok(counted)
    }

    /// Gives what was not met again, without backends.
    fn nothing_is_left(&mut self) -> Counted {
        let gone = std::mem::take(&mut self.passed).into_keys();
        gone.map(|frontend| (frontend, BTreeMap::new())).collect()
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
