//! What a change does to lockdowns and their guards.

use weir_proto::model::{
    Family, Frontend, Item, ItemKey, Listener, Port, Scheduler, Sources, Vip, VirtualService,
};

use super::tests::{Rig, listener, service, web};
use super::*;
use crate::kernel::fake::Fake;
use crate::plan::{Guard, Object};

fn allowing(ranges: &[&str]) -> Item {
    let Item::VirtualService(service) = service(Scheduler::RoundRobin) else {
        unreachable!("a service");
    };
    let ranges = ranges.iter().map(|range| range.parse().expect("a range"));
    Item::VirtualService(VirtualService {
        sources: ranges.collect::<Sources>(),
        ..service
    })
}

fn vip(lockdown: bool) -> Item {
    Item::Vip(Vip {
        lockdown,
        ..Vip::new(listener().address)
    })
}

fn opening(range: Option<&str>) -> Key {
    let range = range.map(|range| range.parse().expect("a range"));
    Key::Guard(Guard::Opening(listener(), range))
}

fn locked() -> Key {
    Key::Guard(Guard::Vip(listener().address))
}

fn guarded() -> Key {
    Key::Guard(Guard::Port(listener()))
}

fn keys(steps: Vec<Step>) -> Vec<(&'static str, Key)> {
    steps.iter().map(|step| (verb(step), step.key())).collect()
}

#[tokio::test(start_paused = true)]
async fn other_sources_change_and_read_what_they_were_and_are_and_nothing_else() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    for (ranges, steps) in [
        (
            &["10.0.0.0/8", "192.0.2.7/32"][..],
            vec![
                ("add", opening(Some("10.0.0.0/8"))),
                ("add", opening(Some("192.0.2.7/32"))),
                ("add", guarded()),
                ("remove", opening(None)),
            ],
        ),
        (
            &["10.0.0.0/8"],
            vec![("remove", opening(Some("192.0.2.7/32")))],
        ),
        // everybody, by another name
        (
            &["0.0.0.0/0", "10.0.0.0/8"],
            vec![
                ("add", opening(None)),
                ("remove", guarded()),
                ("remove", opening(Some("10.0.0.0/8"))),
            ],
        ),
    ] {
        kernel.take_steps();
        kernel.take_reads();
        rig.change(vec![allowing(ranges)], &[]).await;
        assert_eq!(keys(kernel.take_steps()), steps);
        let Some(Scope::Units(units)) = kernel.take_reads().pop() else {
            panic!("everything was read");
        };
        let guards = units.iter().filter(|unit| matches!(unit, Unit::Guard(_)));
        assert!(guards.count() <= 5, "{units:?}");
        let others = units.iter().filter(|unit| !matches!(unit, Unit::Guard(_)));
        let others: Vec<&Unit> = others.collect();
        assert_eq!(others, [&Unit::Service(Frontend::Address(listener()))]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_vip_is_unlocked_and_locked_again_in_place() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    kernel.take_steps();
    rig.change(vec![vip(false)], &[]).await;
    assert_eq!(keys(kernel.take_steps()), [("remove", locked())]);
    rig.change(vec![vip(true)], &[]).await;
    assert_eq!(keys(kernel.take_steps()), [("add", locked())]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_goes_takes_its_openings_with_it() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    rig.change(vec![allowing(&["10.0.0.0/8"])], &[]).await;
    let all: Vec<ItemKey> = web().iter().map(Item::key).collect();
    rig.change(vec![], &all).await;
    let guard = |key: &Key| matches!(key, Key::Guard(_));
    let left: Vec<Key> = kernel.table().into_keys().filter(guard).collect();
    assert_eq!(left, []);
}

#[tokio::test(start_paused = true)]
async fn without_lockdown_a_vip_serves_and_says_that_it_is_open() {
    let kernel = Fake::new();
    let lockdown = Key::Lockdown(Family::V4);
    let missing = || StepError::from(Problem::new(95, "no IP sets".to_owned()));
    // more often than it is tried here
    for _ in 0..100 {
        kernel.fail(lockdown, missing());
    }
    let mut rig = Rig::start(&kernel);
    let status = rig.change(web(), &[]).await;
    let vip_key = ItemKey::Vip(listener().address);
    let vip_there = kernel.table().contains_key(&Key::Item(vip_key));
    assert!(vip_there, "{:?}", kernel.table());
    let failures = |status: &Status| -> Vec<(ItemKey, String)> {
        let failures = status.report.failures.iter();
        failures
            .map(|failure| (failure.key, failure.cause.clone()))
            .collect()
    };
    let cause = "IPv4 lockdown: no IP sets".to_owned();
    assert_eq!(failures(&status), [(vip_key, cause.clone())]);
    // nobody asks for one
    let status = rig.change(vec![vip(false)], &[]).await;
    assert_eq!(failures(&status), []);
    // and a frontend with sources does
    let status = rig.change(vec![allowing(&["10.0.0.0/8"])], &[]).await;
    let service = ItemKey::VirtualService(Frontend::Address(listener()));
    assert_eq!(failures(&status), [(service, cause)]);
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_refused_is_told_of_the_item_that_called_for_it() {
    let kernel = Fake::new();
    let full = || StepError::from(Problem::new(4352, "the set is full".to_owned()));
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    for _ in 0..100 {
        kernel.fail(guarded(), full());
    }
    let status = rig.change(vec![allowing(&["10.0.0.0/8"])], &[]).await;
    let told: Vec<String> = status
        .report
        .failures
        .iter()
        .map(|failure| failure.key.to_string())
        .collect();
    assert_eq!(told, ["virtual service 10.100.100.100:8080/TCP"]);
    assert_eq!(
        status.report.failures[0].cause,
        "guarded port 10.100.100.100:8080/TCP: the set is full"
    );
    assert!(kernel.table().contains_key(&opening(Some("10.0.0.0/8"))));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_does_to_a_lockdown_is_undone() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    let whole = kernel.table();
    let by_hand = Guard::Opening(
        Listener {
            port: Port::new(22).expect("port"),
            ..listener()
        },
        None,
    );
    kernel.tamper(|table| {
        table.insert(
            Key::Lockdown(Family::V4),
            Object::Value("not whole".to_owned()),
        );
        table.remove(&locked());
        table.insert(Key::Guard(by_hand), Object::Present);
    });
    // paused time: by then an audit has ended
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(rig.status().counts.repairs, 3);
    assert_eq!(kernel.table(), whole);
}

#[tokio::test(start_paused = true)]
async fn what_an_audit_could_not_see_is_not_told_to_be_there_while_its_guards_are_not() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    let whole = kernel.table();
    kernel.tamper(|table| {
        table.remove(&locked());
        table.remove(&opening(None));
    });
    kernel.fail_reads(1);
    rig.until(|status| status.report.count > 0).await;
    rig.until(|status| status.report.count == 0).await;
    assert_eq!(kernel.table(), whole);
}
