//! Takes what somebody else made, and the accepted state wants, for ours: in place, so that nothing it serves ends.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use weir_proto::model::Generation;

use crate::clock::now_unix_ms;
use crate::journal::{Journal, JournalError, Remembered};
use crate::kernel::{Kernel, KernelError, read_surely};
use crate::plan::{self, Adoption, LedgerChange, Scope, unwanted, wanted};

/// What was adopted, or would be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was only tried out: nothing is written.
    pub dry_run: bool,
    /// What becomes ours, and what does not.
    pub adoption: Adoption,
}

/// Why nothing could be adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Nothing says what is wanted.
    #[error(
        "nothing was accepted yet, so nothing is wanted: run the agent until it has heard from the controller, and stop it"
    )]
    NothingAccepted,
    /// The kernel could not be read.
    #[error("the kernel could not be read")]
    Kernel(#[from] KernelError),
    /// The journal could not be written.
    #[error("the journal could not be written")]
    Journal(#[from] JournalError),
}

/// Writes down as ours what is there and wanted, and changes nothing in the kernel: an agent that starts afterwards edits
/// it in place. Without a journal it only tells what it would write. `elsewhere` has the addresses of other links.
pub async fn adopt<K: Kernel>(
    kernel: &mut K,
    journal: Option<&Journal>,
    remembered: &Remembered,
    elsewhere: &BTreeSet<IpAddr>,
) -> Result<Outcome, AdoptError> {
    says_what_is_wanted(remembered)?;
    let (held, ledger) = (remembered.keeping.serving(), &remembered.ledger);
    let wanted = wanted(&held.state, ledger, &Scope::All);
    // what a dump misses of what is wanted is asked for by its key, as if it were ours already
    let mut sought = ledger.clone();
    sought.apply(&LedgerChange {
        made: wanted
            .keys()
            .copied()
            .filter(|key| key.container().is_none())
            .collect(),
        ..LedgerChange::default()
    });
    let actual = read_surely(kernel, &Scope::All, &sought).await?;
    let adoption = plan::adopt(&actual, &wanted, ledger, elsewhere);
    if let Some(journal) = journal {
        let change = LedgerChange {
            made: adoption.taken.clone(),
            ..LedgerChange::default()
        };
        // first: with the service its backends are ours to take out
        let drained = unwanted(&actual, &adoption.taken, &held, now_unix_ms());
        journal.begin(&drained).await?;
        journal.record(&change).await?;
    }
    Ok(Outcome {
        dry_run: journal.is_none(),
        adoption,
    })
}

/// Refuses a journal in which nothing was accepted: by that nothing would be adopted.
pub fn says_what_is_wanted(remembered: &Remembered) -> Result<(), AdoptError> {
    match remembered.keeping.accepted.generation {
        Generation(0) => Err(AdoptError::NothingAccepted),
        _ => Ok(()),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dry_run, adoption } = self;
        let Adoption {
            taken,
            within,
            surplus,
            absent,
            left,
        } = adoption;
        let [take, leave, so] = match dry_run {
            true => ["would take", "would leave", "would be "],
            false => ["took", "left", ""],
        };
        for key in taken {
            writeln!(f, "{take} {key}")?;
        }
        for key in within {
            writeln!(f, "{take} {key} with it")?;
        }
        for key in surplus {
            writeln!(f, "{take} {key} with it, and it will go: it is not wanted")?;
        }
        for (key, why) in left {
            writeln!(f, "{leave} {key}: {why}")?;
        }
        for key in absent {
            writeln!(f, "not there: {key}; the agent will make it")?;
        }
        write!(
            f,
            "{} objects {so}taken, with {} in them, {} left, {} wanted and not there",
            taken.len(),
            within.len() + surplus.len(),
            left.len(),
            absent.len()
        )
    }
}

#[cfg(test)]
mod tests;
