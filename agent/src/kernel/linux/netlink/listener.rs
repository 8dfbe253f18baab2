//! A socket that hears what the kernel tells everybody.

use std::{future::poll_fn, io};

use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockFilter, SockRef};

use super::{
    DecodeError, Message, Messages, NlError, Protocol,
    inbox::Inbox,
    wire::{HEADER_LEN, NLMSG_OVERRUN},
};

/// Receive buffer asked of the kernel, which doubles it: room for some 80,000 notices, of which each takes about 768 bytes.
/// Unused, it costs nothing.
const SOCKET_BUFFER: usize = 32 * 1024 * 1024;
/// Room for one notice: of a link it takes about 2 KiB. One that is cut short is reported as malformed.
const DATAGRAM: usize = 16 * 1024;
/// Notices of one call. Many come together: a link that goes tells of all that was on it.
const AT_ONCE: usize = 32;
/// Most calls that take what is queued without a turn for others: all that the buffer holds.
const CALLS: usize = 4_000;

// What a filter is made of (`include/uapi/linux/bpf_common.h`): load two bytes or one, compare, give a verdict.
const BPF_LD_H_ABS: u16 = 0x28;
const BPF_LD_B_ABS: u16 = 0x30;
const BPF_JMP_JEQ_K: u16 = 0x15;
const BPF_RET_K: u16 = 0x06;
/// Where `nlmsg_type` stands.
const KIND_AT: u32 = 4;

/// What is listened to: messages of a kind, and of those perhaps only some. The kernel leaves out all others before they
/// take any of the buffer (`do_one_broadcast` calls `sk_filter` in `net/netlink/af_netlink.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heed {
    /// `nlmsg_type`.
    pub kind: u16,
    /// What one byte behind the `nlmsghdr` must be, by its place.
    pub byte: Option<(u8, u8)>,
}

/// A subscription to multicast groups. After [`NlError::Overrun`] it can still be heard; what was lost is not known.
/// After any other error it should be dropped.
pub struct Listener {
    socket: TokioSocket,
    inbox: Inbox,
}

impl Listener {
    /// Subscribes to groups by their numbers, in this thread's network namespace. Must be called inside a tokio runtime.
    pub fn open(protocol: Protocol, groups: &[u32], heed: &[Heed]) -> Result<Self, NlError> {
        let mut socket = TokioSocket::new(protocol as isize)?;
        let inner = socket.socket_mut();
        inner.bind_auto()?;
        // what other processes send is refused; groups are heard all the same (`netlink_getsockbyportid`)
        inner.connect(&SocketAddr::new(0, 0))?;
        if setsockopt(inner, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
            setsockopt(inner, sockopt::RcvBuf, &SOCKET_BUFFER).map_err(io::Error::from)?;
        }
        SockRef::from(&*inner).attach_filter(&filter(heed))?;
        for group in groups {
            inner.add_membership(*group)?;
        }
        Ok(Self {
            socket,
            inbox: Inbox::of(AT_ONCE, DATAGRAM),
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
        for _ in 0..CALLS {
            match inbox.fill(socket.socket_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                filled => filled?,
            }
            hand_over(inbox, &mut each)?;
        }
        Ok(())
    }
}

/// Writes the program that keeps what is heeded.
fn filter(heed: &[Heed]) -> Vec<SockFilter> {
    let instruction = SockFilter::new;
    let keep = || instruction(BPF_RET_K, 0, 0, u32::MAX);
    let drop = || instruction(BPF_RET_K, 0, 0, 0);
    let mut program = vec![instruction(BPF_LD_H_ABS, 0, 0, KIND_AT)];
    for Heed { kind, byte } in heed {
        // what is loaded is taken for network byte order
        let kind = u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
        match *byte {
            None => program.extend([instruction(BPF_JMP_JEQ_K, 0, 1, kind), keep()]),
            Some((place, value)) => program.extend([
                instruction(BPF_JMP_JEQ_K, 0, 4, kind),
                instruction(BPF_LD_B_ABS, 0, 0, HEADER_LEN as u32 + u32::from(place)),
                instruction(BPF_JMP_JEQ_K, 0, 1, value.into()),
                keep(),
                drop(),
            ]),
        }
    }
    program.push(drop());
    program
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
