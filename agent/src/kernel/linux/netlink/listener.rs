//! A socket that hears what the kernel tells everybody.

use std::{future::poll_fn, io};

use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use nix::sys::socket::{setsockopt, sockopt};

use super::{
    DecodeError, Message, Messages, NlError, Protocol,
    inbox::Inbox,
    wire::{HEADER_LEN, NLMSG_OVERRUN},
};

/// Receive buffer asked of the kernel, which doubles it: room for some 80,000 notices, of which each takes about 768 bytes.
/// Unused, it costs nothing.
const SOCKET_BUFFER: usize = 32 * 1024 * 1024;
/// Most calls that take what is queued without a turn for others: four notices each, and all that the buffer holds.
const AT_ONCE: usize = 20_000;

/// A subscription to multicast groups. After [`NlError::Overrun`] it can still be heard; what was lost is not known.
/// After any other error it should be dropped.
pub struct Listener {
    socket: TokioSocket,
    inbox: Inbox,
}

impl Listener {
    /// Subscribes to groups by their numbers, in this thread's network namespace. Must be called inside a tokio runtime.
    pub fn open(protocol: Protocol, groups: &[u32]) -> Result<Self, NlError> {
        let mut socket = TokioSocket::new(protocol as isize)?;
        let inner = socket.socket_mut();
        inner.bind_auto()?;
        // what other processes send is refused; groups are heard all the same (`netlink_getsockbyportid`)
        inner.connect(&SocketAddr::new(0, 0))?;
        if setsockopt(inner, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
            setsockopt(inner, sockopt::RcvBuf, &SOCKET_BUFFER).map_err(io::Error::from)?;
        }
        for group in groups {
            inner.add_membership(*group)?;
        }
        Ok(Self {
            socket,
            inbox: Inbox::new(),
        })
    }

    /// Waits for a notice, and hands over all that are queued. May be dropped at any time.
    pub async fn hear(&mut self, mut each: impl FnMut(Message<'_>) + Send) -> Result<(), NlError> {
        let Self { socket, inbox } = self;
        let room = inbox.room();
        let mut left = &mut *room;
        poll_fn(|cx| socket.poll_recv(cx, &mut left)).await?;
        let length = {
            let left = left.len();
            room.len() - left
        };
        inbox.took(length);
        hand_over(inbox, &mut each)?;
        self.queued(each)
    }

    /// Hands over what is queued, without waiting.
    pub fn queued(&mut self, mut each: impl FnMut(Message<'_>)) -> Result<(), NlError> {
        let Self { socket, inbox } = self;
        for _ in 0..AT_ONCE {
            match inbox.fill(socket.socket_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                filled => filled?,
            }
            hand_over(inbox, &mut each)?;
        }
        Ok(())
    }
}

fn hand_over(inbox: &mut Inbox, each: &mut impl FnMut(Message<'_>)) -> Result<(), NlError> {
    for datagram in inbox.datagrams() {
        if datagram.len() < HEADER_LEN {
            return Err(DecodeError::Truncated.into());
        }
        for message in Messages::new(datagram) {
            let message = message?;
            if message.kind == NLMSG_OVERRUN {
                return Err(NlError::Overrun);
            }
            each(message);
        }
    }
    Ok(())
}
