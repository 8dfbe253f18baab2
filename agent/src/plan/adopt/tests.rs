use weir_proto::model::{BackendKey, Endpoint, Family, Frontend, Listener, Port, Protocol};

use super::*;
use crate::plan::{BackendSpec, LedgerChange, ServiceSpec, Setting, VipSpec};

fn frontend(last: u8) -> Frontend {
    Frontend::Address(Listener {
        address: [10, 1, 0, last].into(),
        port: Port::new(80).expect("port"),
        protocol: Protocol::Tcp,
    })
}

fn service(last: u8) -> Key {
    Key::Item(ItemKey::VirtualService(frontend(last)))
}

fn backend(last: u8, of: u8) -> Key {
    Key::Item(ItemKey::Backend(BackendKey {
        frontend: frontend(of),
        endpoint: Endpoint {
            address: [10, 0, 0, last].into(),
            port: Port::new(8080).expect("port"),
        },
    }))
}

fn vip(last: u8) -> Key {
    Key::Item(ItemKey::Vip([10, 1, 0, last].into()))
}

fn table(keys: &[Key]) -> Table {
    let object = |key: &Key| match key {
        Key::Item(ItemKey::VirtualService(_)) => Object::Service(ServiceSpec::default()),
        Key::Item(ItemKey::Backend(_)) => Object::Backend(BackendSpec::default()),
        Key::Item(ItemKey::Vip(_)) => Object::Vip(VipSpec::default()),
        _ => Object::Present,
    };
    keys.iter().map(|key| (*key, object(key))).collect()
}

fn left(whys: &[(Key, &str)]) -> BTreeMap<Key, String> {
    let owned = |(key, why): &(Key, &str)| (*key, (*why).to_owned());
    whys.iter().map(owned).collect()
}

#[test]
fn what_is_wanted_is_taken_with_what_lives_in_it_and_nothing_else_is() {
    let forward = Key::Setting(Setting::ForwardV4);
    let there = [
        forward,
        Key::Link,
        service(1),
        backend(1, 1),
        backend(2, 1),
        service(2),
        backend(1, 2),
        vip(2),
    ];
    let wanted = [
        forward,
        Key::Link,
        service(1),
        backend(1, 1),
        backend(3, 1),
        vip(1),
        vip(3),
    ];
    let elsewhere = [[10, 1, 0, 3].into()].into();
    let adoption = adopt(
        &table(&there),
        &table(&wanted),
        &Ledger::default(),
        &elsewhere,
    );
    assert_eq!(
        adoption,
        Adoption {
            taken: [Key::Link, service(1)].into(),
            within: [backend(1, 1)].into(),
            surplus: [backend(2, 1)].into(),
            absent: [backend(3, 1), vip(1)].into(),
            left: left(&[
                (service(2), "it is not wanted"),
                (vip(2), "it is not wanted"),
                (vip(3), "it is on another link than weir0"),
            ]),
        }
    );
}

#[test]
fn what_is_ours_already_is_not_taken_again() {
    let all = table(&[Key::Link, service(1), backend(1, 1), vip(1)]);
    let mut ledger = Ledger::default();
    ledger.apply(&LedgerChange {
        made: [Key::Link, service(1), vip(1)].into(),
        ..LedgerChange::default()
    });
    let adoption = adopt(&all, &all, &ledger, &BTreeSet::new());
    assert_eq!(adoption, Adoption::default());
}

#[test]
fn what_has_our_name_and_is_something_else_is_left_with_what_needs_it() {
    let (set, rule) = (Key::LoopbackSet(Family::V4), Key::LoopbackRule(Family::V4));
    let lockdown = Key::Lockdown(Family::V4);
    let wanted = table(&[Key::Link, set, rule, lockdown, vip(1)]);
    let mut there = wanted.clone();
    let value = |text: &str| Object::Value(text.to_owned());
    there.insert(Key::Link, value("bridge"));
    there.insert(set, value("hash:ip"));
    there.insert(lockdown, Object::Unreadable("no answer".to_owned()));
    let adoption = adopt(&there, &wanted, &Ledger::default(), &BTreeSet::new());
    assert_eq!(
        adoption,
        Adoption {
            left: left(&[
                (Key::Link, "it is not as an agent makes it: bridge"),
                (set, "it is not as an agent makes it: hash:ip"),
                (rule, "IPv4 loopback set is not ours"),
                (lockdown, "it cannot be read: no answer"),
                (vip(1), "link weir0 is not ours"),
            ]),
            ..Adoption::default()
        }
    );
}

#[test]
fn a_rule_and_a_lockdown_that_carry_our_mark_are_taken_as_they_are() {
    let (set, rule) = (Key::LoopbackSet(Family::V6), Key::LoopbackRule(Family::V6));
    let lockdown = Key::Lockdown(Family::V6);
    let wanted = table(&[set, rule, lockdown]);
    let mut there = wanted.clone();
    let older = Object::Value("not as this version puts it".to_owned());
    there.insert(rule, older.clone());
    there.insert(lockdown, older);
    let adoption = adopt(&there, &wanted, &Ledger::default(), &BTreeSet::new());
    assert_eq!(adoption.taken, [set, rule, lockdown].into());
    assert_eq!(adoption.left, BTreeMap::new());
}
