//! What was written before, and going back to it.

use tonic::Code;
use weir_proto::wire;
use weir_proto::wire::change::Outcome;

use crate::rig::{Rig, reference, web};

fn to(revision: u64) -> wire::RollbackRequest {
    wire::RollbackRequest {
        revision,
        ..wire::RollbackRequest::default()
    }
}

fn changed(name: &str, outcome: Outcome) -> wire::Change {
    wire::Change {
        r#ref: Some(reference(wire::Kind::Service, name)),
        outcome: outcome.into(),
    }
}

async fn history(rig: &Rig, limit: u32) -> wire::HistoryResponse {
    let request = wire::HistoryRequest { limit };
    let history = rig.operator().await.history(request).await;
    history.expect("a history").into_inner()
}

#[tokio::test]
async fn an_operator_goes_back_to_what_was_even_after_a_restart() {
    let rig = Rig::start().await;
    let first = web("web", 1, &[1, 2]);
    rig.apply(vec![first.clone()]).await;
    rig.apply(vec![web("web", 1, &[3]), web("dns", 2, &[])])
        .await;
    let rig = rig.restart().await;
    let told = history(&rig, 0).await;
    assert_eq!(told.revision, 2);
    assert!(told.entries.iter().all(|entry| entry.unix_ms > 0));
    let mut entries = told.entries;
    entries.iter_mut().for_each(|entry| entry.unix_ms = 0);
    let entry = |revision, changes| wire::HistoryEntry {
        revision,
        who: "anonymous".to_owned(),
        what: "apply".to_owned(),
        changes,
        ..wire::HistoryEntry::default()
    };
    let second = vec![
        changed("dns", Outcome::Created),
        changed("web", Outcome::Updated),
    ];
    let both = [
        entry(2, second),
        entry(1, vec![changed("web", Outcome::Created)]),
    ];
    assert_eq!(entries, both);
    assert_eq!(history(&rig, 1).await.entries.len(), 1);

    let back = rig.operator().await.rollback(to(1)).await;
    let back = back.expect("it is known").into_inner();
    assert_eq!(back.revision, 3);
    let changes = [
        changed("dns", Outcome::Deleted),
        changed("web", Outcome::Updated),
    ];
    assert_eq!(back.changes, changes);
    let request = wire::GetRequest {
        r#ref: Some(reference(wire::Kind::Service, "web")),
    };
    let got = rig.operator().await.get(request).await;
    let got = got.expect("a service").into_inner();
    let again = rig.apply(vec![first]).await;
    assert_eq!((got.revision, again.revision), (3, 3), "it is what it was");
    assert_eq!(history(&rig, 1).await.entries[0].what, "rollback to 1");
}

#[tokio::test]
async fn going_back_too_far_is_out_of_range() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let refused = rig.operator().await.rollback(to(2)).await;
    let refused = refused.expect_err("it is yet to come");
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(
        refused.message(),
        "revision 2 cannot be gone back to: the history knows what was from revision 0 on, and the \
         cluster is at 1"
    );
}
