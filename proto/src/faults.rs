//! Faults on demand, for tests: points at which a program can be made to fail, and bugs that can be planted in it.
//!
//! All of it is behind the feature `faults`, which no program that is shipped is built with: without it each hook is an
//! empty function that the compiler leaves out. Rules:
//! - `WEIR_FAULT=POINT=ACTION[:NTH]` makes the process fail once, at the NTH time it passes the point. With
//!   `WEIR_FAULT=@FILE` the order stands in a file, which may come and change while the process runs, and which is
//!   removed just before the fault: who starts again finds none.
//! - `WEIR_PLANT=BUG` plants a bug for the whole life of the process. Pure rooms ask for it as they would for a constant.
//! - Both are for the whole process, and tests of one program run side by side: a test starts a child for each case.
//! - Each fault is told on standard error before it comes, as `weir fault: POINT ACTION`.

#[cfg(feature = "faults")]
mod armed;

use std::fmt;
use std::io;

#[cfg(feature = "faults")]
pub use self::armed::{pass, planted, reach};

/// A point at which a process can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A database is about to be opened.
    JournalOpen,
    /// A batch is about to be written.
    JournalBatch,
    /// A batch is in the database's memory.
    JournalApplied,
    /// A batch was handed to the system.
    JournalFlushed,
    /// A batch is on the disk, and the watermark is of the one before.
    JournalSynced,
    /// A batch is durable, and nobody knows yet.
    JournalMarked,
    /// What a plan makes is about to be written into the ledger.
    LedgerBefore,
    /// The steps were taken, and what they changed is about to be written into the ledger.
    LedgerAfter,
    /// The kernel is about to be read.
    ReadBefore,
    /// The kernel was read once.
    ReadAfter,
    /// Steps are about to be taken.
    ApplyBefore,
    /// The steps of one part of the kernel were taken, and those of the next are about to be.
    ApplyMiddle,
    /// All steps were taken, and nobody knows yet.
    ApplyAfter,
    /// A stream is about to be opened.
    StreamConnect,
    /// A stream is open and the agent has said hello.
    StreamHello,
    /// A chunk of an update has come.
    StreamUpdate,
    /// An update is durable and about to be acknowledged.
    StreamAccept,
    /// An update was acknowledged.
    StreamAccepted,
    /// How far the kernel is is about to be told.
    StreamConverged,
}

/// What becomes of a process at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// What is done there fails.
    Error,
    /// The task panics.
    Panic,
    /// It takes half a second longer.
    Delay,
    /// The process is gone (SIGKILL).
    Kill,
}

/// A bug that the tests must catch; `integration/README.md` says which test does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// What is no longer wanted stays.
    LostDelete,
    /// An update is acknowledged before it is written down.
    AckBeforeJournal,
    /// A dump that the kernel calls interrupted is taken for the whole.
    PruneOnPartialDump,
    /// What a dump overlooks is not asked for a second time.
    OverlookedIsGone,
    /// The ledger is written after the steps and not before.
    LedgerAfterStep,
    /// What is not ours is removed when nobody wants it.
    ForeignPruned,
    /// An update older than what is held is taken.
    OlderTaken,
    /// The same generation with other content is taken for what is held.
    ConflictUnseen,
    /// What results from an update is not compared with what the controller says.
    DigestUnchecked,
    /// A sync that fails counts as one that did not.
    FailedSyncTaken,
    /// A database older than its watermark is opened.
    WatermarkUnchecked,
    /// The checksum of a record is not compared.
    ChecksumUnchecked,
    /// Plans remove before they add.
    RemoveBeforeAdd,
    /// A VIP is up before what it serves.
    VipFirst,
    /// The ledger of one boot counts in the next.
    BootIgnored,
    /// What the kernel refused is not tried again before the next audit.
    RetryForgotten,
    /// A snapshot leaves what it does not name.
    SnapshotKeepsRest,
    /// A kernel is judged by a state that nobody has sent yet.
    PruneBeforeKnown,
    /// A drain does not outlive the process.
    DrainForgotten,
    /// One look at its connections is enough to let a backend go.
    OneCountEnough,
    /// Whatever an update takes away is taken away.
    HoldIgnored,
    /// What is left of a damaged journal is taken for what was accepted last.
    DoubtIgnored,
    /// What was accepted reaches the kernel in another order.
    ReorderedDelta,
    /// A change is applied once more after a newer one.
    DoubleApply,
    /// An update is acknowledged by the generation before its own.
    AckOtherGeneration,
    /// A controller that starts again counts the generations of its nodes from the beginning.
    GenerationReset,
    /// What a node that comes back says it holds is not heeded.
    HelloIgnored,
    /// A delta to what a node may never have got is taken on whatever it holds.
    WrongBase,
    /// A node that comes back is sent a snapshot that is older than what it holds.
    StaleSnapshot,
}

/// A fault that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fault was asked for at {0}")]
pub struct Injected(pub Point);

