//! The agents' streams: who is connected, what each is sent, and what it said.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use weir_proto::convert::Hello;
use weir_proto::faults::{self, Bug};
use weir_proto::model::{Degraded, Generation, Hold, Node, NodeName};

use super::lag::Lag;
use super::owner::{Owner, now_unix_ms};
use super::questions::CALLS;
use super::{Beside, Call, Outgoing, Refusal, Said, Session, SessionId};
use crate::desired::events::{DrainWatch, told};
use crate::desired::{Feed, MOST_UNDER_WAY, NodeProgress, Reason, Rejected, View};
use crate::metrics::Metrics;
use crate::store::Store;

/// The updates that are under way; beside them two releases, of what the node held back before them and with them; and at last
/// why the stream ends.
const OUTBOX: usize = MOST_UNDER_WAY + 3;

/// How many nodes have not all that they are to have, and since when the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) nodes: u64,
    pub(crate) longest: Duration,
}

/// What the task knows of a node beside what it must hold.
#[derive(Debug, Default)]
pub(super) struct NodeEntry {
    pub(super) progress: NodeProgress,
    pub(super) feed: Feed,
    pub(super) session: Option<Open>,
    /// Of the last change of what the node must hold.
    pub(super) traceparent: Arc<str>,
    /// Up to which generation an operator has confirmed that it may take away what it must.
    pub(super) confirmed: Generation,
    /// Whether it has taken an update that names this cluster.
    pub(super) named: bool,
    /// Up to which generation it was released on its stream.
    pub(super) released: Generation,
    /// What it is to have and has not yet.
    pub(super) lag: Lag,
    /// Its drains, as they are told of: over its streams.
    pub(super) drains: DrainWatch,
    /// When one of them has used up its time, in Unix milliseconds.
    pub(super) deadline_unix_ms: Option<u64>,
}

/// A stream that is open.
#[derive(Debug)]
pub(super) struct Open {
    id: SessionId,
    outbox: mpsc::Sender<Outgoing>,
    /// Questions are no part of what the node must have: they have a way of their own.
    calls: mpsc::Sender<Call>,
}

impl Open {
    /// Gives where to ask the agent something.
    pub(super) fn calls(&self) -> mpsc::Sender<Call> {
        self.calls.clone()
    }

    /// Says whether there was room for something to be sent.
    pub(super) fn send(&self, outgoing: Outgoing) -> bool {
        self.outbox.try_send(outgoing).is_ok()
    }

    /// Ends the stream, saying why.
    pub(super) fn end(self, why: Outgoing) {
        // who reads nothing more needs no reason: it sees the end
        let _ = self.outbox.try_send(why);
    }
}

impl NodeEntry {
    /// Notes whether it has all that it is to have.
    fn settle(&mut self, view: &View<'_>, metrics: &Metrics) {
        if self.lag.since().is_some() && self.progress.at(view, &self.feed).1 == view.generation() {
            let stages = metrics.stages();
            let all = self.lag.has_all();
            all.for_each(|asked| stages.converged(asked.elapsed()));
        }
    }

