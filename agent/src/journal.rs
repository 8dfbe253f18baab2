//! What a node must not forget: the state it accepted, and which objects of the kernel it made.
//!
//! A record is durable when the call that writes it returns, so that it can be written before it is acknowledged
//! and before the kernel is touched. A journal that failed takes nothing more, and says so, until it is made anew from
//! what its owners have in memory.

mod numbers;
mod record;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tracing::{error, warn};
use weir_proto::disk::{self, Batch, Disk, DiskError, Records, Recovered, Writer};
use weir_proto::faults::{self, Bug};
use weir_proto::model::Degraded;
use weir_proto::trace::chain;

use crate::clock::now_unix_ms;
use crate::plan::{
    Begun, DrainId, Keeping, Ledger, LedgerChange, SavedTotals, Taking, TotalsChange,
};

/// The layout of the records below. A change of it comes with a migration.
const SCHEMA: u8 = 1;

/// The journal of one node. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    boot: String,
    /// None: it could not be opened.
    writer: Mutex<Option<Writer>>,
    degraded: watch::Sender<Option<Degraded>>,
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
    /// What had passed.
    pub totals: SavedTotals,
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
    /// It could not be opened, and was not since.
    #[error("the journal is not open")]
    Closed,
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
        remembered.keeping.accepted.state.pack();
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
        numbers::of_totals(&self.totals.clone().into()).write_into(&mut records);
        record::of_ledger(&ours).write_into(&mut records);
        if self.ledger.is_released() {
            record::of_release(std::iter::empty()).write_into(&mut records);
        }
        records
    }
}

impl Journal {
    /// Opens the journal in `path`, made if it is not there, and gives what it remembers. Of the kernel that was
    /// `boot` it remembers what is ours; another one never held anything that we made. A damaged one is set aside and made
    /// anew from what is left of it; unless nothing is lost by that, it is degraded until something is accepted, and what it
    /// remembers is unsure: nothing that was made is known to be ours. Blocks.
    pub fn open(path: &Path, boot: &str) -> Result<(Self, Remembered), JournalError> {
        let (disk, records, recovered) = disk::recover(path, SCHEMA)?;
        let (mut remembered, booted) = Remembered::of_boot(&records, boot)?;
        // in one commit: the first ends what is known of a recovery
        let mut batch = Batch::default();
        if booted {
            batch.extend(record::of_boot(boot, records.keys()));
        }
        let mut degraded = None;
        if let Some(recovered) = recovered {
            degraded = told(&recovered);
            if degraded.is_some() {
                remembered.ledger = remembered.ledger.doubted();
                batch.extend(record::of_doubt(records.keys()));
            }
        }
        disk.commit(&batch)?;
        if records.contains_key(record::DOUBT) && degraded.is_none() {
            degraded = Some(said(
                "what was accepted last is not known since the journal was damaged",
            ));
        }
        remembered.keeping.unsure = degraded.is_some();
        let journal = Self::new(path, boot, Some(Writer::new(disk)), degraded);
        Ok((journal, remembered))
    }

    /// Gives a journal that could not be opened, and takes nothing.
    pub fn closed(path: &Path, boot: &str, why: &str) -> Self {
        Self::new(path, boot, None, Some(said(why)))
    }

    fn new(path: &Path, boot: &str, writer: Option<Writer>, degraded: Option<Degraded>) -> Self {
        Self(Arc::new(Shared {
            path: path.to_owned(),
            boot: boot.to_owned(),
            writer: Mutex::new(writer),
            degraded: watch::Sender::new(degraded),
        }))
    }

    /// Gives where to watch whether it takes anything.
    pub fn degraded(&self) -> watch::Receiver<Option<Degraded>> {
        self.0.degraded.subscribe()
    }

    /// Says whether it takes nothing since a write to it failed.
    pub fn has_failed(&self) -> bool {
        self.writer().is_some_and(|writer| writer.has_failed())
    }

