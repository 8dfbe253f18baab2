use weir_proto::model::{Generation, Resource, Role};

use super::*;
use crate::desired::samples::{endpoint, frontend, node, node_name, service, service_name};
use crate::desired::{Batch, Desired};

fn failure(key: ItemKey, cause: &str) -> ItemFailure {
    ItemFailure {
        key,
        errno: 2,
        cause: cause.to_owned(),
        field: String::new(),
    }
}

fn backend_key(port: u16) -> ItemKey {
    ItemKey::Backend(BackendKey {
        frontend: frontend("10.1.0.1:80"),
        endpoint: endpoint(&format!("10.0.0.1:{port}")),
    })
}

/// The object, the part, the message and how often.
fn shown(told: &[Happening]) -> Vec<(String, &str, &str, u64)> {
    let all = told.iter().map(|it| {
        let object = it.object.as_ref();
        let object = object.map(|it| format!("{}/{}", it.kind.as_str(), it.name));
        (
            object.unwrap_or_default(),
            it.part.as_str(),
            it.message.as_str(),
            it.times,
        )
    });
    all.collect()
}

fn is(object: &str, message: &'static str) -> (String, &'static str, &'static str, u64) {
    (object.to_owned(), "", message, 1)
}

#[test]
fn items_that_are_refused_are_told_once_those_of_a_service_together() {
    let web = service_name("web");
    let known = |it: &Frontend| (*it == frontend("10.1.0.1:80")).then_some(&web);
    let vip = ItemKey::Vip("10.1.0.1".parse().expect("an address"));
    let virtual_service = ItemKey::VirtualService(frontend("10.1.0.1:80"));
    let unknown = ItemKey::VirtualService(frontend("10.1.0.9:80"));
    let now = [
        failure(virtual_service, "no scheduler rr"),
        failure(backend_key(80), ""),
        failure(backend_key(81), ""),
        failure(vip, "no room"),
        failure(unknown, "no scheduler rr"),
        failure(ItemKey::StrictArp, ""),
    ];
    let name = node_name("a");
    let new = new_failures([].iter(), &now);
    let told = failures(&name, Reason::ItemsFailed, &new, known);
    assert_eq!(
        shown(&told),
        [
            is(
                "node/a",
                "virtual service 10.1.0.9:80/TCP: no scheduler rr; and 1 more item"
            ),
            is(
                "service/web",
                "virtual service 10.1.0.1:80/TCP: no scheduler rr; and 2 more items"
            ),
            is("vip/10.1.0.1", "vip 10.1.0.1: no room"),
        ]
    );
    assert!(told.iter().all(|it| it.node == Some(name.clone())));
    // the same once more is no news, another cause is
    let before = now.clone();
    let mut now = now;
    assert_eq!(
        new_failures(before.iter(), &now),
        Vec::<&ItemFailure>::new()
    );
    now[1].cause = "no such device".to_owned();
    assert_eq!(new_failures(before.iter(), &now), [&now[1]]);
}

