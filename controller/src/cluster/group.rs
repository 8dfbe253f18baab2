//! Writes that wait become durable together.
//!
//! Writes are checked, prepared and taken in memory one after the other, each on what the one before it left, and one commit
//! makes all of them durable. Until then memory is ahead of the disk, and nobody may know: answers, watchers' entries and the
//! nodes' updates wait here, and nothing else is served in between. When the commit fails the task ends: what memory holds
//! goes with it, everybody who waits is told that the store failed (those who were refused too, since what refused them may
//! not be there), and the next start begins with what the disk has.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Span, error, info, info_span};
use weir_proto::model::{DrainTarget, Identity, NodeName, ResourceRef, Revision};
use weir_proto::trace::SPANS;

use super::log::Entry;
use super::nodes::Open;
use super::owner::Owner;
use super::{Answer, Command, Outgoing, Refusal, WriteOptions, Written};
use crate::desired::{Outcome, What};
use crate::store::{Store, StoreError, Write};

/// How many writes are made durable together: a sync of the disk takes milliseconds, a small write some 50 microseconds, so
/// more would make the first wait longer than they save.
const MOST_WRITES: usize = 128;
/// How many resources they write, some 30 backends each: about a megabyte, which one commit takes well.
const MOST_RESOURCES: usize = 1_000;
/// How many other commands may wait for them: those that can be in the inbox at once.
const MOST_LATER: usize = super::WAITING_COMMANDS;
/// How many resources and drains a line of the audit names.
const MOST_NAMED: usize = 16;

/// The call that asks for a write: what it is part of, and when it came.
#[derive(Debug)]
pub(super) struct WriteCall {
    span: Span,
    begun: Instant,
}

/// What is true in memory and not durable yet.
#[derive(Default)]
pub(super) struct Group {
    write: Option<Write>,
    asked: Vec<Asked>,
    done: Vec<Done>,
    entries: Vec<Arc<Entry>>,
    /// The nodes that see it, each with the trace of the last write that it sees.
    seen: BTreeMap<NodeName, Option<Arc<str>>>,
    /// The streams of nodes that are deleted.
    ended: Vec<Open>,
    /// There is a service for the first time: the nodes said hello before there was anything to say.
    first: bool,
}

/// A write that waits for its answer.
struct Asked {
    answer: Answer<Written>,
    call: WriteCall,
    written: Result<Written, Refusal>,
    /// How it ended, where that is counted.
    ended: Option<&'static str>,
}

/// A line of the audit.
pub(super) struct Done {
    span: Span,
    who: Identity,
    what: What,
    revision: Revision,
    named: Vec<String>,
    more: usize,
}

impl WriteCall {
    pub(super) fn begins() -> Self {
        Self {
            span: Span::current(),
            begun: Instant::now(),
        }
    }

    /// Makes a write in memory, as a part of the call.
    fn accept<T>(&self, make: impl FnOnce() -> T) -> T {
        let _accept = info_span!(target: SPANS, parent: &self.span, "accept");
        // the nodes' updates are parts of the call, not of this part of it
        self.span.in_scope(make)
    }
}

impl Asked {
    /// Opens the span in which it becomes durable, one of so many writes.
    fn commit(&self, writes: usize) -> Span {
        info_span!(target: SPANS, parent: &self.call.span, "commit", writes)
    }

    /// Says whether anything of it was to become durable.
    fn is_written(&self) -> bool {
        self.written.is_ok() && matches!(self.ended, None | Some("written"))
    }
}

impl Group {
    /// Adds a write to the commit.
    pub(super) fn write(&mut self, write: Write) {
        match &mut self.write {
            Some(earlier) => earlier.then(write),
            None => self.write = Some(write),
        }
    }

    /// Adds what watchers are told.
    pub(super) fn tell(&mut self, entry: Arc<Entry>) {
        self.entries.push(entry);
    }

    /// Adds a node that may have to be sent something; with the trace of a change of what it must hold.
    pub(super) fn touch(&mut self, name: NodeName, trace: Option<&Arc<str>>) {
        let seen = self.seen.entry(name).or_default();
        if let Some(trace) = trace {
            *seen = Some(Arc::clone(trace));
        }
    }

