//! The answers that go on: what changes, and how far the nodes are.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tonic::{Code, Status};
use weir_proto::model::{Kind, NodeName, Revision};
use weir_proto::wire;
use weir_proto::wire::ErrorReason;

use crate::cluster::{Cluster, Statuses, Watching};
use crate::rpc::encode;
use crate::rpc::ending::{Ending, last_word};
use crate::rpc::status::{controller_stops, refusal, status};

/// How often the states of nodes are told at most: a fleet that converges rings a thousand times, and people
/// see ten times a second.
const AT_MOST_EVERY: Duration = Duration::from_millis(100);

type Answers<T> = mpsc::Sender<Result<T, Status>>;

/// Tells a watcher what happened and what happens, until it leaves, lags, or is not to be told any more.
pub(super) async fn watch(
    watching: Watching,
    kinds: Vec<Kind>,
    answers: Answers<wire::WatchResponse>,
    ending: Ending,
) {
    let end = tokio::select! {
        end = tell_changes(watching, &kinds, &answers) => end,
        status = ending.comes() => Some(status),
        () = answers.closed() => None,
    };
    if let Some(end) = end {
        last_word(&answers, end).await;
    }
}

/// Gives why it ended; none: nobody listens.
async fn tell_changes(
    watching: Watching,
    kinds: &[Kind],
    answers: &Answers<wire::WatchResponse>,
) -> Option<Status> {
    let Watching { past, mut live } = watching;
    let tell = async |entry: &crate::cluster::Entry| {
        let sees = |reference: &weir_proto::model::ResourceRef| {
            kinds.is_empty() || kinds.contains(&reference.kind)
        };
        match encode::entry(entry, sees) {
            Some(response) => answers.send(Ok(response)).await.is_ok(),
            None => true,
        }
    };
    let mut told = Revision(0);
    for entry in past {
        told = entry.revision;
        if !tell(&entry).await {
            return None;
        }
    }
    loop {
        match live.recv().await {
            Ok(entry) => {
                told = entry.revision;
                if !tell(&entry).await {
                    return None;
                }
            }
            Err(RecvError::Lagged(missed)) => {
                let message = format!(
                    "{missed} revisions after {told} went by unread: list, and watch from there"
                );
                let reason = ErrorReason::RevisionOutOfRange;
                return Some(status((Code::OutOfRange, reason), message, []));
            }
            Err(RecvError::Closed) => {
                return Some(controller_stops());
            }
        }
    }
}

/// The states of some nodes, told once, or again at each change.
#[derive(Debug)]
pub(super) struct NodeStatuses {
    pub(super) cluster: Cluster,
    pub(super) names: Vec<NodeName>,
    pub(super) bell: watch::Receiver<u64>,
    pub(super) watch: bool,
    pub(super) ending: Ending,
    pub(super) started_unix_ms: u64,
}

impl NodeStatuses {
    /// Tells until the reader leaves or is not to be told any more.
    pub(super) async fn run(mut self, first: Statuses, answers: Answers<wire::NodeStatusResponse>) {
        let ending = self.ending.clone();
        let end = tokio::select! {
            end = self.tell(first, &answers) => end,
            status = ending.comes() => Some(status),
            () = answers.closed() => None,
        };
        if let Some(end) = end {
            last_word(&answers, end).await;
        }
    }

    fn response(&self, statuses: &Statuses) -> wire::NodeStatusResponse {
        wire::NodeStatusResponse {
            nodes: statuses.nodes.iter().map(encode::node_state).collect(),
            revision: statuses.revision.0,
            controller_version: env!("CARGO_PKG_VERSION").to_owned(),
            controller_started_unix_ms: self.started_unix_ms,
        }
    }

    async fn tell(
        &mut self,
        first: Statuses,
        answers: &Answers<wire::NodeStatusResponse>,
    ) -> Option<Status> {
        let mut told = first;
        if answers.send(Ok(self.response(&told))).await.is_err() || !self.watch {
            return None;
        }
        loop {
            tokio::time::sleep(AT_MOST_EVERY).await;
            if self.bell.changed().await.is_err() {
                return Some(controller_stops());
            }
            match self.cluster.statuses(self.names.clone()).await {
                Ok(now) if now.nodes == told.nodes => {}
                Ok(now) => {
                    told = now;
                    if answers.send(Ok(self.response(&told))).await.is_err() {
                        return None;
                    }
                }
                Err(gone) => return Some(refusal(gone)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::broadcast;
    use tonic::Code;

    use super::*;
    use crate::cluster::Entry;

    fn entry(revision: u64) -> Arc<Entry> {
        Arc::new(Entry {
            revision: Revision(revision),
            events: Vec::new(),
        })
    }

    #[tokio::test]
    async fn a_watcher_that_lags_is_told_to_list_again() {
        let (changes, live) = broadcast::channel(2);
        for revision in 6..=9 {
            changes.send(entry(revision)).expect("a watcher");
        }
        let watching = Watching {
            past: vec![entry(5)],
            live,
        };
        let (answers, mut told) = mpsc::channel(1);
        let (_stop, stopping) = watch::channel(false);
        let ending = Ending::of(&stopping, &tonic::Request::new(()));
        super::watch(watching, Vec::new(), answers, ending).await;
        let end = told.recv().await.expect("an end").expect_err("an error");
        assert_eq!(end.code(), Code::OutOfRange);
        assert_eq!(
            end.message(),
            "2 revisions after 5 went by unread: list, and watch from there"
        );
    }
}
