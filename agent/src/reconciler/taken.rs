//! What one pass did.

use weir_proto::machine;

/// A pass of more steps leaves some MiB free that it needed, and the allocator would keep them.
const LARGE: u64 = 1_000;

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) steps: u64,
    pub(super) refused: u64,
    /// How many of the steps put right what somebody else had changed.
    pub(super) repairs: u64,
}

impl Taken {
    /// Gives back the memory that a large pass needed.
    pub(super) fn tidy(self) {
        if self.steps > LARGE {
            machine::give_back();
        }
    }
}
