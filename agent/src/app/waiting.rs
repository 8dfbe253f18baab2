//! An agent whose journal cannot be opened: it says so and waits, and the kernel goes on as it is.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::error;
use weir_proto::disk::DiskError;

use super::{boot, open_journal, serve_admin};
use crate::admin::{self, Staleness};
use crate::journal::{Journal, JournalError, Remembered};
use crate::plan::{Keeping, Numbers};
use crate::reconciler::Status;
use crate::session::{Connect, Identity, Link, Session};

/// How often it is tried. A full or read-only disk takes somebody minutes to find.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// What such an agent needs.
pub(super) struct Waiting<'a, C> {
    pub(super) controller: C,
    pub(super) identity: Identity,
    pub(super) journal: &'a Path,
    pub(super) admin_listen: Option<SocketAddr>,
    pub(super) staleness: Staleness,
}

/// Says whether what keeps a journal from being opened may pass: the disk is full or read-only. Not so of one that is in use
/// or that another version wrote.
pub(super) fn may_pass(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<JournalError>(),
        Some(JournalError::Disk(
            DiskError::Directory { .. }
                | DiskError::Open { .. }
                | DiskError::Write { .. }
                | DiskError::Sync { .. }
                | DiskError::Failed { .. }
        ))
    )
}

impl<C: Connect> Waiting<'_, C> {
    /// Tells the controller and whoever asks, and takes nothing, until the journal can be opened.
    pub(super) async fn until_opened(
        self,
        why: anyhow::Error,
    ) -> anyhow::Result<(Journal, Remembered)> {
        error!(
            error = &*why as &dyn std::error::Error,
            "degraded: the journal cannot be opened, so nothing is accepted; the kernel goes on serving"
        );
        let journal = Journal::closed(self.journal, &boot()?, &format!("{why:#}"));
        let (changes, _nobody_takes) = mpsc::channel(1);
        let (asks, _nobody_answers) = mpsc::channel(1);
        let (_unchanged, status) = watch::channel(Status::default());
        let (_none, drains) = watch::channel(Vec::new());
        let (link, link_watch) = watch::channel(Link::default());
        let mut tasks = Tasks::default();
        if let Some(address) = self.admin_listen {
            let sources = admin::Sources {
                stages: admin::Stages::default(),
                status: status.clone(),
                link: link_watch,
                degraded: journal.degraded(),
                // nobody counts before the journal says what was counted
                numbers: watch::channel(Numbers::default()).1,
                staleness: self.staleness,
            };
            tasks.0.push(serve_admin(address, sources).await?);
        }
        let session = Session {
            // it accepts nothing
            stages: admin::Stages::default(),
            controller: self.controller,
            identity: self.identity,
            journal,
            keeping: Keeping::default(),
            changes,
            status,
            drains,
            repairs: watch::Sender::default(),
            asks,
            link,
        };
        tasks.0.push(tokio::spawn(session.run()));
        loop {
            tokio::time::sleep(TRY_EVERY).await;
            match open_journal(self.journal).await {
                Err(error) if may_pass(&error) => {}
                opened => {
                    // whoever comes after them listens where they do
                    tasks.end().await;
                    return opened;
                }
            }
        }
    }
}

/// Tasks that end with whoever started them.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    /// Ends them, and waits until they have let go of everything.
    async fn end(mut self) {
        for task in self.0.drain(..) {
            task.abort();
            // it was told to end, and so it did
            let _ = task.await;
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
