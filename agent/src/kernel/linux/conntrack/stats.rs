//! How full the table is, and what each processor has counted. Pure.

use super::{DecodeError, NFGEN_HEADER_LEN};
use crate::kernel::linux::netlink::{Attrs, Message};

// Of the table (`enum ctattr_stats_global`).
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const CTA_STATS_GLOBAL_MAX_ENTRIES: u16 = 2;

// Of a processor (`enum ctattr_stats_cpu`).
const CTA_STATS_INSERT_FAILED: u16 = 9;
const CTA_STATS_DROP: u16 = 10;
const CTA_STATS_EARLY_DROP: u16 = 11;

/// How full the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalStats {
    /// Entries there are.
    pub entries: u32,
    /// Entries there may be; a kernel before 4.18 does not say.
    pub max_entries: Option<u32>,
}

/// What one processor has counted, as far as it tells of losses. Each number begins anew past 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// Which processor.
    pub cpu: u16,
    /// Packets dropped for want of room or memory.
    pub dropped: u32,
    /// Entries not inserted, since another has their tuples.
    pub insert_failed: u32,
    /// Entries thrown out to make room.
    pub early_dropped: u32,
}

impl GlobalStats {
    /// Reads what `ctnetlink_stat_ct_fill_info` writes.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let (mut entries, mut max_entries) = (None, None);
        for attr in attrs {
            match attr.kind {
                CTA_STATS_GLOBAL_ENTRIES => {
                    entries = Some(DecodeError::read("STATS_GLOBAL_ENTRIES", attr.be32())?);
                }
                CTA_STATS_GLOBAL_MAX_ENTRIES => {
                    let max = DecodeError::read("STATS_GLOBAL_MAX_ENTRIES", attr.be32())?;
                    max_entries = Some(max);
                }
                _ => {}
            }
        }
        Ok(Self {
            entries: DecodeError::need("STATS_GLOBAL_ENTRIES", entries)?,
            max_entries,
        })
    }
}

impl CpuStats {
    /// Reads a message that `ctnetlink_ct_stat_cpu_fill_info` wrote: the processor stands in its header.
    pub fn decode(message: &Message<'_>) -> Result<Self, DecodeError> {
        let header = message.payload.first_chunk::<NFGEN_HEADER_LEN>();
        let [_, _, high, low] = *DecodeError::need("nfgenmsg", header)?;
        let mut stats = Self {
            cpu: u16::from_be_bytes([high, low]),
            ..Self::default()
        };
        for attr in message.attrs(NFGEN_HEADER_LEN) {
            let (name, field) = match attr.kind {
                CTA_STATS_INSERT_FAILED => ("STATS_INSERT_FAILED", &mut stats.insert_failed),
                CTA_STATS_DROP => ("STATS_DROP", &mut stats.dropped),
                CTA_STATS_EARLY_DROP => ("STATS_EARLY_DROP", &mut stats.early_dropped),
                _ => continue,
            };
            *field = DecodeError::read(name, attr.be32())?;
        }
        Ok(stats)
    }
}
