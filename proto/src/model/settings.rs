//! What an operator sets on a node.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU8;

use super::{Port, Refused};

/// How long IPVS remembers a connection after its last packet, in seconds; 0: as the kernel has it. At least one is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionTimeouts {
    tcp: u32,
    tcp_fin: u32,
    udp: u32,
}

impl ConnectionTimeouts {
    /// The most that the kernel can count with a tick of a millisecond (`ip_vs_set_timeout` in
    /// `net/netfilter/ipvs/ip_vs_ctl.c`: `INT_MAX / HZ`).
    pub const MOST: u32 = 2_147_483;

    /// Checks one: 0, or 1-2147483 seconds.
    pub fn check(seconds: u32) -> Result<u32, Refused> {
        if seconds <= Self::MOST {
            Ok(seconds)
        } else {
            Err(Refused::ConnectionTimeout(seconds))
        }
    }

    /// Takes those of established TCP, TCP after a FIN, and UDP; none when all are 0.
    pub fn new(tcp: u32, tcp_fin: u32, udp: u32) -> Result<Option<Self>, Refused> {
        let taken = Self {
            tcp: Self::check(tcp)?,
            tcp_fin: Self::check(tcp_fin)?,
            udp: Self::check(udp)?,
        };
        Ok((tcp | tcp_fin | udp != 0).then_some(taken))
    }

    /// Gives that of established TCP.
    pub fn tcp(self) -> u32 {
        self.tcp
    }

    /// Gives that of TCP after a FIN.
    pub fn tcp_fin(self) -> u32 {
        self.tcp_fin
    }

    /// Gives that of UDP.
    pub fn udp(self) -> u32 {
        self.udp
    }
}

/// Which end of the synchronisation of connections a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncRole {
    /// Sends its connections.
    Master,
    /// Takes those of the masters.
    Backup,
}

impl fmt::Display for SyncRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
        })
    }
}

/// The name of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface(String);

impl Interface {
    /// `IFNAMSIZ` in `include/uapi/linux/if.h`, less the 0 at its end.
    const LONGEST: usize = 15;

    /// Takes 1-15 bytes without "/", ":" and white space (`dev_valid_name` in `net/core/dev.c`).
    pub fn new(name: &str) -> Result<Self, Refused> {
        let odd = |c: char| c == '/' || c == ':' || c.is_whitespace();
        let bad = name.is_empty()
            || name.len() > Self::LONGEST
            || [".", ".."].contains(&name)
            || name.contains(odd);
        if bad {
            return Err(Refused::Interface(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// Gives the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The kernel's daemon that keeps the connections of two nodes alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncDaemon {
    /// Which end it is.
    pub role: SyncRole,
    /// The link it speaks on.
    pub interface: Interface,
    /// Daemons of one id hear each other.
    pub sync_id: u8,
    /// The multicast group; none: as the kernel has it.
    pub group: Option<IpAddr>,
    /// The UDP port; none: as the kernel has it.
    pub port: Option<Port>,
    /// Hops the packets live; none: 1.
    pub ttl: Option<NonZeroU8>,
    /// Most bytes of a packet; none: as the link's MTU allows.
    pub max_length: Option<MaxLength>,
}

/// Most bytes of a synchronisation packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxLength(u16);

impl MaxLength {
    /// What a UDP datagram can carry over IPv4.
    const MOST: u32 = 65_507;
    /// The same over IPv6.
    const MOST_V6: u32 = 65_487;
    /// A backup takes no less (`start_sync_thread` in `net/netfilter/ipvs/ip_vs_sync.c`).
    const LEAST_OF_BACKUP: u32 = 1_024;

    /// Takes what the kernel would not change: 1-65507, of a backup from 1024 on, with an IPv6 group up to 65487.
    pub fn new(bytes: u32, backup: bool, v6: bool) -> Result<Self, Refused> {
        let least = if backup { Self::LEAST_OF_BACKUP } else { 1 };
        let most = if v6 { Self::MOST_V6 } else { Self::MOST };
        match u16::try_from(bytes) {
            Ok(length) if (least..=most).contains(&bytes) => Ok(Self(length)),
            _ => Err(Refused::OutOf(bytes, least, most)),
        }
    }

    /// Gives the bytes.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// Reads the multicast group of a synchronisation daemon.
pub fn multicast(text: &str) -> Result<IpAddr, Refused> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| Refused::Address(text.to_owned()))?;
    if address.is_multicast() {
        Ok(address)
    } else {
        Err(Refused::NotMulticast(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_zero_say_nothing() {
        assert_eq!(ConnectionTimeouts::new(0, 0, 0), Ok(None));
        let some = ConnectionTimeouts::new(900, 0, ConnectionTimeouts::MOST);
        let parts = some
            .expect("good")
            .map(|it| (it.tcp(), it.tcp_fin(), it.udp()));
        assert_eq!(parts, Some((900, 0, 2_147_483)));
        assert_eq!(
            ConnectionTimeouts::new(0, 2_147_484, 0),
            Err(Refused::ConnectionTimeout(2_147_484))
        );
    }

    #[test]
    fn an_interface_has_a_name_the_kernel_would_take() {
        for good in ["eth0", "a", "bond0.100", &"x".repeat(15)] {
            assert_eq!(Interface::new(good).map(|it| it.0), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", "a b", "a/b", "eth0:1", &"x".repeat(16)] {
            assert_eq!(Interface::new(bad), Err(Refused::Interface(bad.to_owned())));
        }
    }

    #[test]
    fn a_sync_packet_fits_a_datagram_and_goes_to_a_group() {
        let length = |bytes, backup, v6| MaxLength::new(bytes, backup, v6).map(MaxLength::get);
        assert_eq!(length(65_507, false, false), Ok(65_507));
        assert_eq!(length(1_024, true, true), Ok(1_024));
        for (bad, backup, v6, least, most) in [
            (0, false, false, 1, 65_507),
            (65_508, false, false, 1, 65_507),
            (1_023, true, false, 1_024, 65_507),
            (65_488, false, true, 1, 65_487),
            (u32::MAX, false, false, 1, 65_507),
        ] {
            assert_eq!(
                length(bad, backup, v6),
                Err(Refused::OutOf(bad, least, most))
            );
        }
        assert!(multicast("224.0.0.81").is_ok());
        let one = "10.0.0.1".parse().expect("an address");
        assert_eq!(multicast("10.0.0.1"), Err(Refused::NotMulticast(one)));
    }
}