    fn writer(&self) -> Option<Writer> {
        let writer = self.0.writer.lock();
        writer.unwrap_or_else(|held| held.into_inner()).clone()
    }

    /// Makes it anew from what is in memory; what it was is set aside. It takes changes again when this is done.
    pub async fn rebuild(&self, remembered: &Remembered) -> Result<(), JournalError> {
        let mut records = remembered.to_records();
        record::of_boot(&self.0.boot, std::iter::empty()).write_into(&mut records);
        let path = self.0.path.clone();
        let rebuild = move || disk::rebuild(&path, SCHEMA, &records);
        let made = disk::aside(&self.0.path, rebuild).await;
        let disk = made.map_err(|_| JournalError::Abandoned)??;
        let mut writer = self
            .0
            .writer
            .lock()
            .unwrap_or_else(|held| held.into_inner());
        *writer = Some(Writer::new(disk));
        if !remembered.keeping.unsure {
            self.0.degraded.send_replace(None);
        }
        Ok(())
    }

    /// Gives what [`Self::open`] would give, and changes nothing of it. Blocks.
    pub fn look(path: &Path, boot: &str) -> Result<Remembered, JournalError> {
        let (_, records) = Disk::open(path, SCHEMA)?;
        Ok(Remembered::of_boot(&records, boot)?.0)
    }

    /// Makes durable what is accepted or released, one record for each item in it, with the drains that begin by it.
    pub async fn accept(&self, taking: &Taking, begun: &[Begun]) -> Result<(), JournalError> {
        self.commit(record::of_taking(taking, begun)).await?;
        if taking.sure {
            self.0.degraded.send_replace(None);
        }
        Ok(())
    }

    /// Notes that drains begin which nothing that is accepted says.
    pub async fn begin(&self, begun: &[Begun]) -> Result<(), JournalError> {
        self.commit(record::of_begun(begun)).await
    }

    /// Notes that drains are over.
    pub async fn end(&self, drains: &[DrainId]) -> Result<(), JournalError> {
        self.commit(record::of_ended(drains)).await
    }

    /// Makes totals durable.
    pub async fn count(&self, change: &TotalsChange) -> Result<(), JournalError> {
        self.commit(numbers::of_totals(change)).await
    }

    /// Makes a change of the ledger durable.
    pub async fn record(&self, change: &LedgerChange) -> Result<(), JournalError> {
        self.commit(record::of_ledger(change)).await
    }

    /// Forgets what was accepted, as if nothing ever had been: all that is remembered but the ledger and totals.
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
        let writer = self.writer().ok_or(JournalError::Closed)?;
        let written = writer.commit(batch).await.map_err(JournalError::from);
        if let Err(cause) = &written {
            self.0.degraded.send_if_modified(|degraded| {
                let news = degraded.is_none();
                if news {
                    error!(
                        error = cause as &dyn std::error::Error,
                        "degraded: nothing more is accepted; the kernel goes on serving"
                    );
                    *degraded = Some(said(&chain(cause)));
                }
                news
            });
        }
        written
    }
}

/// Tells of a journal that was damaged; gives that it is degraded where something is lost.
fn told(recovered: &Recovered) -> Option<Degraded> {
    let Recovered {
        why,
        aside,
        commit,
        complete,
    } = recovered;
    let aside = aside.display();
    if *complete {
        warn!(why, %aside, "the journal was damaged, and nothing is lost: a snapshot had all of it");
        return None;
    }
    let left = match commit {
        Some(_) => "what it held at an earlier time is left",
        None => "nothing is left of it",
    };
    error!(why, %aside, left, "the journal was damaged: waiting for the controller");
    Some(said(&format!(
        "{why}; {left}, and the rest waits for the controller"
    )))
}

fn said(reason: &str) -> Degraded {
    Degraded {
        reason: reason.to_owned(),
        since_unix_ms: now_unix_ms(),
    }
}

#[cfg(test)]
mod tests;
