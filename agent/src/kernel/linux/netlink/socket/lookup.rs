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
        let mut answered = questions.is_empty();
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
