//! Virtual servers as other tools have them: what every reader makes of its text. PURE.
//!
//! Drafts are in the kernel's terms; `services` makes services of weir of them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use weir_proto::model::Family;
use weir_proto::wire;

/// A line of one of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Which of the files, in the order they were opened.
    pub(crate) file: usize,
    /// From 1.
    pub(crate) line: usize,
}

/// Something to be said about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) at: Place,
    pub(crate) text: String,
}

/// What a reader made of its input.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The names of the files, in the order they were opened.
    pub(crate) files: Vec<String>,
    pub(crate) servers: Vec<Server>,
    /// What could not be carried over.
    pub(crate) notes: Vec<Said>,
    /// What cannot be read.
    pub(crate) faults: Vec<Said>,
}

impl Read {
    pub(crate) fn note(&mut self, at: Place, text: impl Into<String>) {
        let text = text.into();
        self.notes.push(Said { at, text });
    }

    pub(crate) fn fault(&mut self, at: Place, text: impl Into<String>) {
        let text = text.into();
        self.faults.push(Said { at, text });
    }

    /// Sets what is said as lines, `FILE:LINE: TEXT`, in the order of the files.
    pub(crate) fn lines(&self, mut said: Vec<Said>) -> Vec<String> {
        said.sort_by_key(|one| one.at);
        let line = |one: &Said| {
            let file = self.files.get(one.at.file).map_or("", String::as_str);
            format!("{file}:{}: {}", one.at.line, one.text)
        };
        said.iter().map(line).collect()
    }
}

/// How a server is handed packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    Masquerade,
    DirectRoute,
    Tunnel(wire::Tunnel),
}

/// A tunnel of IP in IP, which is what a tunnel is when nothing is said of it.
pub(crate) const IPIP: wire::Tunnel = wire::Tunnel {
    r#type: Some(wire::TunnelType::Ipip as i32),
    port: None,
    checksum: None,
};

/// One real server.
#[derive(Debug, Clone)]
pub(crate) struct Real {
    pub(crate) at: Place,
    pub(crate) address: IpAddr,
    /// 0: none of its own.
    pub(crate) port: u16,
    pub(crate) weight: u32,
    pub(crate) method: Method,
    /// 0: no limit.
    pub(crate) upper: u32,
    pub(crate) lower: u32,
}

/// What clients reach a virtual server under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Front {
    Address {
        address: IpAddr,
        /// 0: every port.
        port: u16,
        protocol: Transport,
    },
    Mark {
        number: u32,
        family: Family,
    },
}

/// A protocol that IPVS balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl From<Transport> for wire::Protocol {
    fn from(protocol: Transport) -> Self {
        match protocol {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
            Transport::Sctp => Self::Sctp,
        }
    }
}

impl Front {
    /// Gives the name of a service that has it alone: the same each time it is read.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Address {
                address,
                port,
                protocol,
            } => {
                let address = address.to_string().replace(':', "-");
                // A name begins with a letter or a digit.
                let start = if address.starts_with('-') { "0" } else { "" };
                format!("{start}{address}-{port}-{protocol}")
            }
            Self::Mark {
                number,
                family: Family::V4,
            } => format!("mark-{number}"),
            Self::Mark {
                number,
                family: Family::V6,
            } => format!("mark-{number}-ipv6"),
        }
    }

    /// Gives the family of its packets.
    pub(crate) fn family(self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(address),
            Self::Mark { family, .. } => family,
        }
    }
}

/// A flag of a scheduler by its bit (`IP_VS_SVC_F_SCHED1` and following in `include/uapi/linux/ip_vs.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flag {
    /// The fallback of sh and mh.
    First,
    /// The port of sh and mh.
    Second,
    /// Of no scheduler.
    Third,
}

impl Flag {
    /// Every name; ipvsadm and keepalived have the same ones.
    pub(crate) const NAMES: [(&'static str, Self); 7] = [
        ("flag-1", Self::First),
        ("flag-2", Self::Second),
        ("flag-3", Self::Third),
        ("sh-fallback", Self::First),
        ("sh-port", Self::Second),
        ("mh-fallback", Self::First),
        ("mh-port", Self::Second),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, flag)| *flag)
    }
}

/// How clients stay with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sticky {
    pub(crate) seconds: u32,
    /// None: all bits of an address count.
    pub(crate) prefix: Option<u32>,
}

/// The seconds that ipvsadm and keepalived take for persistence when none are said.
pub(crate) const PERSISTENCE: u32 = 360;

/// One virtual server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) at: Place,
    pub(crate) name: String,
    pub(crate) fronts: Vec<(Place, Front)>,
    pub(crate) scheduler: String,
    pub(crate) flags: BTreeSet<Flag>,
    pub(crate) sticky: Option<Sticky>,
    /// Empty: none.
    pub(crate) engine: String,
    pub(crate) one_packet: bool,
    pub(crate) reals: Vec<Real>,
}

/// Reads what ipvsadm and keepalived take for a netmask of clients: how many bits of it are set, from the first on. None
/// is none at all, or not a prefix.
pub(crate) fn prefix_of(mask: std::net::Ipv4Addr) -> Option<u32> {
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    (ones > 0 && bits.count_ones() == ones).then_some(ones)
}