    /// Adds nodes, in the order of their names, each with the trace of a change of what it must hold.
    pub(super) fn touch_all(&mut self, names: impl Iterator<Item = NodeName>, trace: &Arc<str>) {
        let all = names.map(|name| (name, Some(Arc::clone(trace))));
        if self.seen.is_empty() {
            // a map is made of what is in order with a comparison for each, not a search
            self.seen = all.collect();
        } else {
            self.seen.extend(all);
        }
    }

    /// Adds a stream that ends with its node.
    pub(super) fn end(&mut self, stream: Open) {
        self.ended.push(stream);
    }

    /// Notes that there is a service for the first time.
    pub(super) fn is_first(&mut self) {
        self.first = true;
    }

    /// Adds a line of the audit.
    pub(super) fn audit(&mut self, done: Done) {
        self.done.push(done);
    }

    fn is_full(&self) -> bool {
        let resources = self.write.as_ref().map_or(0, |write| write.resources.len());
        self.asked.len() >= MOST_WRITES || resources >= MOST_RESOURCES
    }
}

impl Done {
    /// Says who did what, and to what.
    pub(super) fn new<'a>(
        (who, what): (&Identity, What),
        revision: Revision,
        resources: impl Iterator<Item = &'a ResourceRef>,
        drains: impl Iterator<Item = &'a DrainTarget>,
    ) -> Self {
        let resources = resources.map(|it| -> &dyn Display { it });
        let mut all = resources.chain(drains.map(|it| -> &dyn Display { it }));
        let named = all.by_ref().take(MOST_NAMED);
        let named = named.map(ToString::to_string).collect();
        Self {
            span: Span::current(),
            who: who.clone(),
            what,
            revision,
            named,
            more: all.count(),
        }
    }

    fn log(self) {
        let Self {
            span,
            who,
            what,
            revision,
            named,
            more,
        } = self;
        span.in_scope(|| {
            info!(target: "audit", %who, %what, %revision, ?named, more, "written");
        });
    }
}

impl<S: Store> Owner<S> {
    /// Makes the writes among the commands that wait, one after the other, up to a bound. Gives the other commands: they are
    /// served when the writes are durable, in their order. Whoever asked these has no answer to any of them yet, so nobody can
    /// tell that a write went first.
    pub(super) fn gather(
        &mut self,
        first: Command,
        inbox: &mut mpsc::Receiver<Command>,
    ) -> Vec<Command> {
        let mut later = Vec::new();
        let mut next = Some(first);
        while let Some(command) = next {
            later.extend(self.make(command));
            let full = self.group.is_full() || later.len() >= MOST_LATER;
            next = if full { None } else { inbox.try_recv().ok() };
        }
        later
    }

    /// Makes a write in memory; gives a command back that is none.
    fn make(&mut self, command: Command) -> Option<Command> {
        match command {
            Command::Apply {
                resources,
                places,
                options,
                call,
                answer,
            } => {
                let written = call.accept(|| self.apply(resources, &places, &options));
                self.answer((answer, call), written, Some(&options));
            }
            Command::Delete {
                refs,
                options,
                call,
                answer,
            } => {
                let written = call.accept(|| self.delete(&refs, &options));
                self.answer((answer, call), written, Some(&options));
            }
            Command::Rollback {
                to,
                options,
                call,
                answer,
            } => {
                let written = call.accept(|| self.roll_back(to, &options));
                self.answer((answer, call), written, Some(&options));
            }
            Command::Drain {
                targets,
                terms,
                who,
                call,
                answer,
            } => {
                let written = call.accept(|| self.drain(targets, terms, who));
                self.answer((answer, call), written, None);
            }
            Command::Hello { hello, answer } => {
                // so that a fleet that comes for the first time is written together
                self.foresee(&hello);
                return Some(Command::Hello { hello, answer });
            }
            Command::Steer {
                steering,
                revision,
                who,
                call,
                answer,
            } => {
                let written = call.accept(|| self.steer(steering, revision, &who));
                self.answer((answer, call), written, None);
            }
            other @ (Command::ListDrains { .. }
            | Command::Release { .. }
            | Command::Inquire { .. }
            | Command::Why { .. }
            | Command::Get { .. }
            | Command::List { .. }
            | Command::Watch { .. }
            | Command::History { .. }
            | Command::Events { .. }
            | Command::Rollout { .. }
            | Command::Counted { .. }
            | Command::Statuses { .. }
            | Command::Behind { .. }
            | Command::Said { .. }) => return Some(other),
        }
        None
    }

