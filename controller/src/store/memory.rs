//! The store of tests: in memory, refusing on demand.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Saved, Store, StoreError, Write};
use crate::desired::{Event, EventBatch, Past};

/// A store whose clones are one; what it kept outlives the cluster that wrote it.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStore {
    saved: Arc<Mutex<Saved>>,
    refuses: Arc<AtomicBool>,
    /// While true no commit goes on.
    held: Arc<watch::Sender<bool>>,
    asked: Arc<AtomicUsize>,
    /// How often events alone were to be kept.
    kept: Arc<AtomicUsize>,
}

impl MemoryStore {
    /// Gives what was kept.
    pub(crate) fn saved(&self) -> Saved {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        saved.clone()
    }

    /// Makes every commit fail from here on, or no longer.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Keeps every commit waiting from here on, or no longer.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Gives how many commits were asked for.
    pub(crate) fn commits(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl MemoryStore {
    /// Gives how often it was asked to keep events that go with no write.
    pub(crate) fn keeps(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    fn take_events(saved: &mut Saved, events: EventBatch) {
        for (slot, event) in events {
            saved.events.insert(slot, Event::clone(&event));
        }
    }
}

impl Store for MemoryStore {
    async fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        // the sender is in this very store
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        if self.refuses.load(Ordering::Relaxed) {
            return Err(StoreError::Commit("the test says no".into()));
        }
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        saved.revision = write.revision;
        saved.served |= write.served;
        for (reference, stored) in write.resources {
            saved
                .resources
                .retain(|kept| kept.resource.reference() != reference);
            saved.resources.extend(stored.as_deref().cloned());
        }
        for (name, node) in write.nodes {
            match node {
                Some(node) => saved.nodes.insert(name, node),
                None => saved.nodes.remove(&name),
            };
        }
        for (target, asked) in write.drains {
            match asked {
                Some(asked) => saved.drains.insert(target, asked),
                None => saved.drains.remove(&target),
            };
        }
        for (name, generation) in write.confirmed {
            match generation {
                Some(generation) => saved.confirmed.insert(name, generation),
                None => saved.confirmed.remove(&name),
            };
        }
        for (name, named) in write.named {
            if named {
                saved.named.insert(name);
            } else {
                saved.named.remove(&name);
            }
        }
        for (name, capabilities) in write.capabilities {
            if capabilities.is_empty() {
                saved.capabilities.remove(&name);
            } else {
                saved.capabilities.insert(name, capabilities);
            }
        }
        if write.rollout.is_some() {
            saved.rollout = write.rollout;
        }
        for (revision, past) in write.history {
            match past {
                Some(past) => saved.history.insert(revision, Past::clone(&past)),
                None => saved.history.remove(&revision),
            };
        }
        Self::take_events(&mut saved, write.events);
        Ok(())
    }

    fn keep(
        &mut self,
        events: EventBatch,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        self.kept.fetch_add(1, Ordering::Relaxed);
        let store = self.clone();
        async move {
            let _ = store.held.subscribe().wait_for(|held| !held).await;
            if store.refuses.load(Ordering::Relaxed) {
                return Err(StoreError::Commit("the test says no".into()));
            }
            let mut saved = store.saved.lock().unwrap_or_else(PoisonError::into_inner);
            Self::take_events(&mut saved, events);
            Ok(())
        }
    }
}