    /// Takes note of what the agent says on its stream. Says whether the node knows the cluster's name by that for the first time.
    fn note(&mut self, name: &NodeName, (said, now): (Said, u64), metrics: &Metrics) -> bool {
        match said {
            Said::Accepted {
                generation,
                refused,
                refused_count,
            } => {
                if self.feed.accepted(generation) {
                    if refused_count > 0 {
                        warn!(node = %name, %generation, refused_count, "node refuses items");
                    }
                    let refused = (refused, refused_count);
                    self.progress.accepted(generation, refused, now);
                    return !self.named;
                } else if self.feed.holds(generation) {
                    // who comes back says again what it refuses of what it holds: this controller may not have heard it
                    let refused = (refused, refused_count);
                    self.progress.accepted_before(generation, refused, now);
                } else {
                    warn!(node = %name, %generation, "accepted what was not sent");
                }
            }
            Said::Converged {
                generation,
                failures,
                failure_count,
            } => {
                debug!(node = %name, %generation, failure_count, "node converged");
                let progress = &mut self.progress;
                progress.converged(generation, failures, failure_count, now);
                let stages = metrics.stages();
                let there = self.lag.has(generation);
                there.for_each(|asked| stages.converged(asked.elapsed()));
            }
            Said::Rejected(rejected) => {
                let Rejected {
                    generation,
                    reason,
                    cause,
                    held: _,
                } = &rejected;
                let reason = reason.as_str();
                if self.feed.passes_over(&rejected) {
                    debug!(node = %name, %generation, reason, cause, "nor what followed it");
                    return false;
                }
                warn!(node = %name, %generation, reason, cause, "node took no update");
                if self.feed.rejected(&rejected) {
                    self.lag.again();
                    self.progress.rejected(&rejected, now);
                }
                metrics.rejected(reason);
            }
            Said::Certificate { expires_unix_ms } => {
                self.progress.certificate(expires_unix_ms);
            }
            Said::Condition { hold, degraded } => {
                if let Some(hold) = &hold {
                    let Hold {
                        generation,
                        dropped,
                        served,
                        since_unix_ms: _,
                        cause,
                    } = hold;
                    warn!(node = %name, %generation, dropped, served, cause, "node holds back");
                }
                if let Some(Degraded { reason, .. }) = &degraded {
                    warn!(node = %name, reason, "node is degraded");
                }
                self.progress.condition(hold, degraded, now);
            }
            Said::Drains { drains, count } => self.progress.drains(drains, count, now),
            Said::Repairs { repairs, counts } => {
                info!(node = %name, ?counts, "node repaired");
                self.progress.repaired(repairs, &counts, now);
                metrics.repaired(&counts);
            }
            // the end of the stream is the owner's
            Said::Gone(_) => {}
        }
        false
    }
}

impl<S: Store> Owner<S> {
    /// Begins a stream, in place of the one the node has. A node that is new, or has other addresses than are
    /// stored, is written first, and so is what its kernel can do when that is news.
    pub(super) async fn hello(&mut self, hello: Hello) -> Result<Session, Refusal> {
        let name = hello.node.name.clone();
        let node = self.as_registered(&hello.node);
        if self.desired.resources().node(&name) != Some(&node) {
            self.register(node).await?;
        }
        self.learn(&name, &hello.capabilities).await?;
        self.sessions += 1;
        let id = SessionId(self.sessions);
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let (calls, asked) = mpsc::channel(CALLS);
        let entry = self.nodes.entry(name.clone()).or_default();
        let known = entry.feed.newest() > Generation(0) && faults::planted(Bug::HelloIgnored);
        if let (Some(mut view), false) = (self.desired.view_mut(&name), known) {
            let held = match faults::planted(Bug::WrongBase) {
                true => entry.feed.sent().or(hello.held),
                false => hello.held,
            };
            entry.feed = Feed::hello(held, &mut view).naming(!entry.named);
            entry.lag.again();
        }
        let before = entry.progress.tally();
        entry.progress.hello(&hello, now_unix_ms());
        entry.released = Generation(0);
        self.tally = self.tally.without(before).with(entry.progress.tally());
        if let Some(earlier) = entry.session.replace(Open { id, outbox, calls }) {
            warn!(
                node = %name,
                "another stream of this node takes the place of its earlier one: its agent came back \
                 unnoticed, or two agents may run under one name"
            );
            earlier.end(Outgoing::Replaced);
            let message = "another stream took the place of the one that it had";
            self.happened(told::about_node(&name, Reason::NodeReplaced, message));
        }
        self.happened(told::hello(&hello));
        info!(node = %name, version = hello.agent_version, held = ?hello.held, "node connected");
        self.hear(&name);
        self.pump(&name);
        self.measure();
        self.ring();
        Ok(Session {
            id,
            outbox: inbox,
            calls: asked,
        })
    }

    /// Takes note of what an agent says. What an earlier stream of the node still says no longer counts.
    pub(super) fn said(&mut self, name: &NodeName, session: SessionId, all: Vec<Said>) {
        let Some(entry) = self.nodes.get_mut(name) else {
            return;
        };
        if entry.session.as_ref().is_none_or(|open| open.id != session) {
            return;
        }
        let before = entry.progress.tally();
        let (mut learns_name, mut gone) = (false, false);
        let drains = all.iter().any(|said| matches!(said, Said::Drains { .. }));
        let now = now_unix_ms();
        let mut happened = Vec::new();
        for said in all {
            happened.extend(entry.happenings(name, &said, &self.desired));
            match said {
                Said::Gone(why) => {
                    info!(node = %name, why, "node disconnected");
                    entry.session = None;
                    if let Some(view) = self.desired.view(name) {
                        let at = (&view, &entry.feed);
                        entry.progress.disconnected(at, why, now);
                    }
                    gone = true;
                }
                said => learns_name |= entry.note(name, (said, now), &self.metrics),
            }
        }
        let after = entry.progress.tally();
        if after != before {
            self.tally = self.tally.without(before).with(after);
            self.metrics.tally(self.tally);
        }
        // mostly nothing happens that is told of
        if drains || !happened.is_empty() {
            self.happened_on(name, happened);
        }
        if learns_name {
            self.name(name);
        }
        if gone {
            self.measure();
        }
        self.hear(name);
        self.pump(name);
        self.ring();
    }