    fn answer(
        &mut self,
        (answer, call): (Answer<Written>, WriteCall),
        written: Result<Written, Refusal>,
        counted: Option<&WriteOptions>,
    ) {
        let ended = counted.map(|options| how_it_ended(&written, options));
        self.group.asked.push(Asked {
            answer,
            call,
            written,
            ended,
        });
    }

    /// Makes durable what is true in memory, and only then lets it be known.
    pub(super) async fn finish(&mut self) -> Result<(), Refusal> {
        self.drive();
        let Group {
            write,
            asked,
            done,
            entries,
            seen,
            ended,
            first,
        } = std::mem::take(&mut self.group);
        let wrote = write.is_some();
        let write = write.map(|write| {
            let events = self.events.ride();
            Write { events, ..write }
        });
        let commits = asked.iter().filter(|asked| asked.is_written());
        let commits = commits.map(|of| of.commit(asked.len()));
        let commits: Vec<Span> = commits.filter(|span| !span.is_disabled()).collect();
        if let Some(write) = write
            && let Err(error) = self.commit(write).await
        {
            for Asked { answer, ended, .. } in asked {
                if ended.is_some() {
                    self.metrics.applied("failed");
                }
                // whoever no longer waits for an answer gets none
                let _ = answer.send(Err(Refusal::Store(Arc::clone(&error))));
            }
            return Err(Refusal::Store(error));
        }
        drop(commits);
        let now = Instant::now();
        let first_asked = asked.iter().map(|asked| asked.call.begun).min();
        for asked in asked.iter().filter(|asked| asked.is_written()) {
            self.metrics.stages().accepted(now - asked.call.begun);
        }
        for done in done {
            done.log();
        }
        for entry in entries {
            self.log.push(Arc::clone(&entry));
            // an error only says that nobody watches
            let _ = self.live.send(entry);
        }
        for stream in ended {
            stream.end(Outgoing::Deleted);
        }
        for (name, trace) in seen {
            let change = trace.map(|trace| (trace, first_asked.unwrap_or(now)));
            self.pump_changed(&name, change);
        }
        if first {
            let names: Vec<NodeName> = self.nodes.keys().cloned().collect();
            for name in names {
                self.pump(&name);
            }
        }
        if wrote {
            self.measure();
            self.ring();
        }
        self.events.ring();
        for Asked {
            answer,
            call: _,
            written,
            ended,
        } in asked
        {
            if let Some(ended) = ended {
                self.metrics.applied(ended);
            }
            let _ = answer.send(written);
        }
        Ok(())
    }

    async fn commit(&mut self, write: Write) -> Result<(), Arc<StoreError>> {
        let revision = write.revision;
        let committed = self.store.commit(write).await;
        self.metrics.committed();
        committed.map_err(|error| {
            error!(error = &error as &dyn std::error::Error, %revision, "the store took no write");
            let error = Arc::new(error);
            self.lost = Some(Arc::clone(&error));
            error
        })
    }
}

fn how_it_ended(written: &Result<Written, Refusal>, options: &WriteOptions) -> &'static str {
    match written {
        Ok(_) if options.dry_run => "dry_run",
        Ok(written) => {
            let mut outcomes = written.changes.iter().map(|(_, outcome)| outcome);
            if outcomes.all(|outcome| *outcome == Outcome::Unchanged) {
                "unchanged"
            } else {
                "written"
            }
        }
        Err(Refusal::Store(_) | Refusal::Stopped(_)) => "failed",
        Err(
            Refusal::Fields(_)
            | Refusal::Revision { .. }
            | Refusal::NotFound(_)
            | Refusal::NothingToDrain(_)
            | Refusal::NotDrained(_)
            | Refusal::Away(_)
            | Refusal::NothingHeld(_)
            | Refusal::NotKept { .. }
            | Refusal::UnderWay { .. }
            | Refusal::HeldUp(_)
            | Refusal::NoRollout
            | Refusal::OtherRollout(_)
            | Refusal::NotNow(_)
            | Refusal::OutOfRange { .. },
        ) => "refused",
    }
}
