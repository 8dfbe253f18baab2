//! Messages end to end in one buffer, as one send takes them. Pure.

use super::Request;

/// Many messages to the kernel, one behind the other. The memory of one send serves the next.
#[derive(Debug)]
pub struct Batch {
    /// Writes the last one; those before it stand in front of it in its buffer.
    last: Request,
    /// The number of the next one.
    seq: u32,
    messages: usize,
}

impl Default for Batch {
    /// Makes an empty one, without memory.
    fn default() -> Self {
        Self {
            last: Request::behind(Vec::new()),
            seq: 0,
            messages: 0,
        }
    }
}

impl Batch {
    /// Starts a message of the given type behind the others; see [`Request::new`].
    pub fn begin(&mut self, kind: u16, flags: u16) -> &mut Request {
        self.messages += 1;
        self.last.begin(kind, flags, self.seq);
        &mut self.last
    }

    /// Starts a generic netlink message behind the others; see [`Request::generic`].
    pub fn generic(&mut self, family: u16, command: u8, version: u8, flags: u16) -> &mut Request {
        self.begin(family, flags).raw(&[command, version, 0, 0])
    }

    /// Puts a message that was written elsewhere behind the others.
    pub fn push(&mut self, request: &Request) {
        self.messages += 1;
        self.last.copy(request, self.seq);
    }

    /// Forgets every message and keeps the memory.
    pub fn clear(&mut self) {
        self.last.clear();
        self.messages = 0;
    }

    /// Sets the number of the message that comes next.
    pub(super) fn number(&mut self, seq: u32) {
        self.seq = seq;
    }

    /// Gives how many messages there are.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn last(&mut self) -> &mut Request {
        &mut self.last
    }

    /// Takes the last message back.
    pub(super) fn withdraw(&mut self) {
        self.messages -= 1;
        self.last.withdraw();
    }

    /// Gives all messages, one behind the other.
    pub fn as_bytes(&self) -> &[u8] {
        self.last.written()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeError, Message, Messages};
    use super::*;

    fn read(batch: &Batch) -> Result<Vec<Message<'_>>, DecodeError> {
        Messages::new(batch.as_bytes()).collect()
    }

    #[test]
    fn messages_stand_end_to_end_as_each_would_alone() {
        let mut batch = Batch::default();
        let write = |out: &mut Request| {
            out.nest(1, |out| {
                out.string(3, "wlc").u8(4, 5);
            });
        };
        for seq in [7, 8] {
            batch.number(seq);
            write(batch.generic(0x20, 4, 1, 0));
        }
        let mut alone = Request::generic(0x20, 4, 1, 0);
        write(&mut alone);
        batch.number(9);
        batch.push(&alone);
        let mut expected = Vec::new();
        for seq in [7, 8, 9] {
            alone.write_to(&mut expected, seq, 0);
        }
        assert_eq!(batch.as_bytes(), expected);
        assert_eq!(batch.messages(), 3);
    }

    #[test]
    fn a_message_taken_back_leaves_the_others_as_they_were() -> Result<(), DecodeError> {
        let mut batch = Batch::default();
        batch.number(1);
        batch.begin(16, 0).u32(1, 2);
        let before = batch.as_bytes().to_vec();
        batch.number(2);
        batch.begin(16, 0).bytes(1, &vec![0; 65_532]);
        assert!(batch.last().oversized());
        batch.withdraw();
        assert_eq!((batch.as_bytes(), batch.messages()), (&before[..], 1));
        batch.number(3);
        batch.begin(16, 0).ask_for_ack();
        assert!(!batch.last().oversized());
        let told: Vec<_> = read(&batch)?.iter().map(|m| (m.seq, m.flags)).collect();
        assert_eq!(told, [(1, 1), (3, 5)]);
        batch.clear();
        assert_eq!(read(&batch)?, []);
        Ok(())
    }
}
