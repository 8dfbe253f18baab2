//! What operators ask and are answered.

use prost::Message as _;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;
use weir_proto::wire;
use weir_proto::wire::change::Outcome;

use crate::rig::{Rig, reference, service, web};

fn outcomes(changes: &[wire::Change]) -> Vec<(String, Outcome)> {
    let named = |change: &wire::Change| change.r#ref.clone().unwrap_or_default().name;
    let changes = changes.iter();
    changes
        .map(|change| (named(change), change.outcome()))
        .collect()
}

fn name(resource: &wire::Resource) -> &str {
    match resource.kind.as_ref() {
        Some(wire::resource::Kind::Service(service)) => &service.name,
        Some(wire::resource::Kind::Node(node)) => &node.name,
        Some(wire::resource::Kind::BackendSet(set)) => &set.name,
        None => "",
    }
}

#[tokio::test]
async fn what_is_applied_can_be_read_back_with_its_defaults_and_revision() {
    let rig = Rig::start().await;
    let applied = rig.apply(vec![web("web", 1, &[1, 3])]).await;
    assert_eq!(applied.revision, 1);
    assert_eq!(
        outcomes(&applied.changes),
        [("web".to_owned(), Outcome::Created)]
    );
    let request = wire::GetRequest {
        r#ref: Some(reference(wire::Kind::Service, "web")),
    };
    let got = rig.operator().await.get(request).await;
    let got = got.expect("a service").into_inner();
    assert_eq!(got.revision, 1);
    let Some(wire::resource::Kind::Service(got)) = got.kind else {
        panic!("{got:?}");
    };
    assert_eq!(got.scheduler.as_deref(), Some("wrr"));
    assert_eq!(got.hairpin, Some(true));
    assert_eq!(got.backends.len(), 2);
}

#[tokio::test]
async fn every_bad_field_is_named_and_nothing_of_the_batch_is_stored() {
    let rig = Rig::start().await;
    rig.apply(vec![web("shop", 1, &[])]).await;
    let frontend = |port| wire::Frontend {
        address: "10.1.0.7".to_owned(),
        port,
        protocol: wire::Protocol::Tcp.into(),
        ..wire::Frontend::default()
    };
    let bad = service(wire::Service {
        name: "bad".to_owned(),
        frontends: vec![frontend(0), frontend(70_000)],
        ..wire::Service::default()
    });
    let mut operator = rig.operator().await;
    let apply = |resources| wire::ApplyRequest {
        resources,
        ..wire::ApplyRequest::default()
    };
    let refused = operator.apply(apply(vec![web("good", 2, &[]), bad])).await;
    let status = refused.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "services[bad].frontends[0].port: 0 is not a port (1-65535)\n\
         services[bad].frontends[1].port: 70000 is not a port (1-65535)"
    );
    let details = status.get_details_bad_request().expect("a bad request");
    let fields = details.field_violations.iter();
    let fields: Vec<&str> = fields.map(|violation| violation.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "services[bad].frontends[0].port",
            "services[bad].frontends[1].port"
        ]
    );

    let clash = operator.apply(apply(vec![web("web", 1, &[])])).await;
    assert_eq!(
        clash.expect_err("refused").message(),
        "services[web].frontends[0]: 10.1.0.1:80/TCP is claimed by services[shop]"
    );
    let list = wire::ListRequest {
        kind: wire::Kind::Service.into(),
        ..wire::ListRequest::default()
    };
    let listed = operator.list(list).await.expect("a page").into_inner();
    let names: Vec<&str> = listed.resources.iter().map(name).collect();
    assert_eq!((names, listed.revision), (vec!["shop"], 1));
}

#[tokio::test]
async fn a_batch_with_thousands_of_bad_fields_still_gets_an_answer() {
    let rig = Rig::start().await;
    let frontend = wire::Frontend::default();
    let bad = service(wire::Service {
        name: "bad".to_owned(),
        frontends: vec![frontend; 5_000],
        ..wire::Service::default()
    });
    let request = wire::ApplyRequest {
        resources: vec![bad],
        ..wire::ApplyRequest::default()
    };
    let refused = rig.operator().await.apply(request).await;
    let status = refused.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let last = status.message().lines().last().unwrap_or_default();
    assert!(
        last.starts_with("and ") && last.ends_with(" more"),
        "{last}"
    );
}

#[tokio::test]
async fn resources_are_listed_page_by_page() {
    let rig = Rig::start().await;
    let services = (1..=5).map(|vip| web(&format!("s{vip}"), vip, &[]));
    rig.apply(services.collect()).await;
    let mut operator = rig.operator().await;
    let mut names = Vec::new();
    let mut sizes = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListRequest {
            kind: wire::Kind::Service.into(),
            page_size: 2,
            page_token,
        };
        let page = operator.list(request).await.expect("a page").into_inner();
        sizes.push(page.resources.len());
        names.extend(page.resources.iter().map(|one| name(one).to_owned()));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["s1", "s2", "s3", "s4", "s5"]);
    assert_eq!(sizes, [2, 2, 1]);
    let request = wire::ListRequest::default();
    let refused = operator.list(request).await.expect_err("refused");
    assert_eq!(refused.message(), "kind: missing");
}

