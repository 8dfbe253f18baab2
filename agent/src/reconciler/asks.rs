//! What the reconciler knows and others want to know: it is told between two passes, and nothing is changed by it.

use tokio::sync::{mpsc, oneshot};
use weir_proto::trace::chain;

use super::Reconciler;
use crate::kernel::Kernel;
use crate::plan::{Begun, Held, Ledger, Report, Scope, Table, report};

/// Asks for something that the reconciler alone knows.
#[derive(Debug)]
pub enum Ask {
    /// What there is to be remembered beside what is accepted: what is ours, and what is drained.
    Remembered(oneshot::Sender<(Ledger, Vec<Begun>)>),
    /// How the node stands.
    Standing {
        /// Whether the kernel is read for it.
        kernel: bool,
        /// Where to tell it, or why the kernel cannot be read.
        answer: oneshot::Sender<Result<Standing, String>>,
    },
}

/// How a node stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What is served.
    pub held: Held,
    /// What is ours.
    pub ledger: Ledger,
    /// Everything that the kernel does not hold as wanted.
    pub report: Report,
    /// What the kernel holds, where that was asked for.
    pub kernel: Table,
}

impl<K: Kernel> Reconciler<K> {
    /// Answers whoever asks.
    pub fn asked(self, asks: mpsc::Receiver<Ask>) -> Self {
        Self {
            asks: Some(asks),
            ..self
        }
    }

    /// Tells what was asked for; who does not wait any more has no use for it.
    pub(super) async fn tell(&mut self, ask: Ask) {
        match ask {
            Ask::Remembered(answer) => {
                let _ = answer.send((self.ledger.clone(), self.drains.records()));
            }
            Ask::Standing { kernel, answer } => {
                if answer.is_closed() {
                    return;
                }
                let table = match kernel {
                    true => self.look(&Scope::All).await,
                    false => Ok(Table::new()),
                };
                let standing = table.map(|kernel| Standing {
                    held: self.held.clone(),
                    ledger: self.ledger.clone(),
                    report: report(&self.problems, &self.held.state, usize::MAX),
                    kernel,
                });
                let _ = answer.send(standing.map_err(|error| chain(&error)));
            }
        }
    }
}
