//! What the reconciler finds out for those who ask, between two passes: it reads, and changes nothing.

use tokio::sync::oneshot;
use weir_proto::trace::chain;

use super::Reconciler;
use crate::kernel::{Kernel, KernelError, read_surely};
use crate::plan::{Scope, Stand, Table, Trial, Tried};

/// Asks what a change would do.
#[derive(Debug)]
pub struct Inquiry {
    /// The change.
    pub trial: Trial,
    /// Where to tell it, or why it is not known.
    pub answer: oneshot::Sender<Result<Tried, String>>,
}

impl<K: Kernel> Reconciler<K> {
    /// Answers one who asks, as what was accepted until now is in the kernel.
    pub(super) async fn answer(&mut self, inquiry: Inquiry) {
        let Inquiry { trial, answer } = inquiry;
        if answer.is_closed() {
            return;
        }
        let tried = self.tried(trial).await;
        let tried = tried.map_err(|error| chain(&error));
        // who does not wait any more has no use for it
        let _ = answer.send(tried);
    }

    async fn tried(&mut self, trial: Trial) -> Result<Tried, KernelError> {
        let attempt = self.stand().attempt(trial);
        let actual = self.look(&attempt.scope).await?;
        let mut tried = self.stand().plan(attempt, actual);
        let refused = self.kernel.refusals(&tried.plan.steps).await?;
        tried.refuse(refused);
        let touched = tried.touched();
        if !touched.is_empty() {
            tried.counts = self.kernel.connections(&touched).await?;
        }
        let visit = tried.visit.filter(|visit| visit.client.is_some());
        if let Some(visit) = visit {
            // what else is seen is worth telling without them
            let visits = self.kernel.visits(&visit).await;
            tried.visits = Some(visits.map_err(|error| chain(&error)));
        }
        Ok(tried)
    }

    fn stand(&self) -> Stand<'_> {
        Stand {
            held: &self.held,
            ledger: &self.ledger,
            drains: &self.drains,
        }
    }

    /// Reads what the kernel holds within `scope`, nothing overlooked of what is ours or drained.
    pub(super) async fn look(&mut self, scope: &Scope) -> Result<Table, KernelError> {
        let mut actual = read_surely(&mut self.kernel, scope, &self.ledger).await?;
        let drained = self.drains.missing(scope, &actual);
        if !drained.is_empty() {
            // a dump may have missed them, and what is taken for gone is let go
            actual.extend(self.kernel.read(&Scope::Units(drained)).await?);
        }
        Ok(actual)
    }
}
