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

const SEND: usize = 64 << 10;

/// Loads a table.
pub(crate) fn cold_load(netns: &Netns, size: Size) -> Result<Duration> {
    netns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let family = runtime.block_on(async {
            let mut generic = NetlinkSocket::open(Protocol::Generic)?;
            genl::resolve(&mut generic, "IPVS").await
        })?;
        let chunks = encoded(family, size);
        let netlink = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkGeneric,
        )
        .context("opening a netlink socket")?;
        connect(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let begun = Instant::now();
        for chunk in &chunks {
            send(netlink.as_raw_fd(), chunk, MsgFlags::empty())?;
        }
        Ok(begun.elapsed())
    })?
}

fn encoded(family: u16, size: Size) -> Vec<Vec<u8>> {
    let mut chunks = vec![Vec::with_capacity(SEND)];
    for service in 0..size.services {
        let vip = table::vip(service);
        let key = ServiceKey::Address {
            proto: Proto::TCP,
            address: vip.ip(),
            port: vip.port(),
        };
        push(
            &Command::NewService(&Service::new(key, SCHEDULER)),
            family,
            &mut chunks,
        );
        for number in 0..size.backends {
            let dest = Dest::new(table::backend(number), Forward::Masq, 1);
            push(&Command::NewDest(&key, &dest), family, &mut chunks);
        }
    }
    chunks
}

fn push(command: &Command<'_>, family: u16, chunks: &mut Vec<Vec<u8>>) {
    let request = command.encode(family);
    let bytes = request.as_bytes();
    if chunks
        .last()
        .is_none_or(|chunk| chunk.len() + bytes.len() > SEND)
    {
        chunks.push(Vec::with_capacity(SEND));
    }
    if let Some(chunk) = chunks.last_mut() {
        chunk.extend_from_slice(bytes);
    }
}
