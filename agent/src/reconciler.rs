//! Brings the kernel to what is wanted and keeps it there: the one task that owns the kernel.
//!
//! A pass reads what a change touches, plans, writes the ledger, takes the steps and reports. Every so often an
//! audit does the same for everything, and so does a part at once when the kernel tells that somebody took something
//! away. While anything is drained its connections are counted. Nothing is flushed when the task ends.

mod asks;
mod cause;
mod drains;
mod pace;
mod questions;
mod repairs;
mod taken;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, Span, debug, info, warn};
use weir_proto::faults::{self, Bug, Point};
use weir_proto::model::{BackendKey, DrainProgress, Family, Generation, ItemKey};
use weir_proto::trace::chain;

pub use self::asks::{Ask, Standing};
use self::cause::Cause;
use self::pace::Pace;
pub use self::questions::Inquiry;
use self::taken::Taken;
use crate::clock::now_unix_ms;
use crate::journal::{Journal, JournalError, Remembered};
use crate::kernel::{Kernel, KernelError, StepError, Verdict};
use crate::plan::{
    Begun, Change, DrainId, Drains, Held, Key, Ledger, LedgerChange, Plan, Problem, Repairs,
    Report, Scope, Step, Table, Unit, guards, plan, report, unwanted, wanted,
};

/// How many failures a report names; the rest is only counted. A thousand are some 200 KiB on the wire.
const MOST_FAILURES: usize = 1_000;
/// EEXIST (`include/uapi/asm-generic/errno-base.h`): what a kernel says of a key that somebody else holds.
const EEXIST: i32 = 17;

