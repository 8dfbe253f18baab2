//! An answer that is heard bit by bit: between two bits the one who asked can do something about the first.

use super::{
    Message, NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkSocket,
    NlError, Request, verdict, whole,
};
use nix::errno::Errno;

/// An answer that is under way.
#[derive(Debug)]
pub struct Answer {
    /// The number of the question.
    seq: u32,
    interrupted: bool,
    /// The kernel's last word, once it came.
    end: Option<Result<(), NlError>>,
}

impl NetlinkSocket {
    /// Begins a dump, to be heard with [`Self::hear`] to its end: until then the kernel refuses another on this socket
    /// with `EBUSY` (`__netlink_dump_start` in `net/netlink/af_netlink.c`). Who gives one up drops the socket with it.
    pub async fn begin_dump(&mut self, request: &Request) -> Result<Answer, NlError> {
        self.counts.dumps += 1;
        let asked = self.begin(request, NLM_F_DUMP).await;
        self.keep(asked)
    }

    /// Hands over the entries that are there, 128 KiB of them at most, and says whether that was the end.
    ///
    /// [`NlError::Interrupted`] comes at the end, after every entry was handed over.
    pub async fn hear(
        &mut self,
        answer: &mut Answer,
        each: impl FnMut(Message<'_>) + Send,
    ) -> Result<bool, NlError> {
        let heard = self.listen(answer, each).await;
        self.keep(heard)
    }

    pub(super) async fn begin(&mut self, request: &Request, flags: u16) -> Result<Answer, NlError> {
        if request.oversized() {
            return Err(NlError::Errno(Errno::EMSGSIZE as i32));
        }
        let seq = self.next_seq();
        let mut out = Vec::with_capacity(request.as_bytes().len());
        request.write_to(&mut out, seq, flags);
        self.send(&out, 1).await?;
        Ok(Answer {
            seq,
            interrupted: false,
            end: None,
        })
    }

    pub(super) async fn listen(
        &mut self,
        answer: &mut Answer,
        mut each: impl FnMut(Message<'_>) + Send,
    ) -> Result<bool, NlError> {
        let Answer {
            seq,
            interrupted,
            end,
        } = answer;
        if end.is_none() {
            self.receive(|message| {
                if message.seq != *seq || end.is_some() {
                    return;
                }
                *interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => *end = Some(verdict(&message)),
                    NLMSG_NOOP => {}
                    _ => each(message),
                }
            })
            .await?;
        }
        match end {
            None => Ok(false),
            Some(Ok(())) => whole(*interrupted).map(|()| true),
            Some(end) => end.clone().map(|()| true),
        }
    }
}
