//! One netlink socket to the kernel: requests out, acknowledgements and dumps back.
//!
//! Rules:
//! - Every request gets a sequence number of its own; an answer under a number nobody waits for is stale
//!   and ignored. So a future dropped half way, or an error, costs the next caller nothing.
//! - After anything that makes answers untrustworthy (overrun, silence, garbage, an I/O error) the
//!   descriptor is thrown away and the next call opens a new one. The requests that were out may or may
//!   not have happened: the caller reads back.
//! - The descriptor belongs to the network namespace of the thread that opens it.

mod answer;
mod lookup;

use std::{collections::BTreeSet, future::poll_fn, io, mem, ops::Range, sync::Arc, time::Duration};

use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use tokio::{task::consume_budget, time::timeout};
use weir_proto::faults::{self, Bug};

use super::{
    Batch,
    inbox::Inbox,
    wire::{
        DecodeError, HEADER_LEN, Message, Messages, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR,
        NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, Request,
    },
};

pub use answer::Answer;

/// Most requests on the way at once. Should the kernel refuse every one of them, each refusal takes an `sk_buff` of
/// about 768 bytes from the receive buffer, a tenth of it together.
const WINDOW: usize = 1024;
/// Bytes at which a send is full: nothing is added to it. A little below 64 KiB, so that the last request seldom goes
/// past them. Measured with 50,000 IPVS operations: 64 KiB is as fast as 1 MiB, and below any send buffer.
const SEND_BYTES: usize = 64 * 1024 - 256;
/// Receive and send buffer asked of the kernel: a window of acknowledgements that each echo their
/// request, several times over. Unused, it costs nothing.
const SOCKET_BUFFER: usize = 8 * 1024 * 1024;
/// Silence after which a request is lost. The kernel answers within the system call, so only a netlink
/// mutex held elsewhere (a module being loaded, a huge flush) can delay it; those take below a second.
const SILENCE: Duration = Duration::from_secs(5);

const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;

/// Which part of the kernel a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `NETLINK_ROUTE`: links, addresses, routes.
    Route = 0,
    /// `NETLINK_NETFILTER`: ipset, nf_tables, conntrack.
    Netfilter = 12,
    /// `NETLINK_GENERIC`: IPVS.
    Generic = 16,
}

/// Why a request has no good answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NlError {
    /// The kernel refused it with this errno; nothing was changed by this request. Codes of 4096 and
    /// above belong to ipset.
    #[error("refused by the kernel: {}", text_of(*.0))]
    Errno(i32),
    /// The table changed while it was dumped: what was read may lack entries or hold them twice.
    #[error("the table changed while it was read")]
    Interrupted,
    /// The kernel had no room for an answer (`ENOBUFS`). Whether the request took effect is unknown.
    #[error("an answer was lost: the receive buffer was full")]
    Overrun,
    /// No answer came in time. Whether the request took effect is unknown.
    #[error("no answer from the kernel")]
    Timeout,
    /// The socket failed. Whether the request took effect is unknown.
    #[error("the netlink socket failed")]
    Io(#[source] Arc<io::Error>),
    /// The answer was not netlink, or lacked what it must hold.
    #[error("the kernel's answer cannot be read")]
    Malformed(#[from] DecodeError),
}

impl NlError {
    /// Gives the errno of a refusal.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Errno(errno) => Some(*errno),
            Self::Interrupted
            | Self::Overrun
            | Self::Timeout
            | Self::Io(_)
            | Self::Malformed(_) => None,
        }
    }

    /// Says whether the kernel answered this request: if not, the socket was thrown away and the caller
    /// must read back what happened.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Errno(_) | Self::Interrupted)
    }
}

impl From<io::Error> for NlError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) if errno == Errno::ENOBUFS as i32 => Self::Overrun,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

/// A transaction that did not happen.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the transaction was refused")]
pub struct Refused {
    /// The first reason.
    #[source]
    pub error: NlError,
    /// Each refused request by its place in the slice; empty when the batch failed as a whole.
    pub requests: Vec<(usize, NlError)>,
}

/// How much a socket has done since it was made; survives reopening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests sent, dumps included.
    pub messages: u64,
    /// `send` calls.
    pub sends: u64,
    /// `recv` calls that gave something.
    pub receives: u64,
    /// Dumps begun.
    pub dumps: u64,
}

/// A socket for one netlink protocol.
pub struct NetlinkSocket {
    protocol: Protocol,
    /// `None` until first used and after a failure.
    descriptor: Option<TokioSocket>,
    seq: u32,
    /// What is sent next; empty but for its memory while nothing is.
    batch: Batch,
    inbox: Inbox,
    counts: Counts,
}