#[test]
fn each_repair_is_told_of_what_it_is_of() {
    let repair = |kind: &str, object: &str, found: &str, expected: &str| Repair {
        object: object.to_owned(),
        kind: kind.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
        at_unix_ms: 1,
    };
    let web = service_name("web");
    let of_web: [Frontend; 2] = ["10.1.0.1:53/UDP", "mark:7/IPV4"].map(|it| it.parse().expect(it));
    let known = |it: &Frontend| of_web.contains(it).then_some(&web);
    let repairs = [
        repair("vip", "vip 10.1.0.1", "", "bound"),
        repair("link", "link weir0", "down", "up"),
        repair(
            "virtual_service",
            "virtual service 10.1.0.1:53/UDP",
            "wlc",
            "rr",
        ),
        repair(
            "backend",
            "backend 10.0.0.1:53 of 10.1.0.1:53/UDP",
            "weight 2",
            "",
        ),
        repair(
            "backend",
            "backend 10.0.0.1:53 of mark:7/IPV4",
            "",
            "weight 1",
        ),
        repair("backend", "backend of another version", "", "weight 1"),
    ];
    let counts = [("backend".to_owned(), 8), ("vip".to_owned(), 4)].into();
    let told = super::repairs(&node_name("a"), (&repairs, &counts), known);
    let one = |object: &str, part: &'static str, message: &'static str, times| {
        (object.to_owned(), part, message, times)
    };
    assert_eq!(
        shown(&told),
        [
            one(
                "vip/10.1.0.1",
                "vip 10.1.0.1",
                "vip 10.1.0.1: found nothing, expected bound",
                1
            ),
            one(
                "node/a",
                "link weir0",
                "link weir0: found down, expected up",
                1
            ),
            one(
                "service/web",
                "virtual service 10.1.0.1:53/UDP",
                "virtual service 10.1.0.1:53/UDP: found wlc, expected rr",
                1
            ),
            one(
                "service/web",
                "backend 10.0.0.1:53 of 10.1.0.1:53/UDP",
                "backend 10.0.0.1:53 of 10.1.0.1:53/UDP: found weight 2, expected nothing",
                1
            ),
            one(
                "service/web",
                "backend 10.0.0.1:53 of mark:7/IPV4",
                "backend 10.0.0.1:53 of mark:7/IPV4: found nothing, expected weight 1",
                1
            ),
            one(
                "node/a",
                "backend of another version",
                "backend of another version: found nothing, expected weight 1",
                1
            ),
            one("node/a", "", "6 repairs that the node does not name", 6),
        ]
    );
}

#[test]
fn a_hold_is_told_when_it_begins_grows_and_ends() {
    let hold = |generation| Hold {
        generation: Generation(generation),
        dropped: 11,
        served: 20,
        since_unix_ms: 1,
        cause: "it is more than half".to_owned(),
    };
    let name = node_name("a");
    let told = |before: Option<&Hold>, now: Option<&Hold>| {
        let told = held(&name, before, now);
        told.map(|it| (it.reason, it.message))
    };
    let holds = "it holds back generation 7, by which 11 of 20 virtual services would go: it is more than half";
    let began = Some((Reason::HeldBack, holds.to_owned()));
    let (old, new) = (hold(6), hold(7));
    assert_eq!(told(None, Some(&new)), began);
    assert_eq!(told(Some(&old), Some(&new)), began);
    assert_eq!(told(Some(&new), Some(&new)), None);
    assert_eq!(told(None, None), None);
    let ended = "it holds nothing back any more".to_owned();
    assert_eq!(told(Some(&new), None), Some((Reason::HoldEnded, ended)));

    let degraded = |before: Option<&Degraded>, now: Option<&Degraded>| {
        let told = super::degraded(&name, before, now);
        told.map(|it| (it.reason, it.message))
    };
    let full = Degraded {
        reason: "the disk is full".to_owned(),
        since_unix_ms: 1,
    };
    let began = Some((Reason::NodeDegraded, "the disk is full".to_owned()));
    assert_eq!(degraded(None, Some(&full)), began);
    assert_eq!(degraded(Some(&full), Some(&full)), None);
    let over = "it makes things durable again".to_owned();
    assert_eq!(
        degraded(Some(&full), None),
        Some((Reason::NodeRecovered, over))
    );
}

