//! Counters of a service or a destination. Pure.

use super::DecodeError;
use crate::kernel::linux::netlink::{Attr, Attrs};

pub(super) const IPVS_STATS_ATTR_CONNS: u16 = 1;
pub(super) const IPVS_STATS_ATTR_INPKTS: u16 = 2;
pub(super) const IPVS_STATS_ATTR_OUTPKTS: u16 = 3;
pub(super) const IPVS_STATS_ATTR_INBYTES: u16 = 4;
pub(super) const IPVS_STATS_ATTR_OUTBYTES: u16 = 5;
pub(super) const IPVS_STATS_ATTR_CPS: u16 = 6;
pub(super) const IPVS_STATS_ATTR_INPPS: u16 = 7;
pub(super) const IPVS_STATS_ATTR_OUTPPS: u16 = 8;
pub(super) const IPVS_STATS_ATTR_INBPS: u16 = 9;
pub(super) const IPVS_STATS_ATTR_OUTBPS: u16 = 10;

/// What has passed since the counters were last zeroed, and the kernel's own estimate of the rates.
///
/// The kernel gives them twice: `STATS64`, since 4.1, and `STATS` with connections, packets and rates cut
/// to 32 bits. The first is taken when it is there. Rates are per second, refreshed about every two
/// (`net/netfilter/ipvs/ip_vs_est.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients; those of direct routing and tunnels do not pass here.
    pub out_packets: u64,
    /// Bytes from clients, IP header included.
    pub in_bytes: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
    /// Connections per second.
    pub connection_rate: u64,
    /// Packets from clients per second.
    pub in_packet_rate: u64,
    /// Packets to clients per second.
    pub out_packet_rate: u64,
    /// Bytes from clients per second.
    pub in_byte_rate: u64,
    /// Bytes to clients per second.
    pub out_byte_rate: u64,
}

impl Stats {
    /// Reads the attributes inside `IPVS_*_ATTR_STATS64` (`ip_vs_genl_fill_stats64`): all 64 bits wide.
    pub fn decode64(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        Self::decode("STATS64", attrs, |attr| attr.u64())
    }

    /// Reads the attributes inside `IPVS_*_ATTR_STATS` (`ip_vs_genl_fill_stats`): 32 bits wide but for the
    /// two byte counters.
    pub fn decode32(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        Self::decode("STATS", attrs, |attr| match attr.kind {
            IPVS_STATS_ATTR_INBYTES | IPVS_STATS_ATTR_OUTBYTES => attr.u64(),
            _ => attr.u32().map(u64::from),
        })
    }

    /// Reads what has a name here; the kernel's padding (`IPVS_STATS_ATTR_PAD`) is among what has none.
    fn decode(
        name: &'static str,
        attrs: Attrs<'_>,
        number: impl Fn(&Attr<'_>) -> Option<u64>,
    ) -> Result<Self, DecodeError> {
        let mut stats = Self::default();
        for attr in attrs {
            let field = match attr.kind {
                IPVS_STATS_ATTR_CONNS => &mut stats.connections,
                IPVS_STATS_ATTR_INPKTS => &mut stats.in_packets,
                IPVS_STATS_ATTR_OUTPKTS => &mut stats.out_packets,
                IPVS_STATS_ATTR_INBYTES => &mut stats.in_bytes,
                IPVS_STATS_ATTR_OUTBYTES => &mut stats.out_bytes,
                IPVS_STATS_ATTR_CPS => &mut stats.connection_rate,
                IPVS_STATS_ATTR_INPPS => &mut stats.in_packet_rate,
                IPVS_STATS_ATTR_OUTPPS => &mut stats.out_packet_rate,
                IPVS_STATS_ATTR_INBPS => &mut stats.in_byte_rate,
                IPVS_STATS_ATTR_OUTBPS => &mut stats.out_byte_rate,
                _ => continue,
            };
            *field = DecodeError::read(name, number(&attr))?;
        }
        Ok(stats)
    }
}