/// Requests that are on the way together.
struct Window {
    /// The places they have among all.
    places: Range<usize>,
    /// The number of the first place.
    first: u32,
    /// The place of the last one, which asks for the acknowledgement of all; none when nothing was written.
    last: Option<usize>,
    /// The places of those that asked for one themselves and have none yet.
    asking: Vec<usize>,
}

impl NetlinkSocket {
    /// Opens a socket in this thread's network namespace. Must be called inside a tokio runtime.
    pub fn open(protocol: Protocol) -> Result<Self, NlError> {
        let descriptor = Some(connect(protocol)?);
        Ok(Self {
            protocol,
            descriptor,
            seq: 0,
            batch: Batch::default(),
            inbox: Inbox::new(),
            counts: Counts::default(),
        })
    }

    /// Gives the protocol it was opened for.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Gives what was sent and received so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Sends all requests, many to a system call, and gives the kernel's verdict on each, in order; see
    /// [`Self::pipeline`].
    pub async fn batch(&mut self, requests: &[Request]) -> Vec<Result<(), NlError>> {
        let mut verdicts = vec![Ok(()); requests.len()];
        let write = |place: usize, out: &mut Batch| out.push(&requests[place]);
        for (place, error) in self.pipeline(requests.len(), write).await {
            verdicts[place] = Err(error);
        }
        verdicts
    }

    /// Sends a request for each place below `count`, many to a system call, and gives those that were refused, by
    /// their places in ascending order.
    ///
    /// `write` writes the request of a place, or nothing where there is none to send, just before it goes out: the
    /// memory of one send serves the next. Not atomic: a refused request does not stop those behind it. When the
    /// socket fails, the places without a verdict, sent or not, are refused with that failure.
    pub async fn pipeline(
        &mut self,
        count: usize,
        mut write: impl FnMut(usize, &mut Batch) + Send,
    ) -> Vec<(usize, NlError)> {
        let mut refused = Vec::new();
        let mut begun = 0;
        while begun < count {
            // the kernel answers inside the send, so nothing here waits: others must get their turn
            consume_budget().await;
            let mut batch = mem::take(&mut self.batch);
            let mut window = self.fill(begun..count, &mut batch, &mut write, &mut refused);
            begun = window.places.end;
            if window.last.is_some() {
                batch.last().ask_for_ack();
            }
            let outcome = self.window(&mut window, &batch, &mut refused).await;
            self.batch = batch;
            if let Err(error) = outcome {
                self.descriptor = None;
                let known: BTreeSet<usize> = refused.iter().map(|(place, _)| *place).collect();
                let unknown = (window.places.start..count).filter(|place| !known.contains(place));
                refused.extend(unknown.map(|place| (place, error.clone())));
                break;
            }
        }
        refused.sort_by_key(|(place, _)| *place);
        refused
    }

