//! The commands of conntrack as messages. Pure.

use std::net::Ipv4Addr;

use super::{Family, Filter, Flow, NFNL_SUBSYS_CTNETLINK, VisitFilter, tracked};
use crate::kernel::linux::netlink::{Batch, Request};

const IPCTNL_MSG_CT_GET: u8 = 1;
const IPCTNL_MSG_CT_DELETE: u8 = 2;
const IPCTNL_MSG_CT_GET_STATS_CPU: u8 = 4;
const IPCTNL_MSG_CT_GET_STATS: u8 = 5;

/// One thing to ask of conntrack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Shows the flows of a family; only as a dump.
    All(Family),
    /// Shows the flows that a filter leaves; only as a dump.
    Some(&'a Filter),
    /// Shows the flows that were sent to an address; only as a dump. A kernel before 5.8 shows all of IPv4.
    To(Ipv4Addr),
    /// Shows the flows of one client to one destination; only as a dump. A kernel before 5.8 shows all of the family.
    Visits(&'a VisitFilter),
    /// Shows how full the table is.
    Stats,
    /// Shows what each processor has counted; only as a dump.
    CpuStats,
    /// Deletes one flow; `ENOENT` when it is gone, or another has its tuples now.
    Delete(&'a Flow),
}

impl Command<'_> {
    /// Writes the command.
    pub fn encode(&self) -> Request {
        let mut out = Request::netfilter(NFNL_SUBSYS_CTNETLINK, self.number(), self.family(), 0);
        self.fill(&mut out);
        out
    }

    /// Writes the command behind others.
    pub fn write(&self, out: &mut Batch) {
        let kind = u16::from(NFNL_SUBSYS_CTNETLINK) << 8 | u16::from(self.number());
        let out = out.begin(kind, 0);
        self.fill(out.raw(&[self.family(), 0, 0, 0]));
    }

    fn fill(&self, out: &mut Request) {
        match self {
            Self::All(_) | Self::Stats | Self::CpuStats => {}
            Self::To(address) => tracked::write_to(*address, out),
            Self::Some(filter) => filter.write(out),
            Self::Visits(filter) => filter.write(out),
            Self::Delete(flow) => flow.write(out),
        }
    }

    /// Gives the family's number; 0 is that of no family.
    fn family(&self) -> u8 {
        match self {
            Self::All(family) => family.number(),
            Self::Some(filter) => filter.family().number(),
            Self::Visits(filter) => filter.family().number(),
            Self::To(_) => Family::Inet.number(),
            Self::Stats | Self::CpuStats => 0,
            Self::Delete(flow) => Family::of(flow.original.source).number(),
        }
    }

    fn number(&self) -> u8 {
        match self {
            Self::All(_) | Self::Some(_) | Self::To(_) | Self::Visits(_) => IPCTNL_MSG_CT_GET,
            Self::Stats => IPCTNL_MSG_CT_GET_STATS,
            Self::CpuStats => IPCTNL_MSG_CT_GET_STATS_CPU,
            Self::Delete(_) => IPCTNL_MSG_CT_DELETE,
        }
    }
}