impl Point {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::JournalOpen,
        Self::JournalBatch,
        Self::JournalApplied,
        Self::JournalFlushed,
        Self::JournalSynced,
        Self::JournalMarked,
        Self::LedgerBefore,
        Self::LedgerAfter,
        Self::ReadBefore,
        Self::ReadAfter,
        Self::ApplyBefore,
        Self::ApplyMiddle,
        Self::ApplyAfter,
        Self::StreamConnect,
        Self::StreamHello,
        Self::StreamUpdate,
        Self::StreamAccept,
        Self::StreamAccepted,
        Self::StreamConverged,
    ];

    /// Gives the name that an order has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JournalOpen => "journal-open",
            Self::JournalBatch => "journal-batch",
            Self::JournalApplied => "journal-applied",
            Self::JournalFlushed => "journal-flushed",
            Self::JournalSynced => "journal-synced",
            Self::JournalMarked => "journal-marked",
            Self::LedgerBefore => "ledger-before",
            Self::LedgerAfter => "ledger-after",
            Self::ReadBefore => "read-before",
            Self::ReadAfter => "read-after",
            Self::ApplyBefore => "apply-before",
            Self::ApplyMiddle => "apply-middle",
            Self::ApplyAfter => "apply-after",
            Self::StreamConnect => "stream-connect",
            Self::StreamHello => "stream-hello",
            Self::StreamUpdate => "stream-update",
            Self::StreamAccept => "stream-accept",
            Self::StreamAccepted => "stream-accepted",
            Self::StreamConverged => "stream-converged",
        }
    }
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Error, Self::Panic, Self::Delay, Self::Kill];

    /// Gives the name that an order has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Delay => "delay",
            Self::Kill => "kill",
        }
    }
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::LostDelete,
        Self::AckBeforeJournal,
        Self::PruneOnPartialDump,
        Self::OverlookedIsGone,
        Self::LedgerAfterStep,
        Self::ForeignPruned,
        Self::OlderTaken,
        Self::ConflictUnseen,
        Self::DigestUnchecked,
        Self::FailedSyncTaken,
        Self::WatermarkUnchecked,
        Self::ChecksumUnchecked,
        Self::RemoveBeforeAdd,
        Self::VipFirst,
        Self::BootIgnored,
        Self::RetryForgotten,
        Self::SnapshotKeepsRest,
        Self::PruneBeforeKnown,
        Self::DrainForgotten,
        Self::OneCountEnough,
        Self::HoldIgnored,
        Self::DoubtIgnored,
        Self::ReorderedDelta,
        Self::DoubleApply,
        Self::AckOtherGeneration,
        Self::GenerationReset,
        Self::HelloIgnored,
        Self::WrongBase,
        Self::StaleSnapshot,
    ];

    /// Gives the name it is planted by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LostDelete => "lost-delete",
            Self::AckBeforeJournal => "ack-before-journal",
            Self::PruneOnPartialDump => "prune-on-partial-dump",
            Self::OverlookedIsGone => "overlooked-is-gone",
            Self::LedgerAfterStep => "ledger-after-step",
            Self::ForeignPruned => "foreign-pruned",
            Self::OlderTaken => "older-taken",
            Self::ConflictUnseen => "conflict-unseen",
            Self::DigestUnchecked => "digest-unchecked",
            Self::FailedSyncTaken => "failed-sync-taken",
            Self::WatermarkUnchecked => "watermark-unchecked",
            Self::ChecksumUnchecked => "checksum-unchecked",
            Self::RemoveBeforeAdd => "remove-before-add",
            Self::VipFirst => "vip-first",
            Self::BootIgnored => "boot-ignored",
            Self::RetryForgotten => "retry-forgotten",
            Self::SnapshotKeepsRest => "snapshot-keeps-rest",
            Self::PruneBeforeKnown => "prune-before-known",
            Self::DrainForgotten => "drain-forgotten",
            Self::OneCountEnough => "one-count-enough",
            Self::HoldIgnored => "hold-ignored",
            Self::DoubtIgnored => "doubt-ignored",
            Self::ReorderedDelta => "reordered-delta",
            Self::DoubleApply => "double-apply",
            Self::AckOtherGeneration => "ack-other-generation",
            Self::GenerationReset => "generation-reset",
            Self::HelloIgnored => "hello-ignored",
            Self::WrongBase => "wrong-base",
            Self::StaleSnapshot => "stale-snapshot",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Injected> for io::Error {
    fn from(fault: Injected) -> Self {
        Self::other(fault)
    }
}

/// Passes a point, on a thread that may block. It fails if that was ordered.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn pass(_point: Point) -> Result<(), Injected> {
    Ok(())
}

/// Passes a point within a task. It fails if that was ordered.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub async fn reach(_point: Point) -> Result<(), Injected> {
    Ok(())
}

/// Says whether a bug is planted.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn planted(_bug: Bug) -> bool {
    false
}
