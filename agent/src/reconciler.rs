//! Brings the kernel to what is wanted and keeps it there: the one task that owns the kernel.
//!
//! A pass reads what a change touches, plans, writes the ledger, takes the steps and reports. Every so often an
//! audit does the same for everything. Nothing is flushed when the task ends.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, Span, debug, info, warn};
use weir_proto::model::{Family, Generation};
use weir_proto::trace::chain;

use crate::journal::{Journal, JournalError, Remembered};
use crate::kernel::{Kernel, KernelError, StepError, Verdict, read_surely};
use crate::plan::{
    Change, Guard, Held, Key, Ledger, LedgerChange, Plan, Problem, Report, Scope, Step, Table,
    Unit, guards, plan, report, takes_silently, wanted,
};

/// How many failures a report names; the rest is only counted. A thousand are some 200 KiB on the wire.
const MOST_FAILURES: usize = 1_000;
/// The wait before what failed is tried again; it doubles up to the audit's interval.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// EEXIST (`include/uapi/asm-generic/errno-base.h`): what a kernel says of a key that somebody else holds.
const EEXIST: i32 = 17;

/// An accepted change on its way to the kernel, with the trace it belongs to.
#[derive(Debug)]
pub struct Accepted {
    /// What changes.
    pub change: Change,
    /// The span in which it was accepted.
    pub span: Span,
}

/// How far the kernel is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The newest generation the kernel was brought to, save for the failures; 0: no pass has ended yet.
    pub converged: Generation,
    /// Whether a pass over everything has ended since the start.
    pub settled: bool,
    /// What the kernel does not hold as wanted.
    pub report: Report,
    /// What was counted since the start.
    pub counts: Counts,
    /// How many packets the lockdown of each family had rejected at the last look at everything.
    pub rejected: BTreeMap<Family, u64>,
    /// How many repairs there were since the start, by the kind of what was repaired ([`Key::kind`]).
    pub repaired: BTreeMap<&'static str, u64>,
}

/// What the reconciler did since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passes over a part.
    pub passes: u64,
    /// Passes over everything.
    pub audits: u64,
    /// Passes that could not read the kernel or write the journal.
    pub failed_passes: u64,
    /// Steps the kernel took.
    pub steps: u64,
    /// Steps it refused.
    pub refused_steps: u64,
    /// Steps that no change had asked for: somebody else had changed the kernel.
    pub repairs: u64,
}

/// The task.
#[derive(Debug)]
pub struct Reconciler<K> {
    kernel: K,
    journal: Journal,
    held: Held,
    ledger: Ledger,
    problems: BTreeMap<Key, Problem>,
    /// What the next pass must look at; none: nothing.
    due: Option<Scope>,
    status: watch::Sender<Status>,
}