    /// Sends one request and hands each message of the answer to `each`, until the kernel acknowledges.
    pub async fn request(
        &mut self,
        request: &Request,
        each: impl FnMut(Message<'_>) + Send,
    ) -> Result<(), NlError> {
        let outcome = self.converse(request, NLM_F_ACK, each).await;
        self.keep(outcome)
    }

    /// Dumps a table and hands each entry to `each`.
    ///
    /// [`NlError::Interrupted`] comes at the end, after every entry was handed over.
    pub async fn dump(
        &mut self,
        request: &Request,
        each: impl FnMut(Message<'_>) + Send,
    ) -> Result<(), NlError> {
        self.counts.dumps += 1;
        let outcome = self.converse(request, NLM_F_DUMP, each).await;
        self.keep(outcome)
    }

    /// Applies all requests or none (`nfnetlink_rcv_batch` in `net/netfilter/nfnetlink.c`; of the
    /// subsystems here only nf_tables can).
    ///
    /// One send carries the whole batch, so its size is bound by the send buffer.
    pub async fn transaction(
        &mut self,
        subsystem: u8,
        requests: &[Request],
    ) -> Result<(), Refused> {
        match self.transact(subsystem, requests).await {
            Ok(refused) if refused.is_empty() => Ok(()),
            Ok(requests) => Err(Refused {
                error: requests[0].1.clone(),
                requests,
            }),
            Err(error) => {
                let error = self
                    .keep::<()>(Err(error))
                    .err()
                    .unwrap_or(NlError::Malformed(DecodeError::Truncated));
                Err(Refused {
                    error,
                    requests: Vec::new(),
                })
            }
        }
    }

    /// Writes as many requests as one window takes.
    fn fill(
        &mut self,
        places: Range<usize>,
        batch: &mut Batch,
        write: &mut impl FnMut(usize, &mut Batch),
        refused: &mut Vec<(usize, NlError)>,
    ) -> Window {
        let first = self.seq.wrapping_add(1);
        let mut window = Window {
            places: places.start..places.start,
            first,
            last: None,
            asking: Vec::new(),
        };
        batch.clear();
        for place in places {
            if batch.messages() == WINDOW || batch.as_bytes().len() >= SEND_BYTES {
                break;
            }
            window.places.end = place + 1;
            let before = batch.messages();
            batch.number(self.next_seq());
            write(place, batch);
            if batch.messages() == before {
                continue;
            }
            if batch.last().oversized() {
                batch.withdraw();
                refused.push((place, NlError::Errno(Errno::EMSGSIZE as i32)));
                continue;
            }
            window.last = Some(place);
            if batch.last().asks_for_ack() {
                window.asking.push(place);
            }
        }
        window
    }

    /// Sends a window and waits for its verdicts.
    ///
    /// Only the last request asks for an acknowledgement: to receive one for each costs as much as a send of its own for
    /// each. The kernel handles requests in order inside the send call, and refuses with an answer whether one was
    /// asked for or not (`netlink_rcv_skb` in `net/netlink/af_netlink.c`), so what has no answer when the last one has
    /// was taken. Save for one that asked by itself, because the kernel may end it with `EINTR` and say nothing (a sync
    /// daemon stopped before it first ran). On failure nothing is known of those without an answer.
    async fn window(
        &mut self,
        window: &mut Window,
        batch: &Batch,
        refused: &mut Vec<(usize, NlError)>,
    ) -> Result<(), NlError> {
        let Window {
            places,
            first,
            last: Some(last),
            asking,
        } = window
        else {
            return Ok(());
        };
        self.send(batch.as_bytes(), batch.messages()).await?;
        let mut answered = false;
        while !answered {
            self.receive(|message| {
                let place = places.start + message.seq.wrapping_sub(*first) as usize;
                if message.kind != NLMSG_ERROR || !places.contains(&place) {
                    return;
                }
                asking.retain(|asking| *asking != place);
                refused.extend(verdict(&message).err().map(|error| (place, error)));
                answered |= place == *last;
            })
            .await?;
        }
        let silent = asking.drain(..);
        refused.extend(silent.map(|place| (place, NlError::Errno(Errno::EINTR as i32))));
        Ok(())
    }

    async fn converse(
        &mut self,
        request: &Request,
        flags: u16,
        mut each: impl FnMut(Message<'_>) + Send,
    ) -> Result<(), NlError> {
        let mut answer = self.begin(request, flags).await?;
        while !self.listen(&mut answer, &mut each).await? {}
        Ok(())
    }

    /// Gives the refused requests of a transaction; an error means the batch failed as a whole.
    async fn transact(
        &mut self,
        subsystem: u8,
        requests: &[Request],
    ) -> Result<Vec<(usize, NlError)>, NlError> {
        if requests.iter().any(Request::oversized) {
            return Err(NlError::Errno(Errno::EMSGSIZE as i32));
        }
        let begin = self.next_seq();
        let mut out = Vec::new();
        // the bracket names its subsystem in `nfgenmsg.res_id`, which is in network byte order
        let bracket = [0, 0, 0, subsystem];
        Request::new(NFNL_MSG_BATCH_BEGIN, 0)
            .raw(&bracket)
            .write_to(&mut out, begin, 0);
        for request in requests {
            let seq = self.next_seq();
            request.write_to(&mut out, seq, NLM_F_ACK);
        }
        let end = self.next_seq();
        Request::new(NFNL_MSG_BATCH_END, 0)
            .raw(&bracket)
            .write_to(&mut out, end, 0);
        self.send(&out, requests.len()).await?;

        // A failure of the batch itself (no permission, no such subsystem, a commit refused) is reported
        // under the number of its first message, before the verdicts of the others.
        let mut pending: Vec<Option<Result<(), NlError>>> = vec![None; requests.len()];
        let mut missing = requests.len();
        let mut whole = None;
        while missing > 0 && whole.is_none() {
            self.receive(|message| {
                if message.kind != NLMSG_ERROR {
                    return;
                }
                let place = message.seq.wrapping_sub(begin) as usize;
                if place == 0 {
                    whole = whole.take().or(verdict(&message).err());
                } else if let Some(slot @ None) = pending.get_mut(place - 1) {
                    *slot = Some(verdict(&message));
                    missing -= 1;
                }
            })
            .await?;
        }
        if let Some(error) = whole {
            return Err(error);
        }
        let refused = pending.into_iter().enumerate();
        Ok(refused
            .filter_map(|(place, verdict)| Some((place, verdict?.err()?)))
            .collect())
    }

    /// Throws the descriptor away after a failure that makes later answers untrustworthy.
    fn keep<T>(&mut self, outcome: Result<T, NlError>) -> Result<T, NlError> {
        if let Err(error) = &outcome
            && !error.is_answer()
        {
            self.descriptor = None;
        }
        outcome
    }

    fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    async fn send(&mut self, out: &[u8], messages: usize) -> Result<(), NlError> {
        let socket = match &mut self.descriptor {
            Some(socket) => socket,
            none => none.insert(connect(self.protocol)?),
        };
        self.counts.sends += 1;
        self.counts.messages += messages as u64;
        let sent = match socket.socket_ref().send(out, 0) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                timeout(SILENCE, poll_fn(|cx| socket.poll_send(cx, out)))
                    .await
                    .map_err(|_elapsed| NlError::Timeout)??
            }
            sent => sent?,
        };
        // netlink takes a datagram whole or not at all (`netlink_sendmsg`)
        if sent == out.len() {
            Ok(())
        } else {
            Err(NlError::Malformed(DecodeError::Truncated))
        }
    }

    /// Receives what is there, or waits for one datagram, and hands over its messages.
    ///
    /// The kernel answers inside the send, so it is asked first and waited for only when it has nothing: to learn
    /// that a socket is readable takes more system calls than to read it.
    async fn receive(&mut self, mut each: impl FnMut(Message<'_>) + Send) -> Result<(), NlError> {
        let Self {
            descriptor: Some(socket),
            inbox,
            counts,
            ..
        } = self
        else {
            return Err(NlError::Malformed(DecodeError::Truncated));
        };
        match inbox.fill(socket.socket_ref()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let room = inbox.room();
                let mut left = &mut *room;
                timeout(SILENCE, poll_fn(|cx| socket.poll_recv(cx, &mut left)))
                    .await
                    .map_err(|_elapsed| NlError::Timeout)??;
                let left = left.len();
                let length = room.len() - left;
                inbox.took(length);
                if length == 0 {
                    return Err(NlError::Malformed(DecodeError::Truncated));
                }
            }
            came => came?,
        }
        counts.receives += 1;
        for datagram in inbox.datagrams() {
            if datagram.len() < HEADER_LEN {
                return Err(NlError::Malformed(DecodeError::Truncated));
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
}

/// Gives name and text of an errno; ipset's own, from 4096 on, have a number only.
fn text_of(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => format!("error {errno}"),
        known => known.to_string(),
    }
}

fn verdict(message: &Message<'_>) -> Result<(), NlError> {
    match message.errno() {
        0 => Ok(()),
        errno => Err(NlError::Errno(errno)),
    }
}

/// Refuses a dump that a change of its table interrupted: what it did not show may be there.
fn whole(interrupted: bool) -> Result<(), NlError> {
    if interrupted && !faults::planted(Bug::PruneOnPartialDump) {
        return Err(NlError::Interrupted);
    }
    Ok(())
}

/// Opens and prepares a descriptor that hears the kernel and nobody else.
///
/// Extended acknowledgements stay off: neither IPVS, ipset nor nf_tables put a sentence into theirs, and
/// without them an acknowledgement is 36 bytes.
fn connect(protocol: Protocol) -> Result<TokioSocket, NlError> {
    let mut socket = TokioSocket::new(protocol as isize)?;
    let inner = socket.socket_mut();
    inner.bind_auto()?;
    inner.connect(&SocketAddr::new(0, 0))?;
    inner.set_cap_ack(true)?;
    if protocol == Protocol::Route {
        // dumps hold what they were asked for and no more
        inner.set_netlink_get_strict_chk(true)?;
    }
    // raising the buffers past the system's limit needs CAP_NET_ADMIN; with less, WINDOW still fits
    if setsockopt(inner, sockopt::SndBufForce, &SOCKET_BUFFER).is_err() {
        setsockopt(inner, sockopt::SndBuf, &SOCKET_BUFFER).map_err(io::Error::from)?;
    }
    if setsockopt(inner, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
        setsockopt(inner, sockopt::RcvBuf, &SOCKET_BUFFER).map_err(io::Error::from)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests;
