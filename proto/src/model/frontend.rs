//! What clients reach a service under, and its one spelling: `10.100.100.100:8080/TCP`, `[fd00::1]:53/UDP`, `mark:7/IPV4`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;

use super::{Endpoint, Family, Port, Protocol, Refused};

/// Why a text names no frontend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadFrontend {
    /// No address with a port.
    #[error("{0:?} is not VIP:PORT")]
    Socket(String),
    /// Port 0.
    #[error(transparent)]
    Port(#[from] Refused),
    /// Not a protocol.
    #[error("{0:?} is not TCP, UDP or SCTP")]
    Protocol(String),
    /// Not a firewall mark.
    #[error("{0:?} is not a mark (1-4294967295)")]
    Mark(String),
    /// Not a family.
    #[error("{0:?} is not IPV4 or IPV6")]
    Family(String),
}

/// What clients reach a service under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frontend {
    /// An address, a port and a protocol.
    Address(Listener),
    /// A mark that the operator's own rules put on packets.
    Mark(Mark),
}

/// One address, port and protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// The VIP.
    pub address: IpAddr,
    /// Its port.
    pub port: Port,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A firewall mark on packets of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Which packets with the mark; first, so that those of a family follow each other.
    pub family: Family,
    /// Not 0: that is no mark.
    pub number: NonZeroU32,
}

impl Frontend {
    /// Gives the family of its packets.
    pub fn family(self) -> Family {
        match self {
            Self::Address(listener) => Family::of(listener.address),
            Self::Mark(mark) => mark.family,
        }
    }

    /// Gives address, port and protocol; none of a mark.
    pub fn listener(self) -> Option<Listener> {
        match self {
            Self::Address(listener) => Some(listener),
            Self::Mark(_) => None,
        }
    }

    /// Gives the VIP; none of a mark.
    pub fn vip(self) -> Option<IpAddr> {
        self.listener().map(|listener| listener.address)
    }
}

impl From<Listener> for Frontend {
    fn from(listener: Listener) -> Self {
        Self::Address(listener)
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(listener) => listener.fmt(f),
            Self::Mark(mark) => mark.fmt(f),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            port,
            protocol,
        } = *self;
        write!(f, "{}/{protocol}", Endpoint { address, port })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::V4 => "IPV4",
            Family::V6 => "IPV6",
        };
        write!(f, "mark:{}/{family}", self.number)
    }
}

impl FromStr for Frontend {
    type Err = UnreadFrontend;

    /// Reads the spelling that `Display` gives, in letters of either case. Without a protocol it is TCP, and a mark without a
    /// family is of IPv4.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("mark:") {
            Some(mark) => mark_in(mark).map(Self::Mark),
            None => listener_in(text).map(Self::Address),
        }
    }
}

fn listener_in(text: &str) -> Result<Listener, UnreadFrontend> {
    let (socket, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
    let protocol = match protocol.to_uppercase().as_str() {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => return Err(UnreadFrontend::Protocol(protocol.to_owned())),
    };
    let read: Result<SocketAddr, _> = socket.parse();
    let socket = read.map_err(|_| UnreadFrontend::Socket(socket.to_owned()))?;
    Ok(Listener {
        address: socket.ip(),
        port: Port::new(socket.port().into())?,
        protocol,
    })
}

fn mark_in(text: &str) -> Result<Mark, UnreadFrontend> {
    let (number, family) = text.split_once('/').unwrap_or((text, "IPV4"));
    let family = match family.to_uppercase().as_str() {
        "IPV4" => Family::V4,
        "IPV6" => Family::V6,
        _ => return Err(UnreadFrontend::Family(family.to_owned())),
    };
    let read = number.parse();
    let number = read.map_err(|_| UnreadFrontend::Mark(number.to_owned()))?;
    Ok(Mark { family, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "10.0.0.1:80/TCP",
            "10.0.0.1:53/UDP",
            "[fd00::1]:80/SCTP",
            "mark:7/IPV4",
            "mark:4294967295/IPV6",
        ] {
            let read: Frontend = text.parse().expect(text);
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn people_write_less() {
        for (text, meant) in [
            ("10.0.0.1:80", "10.0.0.1:80/TCP"),
            ("10.0.0.1:53/udp", "10.0.0.1:53/UDP"),
            ("mark:7", "mark:7/IPV4"),
            ("mark:7/ipv6", "mark:7/IPV6"),
        ] {
            let read: Frontend = text.parse().expect(text);
            assert_eq!(read.to_string(), meant);
        }
    }

    #[test]
    fn what_names_no_frontend_is_told() {
        for (text, why) in [
            ("10.0.0.1", "\"10.0.0.1\" is not VIP:PORT"),
            ("fd00::1:80", "\"fd00::1:80\" is not VIP:PORT"),
            ("10.0.0.1:0", "0 is not a port (1-65535)"),
            ("10.0.0.1:80/icmp", "\"icmp\" is not TCP, UDP or SCTP"),
            ("10.0.0.1:80 TCP", "\"10.0.0.1:80 TCP\" is not VIP:PORT"),
            ("mark:0", "\"0\" is not a mark (1-4294967295)"),
            ("mark:7/ip", "\"ip\" is not IPV4 or IPV6"),
        ] {
            let read: Result<Frontend, _> = text.parse();
            assert_eq!(read.expect_err(text).to_string(), why);
        }
    }
}