/// Why a pass came to nothing.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("the kernel could not be read")]
    Kernel(#[from] KernelError),
    #[error("what is ours could not be written down")]
    Journal(#[from] JournalError),
}

impl<K: Kernel> Reconciler<K> {
    /// Makes the task from what the journal remembers, and gives where to watch it.
    pub fn new(
        kernel: K,
        journal: Journal,
        remembered: Remembered,
    ) -> (Self, watch::Receiver<Status>) {
        let (status, watcher) = watch::channel(Status::default());
        let Remembered { held, ledger } = remembered;
        let reconciler = Self {
            kernel,
            journal,
            held,
            ledger,
            problems: BTreeMap::new(),
            due: Some(Scope::All),
            status,
        };
        (reconciler, watcher)
    }

    /// Runs until `changes` is closed. Starts with a pass over everything.
    pub async fn run(mut self, mut changes: mpsc::Receiver<Accepted>, audit_interval: Duration) {
        let mut retry = FIRST_RETRY;
        let mut next_audit = Instant::now() + audit_interval;
        let mut span = Span::none();
        loop {
            let audit = self.due == Some(Scope::All);
            let cause = mem::replace(&mut span, Span::none());
            let passed = self.pass_due().instrument(cause).await;
            let wake = self.wake(&mut retry, audit_interval);
            if audit {
                // after the pass: one that outlasts its interval must not be followed by the next at once
                let pause = if passed { audit_interval } else { retry };
                next_audit = Instant::now() + pause;
            }
            let wake = wake.min(next_audit);
            tokio::select! {
                accepted = changes.recv() => match accepted {
                    Some(accepted) => {
                        span = self.take(accepted);
                        // what came meanwhile goes into the same pass
                        while let Ok(accepted) = changes.try_recv() {
                            span = self.take(accepted);
                        }
                    }
                    None => break,
                },
                () = sleep_until(wake) => self.look_again(wake >= next_audit),
            }
        }
        info!(generation = %self.held.generation, "the kernel is left serving");
    }

    /// Gives when what failed is tried again.
    fn wake(&self, retry: &mut Duration, audit_interval: Duration) -> Instant {
        if self.problems.is_empty() && self.due.is_none() {
            *retry = FIRST_RETRY;
            return Instant::now() + audit_interval;
        }
        let wake = Instant::now() + *retry;
        *retry = (*retry * 2).min(audit_interval);
        wake
    }

    fn look_again(&mut self, everything: bool) {
        if everything {
            self.due = Some(Scope::All);
        } else {
            let units = self.problems.keys().map(|key| key.unit()).collect();
            self.add_due(units);
        }
    }

    fn take(&mut self, accepted: Accepted) -> Span {
        let Accepted { change, span } = accepted;
        if self.held.generation == Generation(0) {
            self.due = Some(Scope::All);
        }
        let mut units: BTreeSet<Unit> = change.keys().map(|key| Key::Item(key).unit()).collect();
        // which guards an item calls for depends on what it says: of those that it calls for as before, nothing changes
        let before = change.keys();
        let before = before.filter_map(|key| self.held.state.get(&key));
        let before: BTreeSet<Guard> = before.flat_map(guards).collect();
        let after: BTreeSet<Guard> = change.upserted.iter().flat_map(guards).collect();
        let changed = before.symmetric_difference(&after);
        units.extend(changed.copied().map(Unit::Guard));
        let silently = takes_silently(&self.held.state);
        self.held.apply(change);
        if takes_silently(&self.held.state) != silently {
            // how ARP is answered, and with it how every VIP is bound
            self.due = Some(Scope::All);
        }
        if self.lacks_base() {
            units.insert(Unit::Base);
        }
        self.add_due(units);
        span
    }

    /// Says whether the state needs a base object that is not ours yet.
    fn lacks_base(&self) -> bool {
        let base = wanted(
            &self.held.state,
            &self.ledger,
            &Scope::Units([Unit::Base].into()),
        );
        base.keys()
            .any(|key| !matches!(key, Key::Setting(_)) && !self.ledger.owns(*key))
    }

    fn add_due(&mut self, units: BTreeSet<Unit>) {
        self.due = match self.due.take() {
            Some(Scope::All) => Some(Scope::All),
            Some(Scope::Units(mut due)) => {
                due.extend(units);
                Some(Scope::Units(due))
            }
            None => Some(Scope::Units(units)),
        };
    }

    /// Makes a pass over what is due, and tells how far the kernel is. Says whether it could.
    async fn pass_due(&mut self) -> bool {
        let Some(scope) = self.due.take() else {
            return true;
        };
        if self.held.generation == Generation(0) {
            // nothing was ever accepted, or all was forgotten: what is in the kernel is not to be judged by that
            self.status.send_modify(|status| status.settled = true);
            return true;
        }
        let repairs = self.repairs();
        let passed = self.pass(&scope).await;
        if let Err(error) = &passed {
            self.not_seen(&scope, error);
        }
        let found = report(&self.problems, &self.held.state, MOST_FAILURES);
        let generation = self.held.generation;
        let all = scope == Scope::All;
        let rejected = self.kernel.rejected();
        self.status.send_if_modified(|status| {
            let before = (status.converged, status.settled, status.report.clone());
            let counts = &mut status.counts;
            *(if all {
                &mut counts.audits
            } else {
                &mut counts.passes
            }) += 1;
            match &passed {
                Ok(taken) => {
                    counts.steps += taken.steps;
                    counts.refused_steps += taken.refused;
                    if repairs {
                        counts.repairs += taken.steps;
                    }
                    status.settled |= all;
                    status.converged = generation;
                }
                Err(_) => counts.failed_passes += 1,
            }
            match (status.report.count, found.count) {
                (before, now) if before == now => {}
                (_, 0) => info!("everything is as wanted again"),
                (_, items) => warn!(items, "not as wanted; tried again until they are"),
            }
            status.report = found;
            // a number that rises is no news
            status.rejected = rejected;
            before != (status.converged, status.settled, status.report.clone())
        });
        // what is known of an audit that failed is only when to try again: what changes meanwhile is not held up
        if passed.is_err() && !all {
            self.due = Some(scope);
        }
        passed.is_ok()
    }

    /// Notes that nothing is known of the items in `scope`.
    fn not_seen(&mut self, scope: &Scope, error: &PassError) {
        warn!(
            error = error as &dyn std::error::Error,
            "a pass came to nothing"
        );
        let problem = Problem::new(0, chain(error));
        let items = self.held.state.items().keys().map(|key| Key::Item(*key));
        let within: Vec<Key> = match scope {
            Scope::All => items.collect(),
            // the units are few, the items may be many
            Scope::Units(_) => {
                let wanted = wanted(&self.held.state, &self.ledger, scope);
                let keys = wanted.into_keys();
                keys.filter(|key| matches!(key, Key::Item(_))).collect()
            }
        };
        for key in within {
            self.problems.insert(key, problem.clone());
        }
    }

    async fn pass(&mut self, scope: &Scope) -> Result<Taken, PassError> {
        let actual = read_surely(&mut self.kernel, scope, &self.ledger).await?;
        if *scope == Scope::All {
            self.claim(&actual).await?;
        }
        let wanted = wanted(&self.held.state, &self.ledger, scope);
        let plan = plan(&actual, &wanted, &self.ledger);
        let before = LedgerChange {
            gone: self.ledger.vanished(scope, &actual, &wanted),
            ..self.ledger.before(&plan, &actual)
        };
        self.write_down(&before).await?;
        debug!(
            steps = plan.steps.len(),
            conflicts = plan.conflicts.len(),
            "planned"
        );
        let verdicts = if plan.steps.is_empty() {
            Vec::new()
        } else {
            self.kernel.apply(&plan.steps).await
        };
        let (known, rest) = mem::take(&mut self.problems)
            .into_iter()
            .partition(|(key, _)| scope.has(*key));
        self.problems = rest;
        let (taken, change) = self.judge(&plan, &verdicts, &before, &known);
        if taken.steps > 0 {
            info!(generation = %self.held.generation, steps = taken.steps, "kernel changed");
        }
        self.write_down(&change).await?;
        Ok(taken)
    }

    /// Takes over what an agent before us left in a kernel that our journal knows nothing of.
    async fn claim(&mut self, actual: &Table) -> Result<(), JournalError> {
        let made = self.ledger.claim(actual);
        if !made.is_empty() {
            warn!(
                objects = made.len(),
                "weir0 is there and the journal does not know it: taking over what hangs on it"
            );
        }
        self.write_down(&LedgerChange {
            made,
            ..LedgerChange::default()
        })
        .await
    }

    /// Notes what became of each step of a plan for which `before` was written down; gives what that changes in
    /// the ledger. A problem that is known is not told again.
    fn judge(
        &mut self,
        plan: &Plan,
        verdicts: &[Verdict],
        before: &LedgerChange,
        known: &BTreeMap<Key, Problem>,
    ) -> (Taken, LedgerChange) {
        let repair = self.repairs();
        let mut taken = Taken::default();
        let mut change = LedgerChange::default();
        for (step, verdict) in plan.steps.iter().zip(verdicts) {
            match verdict {
                Ok(()) => {
                    taken.steps += 1;
                    self.ledger.after(step, true, before, &mut change);
                    if repair {
                        info!(key = %step.key(), verb = verb(step), "repaired what somebody else changed");
                    } else {
                        debug!(key = %step.key(), verb = verb(step), "changed");
                    }
                }
                Err(error) if matches!(step, Step::Remove { .. }) && error.says_absent() => {
                    self.ledger.after(step, true, before, &mut change);
                }
                Err(error) => {
                    taken.refused += 1;
                    if matches!(error, StepError::Refused(_)) {
                        self.ledger.after(step, false, before, &mut change);
                    }
                    let problem = error.problem();
                    if known.get(&step.key()) != Some(&problem) {
                        warn!(key = %step.key(), verb = verb(step), %error, "refused");
                    }
                    self.problems.insert(step.key(), problem);
                }
            }
        }
        for conflict in &plan.conflicts {
            let problem = Problem::new(EEXIST, conflict.cause());
            if known.get(&conflict.key) != Some(&problem) {
                warn!(key = %conflict.key, cause = problem.cause, "in conflict");
            }
            self.problems.insert(conflict.key, problem);
        }
        (taken, change)
    }

    /// Says whether a pass now finds only what others did: all that was asked for had been done before.
    fn repairs(&self) -> bool {
        let status = self.status.borrow();
        let done = status.settled && status.converged == self.held.generation;
        done && status.report.count == 0
    }

    async fn write_down(&mut self, change: &LedgerChange) -> Result<(), JournalError> {
        if !change.is_empty() {
            self.journal.record(change).await?;
            self.ledger.apply(change);
        }
        Ok(())
    }
}

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    steps: u64,
    refused: u64,
}

fn verb(step: &Step) -> &'static str {
    match step {
        Step::Add { .. } => "add",
        Step::Edit { .. } => "edit",
        Step::Remove { .. } => "remove",
    }
}

#[cfg(test)]
mod lockdown_tests;
#[cfg(test)]
mod tests;
