//! The two address families that weir balances. Pure.

use std::net::IpAddr;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `AF_INET`
    Inet,
    /// `AF_INET6`
    Inet6,
}

impl Family {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;

    /// Gives the family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Inet,
            IpAddr::V6(_) => Self::Inet6,
        }
    }

    /// Gives its number: `AF_*`, and `NFPROTO_*` is the same.
    pub fn number(self) -> u8 {
        match self {
            Self::Inet => Self::AF_INET,
            Self::Inet6 => Self::AF_INET6,
        }
    }

    /// Reads its number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            Self::AF_INET => Some(Self::Inet),
            Self::AF_INET6 => Some(Self::Inet6),
            _ => None,
        }
    }
}
