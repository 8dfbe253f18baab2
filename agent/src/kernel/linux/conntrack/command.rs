//! The commands of conntrack as messages. Pure.

use super::{Family, Filter, Flow, NFNL_SUBSYS_CTNETLINK};
use crate::kernel::linux::netlink::{Batch, Request};

const IPCTNL_MSG_CT_GET: u8 = 1;
const IPCTNL_MSG_CT_DELETE: u8 = 2;

/// One thing to ask of conntrack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Shows the flows of a family; only as a dump.
    All(Family),
    /// Shows the flows that a filter leaves; only as a dump.
    Some(&'a Filter),
    /// Deletes one flow; `ENOENT` when it is gone, or another has its tuples now.
    Delete(&'a Flow),
}

impl Command<'_> {
    /// Writes the command.
    pub fn encode(&self) -> Request {
        let mut out = Request::netfilter(
            NFNL_SUBSYS_CTNETLINK,
            self.number(),
            self.family().number(),
            0,
        );
        self.fill(&mut out);
        out
    }

    /// Writes the command behind others.
    pub fn write(&self, out: &mut Batch) {
        let kind = u16::from(NFNL_SUBSYS_CTNETLINK) << 8 | u16::from(self.number());
        let out = out.begin(kind, 0);
        self.fill(out.raw(&[self.family().number(), 0, 0, 0]));
    }

    fn fill(&self, out: &mut Request) {
        match self {
            Self::All(_) => {}
            Self::Some(filter) => filter.write(out),
            Self::Delete(flow) => flow.write(out),
        }
    }

    fn family(&self) -> Family {
        match self {
            Self::All(family) => *family,
            Self::Some(filter) => filter.family(),
            Self::Delete(flow) => Family::of(flow.original.source),
        }
    }

    fn number(&self) -> u8 {
        match self {
            Self::All(_) | Self::Some(_) => IPCTNL_MSG_CT_GET,
            Self::Delete(_) => IPCTNL_MSG_CT_DELETE,
        }
    }
}
