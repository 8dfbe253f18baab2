//! The rollout: what nodes say of it, what it does next, and how operators steer it.
//!
//! It goes on whenever something becomes durable: what it does is in the same commit as what made it do so.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};
use weir_proto::model::{Frontend, Identity, NodeName, Revision, RolloutPhase, Steering};

use super::owner::{Owner, now_unix_ms};
use super::{Refusal, RolloutState, WriteOptions, Written};
use crate::desired::{Batch, Begin, Change, Count, Heard, HistoryBatch, Next, What};
use crate::store::{Store, Write};

impl<S: Store> Owner<S> {
    /// Works out what a batch changes: at once, or, with steps, step by step. A rollout that is under way may stand in its
    /// way.
    pub(super) fn prepare(&self, batch: Batch, options: &WriteOptions) -> Result<Change, Refusal> {
        let Some(canary) = &options.canary else {
            let change = self.desired.prepare(batch);
            self.desired.held_up(&change.writes)?;
            return Ok(change);
        };
        self.none_under_way()?;
        let begin = Begin {
            canary: canary.clone(),
            revision: self.revision.next(),
            who: options.who.to_string(),
            now_unix_ms: now_unix_ms(),
            allow_mass_delete: options.allow_mass_delete,
        };
        let usual = |service: &_| self.recent.of(service);
        Ok(self.desired.prepare_rollout(batch, begin, usual))
    }

    /// Refuses what can be done only while no rollout is under way.
    pub(super) fn none_under_way(&self) -> Result<(), Refusal> {
        match self.desired.under_way() {
            None => Ok(()),
            Some(rollout) => Err(Refusal::UnderWay {
                revision: rollout.revision,
                phase: rollout.phase,
            }),
        }
    }

    /// Pauses, resumes or undoes the rollout of a revision; none: whichever it is.
    pub(super) fn steer(
        &mut self,
        steering: Steering,
        revision: Option<Revision>,
        who: &Identity,
    ) -> Result<Written, Refusal> {
        let rollout = self.desired.rollout().ok_or(Refusal::NoRollout)?;
        if revision.is_some_and(|revision| revision != rollout.revision) {
            return Err(Refusal::OtherRollout(rollout.revision));
        }
        rollout.check(steering)?;
        let (number, now) = (rollout.revision, now_unix_ms());
        info!(target: "audit", %who, what = ?steering, rollout = %number, "steered");
        let nothing = Written {
            revision: self.revision,
            changes: Vec::new(),
            targets: Vec::new(),
        };
        match steering {
            Steering::Pause => {
                let message = format!("{who} paused it");
                self.rollout_turned(number, RolloutPhase::Paused, (Some(who), message));
                self.set_phase(RolloutPhase::Paused, String::new(), now);
            }
            Steering::Resume => {
                let message = format!("{who} resumed it");
                self.rollout_turned(number, RolloutPhase::Running, (Some(who), message));
                let rollout = self.desired.rollout_mut();
                let again = rollout.map(|rollout| rollout.resume(now));
                for name in again.into_iter().flatten() {
                    if let Some(entry) = self.nodes.get_mut(&name) {
                        entry.feed.ask_again();
                    }
                    self.group.touch(name, None);
                }
                self.keep();
            }
            Steering::Undo => {
                let Some(change) = self.desired.prepare_undo(now) else {
                    return Err(Refusal::NoRollout);
                };
                let options = WriteOptions {
                    // whoever undoes it wants gone what it brought, of an admin or not
                    allow_mass_delete: true,
                    ..WriteOptions::by(who.clone())
                };
                return Ok(self.write(change, What::Undo(number), &options));
            }
        }
        Ok(nothing)
    }

    /// Gives the last rollout.
    pub(super) fn rollout(&self) -> RolloutState {
        RolloutState {
            rollout: self.desired.rollout().cloned(),
            revision: self.revision,
        }
    }

