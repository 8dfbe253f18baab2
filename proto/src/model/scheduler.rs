//! How the kernel picks a backend.

use std::fmt;
use std::str::FromStr;

use super::Refused;

/// Declares the schedulers once, so that their names cannot part from the enum.
macro_rules! schedulers {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A scheduler of the kernel, by the name it has there (`net/netfilter/ipvs/ip_vs_*.c`,
        /// `struct ip_vs_scheduler.name`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Scheduler {
            $($(#[$doc])* $variant,)*
        }

        impl Scheduler {
            /// Every scheduler.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Gives the kernel's name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

schedulers! {
    /// Round robin.
    RoundRobin = "rr",
    /// Weighted round robin.
    WeightedRoundRobin = "wrr",
    /// Least connections.
    LeastConnection = "lc",
    /// Weighted least connections.
    WeightedLeastConnection = "wlc",
    /// Locality-based least connections.
    LocalityLeastConnection = "lblc",
    /// Locality-based least connections with replication.
    LocalityReplication = "lblcr",
    /// Destination hashing.
    DestinationHash = "dh",
    /// Source hashing.
    SourceHash = "sh",
    /// Shortest expected delay.
    ShortestDelay = "sed",
    /// Never queue.
    NeverQueue = "nq",
    /// Weighted failover.
    Failover = "fo",
    /// Weighted overflow.
    Overflow = "ovf",
    /// Maglev hashing.
    Maglev = "mh",
    /// Power of two choices.
    TwoChoices = "twos",
}

impl Scheduler {
    /// What a service has that names none: equal weights make it plain round robin, and unequal ones count.
    pub const DEFAULT: Self = Self::WeightedRoundRobin;
}

impl FromStr for Scheduler {
    type Err = Refused;

    fn from_str(name: &str) -> Result<Self, Refused> {
        Self::ALL
            .iter()
            .copied()
            .find(|scheduler| scheduler.as_str() == name)
            .ok_or_else(|| Refused::Scheduler(name.to_owned()))
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a hashing scheduler does beside hashing the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchedulerFlags {
    /// A client whose backend takes no new connection goes to another one instead of nowhere.
    pub fallback: bool,
    /// The client's port is hashed too.
    pub port: bool,
}

impl SchedulerFlags {
    /// Gives what a scheduler does when nothing is said; none: it has no flags.
    pub fn default_of(scheduler: Scheduler) -> Option<Self> {
        match scheduler {
            Scheduler::SourceHash | Scheduler::Maglev => Some(Self {
                fallback: true,
                port: false,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheduler_is_found_by_the_name_it_gives() {
        for scheduler in Scheduler::ALL {
            assert_eq!(scheduler.as_str().parse(), Ok(*scheduler));
        }
        assert_eq!(
            "RR".parse::<Scheduler>(),
            Err(Refused::Scheduler("RR".to_owned()))
        );
    }
}
