//! What a node must not forget: the state it accepted, and which objects of the kernel it made.
//!
//! A record is durable when the call that writes it returns, so that it can be written before it is acknowledged
//! and before the kernel is touched.

mod record;

use std::path::Path;

use weir_proto::disk::{Batch, Disk, DiskError, Records, Writer};
use weir_proto::faults::{self, Bug};

use crate::plan::{Begun, DrainId, Keeping, Ledger, LedgerChange, Taking};

/// The layout of the records below. A change of it comes with a migration.
const SCHEMA: u8 = 1;

/// The journal of one node. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal {
    writer: Writer,
}

/// What the journal remembers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The accepted state, and what is held back of it.
    pub keeping: Keeping,
    /// What is ours.
    pub ledger: Ledger,
    /// The drains that had begun and were not over, in no order.
    pub drains: Vec<Begun>,
}

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The database failed.
    #[error("the journal failed")]
    Disk(#[from] DiskError),
    /// A record makes no sense, though its checksum is right.
    #[error("journal record {key} cannot be read: {why}")]
    Record {
        /// Its key.
        key: String,
        /// Why not.
        why: String,
    },
    /// The thread that writes was lost.
    #[error("the write to the journal was abandoned")]
    Abandoned,
}

impl Remembered {
    /// Reads records.
    pub fn from_records(records: &Records) -> Result<Self, JournalError> {
        let mut remembered = Self::default();
        for (key, payload) in records {
            record::remember(key, payload, &mut remembered)?;
        }
        Ok(remembered)
    }

    /// Reads records in a kernel that is `boot`, and says whether that is another one than they were written in.
    fn of_boot(records: &Records, boot: &str) -> Result<(Self, bool), JournalError> {
        let mut remembered = Self::from_records(records)?;
        let booted = records.get(record::BOOT).map(Vec::as_slice) != Some(boot.as_bytes());
        let booted = booted && !faults::planted(Bug::BootIgnored);
        if booted {
            remembered.ledger = remembered.ledger.emptied();
            remembered.drains.clear();
        }
        Ok((remembered, booted))
    }

    /// Writes the records of a journal that remembers just this.
    pub fn to_records(&self) -> Records {
        let settings = self.ledger.settings();
        let ours = LedgerChange {
            made: self.ledger.made().collect(),
            found: settings
                .map(|(sysctl, value)| (sysctl, value.to_owned()))
                .collect(),
            ..LedgerChange::default()
        };
        let mut records = Records::new();
        record::of_remembered(self).write_into(&mut records);
        record::of_ledger(&ours).write_into(&mut records);
        if self.ledger.is_released() {
            record::of_release(std::iter::empty()).write_into(&mut records);
        }
        records
    }
}

impl Journal {
    /// Opens the journal in `path`, made if it is not there, and gives what it remembers. Of the kernel that was
    /// `boot` it remembers what is ours; another one never held anything that we made. Blocks.
    pub fn open(path: &Path, boot: &str) -> Result<(Self, Remembered), JournalError> {
        let (disk, records) = Disk::open(path, SCHEMA)?;
        let (remembered, booted) = Remembered::of_boot(&records, boot)?;
        if booted {
            disk.commit(&record::of_boot(boot, records.keys()))?;
        }
        let writer = Writer::new(disk);
        Ok((Self { writer }, remembered))
    }

    /// Gives what [`Self::open`] would give, and writes nothing. Blocks.
    pub fn look(path: &Path, boot: &str) -> Result<Remembered, JournalError> {
        let (_, records) = Disk::open(path, SCHEMA)?;
        Ok(Remembered::of_boot(&records, boot)?.0)
    }

    /// Makes durable what is accepted or released, one record for each item in it, with the drains that begin by it.
    pub async fn accept(&self, taking: &Taking, begun: &[Begun]) -> Result<(), JournalError> {
        self.commit(record::of_taking(taking, begun)).await
    }

    /// Notes that drains are over.
    pub async fn end(&self, drains: &[DrainId]) -> Result<(), JournalError> {
        self.commit(record::of_ended(drains)).await
    }

    /// Makes a change of the ledger durable.
    pub async fn record(&self, change: &LedgerChange) -> Result<(), JournalError> {
        self.commit(record::of_ledger(change)).await
    }

    /// Forgets what was accepted, as if nothing ever had been: all that is remembered but the ledger.
    pub async fn forget(&self, remembered: &Remembered) -> Result<(), JournalError> {
        self.commit(record::of_nothing(remembered)).await
    }

    /// Forgets all that is remembered, and that anything in the kernel is ours: from now on what hangs on `weir0` is not
    /// claimed either.
    pub async fn release(&self, remembered: &Remembered) -> Result<(), JournalError> {
        let records = remembered.to_records();
        self.commit(record::of_release(records.keys())).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), JournalError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.writer.commit(batch).await.map_err(JournalError::from)
    }
}

#[cfg(test)]
mod tests;