#[test]
fn what_happens_to_a_drain_is_told_of_the_backend_or_the_node() {
    let turn = |turned, left, on_deadline| DrainTurn {
        key: backend_key(80),
        turned,
        left,
        on_deadline,
        allowed_ms: 300_000,
    };
    let web = Drained::Backend(Some(service_name("web")), endpoint("10.0.0.1:80"));
    let lost = Drained::Backend(None, endpoint("10.0.0.1:80"));
    let node = Drained::Node(node_name("b"));
    let name = node_name("a");
    for (of, turn, reason, told) in [
        (
            &web,
            turn(Turned::Began, 3, OnDeadline::Keep),
            Reason::DrainBegan,
            is(
                "backend/web/10.0.0.1:80",
                "3 connections may end within 300 s; then what is left is kept",
            ),
        ),
        (
            &lost,
            turn(Turned::Deadline, 1, OnDeadline::Reset),
            Reason::DrainDeadline,
            is(
                "backend/10.0.0.1:80",
                "its time is over with 1 connection left, to be reset",
            ),
        ),
        (
            &node,
            turn(Turned::Ended, 0, OnDeadline::Keep),
            Reason::DrainEnded,
            is("node/b", "the drain is over"),
        ),
    ] {
        let happening = drain_turn(&name, of, &turn);
        assert_eq!(
            (happening.reason, &happening.node),
            (reason, &Some(name.clone()))
        );
        assert_eq!(shown(&[happening]), [told]);
    }
}

#[test]
fn a_write_is_told_of_each_resource_with_who_and_at_which_revision() {
    let who = Identity::Operator {
        role: Role::Admin,
        name: node_name("alice"),
    };
    let batch = |resources: Vec<Resource>| -> Batch {
        let all = resources.into_iter();
        all.map(|it| (it.reference(), Some(it))).collect()
    };
    let web = Resource::Service(service("web", &["10.1.0.1:80"], &[]));
    let desired = Desired::default();
    let change = desired.prepare(batch(vec![web, Resource::Node(node("a", &[]))]));
    let told = |what| {
        let told = writes(&change, Revision(7), (&who, what));
        assert!(told.iter().all(|it| it.who == "admin/alice"));
        let all = told.into_iter().map(|it| {
            let object = it
                .object
                .map(|it| format!("{}/{}", it.kind.as_str(), it.name));
            let node = it.node.map(|it| it.to_string()).unwrap_or_default();
            (it.reason, node, object.unwrap_or_default(), it.message)
        });
        all.collect::<Vec<_>>()
    };
    let of = |reason, node: &str, object: &str, message: &str| {
        (
            reason,
            node.to_owned(),
            object.to_owned(),
            message.to_owned(),
        )
    };
    let created = "created at revision 7, by admin/alice";
    assert_eq!(
        told(What::Apply),
        [
            of(Reason::Applied, "a", "node/a", created),
            of(Reason::Applied, "", "service/web", created),
        ]
    );
    let back = "created at revision 7, back to what it was at 3, by admin/alice";
    assert_eq!(
        told(What::Rollback(Revision(3)))[1],
        of(Reason::RolledBack, "", "service/web", back)
    );
    assert_eq!(
        told(What::Register)[0],
        of(
            Reason::NodeRegistered,
            "a",
            "node/a",
            "created at revision 7, as its agent says"
        )
    );
    assert_eq!(
        told(What::Rollout)[0],
        of(
            Reason::RolloutBegan,
            "",
            "rollout/7",
            "admin/alice began it"
        )
    );
    assert_eq!(
        told(What::Undo(Revision(5)))[0],
        of(
            Reason::RolloutUndone,
            "",
            "rollout/5",
            "admin/alice undid it at revision 7"
        )
    );
}

#[test]
fn a_write_of_thousands_does_not_push_everything_else_out() {
    let all = (0..1_000).map(|number| {
        let at = format!("10.9.{}.{}:80", number / 250, number % 250 + 1);
        let it = Resource::Service(service(&format!("s{number}"), &[at.as_str()], &[]));
        (it.reference(), Some(it))
    });
    let change = Desired::default().prepare(all.collect());
    let told = writes(&change, Revision(7), (&Identity::Anonymous, What::Apply));
    assert_eq!(told.len(), MOST_NAMED + 1);
    assert_eq!(
        shown(&told)[MOST_NAMED],
        is("", "984 more resources at revision 7, by anonymous")
    );
}
