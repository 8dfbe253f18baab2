//! What arrives at a namespace's links, as it is on the wire.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};

use crate::netns::Netns;

/// Scenarios look at some tens of frames.
const BUFFER: usize = 1 << 20;
/// Longer than any frame here.
const FRAME: usize = 2048;

/// A socket that has got a copy of every frame since it was opened.
#[derive(Debug)]
pub struct Capture {
    socket: OwnedFd,
}

impl Capture {
    /// Starts.
    pub fn open(netns: &Netns) -> Result<Capture> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let open = || {
            socket(
                AddressFamily::Packet,
                SockType::Raw,
                flags,
                SockProtocol::EthAll,
            )
        };
        let socket = netns.enter(open)?.context("opening a packet socket")?;
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
        Ok(Capture { socket })
    }

    /// Gives the frames since it was opened or last asked, each from its link-layer header on.
    pub fn frames(&self) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        loop {
            let mut frame = vec![0; FRAME];
            match recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                Ok(length) => {
                    frame.truncate(length);
                    frames.push(frame);
                }
                Err(Errno::EAGAIN) => return Ok(frames),
                Err(error) => {
                    return Err(io::Error::from(error)).context("reading a packet socket");
                }
            }
        }
    }
}