#[tokio::test]
async fn a_page_of_large_resources_is_short_rather_than_refused() {
    let rig = Rig::start().await;
    for vip in 1..=4 {
        let mut resource = web(&format!("s{vip}"), vip, &[]);
        if let Some(wire::resource::Kind::Service(service)) = &mut resource.kind {
            service.backends = (0..20_000_u32)
                .map(|number| wire::Backend {
                    address: format!("10.{}.{}.{}", 9 + vip, number / 250, number % 250 + 1),
                    port: 80,
                    ..wire::Backend::default()
                })
                .collect();
        }
        rig.apply(vec![resource]).await;
    }
    let request = wire::ListRequest {
        kind: wire::Kind::Service.into(),
        ..wire::ListRequest::default()
    };
    let page = rig.operator().await.list(request).await;
    let page = page.expect("a page").into_inner();
    assert!(page.encoded_len() < 2 << 20, "{} bytes", page.encoded_len());
    assert!((1..4).contains(&page.resources.len()));
    assert!(!page.next_page_token.is_empty());
}

#[tokio::test]
async fn what_is_deleted_takes_its_backend_sets_and_what_is_missing_is_named() {
    let rig = Rig::start().await;
    let set = wire::Resource {
        kind: Some(wire::resource::Kind::BackendSet(wire::BackendSet {
            name: "pods".to_owned(),
            service: "web".to_owned(),
            ..wire::BackendSet::default()
        })),
        ..wire::Resource::default()
    };
    rig.apply(vec![set, web("web", 1, &[1])]).await;
    let mut operator = rig.operator().await;
    let delete = |refs| wire::DeleteRequest {
        refs,
        ..wire::DeleteRequest::default()
    };
    let web = reference(wire::Kind::Service, "web");
    let shop = reference(wire::Kind::Service, "shop");
    let missing = operator.delete(delete(vec![web.clone(), shop])).await;
    let missing = missing.expect_err("refused");
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(missing.message(), "not found: services[shop]");
    let twice = operator
        .delete(delete(vec![web.clone(), web.clone()]))
        .await;
    let twice = twice.expect_err("refused");
    assert_eq!(twice.message(), "refs[1]: services[web] is named twice");
    let deleted = operator.delete(delete(vec![web.clone()])).await;
    let deleted = deleted.expect("deleted").into_inner();
    assert_eq!(deleted.revision, 2);
    assert_eq!(
        outcomes(&deleted.changes),
        [
            ("web".to_owned(), Outcome::Deleted),
            ("pods".to_owned(), Outcome::Deleted)
        ]
    );
    let gone = operator.get(wire::GetRequest { r#ref: Some(web) }).await;
    assert_eq!(gone.expect_err("refused").code(), Code::NotFound);
}

#[tokio::test]
async fn a_write_says_which_revision_it_expects() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[])]).await;
    let request = wire::ApplyRequest {
        resources: vec![web("web", 2, &[])],
        expected_revision: Some(0),
        ..wire::ApplyRequest::default()
    };
    let late = rig.operator().await.apply(request).await;
    let late = late.expect_err("refused");
    assert_eq!(late.code(), Code::Aborted);
    assert_eq!(late.message(), "the cluster is at revision 1, not 0");
}

#[tokio::test]
async fn a_watch_tells_what_is_and_then_what_changes_of_the_kinds_asked_for() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[])]).await;
    let mut operator = rig.operator().await;
    let request = wire::WatchRequest {
        from_revision: 0,
        kinds: vec![wire::Kind::Service.into()],
    };
    let watching = operator.watch(request).await.expect("a stream");
    let mut watching = watching.into_inner();
    let first = watching.message().await.expect("an event").expect("one");
    assert_eq!(first.revision, 1);
    let _agent = rig.agent("a", None).await;
    rig.apply(vec![web("web", 2, &[])]).await;
    let second = watching.message().await.expect("an event").expect("one");
    assert_eq!(
        second.revision, 3,
        "the node of revision 2 was not asked for"
    );
    let event = &second.events[0];
    let change = event.change.clone().unwrap_or_default();
    assert_eq!(outcomes(&[change]), [("web".to_owned(), Outcome::Updated)]);
    assert_eq!(event.resource.as_ref().map(|now| now.revision), Some(3));

    let later = wire::WatchRequest {
        from_revision: 99,
        ..wire::WatchRequest::default()
    };
    let later = operator.watch(later).await.expect_err("refused");
    assert_eq!(later.code(), Code::OutOfRange);
    rig.running.stop().await.expect("a clean stop");
    let end = watching.message().await.expect_err("the end");
    assert_eq!(end.code(), Code::Unavailable);
}

#[tokio::test]
async fn the_status_of_a_node_that_is_not_there_is_not_found() {
    let rig = Rig::start().await;
    let request = Request::new(wire::NodeStatusRequest {
        names: vec!["nowhere".to_owned()],
        watch: false,
    });
    let missing = rig.operator().await.node_status(request).await;
    let missing = missing.expect_err("refused");
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(missing.message(), "not found: nodes[nowhere]");
}
