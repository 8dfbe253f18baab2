//! What the kernel sent: as many datagrams as are there, a system call.
//!
//! A dump's last part and its end are two datagrams, and the second comes to be while the first is received
//! (`netlink_recvmsg` calls `netlink_dump` in `net/netlink/af_netlink.c`): one call takes both.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;

use netlink_sys::Socket;
use nix::sys::socket::{MsgFlags, MultiHeaders, NetlinkAddr, recvmmsg};

/// Room for one datagram. `netlink_dump` never fills more than 32 KiB at once; an answer that is cut short all the same
/// is reported as malformed. What is not used is never touched, so it takes no memory.
const DATAGRAM: usize = 64 * 1024;
/// Datagrams of one call: a dump's data and its end, or 128 KiB of a long one.
const AT_ONCE: usize = 4;

/// Room for datagrams, and those that came last.
pub(super) struct Inbox {
    room: Vec<u8>,
    /// The room of one datagram.
    size: usize,
    lengths: Vec<usize>,
}

impl Inbox {
    /// Makes room for answers.
    pub(super) fn new() -> Self {
        Self::of(AT_ONCE, DATAGRAM)
    }

    /// Makes room for so many datagrams of this size at once.
    pub(super) fn of(datagrams: usize, size: usize) -> Self {
        Self {
            room: vec![0; datagrams * size],
            size,
            lengths: vec![0; datagrams],
        }
    }

    /// Takes what is there, without waiting: `WouldBlock` when nothing is.
    pub(super) fn fill(&mut self, socket: &Socket) -> io::Result<()> {
        self.lengths.fill(0);
        let mut slices: Vec<_> = self
            .room
            .chunks_exact_mut(self.size)
            .map(|room| [IoSliceMut::new(room)])
            .collect();
        let mut headers = MultiHeaders::<NetlinkAddr>::preallocate(self.lengths.len(), None);
        let flags = MsgFlags::MSG_DONTWAIT;
        let came = recvmmsg(
            socket.as_raw_fd(),
            &mut headers,
            slices.iter_mut(),
            flags,
            None,
        )?;
        for (length, datagram) in self.lengths.iter_mut().zip(came) {
            *length = datagram.bytes;
        }
        Ok(())
    }

    /// Gives room for one datagram, to be taken note of with [`Self::took`].
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.lengths.fill(0);
        &mut self.room[..self.size]
    }

    /// Takes note of a datagram that was put into the room.
    pub(super) fn took(&mut self, length: usize) {
        self.lengths[0] = length;
    }

    /// Gives what came, in its order.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let rooms = self.room.chunks_exact(self.size).zip(&self.lengths);
        rooms.filter_map(|(room, length)| {
            room.get(..*length).filter(|datagram| !datagram.is_empty())
        })
    }
}