    /// Sends a node what it must have next, if it is connected and has taken what was sent before, or may say so later.
    pub(super) fn pump(&mut self, name: &NodeName) {
        self.pump_changed(name, None);
    }

    /// Does the same after a change by which it must have that, where there is one: in its trace, and since it was asked for.
    pub(super) fn pump_changed(&mut self, name: &NodeName, change: Option<(Arc<str>, Instant)>) {
        let answer_within = self.answer_within();
        let Some(entry) = self.nodes.get_mut(name) else {
            return;
        };
        if let Some((trace, asked)) = change {
            entry.traceparent = trace;
            if self.served {
                entry.lag.wants(asked);
            }
        }
        entry.pump_release();
        let answers_wait = !answer_within.is_zero();
        if !self.served || !entry.feed.has_room(answers_wait) {
            return;
        }
        let (Some(session), Some(mut view)) = (&entry.session, self.desired.view_mut(name)) else {
            return;
        };
        let unanswered = entry.feed.under_way();
        let Some(update) = entry.feed.next(&mut view, answers_wait) else {
            entry.settle(&view.look(), &self.metrics);
            return;
        };
        entry.lag.sent(update.generation);
        let whole = update.base.is_none();
        debug!(
            node = %name, generation = %update.generation, base = ?update.base,
            items = update.content.len(), unanswered, "update"
        );
        let allow_mass_delete = entry.feed.brings_confirmed(entry.confirmed, &update);
        let beside = Beside {
            traceparent: Arc::clone(&entry.traceparent),
            cluster: Arc::clone(&self.cluster),
            allow_mass_delete,
            // nothing follows what is whole: it is waited for
            answer_within: if whole { Duration::ZERO } else { answer_within },
        };
        let outgoing = Outgoing::Update {
            update: Box::new(update),
            beside: Box::new(beside),
        };
        if session.send(outgoing) {
            self.metrics.update_sent(whole);
        } else {
            // it accepts what it has not read, or is on its way out: its stream ends, and it comes again
            entry.session = None;
            let now = now_unix_ms();
            let before = entry.progress.tally();
            let why = "updates were accepted before they were read".to_owned();
            let message = format!("its stream ended: {why}");
            let at = (&view.look(), &entry.feed);
            entry.progress.disconnected(at, why, now);
            self.tally = self.tally.without(before).with(entry.progress.tally());
            self.metrics.tally(self.tally);
            self.happened(told::about_node(name, Reason::NodeDisconnected, message));
        }
    }

    /// Gives how far apart each node's answers may be.
    fn answer_within(&self) -> Duration {
        self.pace.answer_within(self.tally.connected)
    }

    /// Says whether nodes may answer later than at once.
    pub(super) fn answers_wait(&self) -> bool {
        !self.answer_within().is_zero()
    }

    /// Gives how many nodes are behind, and for how long.
    pub(super) fn behind(&self) -> Behind {
        let since = self.nodes.values().filter_map(|entry| entry.lag.since());
        let first = since.clone().min();
        Behind {
            nodes: since.count() as u64,
            longest: first.map(|first| first.elapsed()).unwrap_or_default(),
        }
    }

    /// Gives a node as it is to be stored. The labels of one that is known are the operators': what its agent
    /// was started with must not take services from it. Its addresses it knows best.
    pub(super) fn as_registered(&self, said: &Node) -> Node {
        let Some(known) = self.desired.resources().node(&said.name) else {
            return said.clone();
        };
        if known.labels != said.labels {
            debug!(node = %said.name, "the agent's labels are not the stored ones, which stay");
        }
        let addresses = if said.addresses.is_empty() {
            &known.addresses
        } else {
            &said.addresses
        };
        Node {
            addresses: addresses.clone(),
            ..known.clone()
        }
    }
}
