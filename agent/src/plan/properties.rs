//! What holds for every plan, whatever the tables.

use proptest::prelude::*;
use weir_proto::model::{
    BackendKey, Endpoint, Family, Forwarding, Frontend, ItemKey, Listener, LoopbackEntry, Port,
    Protocol, SyncRole, VipBinding,
};

use super::*;
use crate::kernel::fake::{base_table, take};

fn address(last: u8) -> std::net::IpAddr {
    [10, 0, 0, last].into()
}

fn port(number: u8) -> Port {
    Port::new(number.into()).expect("port")
}

fn listener(number: u8) -> Listener {
    Listener {
        address: address(number),
        port: port(number),
        protocol: Protocol::Tcp,
    }
}

fn frontend(number: u8) -> Frontend {
    Frontend::Address(listener(number))
}

/// A few keys, so that two random tables meet often.
fn any_object() -> impl Strategy<Value = (Key, Object)> {
    let service = (1u8..4, 0usize..2, 0u32..2).prop_map(|(number, scheduler, affinity_seconds)| {
        let spec = ServiceSpec {
            scheduler: ["rr", "wlc"][scheduler].to_owned(),
            affinity_seconds,
            ..ServiceSpec::default()
        };
        (
            Key::Item(ItemKey::VirtualService(frontend(number))),
            Object::Service(spec),
        )
    });
    let backend = (1u8..4, 1u8..4, 0u32..3).prop_map(|(number, endpoint, weight)| {
        let key = BackendKey {
            frontend: frontend(number),
            endpoint: Endpoint {
                address: address(endpoint),
                port: port(80),
            },
        };
        let spec = BackendSpec {
            weight,
            forwarding: Some(Forwarding::Masquerade),
            ..BackendSpec::default()
        };
        (Key::Item(ItemKey::Backend(key)), Object::Backend(spec))
    });
    let entry = (1u8..4).prop_map(|number| {
        let entry = LoopbackEntry {
            address: address(number),
            protocol: Protocol::Tcp,
            port: port(80),
            source: address(number),
        };
        (Key::Item(ItemKey::LoopbackEntry(entry)), Object::Present)
    });
    let vip = (1u8..4, any::<bool>(), any::<bool>()).prop_map(|(number, route, silent)| {
        let binding = if route {
            VipBinding::Route
        } else {
            VipBinding::Address
        };
        let spec = VipSpec { binding, silent };
        (Key::Item(ItemKey::Vip(address(number))), Object::Vip(spec))
    });
    let daemon = (any::<bool>(), 0u8..2, 0u16..2).prop_map(|(master, sync_id, max_length)| {
        let role = if master {
            SyncRole::Master
        } else {
            SyncRole::Backup
        };
        let spec = SyncDaemonSpec {
            interface: "eth0".to_owned(),
            sync_id,
            group: [224, 0, 0, 81].into(),
            port: 8848,
            ttl: 1,
            max_length: 1400 + max_length,
        };
        (
            Key::Item(ItemKey::SyncDaemon(role)),
            Object::SyncDaemon(spec),
        )
    });
    let guard = (1u8..4, 0usize..4).prop_map(|(number, kind)| {
        let range = "10.0.0.0/8".parse().expect("a range");
        let on = listener(number);
        let guard = match kind {
            0 => Guard::Opening(on, None),
            1 => Guard::Opening(on, Some(range)),
            2 => Guard::Port(on),
            _ => Guard::Vip(on.address),
        };
        (Key::Guard(guard), Object::Present)
    });
    prop_oneof![4 => service, 4 => backend, 4 => entry, 4 => vip, 1 => daemon, 4 => guard]
}

/// A table that a kernel can hold: nothing in it lives in what is not there.
fn any_table() -> impl Strategy<Value = Table> {
    proptest::collection::vec(any_object(), 0..14).prop_map(|objects| {
        let mut table = base_table();
        table.extend(objects);
        let whole = table.clone();
        table.retain(|key, _| key.container().is_none_or(|on| whole.contains_key(&on)));
        table
    })
}

fn all_owned(table: &Table) -> Ledger {
    owned(table, |_| true)
}

fn owned(table: &Table, ours: impl Fn(&Key) -> bool) -> Ledger {
    let mut ledger = Ledger::default();
    let made = |key: &&Key| key.container().is_none() && !matches!(key, Key::Setting(_));
    let keys = table.keys().filter(made);
    ledger.apply(&LedgerChange {
        made: keys.filter(|key| ours(key)).copied().collect(),
        ..LedgerChange::default()
    });
    ledger
}

/// Takes steps as the agent does: the ledger is written first.
fn run(table: &mut Table, steps: &[Step], ledger: &mut Ledger) {
    for step in steps {
        if let Err(error) = take(table, step) {
            panic!("{step:?} is not legal where it stands: {error}");
        }
        let mut change = LedgerChange::default();
        ledger.after(step, true, &LedgerChange::default(), &mut change);
        ledger.apply(&change);
    }
}

fn start(actual: &Table, wanted: &Table, ledger: &mut Ledger) -> Plan {
    let plan = plan(actual, wanted, ledger);
    let change = ledger.before(&plan, actual);
    ledger.apply(&change);
    plan
}

fn foreign(table: &Table, ledger: &Ledger) -> Table {
    let mut table = table.clone();
    table.retain(|key, _| !ledger.owns(*key) && !matches!(key, Key::Setting(_)));
    table
}