    /// Does what the rollout does next, if it goes on now, and adds it to what becomes durable.
    pub(super) fn drive(&mut self) {
        self.wake_unix_ms = None;
        if self.desired.under_way().is_some()
            && let Some(rollout) = self.desired.rollout_mut()
        {
            rollout.set_back(now_unix_ms());
        }
        // each turn reaches a node, or is the last
        while let Some(rollout) = self.desired.under_way() {
            let (number, now) = (rollout.revision, now_unix_ms());
            match rollout.next(now) {
                Next::Wait(until) => {
                    self.wake_unix_ms = until;
                    return;
                }
                Next::Halt(reason) => {
                    warn!(rollout = %number, reason, "rollout halted");
                    let told = (None, reason.clone());
                    self.rollout_turned(number, RolloutPhase::Halted, told);
                    self.set_phase(RolloutPhase::Halted, reason, now);
                }
                Next::Finish => {
                    info!(rollout = %number, "rollout done");
                    let Some(change) = self.desired.prepare_finish(now) else {
                        return;
                    };
                    let told = (None, "every node has it".to_owned());
                    self.rollout_turned(number, RolloutPhase::Done, told);
                    self.bring(change, false);
                }
                Next::Reach(step, mut nodes) => {
                    let confirmed = rollout.allow_mass_delete;
                    if confirmed && self.revision != number {
                        // what others wrote since was not confirmed with it, and cannot be told apart in one update: a node
                        // does that first, or holds it back until it is released
                        nodes.retain(|name| self.is_where_it_must(name));
                        if nodes.is_empty() {
                            return;
                        }
                    }
                    info!(rollout = %number, step, nodes = nodes.len(), "rollout goes on");
                    let Some(change) = self.desired.prepare_reach((step, &nodes), now) else {
                        return;
                    };
                    self.bring(change, confirmed);
                    for name in &nodes {
                        self.hear(name);
                    }
                }
            }
        }
    }

    /// Gives how long the rollout waits when nobody says anything.
    pub(super) fn waits(&self) -> Option<Duration> {
        let until = self.wake_unix_ms?;
        // a clock that stands still is not asked without pause
        let left = until.saturating_sub(now_unix_ms()).max(1);
        Some(Duration::from_millis(left))
    }

    /// Tells the rollout how far a node is.
    pub(super) fn hear(&mut self, name: &NodeName) {
        let Some(rollout) = self.desired.under_way() else {
            return;
        };
        let reached = rollout.members.get(name).map(|member| member.reached);
        let (Some(reached), Some(view), Some(entry)) =
            (reached, self.desired.view(name), self.nodes.get(name))
        else {
            return;
        };
        let (accepted, converged) = entry.progress.at(&view, &entry.feed);
        let by = reached.map(|(_, by)| by);
        let refusals = entry.progress.refusals();
        let counted = |at| by.is_some_and(|by| at >= by);
        let items = refusals.items.filter(|_| counted(accepted));
        let failures = refusals.failures.filter(|_| counted(converged));
        let mut ours = items
            .chain(failures)
            .filter(|failure| self.desired.is_rolled_out(name, &failure.key));
        let item = ours.next().map(|failure| match failure.cause.as_str() {
            "" => format!("{}: error {}", failure.key, failure.errno),
            cause => format!("{}: {cause}", failure.key),
        });
        drop(ours);
        // also what it refused of an earlier rollout of the same, and is not sent again
        let given_up = entry.feed.given_up().filter(|_| by.is_some());
        let whole = refusals.update.filter(|(at, _)| {
            given_up.is_some_and(|digest| counted(*at) || digest == view.digest())
        });
        let held = entry.progress.held_back().map(|hold| {
            let (generation, cause) = (hold.generation, &hold.cause);
            format!("holds back generation {generation}: {cause}")
        });
        let heard = Heard {
            converged,
            refuses: item,
            rejects: whole.map(|(_, cause)| cause.to_owned()),
            held,
        };
        if let Some(rollout) = self.desired.rollout_mut() {
            rollout.heard(name, heard, now_unix_ms());
        }
    }

    /// Takes note of what a node counted at some frontends in an interval that ends now.
    pub(super) fn counted(
        &mut self,
        node: &NodeName,
        counts: &BTreeMap<Frontend, Count>,
        interval_ms: u64,
    ) {
        let now = now_unix_ms();
        let mut ours = Count::default();
        for (frontend, count) in counts {
            let Some(service) = self.desired.resources().service_behind(frontend) else {
                continue;
            };
            self.recent.add(service, *count, now);
            let rollout = self.desired.under_way();
            if rollout.is_some_and(|rollout| rollout.services.contains(service)) {
                ours.add(*count);
            }
        }
        if ours == Count::default() {
            return;
        }
        if let Some(rollout) = self.desired.rollout_mut() {
            rollout.counted(node, ours, interval_ms, now);
        }
        self.ring();
    }

    fn set_phase(&mut self, phase: RolloutPhase, reason: String, now: u64) {
        if let Some(rollout) = self.desired.rollout_mut() {
            rollout.set_phase(phase, reason, now);
        }
        self.keep();
    }

    /// Adds the rollout as it is to what becomes durable.
    fn keep(&mut self) {
        self.group.write(Write {
            revision: self.revision,
            served: self.served,
            rollout: self.desired.rollout().cloned(),
            ..Write::default()
        });
    }

    /// Makes a change of what nodes hold that writes no resource: no revision of its own, and nothing for the history.
    fn bring(&mut self, change: Change, confirms: bool) {
        let confirmed = if confirms {
            self.confirmed_by(&change)
        } else {
            BTreeMap::new()
        };
        self.take(change, self.revision, &confirmed, HistoryBatch::new());
    }
}
