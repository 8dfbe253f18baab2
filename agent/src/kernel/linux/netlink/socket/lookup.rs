//! Many questions at once, each with an answer of its own.

use super::{Message, NLM_F_ACK, NLMSG_ERROR, NetlinkSocket, NlError, Request, verdict};

/// Most questions on the way at once: their answers wait in the receive buffer, a few KiB each at most.
const AT_ONCE: usize = 64;

impl NetlinkSocket {
    /// Asks all at once, hands each answer to `each` with the place of its question, and gives the kernel's verdict on
    /// every question.
    ///
    /// An error means that the socket failed, and nothing is known.
    pub async fn ask(
        &mut self,
        questions: &[Request],
        mut each: impl FnMut(usize, Message<'_>) + Send,
    ) -> Result<Vec<Result<(), NlError>>, NlError> {
        let mut verdicts = Vec::with_capacity(questions.len());
        for questions in questions.chunks(AT_ONCE) {
            let before = verdicts.len();
            let asked = self
                .ask_some(questions, |place, message| each(before + place, message))
                .await;
            match asked {
                Ok(some) => verdicts.extend(some),
                Err(error) => return self.keep(Err(error)),
            }
        }
        Ok(verdicts)
    }

    /// Only the last asks for an acknowledgement: the kernel answers in order, and refuses with an answer whether one
    /// was asked for or not (`netlink_rcv_skb` in `net/netlink/af_netlink.c`).
    async fn ask_some(
        &mut self,
        questions: &[Request],
        mut each: impl FnMut(usize, Message<'_>) + Send,
    ) -> Result<Vec<Result<(), NlError>>, NlError> {
        let first = self.seq.wrapping_add(1);
        let last = questions.len().saturating_sub(1);
        let mut out = Vec::new();
        for (place, question) in questions.iter().enumerate() {
            let flags = if place == last { NLM_F_ACK } else { 0 };
            let seq = self.next_seq();
            question.write_to(&mut out, seq, flags);
        }
        self.send(&out, questions.len()).await?;
        let mut verdicts = vec![Ok(()); questions.len()];
        let mut answered = false;
        while !answered {
            self.receive(|message| {
                let place = message.seq.wrapping_sub(first) as usize;
                if place > last {
                    return;
                }
                if message.kind == NLMSG_ERROR {
                    verdicts[place] = verdict(&message);
                    answered |= place == last;
                } else {
                    each(place, message);
                }
            })
            .await?;
        }
        Ok(verdicts)
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::super::Protocol;
    use super::*;

    /// Asks the generic netlink controller, which every kernel has, for a family by its name.
    fn family(name: &str) -> Request {
        let mut request = Request::generic(16, 3, 2, 0);
        request.string(2, name);
        request
    }

    #[tokio::test]
    async fn each_answer_belongs_to_its_own_question() -> Result<(), NlError> {
        let mut socket = NetlinkSocket::open(Protocol::Generic)?;
        let pair = [family("nlctrl"), family("weir-no-such")];
        let questions: Vec<Request> = pair.into_iter().cycle().take(150).collect();
        let mut told = vec![0; questions.len()];
        let verdicts = socket
            .ask(&questions, |place, message| {
                let name = message.attrs(4).get(2);
                assert_eq!(name.and_then(|name| name.str()), Some("nlctrl"));
                told[place] += 1;
            })
            .await?;
        let expected: Vec<_> = (0..150).map(|place| 1 - place % 2).collect();
        assert_eq!(told, expected);
        for (place, verdict) in verdicts.iter().enumerate() {
            let errno = verdict.as_ref().err().and_then(NlError::errno);
            assert_eq!(errno, (place % 2 == 1).then_some(Errno::ENOENT as i32));
        }
        assert_eq!((socket.counts().messages, socket.counts().sends), (150, 3));
        assert!(socket.ask(&[], |_, _| {}).await?.is_empty());
        Ok(())
    }
}
