//! What of a pass only put right what somebody else had changed, and how that is told.

use std::collections::BTreeMap;
use std::mem;

use tracing::info;

use super::Reconciler;
use crate::clock::now_unix_ms;
use crate::kernel::{Kernel, Verdict};
use crate::plan::{Key, Object, Plan, Problem, Step, repair};

impl<K: Kernel> Reconciler<K> {
    /// Gives the steps that were taken and that no change had asked for; what was known to be amiss is not among them.
    pub(super) fn repaired<'a>(
        &mut self,
        plan: &'a Plan,
        verdicts: &[Verdict],
        known: &BTreeMap<Key, Problem>,
    ) -> Vec<&'a Step> {
        let expected = mem::take(&mut self.expected);
        if !self.repairs() {
            return Vec::new();
        }
        let steps = plan.steps.iter().zip(verdicts);
        let others = |key: Key| !expected.contains(&key) && !known.contains_key(&key);
        let taken = steps.filter(|(step, verdict)| verdict.is_ok() && others(step.key()));
        taken.map(|(step, _)| step).collect()
    }

    /// Notes repairs, of steps with what was found, for whoever tells them.
    pub(super) fn tell_repairs<'a>(
        &self,
        repaired: impl Iterator<Item = (&'a Step, Option<&'a Object>)>,
    ) {
        let now = now_unix_ms();
        for (step, found) in repaired {
            let repair = repair(step, found, now);
            info!(
                object = repair.object,
                found = repair.found,
                expected = repair.expected,
                "repaired what somebody else changed"
            );
            self.repairs
                .send_modify(|repairs| repairs.note(step.key(), repair));
        }
    }

    /// Says whether a pass now finds only what others did: all that was asked for had been done before.
    fn repairs(&self) -> bool {
        let status = self.status.borrow();
        status.settled && status.converged == self.held.generation
    }
}