proptest! {
    #[test]
    fn the_plan_reaches_what_is_wanted_by_legal_steps(mut table in any_table(), wanted in any_table()) {
        let mut ledger = all_owned(&table);
        let plan = start(&table, &wanted, &mut ledger);
        run(&mut table, &plan.steps, &mut ledger);
        prop_assert_eq!(&table, &wanted);
        prop_assert_eq!(plan.conflicts, vec![]);
        prop_assert_eq!(ledger, all_owned(&wanted));
    }

    #[test]
    fn planning_again_gives_nothing(mut table in any_table(), wanted in any_table()) {
        let mut ledger = all_owned(&table);
        let plan = start(&table, &wanted, &mut ledger);
        run(&mut table, &plan.steps, &mut ledger);
        prop_assert_eq!(start(&table, &wanted, &mut ledger), Plan::default());
    }

    #[test]
    fn a_plan_cut_anywhere_and_made_again_still_gets_there(
        mut table in any_table(),
        wanted in any_table(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut ledger = all_owned(&table);
        let plan = start(&table, &wanted, &mut ledger);
        let cut = cut.index(plan.steps.len() + 1);
        run(&mut table, &plan.steps[..cut], &mut ledger);
        let again = start(&table, &wanted, &mut ledger);
        run(&mut table, &again.steps, &mut ledger);
        prop_assert_eq!(table, wanted);
    }

    #[test]
    fn what_the_ledger_does_not_own_stays_as_it_is(
        mut table in any_table(),
        wanted in any_table(),
        ours in any::<[bool; 4]>(),
    ) {
        let mine = |key: &Key| match key {
            Key::Item(ItemKey::VirtualService(on)) => on.listener().is_some_and(|on| ours[usize::from(on.port.get())]),
            Key::Item(ItemKey::Vip(_)) => ours[0],
            _ => true,
        };
        let mut ledger = owned(&table, mine);
        let before = foreign(&table, &ledger);
        let plan = start(&table, &wanted, &mut ledger);
        run(&mut table, &plan.steps, &mut ledger);
        for (key, object) in before {
            prop_assert_eq!(table.get(&key), Some(&object), "{}", key);
        }
    }

    #[test]
    fn every_removal_comes_after_every_other_step_and_in_reverse_order(
        table in any_table(),
        wanted in any_table(),
    ) {
        let plan = plan(&table, &wanted, &all_owned(&table));
        let removal = |step: &Step| matches!(step, Step::Remove { .. });
        let first = plan.steps.iter().position(removal).unwrap_or(plan.steps.len());
        let (up, down) = plan.steps.split_at(first);
        prop_assert!(down.iter().all(removal));
        prop_assert!(up.is_sorted_by_key(Step::key));
        prop_assert!(down.iter().rev().is_sorted_by_key(|step| step.key()));
    }

    #[test]
    fn the_parts_of_a_plan_are_the_plan_of_the_parts(table in any_table(), wanted in any_table()) {
        // a pass over some units gives the steps that a pass over everything gives for them
        let ledger = all_owned(&base_table());
        let mut ledger = ledger;
        ledger.apply(&LedgerChange { made: all_owned(&table).made().collect(), ..LedgerChange::default() });
        let whole = plan(&table, &wanted, &ledger);
        let keys = table.keys().chain(wanted.keys());
        for unit in keys.map(|key| key.unit()).filter(|unit| *unit != Unit::Base) {
            let scope = Scope::Units([unit].into());
            let part = |table: &Table| -> Table {
                let within = table.iter().filter(|(key, _)| scope.has(**key));
                within.map(|(key, object)| (*key, object.clone())).collect()
            };
            let steps = plan(&part(&table), &part(&wanted), &ledger).steps;
            let same: Vec<Step> = whole.steps.iter().filter(|step| step.key().unit() == unit).cloned().collect();
            prop_assert_eq!(steps, same);
        }
    }

    #[test]
    fn cleaning_up_leaves_a_kernel_without_anything_of_ours(mut table in any_table(), wanted in any_table()) {
        let settings: Table = crate::kernel::fake::Fake::new().table();
        let mut wanted = wanted;
        for (key, object) in wanted.iter_mut() {
            if matches!(key, Key::Setting(_)) {
                *object = Object::Value("1".to_owned());
            }
        }
        let mut ledger = all_owned(&table);
        let up = start(&table, &wanted, &mut ledger);
        run(&mut table, &up.steps, &mut ledger);
        let down = start(&table, &Table::new(), &mut ledger);
        run(&mut table, &down.steps, &mut ledger);
        prop_assert_eq!(table, settings);
        prop_assert!(ledger.is_empty());
    }
}

#[test]
fn a_link_that_holds_somebody_elses_address_is_kept() {
    let mut table = base_table();
    table.insert(
        Key::Item(ItemKey::Vip(address(1))),
        Object::Vip(VipSpec::default()),
    );
    table.insert(
        Key::Item(ItemKey::Vip(address(2))),
        Object::Vip(VipSpec::default()),
    );
    let theirs = Key::Item(ItemKey::Vip(address(2)));
    let ledger = owned(&table, |key| *key != theirs);
    let plan = plan(&table, &Table::new(), &ledger);
    assert_eq!(plan.kept, [Key::Link]);
    let removed: Vec<Key> = plan.steps.iter().map(Step::key).collect();
    assert_eq!(
        removed,
        [
            Key::Item(ItemKey::Vip(address(1))),
            Key::Lockdown(Family::V6),
            Key::Lockdown(Family::V4),
            Key::LoopbackRule(Family::V6),
            Key::LoopbackRule(Family::V4),
            Key::LoopbackSet(Family::V6),
            Key::LoopbackSet(Family::V4),
        ]
    );
}
