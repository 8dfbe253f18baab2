//! Addresses, ports, weights, protocols, and how the kernel forwards.

use std::fmt;
use std::net::IpAddr;

use super::{Refused, Tunnel};

/// A port a server can listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port(u16);

impl Port {
    /// The least in the order of ports.
    pub const LEAST: Self = Self(1);
    /// The greatest.
    pub const GREATEST: Self = Self(u16::MAX);

    /// Takes 1-65535.
    pub fn new(port: u32) -> Result<Self, Refused> {
        match u16::try_from(port) {
            Ok(number) if number != 0 => Ok(Self(number)),
            _ => Err(Refused::Port(port)),
        }
    }

    /// Gives the number, 1-65535.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A backend's share of new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u16);

impl Weight {
    /// What a backend has that names none.
    pub const DEFAULT: Self = Self(1);
    /// Of a backend that takes no new connection.
    pub const ZERO: Self = Self(0);

    /// Takes 0-65535.
    pub fn new(weight: u32) -> Result<Self, Refused> {
        u16::try_from(weight)
            .map(Self)
            .map_err(|_| Refused::Weight(weight))
    }

    /// Gives the number; 0 takes no new connection.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The two families of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Gives the family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A transport protocol that IPVS can balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Gives the protocol's number in an IP header (IANA "Assigned Internet Protocol Numbers").
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Finds a protocol by its number in an IP header.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp]
            .into_iter()
            .find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// How the kernel hands a packet to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Forwarding {
    /// The destination is rewritten; the reply must come back through this node.
    #[default]
    Masquerade,
    /// Sent to the backend's link-layer address unchanged.
    DirectRoute,
    /// Sent inside another packet.
    Tunnel(Tunnel),
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Masquerade => "MASQUERADE",
            Self::DirectRoute => "DIRECT_ROUTE",
            Self::Tunnel(_) => "TUNNEL",
        })
    }
}

/// Where one server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A unicast address.
    pub address: IpAddr,
    /// Its port.
    pub port: Port,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.port),
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

/// Reads an address that a host can have. The unspecified, multicast, broadcast and (for IPv4)
/// loopback ones are refused: IPVS never sees a packet to them that it could forward, and an
/// IPv4-mapped IPv6 address would be a second name for an IPv4 one.
pub fn unicast(text: &str) -> Result<IpAddr, Refused> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| Refused::Address(text.to_owned()))?;
    usable(address)
}

/// Gives an address back if a host can have it; see [`unicast`].
pub fn usable(address: IpAddr) -> Result<IpAddr, Refused> {
    let why = match address {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_multicast() => "a multicast address",
        _ if address.is_loopback() => "a loopback address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4-mapped address",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "a link-local address",
        _ => return Ok(address),
    };
    Err(Refused::Unusable(address, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_1_to_65535() {
        assert_eq!(Port::new(1).map(Port::get), Ok(1));
        assert_eq!(Port::new(65535).map(Port::get), Ok(65535));
        for bad in [0, 65536, u32::MAX] {
            assert_eq!(Port::new(bad), Err(Refused::Port(bad)));
        }
    }

    #[test]
    fn a_weight_is_0_to_65535() {
        assert_eq!(Weight::new(0).map(Weight::get), Ok(0));
        assert_eq!(Weight::new(65536), Err(Refused::Weight(65536)));
    }

    #[test]
    fn a_protocol_is_found_by_its_number() {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            assert_eq!(Protocol::from_number(protocol.number()), Some(protocol));
        }
        assert_eq!(Protocol::from_number(1), None);
    }

    #[test]
    fn an_address_no_host_can_have_is_refused_with_the_reason() {
        for good in ["10.0.0.1", "fd00::1", "2001:db8::1", "100.64.0.1"] {
            assert_eq!(unicast(good).map(|a| a.to_string()), Ok(good.to_owned()));
        }
        let cause = |text: &str| unicast(text).expect_err(text).to_string();
        assert_eq!(cause("10.0.0"), "\"10.0.0\" is not an IP address");
        for (bad, why) in [
            ("0.0.0.0", "the unspecified address"),
            ("::", "the unspecified address"),
            ("127.0.0.1", "a loopback address"),
            ("::1", "a loopback address"),
            ("224.0.0.1", "a multicast address"),
            ("ff02::1", "a multicast address"),
            ("255.255.255.255", "the broadcast address"),
            ("::ffff:10.0.0.1", "an IPv4-mapped address"),
            ("fe80::1", "a link-local address"),
        ] {
            assert_eq!(
                cause(bad),
                format!("{bad} is {why}, which no host can be reached at")
            );
        }
    }
}
