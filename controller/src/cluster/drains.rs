//! Drains that operators ask for, and all that there are.

use weir_proto::model::{DrainTarget, DrainTerms, Identity};

use super::owner::{Owner, now_unix_ms};
use super::{DrainList, Refusal, WriteOptions, Written};
use crate::desired::What;
use crate::store::Store;

impl<S: Store> Owner<S> {
    /// Drains what is named, or, without terms, does so no longer: all of it, or nothing.
    pub(super) fn drain(
        &mut self,
        targets: Vec<DrainTarget>,
        terms: Option<DrainTerms>,
        who: Identity,
    ) -> Result<Written, Refusal> {
        let what = match terms {
            Some(_) => What::Drain,
            None => What::Undrain,
        };
        let batch = match terms {
            Some(terms) => {
                let drains = self.desired.draining(targets, terms, now_unix_ms());
                drains.map_err(Refusal::NothingToDrain)
            }
            None => {
                let drains = self.desired.undraining(targets);
                drains.map_err(Refusal::NotDrained)
            }
        };
        let change = self.desired.prepare_drains(batch?);
        Ok(self.write(change, what, &WriteOptions::by(who)))
    }

    /// Lists every drain. Costs as much as there are drains and nodes.
    pub(super) fn list_drains(&self) -> DrainList {
        let nodes = self.nodes.iter();
        let told = nodes.map(|(name, entry)| (name, entry.progress.told_drains()));
        DrainList {
            drains: self.desired.list_drains(told),
            revision: self.revision,
        }
    }
}