/// An accepted change on its way to the kernel, with the trace it belongs to.
#[derive(Debug)]
pub struct Accepted {
    /// What changes of what is served.
    pub change: Change,
    /// The drains that begin by it.
    pub begun: Vec<Begun>,
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
    drains: Drains,
    /// The drains that are over and not written off yet.
    ended: Vec<DrainId>,
    /// What goes because its drain is over, so that nobody else is taken to have done it.
    expected: BTreeSet<Key>,
    /// Backends whose flows conntrack is to forget once they are out of IPVS.
    cut: BTreeSet<BackendKey>,
    /// Whether that failed once.
    cut_again: bool,
    progress: watch::Sender<Vec<DrainProgress>>,
    repairs: watch::Sender<Repairs>,
    /// Who wants to know what this task alone knows.
    asks: Option<mpsc::Receiver<Ask>>,
    /// Who wants to know what something would do.
    inquiries: Option<mpsc::Receiver<Inquiry>>,
    /// What was accepted last is not known: nothing is edited or taken away.
    unsure: bool,
    /// What the next pass is made for.
    cause: Cause,
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
        let Remembered {
            keeping,
            ledger,
            drains,
            totals: _,
        } = remembered;
        let held = keeping.serving();
        let drains = match faults::planted(Bug::DrainForgotten) {
            true => Vec::new(),
            false => drains,
        };
        let (drains, ended) = Drains::restore(drains, &held.state);
        let progress = watch::Sender::new(drains.progress());
        let reconciler = Self {
            kernel,
            journal,
            held,
            ledger,
            problems: BTreeMap::new(),
            due: Some(Scope::All),
            status,
            drains,
            ended,
            expected: BTreeSet::new(),
            cut: BTreeSet::new(),
            cut_again: false,
            progress,
            repairs: watch::Sender::default(),
            asks: None,
            inquiries: None,
            unsure: keeping.unsure,
            cause: Cause::default(),
        };
        (reconciler, watcher)
    }

    /// Gives where to watch how far drains are.
    pub fn drains(&self) -> watch::Receiver<Vec<DrainProgress>> {
        self.progress.subscribe()
    }

    /// Gives where the repairs are that were not told yet, for whoever tells them to take.
    pub fn repairs_to_tell(&self) -> watch::Sender<Repairs> {
        self.repairs.clone()
    }

    /// Answers whoever asks what something would do.
    pub fn questioned(self, inquiries: mpsc::Receiver<Inquiry>) -> Self {
        Self {
            inquiries: Some(inquiries),
            ..self
        }
    }

    /// Runs until `changes` is closed. Starts with a pass over everything.
    pub async fn run(mut self, mut changes: mpsc::Receiver<Accepted>, audit_interval: Duration) {
        let mut pace = Pace::new(audit_interval);
        let mut inquiry = None;
        loop {
            let (ran, audit) = (self.due.is_some(), self.due == Some(Scope::All));
            let span = self.cause.span();
            let passed = self.pass_due().instrument(span).await;
            self.cause.is_over();
            if ran {
                let well = self.problems.is_empty() && self.due.is_none();
                pace.passed(audit && passed, audit && !passed, well);
            }
            if let Some(inquiry) = inquiry.take() {
                self.answer(inquiry).await;
            }
            let calm = pace.is_calm();
            // what stands at its full weight, or may be newer than what is known, is not to be counted out
            let counts = !self.drains.is_empty() && self.due.is_none() && !self.unsure;
            let wake = pace.wake(counts);
            tokio::select! {
                accepted = changes.recv() => match accepted {
                    Some(accepted) => {
                        if self.drains.is_empty() && !accepted.begun.is_empty() {
                            // it may have no connection: it is counted right behind the pass
                            pace.count_soon();
                        }
                        let again = faults::planted(Bug::DoubleApply);
                        let again = again.then(|| accepted.change.clone());
                        // what came meanwhile goes into the same pass
                        let mut waiting = vec![accepted];
                        while let Ok(accepted) = changes.try_recv() {
                            waiting.push(accepted);
                        }
                        if faults::planted(Bug::ReorderedDelta) {
                            waiting.reverse();
                        }
                        for accepted in waiting {
                            self.take(accepted);
                        }
                        if let Some(again) = again {
                            self.held.apply(again);
                        }
                    }
                    None => break,
                },
                scope = self.kernel.disturbed(), if calm => {
                    debug!(?scope, "something was taken away");
                    pace.disturbed();
                    self.add_scope(scope);
                }
                Some(ask) = next(&mut self.asks) => {
                    // what was accepted before it was asked counts
                    while let Ok(accepted) = changes.try_recv() {
                        self.take(accepted);
                    }
                    self.tell(ask).await;
                }
                Some(asked) = next(&mut self.inquiries) => {
                    // what was accepted before it was asked is in the kernel when it is answered
                    while let Ok(accepted) = changes.try_recv() {
                        self.take(accepted);
                    }
                    inquiry = Some(asked);
                }
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    if now >= pace.next_audit {
                        self.due = Some(Scope::All);
                    } else if now >= pace.next_try {
                        let mut units: BTreeSet<Unit> =
                            self.problems.keys().map(|key| key.unit()).collect();
                        if self.held.lacks_base(&self.ledger) {
                            units.insert(Unit::Base);
                        }
                        self.add_due(units);
                    }
                    if counts && self.due.is_none() && pace.is_to_count() {
                        self.count().await;
                        pace.counted(now.elapsed());
                    }
                }
            }
        }
        info!(generation = %self.held.generation, "the kernel is left serving");
    }

    fn take(&mut self, accepted: Accepted) {
        let Accepted {
            change,
            begun,
            span,
        } = accepted;
        let keys: Vec<ItemKey> = change.keys().collect();
        let reached = self.held.reach(change, &self.ledger);
        if mem::take(&mut self.unsure) {
            self.due = Some(Scope::All);
        }
        let begins = !begun.is_empty();
        self.ended.extend(self.drains.begin(begun));
        let revised = self.drains.revise(keys.into_iter(), &self.held.state);
        self.ended.extend(revised.ended);
        if begins || revised.news {
            self.tell_drains();
        }
        self.add_scope(reached);
        self.cause.add(span);
    }

    fn add_scope(&mut self, scope: Scope) {
        match scope {
            Scope::All => self.due = Some(Scope::All),
            Scope::Units(units) => self.add_due(units),
        }
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
        if self.held.generation == Generation(0) && !faults::planted(Bug::PruneBeforeKnown) {
            // nothing was ever accepted, or all was forgotten: what is in the kernel is not to be judged by that
            self.status.send_modify(|status| status.settled = true);
            return true;
        }
        let passed = self.pass(&scope).await;
        match &passed {
            // before anybody hears that it is done
            Ok(taken) => {
                taken.tidy();
                self.forget_cut().await;
            }
            Err(error) => self.not_seen(&scope, error),
        }
        let found = report(&self.problems, &self.held.state, MOST_FAILURES);
        let generation = self.held.generation;
        let all = scope == Scope::All;
        let rejected = self.kernel.rejected();
        debug!(%generation, failures = found.count, ok = passed.is_ok(), "passed");
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
                    counts.repairs += taken.repairs;
                    status.repaired.clone_from(self.repairs.borrow().counts());
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

    /// Notes that nothing is known of the items in `scope`, nor of their guards.
    fn not_seen(&mut self, scope: &Scope, error: &PassError) {
        warn!(
            error = error as &dyn std::error::Error,
            "a pass came to nothing"
        );
        let problem = Problem::new(0, chain(error));
        let items = self.held.state.items();
        let within: Vec<Key> = match scope {
            Scope::All => {
                let guards = items.values().flat_map(guards).map(Key::Guard);
                let items = items.keys().map(|key| Key::Item(*key));
                items.chain(guards).collect()
            }
            // the units are few, the items may be many
            Scope::Units(_) => {
                let wanted = wanted(&self.held.state, &self.ledger, scope);
                let keys = wanted.into_keys();
                keys.filter(|key| matches!(key, Key::Item(_) | Key::Guard(_)))
                    .collect()
            }
        };
        for key in within {
            self.problems.insert(key, problem.clone());
        }
    }

    async fn pass(&mut self, scope: &Scope) -> Result<Taken, PassError> {
        let actual = self.look(scope).await?;
        if *scope == Scope::All {
            self.claim(&actual).await?;
        }
        let over = self.drains.settle(scope, &actual, &self.held.state);
        if !over.is_empty() {
            self.ended.extend(over.iter().map(|over| over.id));
            self.tell_drains();
        }
        // what is over need not be remembered to go: it is not wanted. Nor need that be written now: a record that is left
        // over is seen to be
        if self.journal.end(&self.ended).await.is_ok() {
            self.ended.clear();
        }
        let wanted = self
            .drains
            .wanted(&self.held.state, &self.ledger, scope, &actual);
        let mut plan = plan(&actual, &wanted, &self.ledger);
        if self.stands(&actual) && !faults::planted(Bug::DoubtIgnored) {
            // it may be newer than what is left of the journal
            plan.steps.clear();
        }
        let before = self.ledger.before(&plan, &actual);
        let gone = LedgerChange {
            gone: self.ledger.vanished(scope, &actual, &wanted),
            ..LedgerChange::default()
        };
        // the plan has what it needs of it, and what follows is when most is in memory
        drop(wanted);
        faults::reach(Point::LedgerBefore)
            .await
            .map_err(|_| JournalError::Abandoned)?;
        if !faults::planted(Bug::LedgerAfterStep) {
            self.write_down(&before).await?;
        }
        // no step waits for that: what is written as ours and is not there is found to be gone again
        if let Err(error) = self.write_down(&gone).await {
            debug!(%error, "what is gone could not be written down");
        }
        debug!(
            steps = plan.steps.len(),
            conflicts = plan.conflicts.len(),
            "planned"
        );
        let verdicts = if plan.steps.is_empty() {
            Vec::new()
        } else {
            let batch = self.cause.batch(plan.steps.len());
            let verdicts = self.kernel.apply(&plan.steps).instrument(batch.clone());
            let verdicts = verdicts.await;
            cause::judged(&batch, &verdicts);
            verdicts
        };
        let (known, rest) = mem::take(&mut self.problems)
            .into_iter()
            .partition(|(key, _)| scope.has(*key));
        self.problems = rest;
        self.note_cut(&plan, &verdicts, &actual);
        let repaired = self.repaired(&plan, &verdicts, &known);
        self.tell_repairs(repaired.iter().map(|step| (*step, actual.get(&step.key()))));
        let repairs = repaired.len() as u64;
        let (taken, change) = self.judge(&plan, &verdicts, &before, &known);
        let taken = Taken { repairs, ..taken };
        if taken.steps > 0 {
            info!(generation = %self.held.generation, steps = taken.steps, "kernel changed");
        }
        faults::reach(Point::LedgerAfter)
            .await
            .map_err(|_| JournalError::Abandoned)?;
        if faults::planted(Bug::LedgerAfterStep) {
            self.write_down(&before).await?;
        }
        self.write_down(&change).await?;
        Ok(taken)
    }

    /// Says whether a kernel stands that is not to be judged by what is left of a journal.
    fn stands(&self, actual: &Table) -> bool {
        self.unsure && (self.ledger.owns(Key::Link) || actual.contains_key(&Key::Link))
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
        // first: once their service is ours, backends that nobody wants are ours to take out
        let begun = unwanted(actual, &made, &self.held, now_unix_ms());
        self.journal.begin(&begun).await?;
        self.ended.extend(self.drains.begin(begun));
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
        let mut taken = Taken::default();
        let mut change = LedgerChange::default();
        for (step, verdict) in plan.steps.iter().zip(verdicts) {
            match verdict {
                Ok(()) => {
                    taken.steps += 1;
                    self.ledger.after(step, true, before, &mut change);
                    debug!(key = %step.key(), verb = verb(step), "changed");
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

    async fn write_down(&mut self, change: &LedgerChange) -> Result<(), JournalError> {
        if !change.is_empty() {
            self.journal.record(change).await?;
            self.ledger.apply(change);
        }
        Ok(())
    }
}

/// Waits for the next who asks, for ever where nobody can.
async fn next<T>(asks: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match asks {
        Some(asks) => asks.recv().await,
        None => std::future::pending().await,
    }
}

fn verb(step: &Step) -> &'static str {
    match step {
        Step::Add { .. } => "add",
        Step::Edit { .. } => "edit",
        Step::Remove { .. } => "remove",
    }
}

#[cfg(test)]
mod drain_tests;
#[cfg(test)]
mod lockdown_tests;
#[cfg(test)]
mod question_tests;
#[cfg(test)]
mod restart_tests;
#[cfg(test)]
mod tests;
