//! The changes of the last revisions, for those who watch. PURE

use std::collections::VecDeque;
use std::sync::Arc;

use weir_proto::model::{Resource, ResourceRef, Revision};

use crate::desired::{Outcome, Stored};

/// How many revisions back a watcher may begin: a client that reconnects after minutes of ten writes a
/// second finds its place.
const MOST_REVISIONS: usize = 10_000;
/// How many changes they may hold together, and backends of what these made. Resources that still are cost a pointer here;
/// of one that was changed again every backend takes some 200 bytes, and a service of thousands may change each second.
const MOST_HELD: usize = 500_000;

/// The changes of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) revision: Revision,
    pub(crate) events: Vec<Event>,
}

/// One change of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) reference: ResourceRef,
    pub(crate) outcome: Outcome,
    /// What it is now; none: deleted.
    pub(crate) resource: Option<Arc<Stored>>,
}

/// The changes of the last revisions, oldest first, without a gap.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    entries: VecDeque<Arc<Entry>>,
    /// As `MOST_HELD` counts.
    held: usize,
    newest: Revision,
}

impl ChangeLog {
    /// Begins after a revision.
    pub(crate) fn new(newest: Revision) -> Self {
        Self {
            entries: VecDeque::new(),
            held: 0,
            newest,
        }
    }

    /// Adds the changes of the next revision.
    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        self.newest = entry.revision;
        self.held += held(&entry);
        self.entries.push_back(entry);
        while self.entries.len() > MOST_REVISIONS || self.held > MOST_HELD {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.held -= held(&oldest);
        }
    }

    /// Gives the revision before the oldest changes here: one can begin to watch there and later.
    pub(crate) fn oldest(&self) -> Revision {
        match self.entries.front() {
            Some(entry) => Revision(entry.revision.0 - 1),
            None => self.newest,
        }
    }

    /// Gives the changes after a revision; none: they are not here.
    pub(crate) fn after(&self, from: Revision) -> Option<Vec<Arc<Entry>>> {
        if from < self.oldest() || from > self.newest {
            return None;
        }
        let skip = usize::try_from(from.0 - self.oldest().0).ok()?;
        Some(self.entries.iter().skip(skip).cloned().collect())
    }
}

fn held(entry: &Entry) -> usize {
    let backends = entry.events.iter().map(|event| {
        let resource = event.resource.as_deref();
        match resource.map(|stored| &stored.resource) {
            Some(Resource::Service(service)) => service.backends.len(),
            Some(Resource::BackendSet(set)) => set.backends.len(),
            Some(Resource::Node(_)) | None => 0,
        }
    });
    entry.events.len() + backends.sum::<usize>()
}

/// Tells all resources as they are as if each had been created at the revision of its last change, so that a
/// watcher that is cut off half-way can go on from the last revision it saw.
pub(crate) fn as_created<'a>(all: impl Iterator<Item = &'a Arc<Stored>>) -> Vec<Arc<Entry>> {
    let mut all: Vec<&Arc<Stored>> = all.collect();
    // stable: within a revision kind by kind and by name
    all.sort_by_key(|stored| stored.revision);
    let same = all.chunk_by(|one, other| one.revision == other.revision);
    same.filter_map(|stored| {
        let events = stored.iter().map(|stored| Event {
            reference: stored.resource.reference(),
            outcome: Outcome::Created,
            resource: Some(Arc::clone(stored)),
        });
        Some(Arc::new(Entry {
            revision: stored.first()?.revision,
            events: events.collect(),
        }))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::samples::{service, stored_at};

    fn entry(revision: u64, events: usize) -> Arc<Entry> {
        let event = Event {
            reference: crate::desired::reference(weir_proto::model::Kind::Node, "a"),
            outcome: Outcome::Deleted,
            resource: None,
        };
        Arc::new(Entry {
            revision: Revision(revision),
            events: vec![event; events],
        })
    }

    fn revisions(entries: Option<Vec<Arc<Entry>>>) -> Option<Vec<u64>> {
        entries.map(|entries| entries.iter().map(|entry| entry.revision.0).collect())
    }

    #[test]
    fn a_log_gives_what_came_after_a_revision_it_knows() {
        let mut log = ChangeLog::new(Revision(5));
        assert_eq!(revisions(log.after(Revision(5))), Some(vec![]));
        log.push(entry(6, 1));
        log.push(entry(7, 1));
        assert_eq!(revisions(log.after(Revision(4))), None);
        assert_eq!(revisions(log.after(Revision(5))), Some(vec![6, 7]));
        assert_eq!(revisions(log.after(Revision(6))), Some(vec![7]));
        assert_eq!(revisions(log.after(Revision(7))), Some(vec![]));
        assert_eq!(revisions(log.after(Revision(8))), None);
    }

    #[test]
    fn a_log_forgets_the_oldest_when_it_is_full() {
        let mut log = ChangeLog::new(Revision(0));
        for revision in 1..=MOST_REVISIONS as u64 + 2 {
            log.push(entry(revision, 1));
        }
        assert_eq!(log.oldest(), Revision(2));
        assert_eq!(log.after(Revision(1)), None);
        log.push(entry(log.newest.0 + 1, MOST_HELD + 1));
        assert_eq!(log.oldest(), log.newest);
        assert_eq!(log.held, 0);
    }

    #[test]
    fn a_log_of_large_resources_is_shorter() {
        let backends: Vec<String> = (0..200)
            .map(|port| format!("10.0.0.1:{}", port + 1))
            .collect();
        let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
        let resource = Resource::Service(service("web", &["10.1.0.1:80"], &backends));
        let of = resource.reference();
        let stored = Arc::new(stored_at(resource, 1));
        let mut log = ChangeLog::new(Revision(0));
        for revision in 1..=3_000 {
            log.push(Arc::new(Entry {
                revision: Revision(revision),
                events: vec![Event {
                    reference: of.clone(),
                    outcome: Outcome::Updated,
                    resource: Some(Arc::clone(&stored)),
                }],
            }));
        }
        let kept = 3_000 - usize::try_from(log.oldest().0).expect("small");
        assert_eq!(kept, MOST_HELD / 201);
    }
}
