//! VIPs and who may reach what behind them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Family, Refused};

/// How a VIP is bound on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum VipBinding {
    /// As an address of weir0.
    #[default]
    Address,
    /// As a local route on weir0.
    Route,
}

impl fmt::Display for VipBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "ADDRESS",
            Self::Route => "ROUTE",
        })
    }
}

/// An address a node answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vip {
    /// Its key.
    pub address: IpAddr,
    /// How it is bound.
    pub binding: VipBinding,
    /// Whether only declared ports may be reached on it.
    pub lockdown: bool,
}

impl Vip {
    /// Makes one as a service has it that says nothing of its VIPs.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            binding: VipBinding::default(),
            lockdown: true,
        }
    }
}

/// Packets in a tunnel of IP-in-IP that are unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunnelEnd {
    /// The family of the packet around.
    pub outer: Family,
    /// The family of the packet inside.
    pub inner: Family,
}

impl fmt::Display for TunnelEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.inner, self.outer)
    }
}

/// The ranges that may connect; empty: everybody.
pub type Sources = BTreeSet<IpNet>;

/// Reads a range of addresses; an address alone is a range of one.
pub fn source(text: &str, family: Family) -> Result<IpNet, Refused> {
    let range: IpNet = match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse().map_err(|_| Refused::Range(text.to_owned()))?,
    };
    if range.addr() != range.network() {
        return Err(Refused::RangeBits(range, range.trunc()));
    }
    if Family::of(range.addr()) != family {
        return Err(Refused::RangeFamily(range, family));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_no_bits_beyond_its_prefix_and_the_right_family() {
        let read = |text: &str, family| {
            source(text, family)
                .map(|range| range.to_string())
                .map_err(|refused| refused.to_string())
        };
        for (text, family, range) in [
            ("10.0.0.0/8", Family::V4, "10.0.0.0/8"),
            ("10.0.0.1", Family::V4, "10.0.0.1/32"),
            ("0.0.0.0/0", Family::V4, "0.0.0.0/0"),
            ("fd00::/8", Family::V6, "fd00::/8"),
        ] {
            assert_eq!(read(text, family), Ok(range.to_owned()));
        }
        for (text, why) in [
            (
                "10.0.0.0/33",
                "\"10.0.0.0/33\" is not a range of addresses (10.0.0.0/8, fd00::/8)",
            ),
            (
                "10.0.0.1/8",
                "10.0.0.1/8 has bits set beyond its prefix: 10.0.0.0/8 is meant",
            ),
            (
                "fd00::/8",
                "fd00::/8 is not of IPv4, the family of the frontend",
            ),
        ] {
            assert_eq!(read(text, Family::V4), Err(why.to_owned()));
        }
    }
}
