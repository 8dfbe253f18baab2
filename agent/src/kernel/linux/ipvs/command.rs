//! Every command of IPVS as a message. Pure.

use std::net::SocketAddr;

use super::settings::IPVS_DAEMON_ATTR_STATE;
use super::{Daemon, DaemonState, Dest, Service, ServiceKey, Timeouts};
use crate::kernel::linux::netlink::{Batch, Request, wire::NLM_F_ACK};

/// The name of the generic netlink family.
pub const IPVS_GENL_NAME: &str = "IPVS";
/// The version of its messages.
pub const IPVS_GENL_VERSION: u8 = 1;

pub(super) const IPVS_CMD_NEW_SERVICE: u8 = 1;
pub(super) const IPVS_CMD_SET_SERVICE: u8 = 2;
pub(super) const IPVS_CMD_DEL_SERVICE: u8 = 3;
pub(super) const IPVS_CMD_GET_SERVICE: u8 = 4;
pub(super) const IPVS_CMD_NEW_DEST: u8 = 5;
pub(super) const IPVS_CMD_SET_DEST: u8 = 6;
pub(super) const IPVS_CMD_DEL_DEST: u8 = 7;
pub(super) const IPVS_CMD_GET_DEST: u8 = 8;
pub(super) const IPVS_CMD_NEW_DAEMON: u8 = 9;
pub(super) const IPVS_CMD_DEL_DAEMON: u8 = 10;
pub(super) const IPVS_CMD_GET_DAEMON: u8 = 11;
pub(super) const IPVS_CMD_SET_CONFIG: u8 = 12;
pub(super) const IPVS_CMD_GET_CONFIG: u8 = 13;
pub(super) const IPVS_CMD_GET_INFO: u8 = 15;
pub(super) const IPVS_CMD_ZERO: u8 = 16;
pub(super) const IPVS_CMD_FLUSH: u8 = 17;

pub(super) const IPVS_CMD_ATTR_SERVICE: u16 = 1;
pub(super) const IPVS_CMD_ATTR_DEST: u16 = 2;
pub(super) const IPVS_CMD_ATTR_DAEMON: u16 = 3;

/// One thing to ask of IPVS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Adds a service; `EEXIST` when there is one by its key.
    NewService(&'a Service),
    /// Edits a service in place: connections and destinations stay.
    SetService(&'a Service),
    /// Deletes a service with its destinations.
    DelService(&'a ServiceKey),
    /// Shows one service. Sent as a dump without a key it shows all, see [`Command::Services`].
    GetService(&'a ServiceKey),
    /// Shows all services; only as a dump.
    Services,
    /// Adds a destination to a service.
    NewDest(&'a ServiceKey, &'a Dest),
    /// Edits a destination in place; its connections stay.
    SetDest(&'a ServiceKey, &'a Dest),
    /// Deletes a destination. Its connections stay until they end or `expire_nodest_conn` ends them.
    DelDest(&'a ServiceKey, SocketAddr),
    /// Shows all destinations of a service; only as a dump.
    Dests(&'a ServiceKey),
    /// Starts a daemon.
    NewDaemon(&'a Daemon),
    /// Stops a daemon. `ip_vs_genl_del_daemon` reads nothing but the state.
    DelDaemon(DaemonState),
    /// Shows the daemons; only as a dump.
    Daemons,
    /// Sets the connection timeouts.
    SetConfig(Timeouts),
    /// Shows the connection timeouts.
    GetConfig,
    /// Shows version and table size.
    GetInfo,
    /// Zeroes the counters of one service and its destinations, or of everything.
    Zero(Option<&'a ServiceKey>),
    /// Deletes every service, whoever made it.
    Flush,
}

impl Command<'_> {
    /// Writes the command for the family number that [`IPVS_GENL_NAME`] resolved to.
    pub fn encode(&self, family: u16) -> Request {
        let mut out = Request::generic(family, self.number(), IPVS_GENL_VERSION, self.flags());
        self.fill(&mut out);
        out
    }

    /// Writes the command behind others; see [`Self::encode`].
    pub fn write(&self, family: u16, out: &mut Batch) {
        self.fill(out.generic(family, self.number(), IPVS_GENL_VERSION, self.flags()));
    }

    fn flags(&self) -> u16 {
        match self {
            // stopping one that never ran ends in EINTR, and the kernel then says nothing
            Self::DelDaemon(_) => NLM_F_ACK,
            _ => 0,
        }
    }

    /// Writes what stands behind the headers.
    fn fill(&self, out: &mut Request) {
        match self {
            Self::NewService(service) | Self::SetService(service) => {
                out.nest(IPVS_CMD_ATTR_SERVICE, |out| service.write(out));
            }
            Self::DelService(key)
            | Self::GetService(key)
            | Self::Dests(key)
            | Self::Zero(Some(key)) => {
                out.nest(IPVS_CMD_ATTR_SERVICE, |out| key.write(out));
            }
            Self::NewDest(key, dest) | Self::SetDest(key, dest) => {
                out.nest(IPVS_CMD_ATTR_SERVICE, |out| key.write(out));
                out.nest(IPVS_CMD_ATTR_DEST, |out| dest.write(out));
            }
            Self::DelDest(key, address) => {
                out.nest(IPVS_CMD_ATTR_SERVICE, |out| key.write(out));
                out.nest(IPVS_CMD_ATTR_DEST, |out| Dest::write_key(*address, out));
            }
            Self::NewDaemon(daemon) => {
                out.nest(IPVS_CMD_ATTR_DAEMON, |out| daemon.write(out));
            }
            Self::DelDaemon(state) => {
                out.nest(IPVS_CMD_ATTR_DAEMON, |out| {
                    out.u32(IPVS_DAEMON_ATTR_STATE, state.number());
                });
            }
            Self::SetConfig(timeouts) => timeouts.write(out),
            Self::Services
            | Self::Daemons
            | Self::GetConfig
            | Self::GetInfo
            | Self::Zero(None)
            | Self::Flush => {}
        }
    }

    fn number(&self) -> u8 {
        match self {
            Self::NewService(_) => IPVS_CMD_NEW_SERVICE,
            Self::SetService(_) => IPVS_CMD_SET_SERVICE,
            Self::DelService(_) => IPVS_CMD_DEL_SERVICE,
            Self::GetService(_) | Self::Services => IPVS_CMD_GET_SERVICE,
            Self::NewDest(..) => IPVS_CMD_NEW_DEST,
            Self::SetDest(..) => IPVS_CMD_SET_DEST,
            Self::DelDest(..) => IPVS_CMD_DEL_DEST,
            Self::Dests(_) => IPVS_CMD_GET_DEST,
            Self::NewDaemon(_) => IPVS_CMD_NEW_DAEMON,
            Self::DelDaemon(_) => IPVS_CMD_DEL_DAEMON,
            Self::Daemons => IPVS_CMD_GET_DAEMON,
            Self::SetConfig(_) => IPVS_CMD_SET_CONFIG,
            Self::GetConfig => IPVS_CMD_GET_CONFIG,
            Self::GetInfo => IPVS_CMD_GET_INFO,
            Self::Zero(_) => IPVS_CMD_ZERO,
            Self::Flush => IPVS_CMD_FLUSH,
        }
    }
}
