//! The floor: the least a program can do, requests encoded beforehand and 64 KiB of them a send, without waiting for
//! one verdict.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, send, socket,
};
use weir_agent::kernel::linux::ipvs::{Command, Dest, Forward, Proto, Service, ServiceKey};
use weir_agent::kernel::linux::netlink::{NetlinkSocket, Protocol, genl};
use weir_integration::netns::Netns;

use crate::table::{self, SCHEDULER, Size};

/// What a row calls it.
pub(crate) const NAME: &str = "pre-encoded, 64 KiB a send";
const SEND: usize = 64 << 10;

/// Loads a table.
pub(crate) fn cold_load(netns: &Netns, size: Size) -> Result<Duration> {
    sent(netns, |out| {
        for service in 0..size.services {
            let key = key(service);
            out.push(&Command::NewService(&Service::new(key, SCHEDULER)));
            for number in 0..size.backends {
                out.push(&Command::NewDest(&key, &dest(number)));
            }
        }
    })
}

/// Removes one backend of each of so many services, and brings them back, in the order in which ours does.
pub(crate) fn away_and_back(netns: &Netns, services: usize) -> Result<Duration> {
    sent(netns, |out| {
        for service in (0..services).rev() {
            out.push(&Command::DelDest(&key(service), table::backend(0)));
        }
        for service in 0..services {
            out.push(&Command::NewDest(&key(service), &dest(0)));
        }
    })
}

/// Requests end to end, as many to a chunk as a send takes.
struct Chunks {
    family: u16,
    chunks: Vec<Vec<u8>>,
}

/// Encodes what `write` says, then sends it: the sending is what is timed.
fn sent(netns: &Netns, write: impl FnOnce(&mut Chunks) + Send) -> Result<Duration> {
    netns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let family = runtime.block_on(async {
            let mut generic = NetlinkSocket::open(Protocol::Generic)?;
            genl::resolve(&mut generic, "IPVS").await
        })?;
        let mut out = Chunks {
            family,
            chunks: Vec::new(),
        };
        write(&mut out);
        let netlink = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkGeneric,
        )
        .context("opening a netlink socket")?;
        connect(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let begun = Instant::now();
        for chunk in &out.chunks {
            send(netlink.as_raw_fd(), chunk, MsgFlags::empty())?;
        }
        Ok(begun.elapsed())
    })?
}

impl Chunks {
    fn push(&mut self, command: &Command<'_>) {
        let request = command.encode(self.family);
        let bytes = request.as_bytes();
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() + bytes.len() <= SEND => chunk.extend_from_slice(bytes),
            _ => {
                let mut chunk = Vec::with_capacity(SEND);
                chunk.extend_from_slice(bytes);
                self.chunks.push(chunk);
            }
        }
    }
}

fn key(service: usize) -> ServiceKey {
    let vip = table::vip(service);
    ServiceKey::Address {
        proto: Proto::TCP,
        address: vip.ip(),
        port: vip.port(),
    }
}

fn dest(number: usize) -> Dest {
    Dest::new(table::backend(number), Forward::Masq, 1)
}
