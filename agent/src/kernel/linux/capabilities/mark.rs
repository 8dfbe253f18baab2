//! The services that the probe makes for a moment: which they are, and how to know one again. Pure.
//!
//! Each goes by a firewall mark that no packet has, so that no packet meets it. It bears a sign besides, that no
//! program gives a service: a timeout without persistence and a flag that no scheduler reads. By mark and sign
//! together a probe knows what an earlier one left behind when its agent was killed; whatever lacks either is
//! somebody else's.

use std::net::Ipv4Addr;
use std::ops::Range;

use weir_proto::model::Scheduler;

use crate::kernel::linux::ipvs::{Family, Flags, Netmask, Service, ServiceKey};

/// The first mark: "weir" in ASCII.
const FIRST: u32 = 0x7765_6972;
/// How many marks each trial may choose from, should somebody use the others.
const CHOICES: u32 = 4;
const TRIALS: u32 = Scheduler::ALL.len() as u32 + 3;
/// The firewall marks that the probe uses: it takes those that nobody else has a service for.
pub const PROBE_MARKS: Range<u32> = FIRST..FIRST + CHOICES * TRIALS;

/// Part of the sign, in seconds. The kernel keeps it times `HZ`, at most 1000, in 32 bits (`ip_vs_add_service`).
const TIMEOUT: u32 = 1_986_113;
/// Part of the sign: odd masks, which mean nothing without persistence.
const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 251, 239, 191);
const PREFIX: u32 = 113;

/// One service that shows what the kernel can do, by being accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// With this scheduler.
    Scheduler(Scheduler),
    /// For IPv6 packets.
    Ipv6,
    /// With the persistence engine sip.
    PersistenceSip,
    /// With nothing: to try backends in and to see how it is shown.
    Bare,
}

impl Trial {
    /// Gives every trial, each in its place.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let schedulers = Scheduler::ALL.iter().copied().map(Self::Scheduler);
        schedulers.chain([Self::Ipv6, Self::PersistenceSip, Self::Bare])
    }

    /// Gives the keys that the trial at a place may have.
    pub(super) fn keys(self, place: u32) -> impl Iterator<Item = ServiceKey> {
        let family = match self {
            Self::Ipv6 => Family::Inet6,
            Self::Scheduler(_) | Self::PersistenceSip | Self::Bare => Family::Inet,
        };
        (0..CHOICES).map(move |choice| ServiceKey::Fwmark {
            family,
            mark: FIRST + choice * TRIALS + place,
        })
    }

    /// Gives the service, under one of its keys.
    pub(super) fn service(self, key: ServiceKey) -> Service {
        // a service without a scheduler needs no module: what is refused is what is tried
        let (scheduler, engine) = match self {
            Self::Scheduler(scheduler) => (scheduler.as_str(), None),
            Self::PersistenceSip => ("none", Some("sip")),
            Self::Ipv6 | Self::Bare => ("none", None),
        };
        Service {
            flags: Flags::exactly(Flags::SCHED3),
            timeout: TIMEOUT,
            netmask: netmask(key.family()),
            persistence_engine: engine.map(str::to_owned),
            ..Service::new(key, scheduler)
        }
    }

    /// Gives the module that a refused trial may want.
    pub(super) fn module(self) -> Option<String> {
        match self {
            Self::Scheduler(scheduler) => Some(format!("ip_vs_{scheduler}")),
            Self::PersistenceSip => Some("ip_vs_pe_sip".to_owned()),
            Self::Ipv6 | Self::Bare => None,
        }
    }
}

/// Says whether a service under one of the probe's keys was made by a probe.
pub(super) fn is_ours(service: &Service) -> bool {
    let bits = service.flags.bits & !Flags::HASHED;
    matches!(service.key, ServiceKey::Fwmark { mark, .. } if PROBE_MARKS.contains(&mark))
        && bits == Flags::SCHED3
        && service.timeout == TIMEOUT
        && service.netmask == netmask(service.key.family())
}

fn netmask(family: Family) -> Netmask {
    match family {
        Family::Inet => Netmask::Inet(NETMASK),
        Family::Inet6 => Netmask::Inet6(PREFIX),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn keys() -> Vec<ServiceKey> {
        let trials = (0..).zip(Trial::all());
        trials
            .flat_map(|(place, trial)| trial.keys(place))
            .collect()
    }

    #[test]
    fn every_trial_has_marks_of_its_own_and_no_other_mark_is_used() {
        let marks: BTreeSet<u32> = keys()
            .iter()
            .map(|key| match key {
                ServiceKey::Fwmark { mark, .. } => *mark,
                ServiceKey::Address { .. } => panic!("{key:?}"),
            })
            .collect();
        assert_eq!(marks.len(), keys().len());
        assert!(marks.into_iter().eq(PROBE_MARKS));
    }

    #[test]
    fn a_probes_service_is_known_again_and_a_likeness_is_not() {
        let key = keys()[0];
        let own = Trial::PersistenceSip.service(key);
        // as the kernel shows it
        let shown = Service {
            flags: Flags::exactly(own.flags.bits | Flags::HASHED),
            ..own.clone()
        };
        assert!(is_ours(&shown));
        let elsewhere = ServiceKey::Fwmark {
            family: Family::Inet,
            mark: PROBE_MARKS.end,
        };
        for other in [
            Service {
                key: elsewhere,
                ..shown.clone()
            },
            Service {
                timeout: 300,
                ..shown.clone()
            },
            Service {
                flags: Flags::exactly(Flags::HASHED),
                ..shown.clone()
            },
            Service {
                netmask: Netmask::host(Family::Inet),
                ..shown.clone()
            },
            Service::new(key, "rr"),
        ] {
            assert!(!is_ours(&other), "{other:?}");
        }
    }

    #[test]
    fn the_timeout_survives_the_fastest_clock() {
        assert!(TIMEOUT.checked_mul(1000).is_some());
    }
}
