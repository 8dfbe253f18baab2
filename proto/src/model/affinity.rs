//! How clients stay with a backend.

use std::str::FromStr;

use super::{Family, Refused};

/// How long a client is remembered, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AffinityTimeout(u32);

impl AffinityTimeout {
    /// What an affinity has that names no time: the value `ipvsadm -p` uses.
    pub const DEFAULT: Self = Self(300);
    /// A day: a client that stays longer on one backend is not balanced at all.
    const MOST: u32 = 86_400;

    /// Takes 1-86400 seconds.
    pub fn new(seconds: u32) -> Result<Self, Refused> {
        if (1..=Self::MOST).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(Refused::AffinityTimeout(seconds))
        }
    }

    /// Gives the seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

/// How many leading bits of an address count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrefixLength(u8);

impl PrefixLength {
    /// Takes 1 to as many as an address of the family has.
    pub fn new(family: Family, bits: u32) -> Result<Self, Refused> {
        let all = Self::whole(family);
        match u8::try_from(bits) {
            Ok(bits) if (1..=all.0).contains(&bits) => Ok(Self(bits)),
            _ => Err(Refused::PrefixLength(bits, family, all.0)),
        }
    }

    /// Counts every bit.
    pub fn whole(family: Family) -> Self {
        Self(match family {
            Family::V4 => 32,
            Family::V6 => 128,
        })
    }

    /// Gives the number of bits.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// What the kernel keeps a client's connections together by, in place of its address
/// (`net/netfilter/ipvs/ip_vs_pe_*.c`, `struct ip_vs_pe.name`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PersistenceEngine {
    /// The Call-ID of SIP over UDP.
    Sip,
}

impl PersistenceEngine {
    /// Gives the kernel's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sip => "sip",
        }
    }
}

impl FromStr for PersistenceEngine {
    type Err = Refused;

    fn from_str(name: &str) -> Result<Self, Refused> {
        match name {
            "sip" => Ok(Self::Sip),
            other => Err(Refused::PersistenceEngine(other.to_owned())),
        }
    }
}

/// How the clients of a service stay with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionAffinity {
    /// How long one is remembered.
    pub timeout: AffinityTimeout,
    /// Which IPv4 clients count as one.
    pub ipv4_prefix: PrefixLength,
    /// Which IPv6 clients count as one.
    pub ipv6_prefix: PrefixLength,
    /// What else they are told apart by.
    pub engine: Option<PersistenceEngine>,
}

/// How the clients of one virtual service stay with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity {
    /// How long one is remembered.
    pub timeout: AffinityTimeout,
    /// Which clients count as one.
    pub prefix: PrefixLength,
    /// What else they are told apart by.
    pub engine: Option<PersistenceEngine>,
}

impl SessionAffinity {
    /// Takes every client by itself.
    pub fn new(timeout: AffinityTimeout) -> Self {
        Self {
            timeout,
            ipv4_prefix: PrefixLength::whole(Family::V4),
            ipv6_prefix: PrefixLength::whole(Family::V6),
            engine: None,
        }
    }

    /// Gives what of it concerns a family.
    pub fn of(self, family: Family) -> Affinity {
        Affinity {
            timeout: self.timeout,
            prefix: match family {
                Family::V4 => self.ipv4_prefix,
                Family::V6 => self.ipv6_prefix,
            },
            engine: self.engine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_no_longer_than_an_address() {
        for (family, most) in [(Family::V4, 32), (Family::V6, 128)] {
            assert_eq!(PrefixLength::new(family, 1).map(PrefixLength::get), Ok(1));
            assert_eq!(
                PrefixLength::new(family, most),
                Ok(PrefixLength::whole(family))
            );
            for bad in [0, most + 1, 256] {
                let text = PrefixLength::new(family, bad)
                    .expect_err("refused")
                    .to_string();
                assert_eq!(
                    text,
                    format!("{bad} is not a prefix length (1-{most} for {family})")
                );
            }
        }
    }

    #[test]
    fn a_persistence_engine_is_found_by_the_name_it_gives() {
        let sip = PersistenceEngine::Sip;
        assert_eq!(sip.as_str().parse(), Ok(sip));
        let refused = Refused::PersistenceEngine("SIP".to_owned());
        assert_eq!("SIP".parse::<PersistenceEngine>(), Err(refused));
    }
}
