//! What was written before, and going back to it.

use prost::Message as _;
use tonic::{Request, Response, Status};
use weir_proto::model::Revision;
use weir_proto::wire;

use super::super::caller::caller;
use super::super::encode;
use super::super::status::refusal;
use crate::cluster::{Cluster, WriteOptions};

/// How many writes are told at most, and when nothing is said.
const LARGEST: usize = 100;
/// What they take together at most, save for a newest one that takes more by itself: clients take messages of 4 MiB, and
/// one write can change 10,000 resources.
const LARGEST_BYTES: usize = 3 << 20;

/// Gives the last writes.
pub(super) async fn history(
    cluster: &Cluster,
    request: Request<wire::HistoryRequest>,
) -> Result<Response<wire::HistoryResponse>, Status> {
    let wire::HistoryRequest { limit } = request.into_inner();
    let most = match limit {
        0 => LARGEST,
        asked => LARGEST.min(asked as usize),
    };
    let history = cluster.history(most).await.map_err(refusal)?;
    let mut entries = Vec::with_capacity(history.writes.len());
    let mut bytes = 0;
    for past in &history.writes {
        let entry = encode::past(past);
        bytes += entry.encoded_len();
        if bytes > LARGEST_BYTES && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(Response::new(wire::HistoryResponse {
        entries,
        revision: history.revision.0,
    }))
}

/// Goes back to a revision.
pub(super) async fn rollback(
    cluster: &Cluster,
    request: Request<wire::RollbackRequest>,
) -> Result<Response<wire::ApplyResponse>, Status> {
    let who = caller(&request)?;
    let wire::RollbackRequest {
        revision,
        dry_run,
        expected_revision,
        allow_mass_delete,
    } = request.into_inner();
    let options = WriteOptions {
        who,
        dry_run,
        expected: expected_revision.map(Revision),
        allow_mass_delete,
        canary: None,
    };
    let written = cluster.roll_back(Revision(revision), options).await;
    let written = written.map_err(refusal)?;
    Ok(Response::new(wire::ApplyResponse {
        revision: written.revision.0,
        changes: encode::changes(written.changes),
        targets: encode::targets(written.targets),
    }))
}
