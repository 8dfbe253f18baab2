//! Links that unwrap tunnelled packets, whoever sent them.

use crate::kernel::linux::netlink::wire::{NLM_F_CREATE, NLM_F_EXCL};
use crate::kernel::linux::netlink::{Message, Request};

pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;

pub(super) const IFF_UP: u32 = 1;

pub(super) const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_IPTUN_PROTO: u16 = 9;

/// Bytes of an `ifinfomsg`.
pub(super) const HEADER: usize = 16;

/// What a tunnel link unwraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    /// IPv4 in IPv4 (`net/ipv4/ipip.c`).
    Ipip,
    /// IPv6 in IPv4 (`net/ipv6/sit.c`).
    Sit,
    /// Both in IPv6 (`net/ipv6/ip6_tunnel.c`).
    Ip6tnl,
}

/// A tunnel link, or another by such a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Its number.
    pub index: u32,
    /// What it is, as `ip -d link` shows it; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Whether it is set up.
    pub up: bool,
    /// The protocol it unwraps; 0: any, and also that it does not say.
    pub protocol: u8,
}

impl TunnelKind {
    /// Finds the kind of the link by this name that the kernel makes by itself.
    pub fn of_link(name: &str) -> Option<Self> {
        match name {
            "tunl0" => Some(Self::Ipip),
            "sit0" => Some(Self::Sit),
            "ip6tnl0" => Some(Self::Ip6tnl),
            _ => None,
        }
    }

    /// Gives its name, as `ip -d link` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Sit => "sit",
            Self::Ip6tnl => "ip6tnl",
        }
    }

    /// Gives the module that has it.
    pub fn module(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Sit => "sit",
            Self::Ip6tnl => "ip6_tunnel",
        }
    }
}

impl Tunnel {
    /// Asks for a link by its name; `ENODEV` when there is none.
    pub fn ask(name: &str) -> Request {
        let mut out = Request::new(RTM_GETLINK, 0);
        out.raw(&[0; HEADER]).string(IFLA_IFNAME, name);
        out
    }

    /// Makes a link without endpoints, so that it takes what no other tunnel takes; of `ip6tnl`, both families.
    pub fn make(name: &str, kind: TunnelKind) -> Request {
        let mut out = Request::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
        out.raw(&[0; HEADER]).string(IFLA_IFNAME, name);
        describe(&mut out, kind);
        out
    }

    /// Makes an `ip6tnl` unwrap both families.
    pub fn widen(index: u32) -> Request {
        let mut out = Request::new(RTM_NEWLINK, 0);
        out.raw(&header(index, 0, 0));
        describe(&mut out, TunnelKind::Ip6tnl);
        out
    }

    /// Sets a link up or down.
    pub fn set(index: u32, up: bool) -> Request {
        let mut out = Request::new(RTM_NEWLINK, 0);
        out.raw(&header(index, if up { IFF_UP } else { 0 }, IFF_UP));
        out
    }

    /// Reads a link; none from a message that is no such thing.
    pub fn decode(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWLINK {
            return None;
        }
        let header = message.payload.first_chunk::<HEADER>()?;
        let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
        let info = message.attrs(HEADER).get(IFLA_LINKINFO);
        let kind = info.and_then(|info| info.attrs().get(IFLA_INFO_KIND)?.str());
        let protocol = info.and_then(|info| {
            let data = info.attrs().get(IFLA_INFO_DATA)?;
            data.attrs().get(IFLA_IPTUN_PROTO)?.u8()
        });
        Some(Self {
            index: u32::from_ne_bytes([i0, i1, i2, i3]),
            kind: kind.map(str::to_owned),
            up: u32::from_ne_bytes([f0, f1, f2, f3]) & IFF_UP != 0,
            protocol: protocol.unwrap_or(0),
        })
    }
}

fn describe(out: &mut Request, kind: TunnelKind) {
    out.nest(IFLA_LINKINFO, |out| {
        out.string(IFLA_INFO_KIND, kind.name());
        if kind == TunnelKind::Ip6tnl {
            out.nest(IFLA_INFO_DATA, |out| {
                out.u8(IFLA_IPTUN_PROTO, 0);
            });
        }
    });
}

/// `struct ifinfomsg`.
fn header(index: u32, flags: u32, change: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}
