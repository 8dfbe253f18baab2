//! What every kernel does, the real one and the one in memory: one suite that both must pass.
//!
//! Each case begins on a kernel with nothing of ours in it and leaves it so.

mod everything;
mod flows;
mod lockdown;
pub mod loopback;
mod vips;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::model::{
    BackendKey, Endpoint, Family, Forwarding, Frontend, ItemKey, Listener, LoopbackEntry, Mark,
    Port, Protocol, VipBinding,
};

use self::everything::{
    backends_of_every_kind_are_kept_and_edited, services_of_every_kind_are_kept_and_edited,
    sync_daemons_are_started_changed_and_stopped,
};
use self::flows::{
    a_client_that_has_not_come_has_no_connections,
    a_meter_shows_every_service_once_and_then_what_changes,
    a_service_that_is_not_there_has_no_connections,
    backends_without_connections_are_counted_all_the_same,
    connection_tracking_tells_how_full_it_is, there_is_nothing_to_forget_without_flows,
    vips_without_connections_have_none_in_any_state,
};
use self::lockdown::{
    a_guard_without_its_lockdown_is_refused, a_lockdown_takes_its_guards_with_it,
    an_address_is_not_taken_for_the_range_it_lies_in, guards_come_and_go_one_by_one,
};
use self::vips::{
    a_vip_becomes_silent_and_answers_again, a_vip_is_seen_as_soon_as_it_is_bound,
    a_vip_that_is_not_bound_is_neither_edited_nor_removed,
    a_vip_turns_from_an_address_into_a_route_and_back, many_vips_at_once_are_all_there,
};
use super::{Kernel, StepError, Verdict};
use crate::plan::{
    BackendSpec, Key, Ledger, LedgerChange, Object, Place, Scope, ServiceSpec, Setting, Step,
    Table, Unit, VipSpec, plan,
};

/// The addresses of one family in these cases.
struct Net {
    family: Family,
    vip: &'static str,
    other_vip: &'static str,
    backends: [&'static str; 2],
}

const NETS: [Net; 2] = [
    Net {
        family: Family::V4,
        vip: "10.100.0.1",
        other_vip: "10.100.0.2",
        backends: ["10.0.0.11", "10.0.0.21"],
    },
    Net {
        family: Family::V6,
        vip: "fd00:100::1",
        other_vip: "fd00:100::2",
        backends: ["fd00::11", "fd00::21"],
    },
];

/// Runs every case on `kernel` and gives the names of those that passed; panics at the first that does not.
pub async fn run<K: Kernel>(kernel: &mut K) -> Vec<&'static str> {
    let mut passed = Vec::new();
    macro_rules! cases {
        ($($case:ident)*) => {
            $(
                $case(kernel).await;
                leave_nothing(kernel, stringify!($case)).await;
                passed.push(stringify!($case));
            )*
        };
    }
    cases! {
        what_is_put_up_is_read_back
        each_unit_is_read_by_itself
        services_and_backends_are_edited_in_place
        a_backend_without_its_service_is_refused
        what_is_there_already_is_refused
        what_is_not_there_cannot_be_edited_or_removed
        an_unknown_scheduler_is_refused_and_its_backends_with_it
        one_refused_step_does_not_stop_the_others
        a_set_that_a_rule_uses_stays
        a_guard_without_its_lockdown_is_refused
        guards_come_and_go_one_by_one
        an_address_is_not_taken_for_the_range_it_lies_in
        a_lockdown_takes_its_guards_with_it
        a_service_takes_its_backends_with_it
        a_link_takes_its_vips_with_it
        many_objects_at_once_are_all_there
        services_of_every_kind_are_kept_and_edited
        backends_of_every_kind_are_kept_and_edited
        sync_daemons_are_started_changed_and_stopped
        a_service_that_is_not_there_has_no_connections
        backends_without_connections_are_counted_all_the_same
        there_is_nothing_to_forget_without_flows
        a_meter_shows_every_service_once_and_then_what_changes
        connection_tracking_tells_how_full_it_is
        vips_without_connections_have_none_in_any_state
        a_client_that_has_not_come_has_no_connections
        settings_keep_what_they_are_given
        a_vip_is_seen_as_soon_as_it_is_bound
        a_vip_turns_from_an_address_into_a_route_and_back
        a_vip_becomes_silent_and_answers_again
        a_vip_that_is_not_bound_is_neither_edited_nor_removed
        many_vips_at_once_are_all_there
    }
    passed
}

fn port(number: u32) -> Port {
    Port::new(number).unwrap_or_else(|why| panic!("{why}"))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

impl Net {
    fn frontend(&self, protocol: Protocol) -> Frontend {
        Frontend::Address(Listener {
            address: address(self.vip),
            port: port(8080),
            protocol,
        })
    }

    fn backend(&self, place: usize, protocol: Protocol) -> Key {
        Key::Item(ItemKey::Backend(BackendKey {
            frontend: self.frontend(protocol),
            endpoint: Endpoint {
                address: address(self.backends[place]),
                port: port(8080),
            },
        }))
    }

    fn entry(&self, place: usize) -> Key {
        let backend = address(self.backends[place]);
        Key::Item(ItemKey::LoopbackEntry(LoopbackEntry {
            address: backend,
            protocol: Protocol::Tcp,
            port: port(8080),
            source: backend,
        }))
    }

    fn service(&self, protocol: Protocol) -> Key {
        Key::Item(ItemKey::VirtualService(self.frontend(protocol)))
    }

    fn vip(&self) -> Key {
        Key::Item(ItemKey::Vip(address(self.vip)))
    }

    /// Everything an agent would put up for one service of this family.
    fn table(&self) -> Table {
        let mut table = Table::from([
            (Key::Link, Object::Present),
            (Key::LoopbackSet(self.family), Object::Present),
            (Key::LoopbackRule(self.family), Object::Present),
            (self.entry(0), Object::Present),
            (self.entry(1), Object::Present),
            (self.vip(), bound()),
        ]);
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            table.insert(self.service(protocol), scheduled("rr", 0));
            for place in 0..2 {
                table.insert(self.backend(place, protocol), weighing(1));
            }
        }
        table.extend(self.lockdown());
        table
    }
}

fn scheduled(scheduler: &str, affinity_seconds: u32) -> Object {
    Object::Service(ServiceSpec {
        scheduler: scheduler.to_owned(),
        affinity_seconds,
        affinity_prefix: if affinity_seconds > 0 { 32 } else { 0 },
        ..ServiceSpec::default()
    })
}

fn weighing(weight: u32) -> Object {
    Object::Backend(BackendSpec {
        weight,
        forwarding: Some(Forwarding::Masquerade),
        ..BackendSpec::default()
    })
}

fn bound() -> Object {
    Object::Vip(VipSpec::default())
}

fn add(key: Key, object: Object) -> Step {
    Step::Add { key, object }
}

fn edit(key: Key, object: Object) -> Step {
    Step::Edit { key, object }
}

/// Reads everything but settings.
async fn objects<K: Kernel>(kernel: &mut K) -> Table {
    let mut table = read(kernel, &Scope::All).await;
    table.retain(|key, _| !matches!(key, Key::Setting(_)));
    table
}

async fn read<K: Kernel>(kernel: &mut K, scope: &Scope) -> Table {
    let table = kernel.read(scope).await;
    table.unwrap_or_else(|error| panic!("{error}: {}", error.source))
}

async fn must<K: Kernel>(kernel: &mut K, steps: &[Step]) {
    let verdicts = kernel.apply(steps).await;
    assert_eq!(verdicts.len(), steps.len(), "a verdict for each step");
    for (step, verdict) in steps.iter().zip(verdicts) {
        assert_eq!(verdict, Ok(()), "{step:?}");
    }
}

/// Takes the steps from nothing to `wanted`, or from it to nothing.
async fn put_up<K: Kernel>(kernel: &mut K, wanted: &Table) {
    let steps = plan(&Table::new(), wanted, &Ledger::default()).steps;
    must(kernel, &steps).await;
}

async fn take_down<K: Kernel>(kernel: &mut K) {
    let actual = objects(kernel).await;
    let mut ledger = Ledger::default();
    ledger.apply(&LedgerChange {
        made: actual.keys().copied().collect(),
        ..LedgerChange::default()
    });
    let steps = plan(&actual, &Table::new(), &ledger).steps;
    must(kernel, &steps).await;
}

async fn leave_nothing<K: Kernel>(kernel: &mut K, case: &str) {
    take_down(kernel).await;
    assert_eq!(objects(kernel).await, Table::new(), "after {case}");
}

fn errno(verdict: &Verdict) -> i32 {
    match verdict {
        Err(StepError::Refused(problem)) => problem.errno,
        other => panic!("not a refusal: {other:?}"),
    }
}

async fn what_is_put_up_is_read_back<K: Kernel>(kernel: &mut K) {
    let wanted: Table = NETS.iter().flat_map(Net::table).collect();
    put_up(kernel, &wanted).await;
    assert_eq!(objects(kernel).await, wanted);
}

async fn each_unit_is_read_by_itself<K: Kernel>(kernel: &mut K) {
    let wanted: Table = NETS.iter().flat_map(Net::table).collect();
    put_up(kernel, &wanted).await;
    let units: BTreeSet<Unit> = wanted.keys().map(|key| key.unit()).collect();
    for unit in units {
        let scope = Scope::Units([unit].into());
        let mut found = read(kernel, &scope).await;
        found.retain(|key, _| !matches!(key, Key::Setting(_)));
        let within = wanted.iter().filter(|(key, _)| scope.has(**key));
        let within: Table = within.map(|(key, object)| (*key, object.clone())).collect();
        assert_eq!(found, within, "{unit:?}");
    }
    let absent = Scope::Units([Unit::Vip(address(NETS[0].other_vip))].into());
    assert_eq!(read(kernel, &absent).await, Table::new());
}

async fn services_and_backends_are_edited_in_place<K: Kernel>(kernel: &mut K) {
    for net in &NETS {
        let (service, backend) = (net.service(Protocol::Tcp), net.backend(0, Protocol::Tcp));
        must(
            kernel,
            &[
                add(service, scheduled("rr", 0)),
                add(backend, weighing(1)),
                edit(service, scheduled("wrr", 300)),
                edit(backend, weighing(0)),
            ],
        )
        .await;
        let found = objects(kernel).await;
        assert_eq!(found[&service], scheduled("wrr", 300));
        assert_eq!(found[&backend], weighing(0));
        must(
            kernel,
            &[
                edit(service, scheduled("rr", 0)),
                edit(backend, weighing(65_535)),
            ],
        )
        .await;
        let found = objects(kernel).await;
        assert_eq!(found[&service], scheduled("rr", 0));
        assert_eq!(found[&backend], weighing(65_535));
    }
}

async fn a_backend_without_its_service_is_refused<K: Kernel>(kernel: &mut K) {
    let step = add(NETS[0].backend(0, Protocol::Tcp), weighing(1));
    let verdicts = kernel.apply(&[step]).await;
    assert_eq!(errno(&verdicts[0]), 3, "ESRCH");
}

async fn what_is_there_already_is_refused<K: Kernel>(kernel: &mut K) {
    for net in &NETS {
        let steps = [
            add(Key::Link, Object::Present),
            add(net.vip(), bound()),
            add(net.service(Protocol::Tcp), scheduled("rr", 0)),
            add(net.backend(0, Protocol::Tcp), weighing(1)),
        ];
        must(kernel, &steps).await;
        let verdicts = kernel.apply(&steps[1..3]).await;
        assert_eq!(
            verdicts.iter().map(errno).collect::<Vec<_>>(),
            [17, 17],
            "EEXIST"
        );
        let verdicts = kernel.apply(&steps[3..]).await;
        assert_eq!(errno(&verdicts[0]), 17, "EEXIST");
        take_down(kernel).await;
    }
}

async fn what_is_not_there_cannot_be_edited_or_removed<K: Kernel>(kernel: &mut K) {
    let net = &NETS[0];
    let (service, backend) = (net.service(Protocol::Tcp), net.backend(0, Protocol::Tcp));
    let remove = |key| Step::Remove { key };
    let verdicts = kernel
        .apply(&[edit(service, scheduled("rr", 0)), remove(service)])
        .await;
    assert_eq!(
        verdicts.iter().map(errno).collect::<Vec<_>>(),
        [3, 3],
        "ESRCH"
    );
    must(kernel, &[add(service, scheduled("rr", 0))]).await;
    let verdicts = kernel
        .apply(&[edit(backend, weighing(1)), remove(backend)])
        .await;
    assert_eq!(
        verdicts.iter().map(errno).collect::<Vec<_>>(),
        [2, 2],
        "ENOENT"
    );
}

async fn an_unknown_scheduler_is_refused_and_its_backends_with_it<K: Kernel>(kernel: &mut K) {
    let net = &NETS[0];
    let verdicts = kernel
        .apply(&[
            add(net.service(Protocol::Tcp), scheduled("never", 0)),
            add(net.backend(0, Protocol::Tcp), weighing(1)),
        ])
        .await;
    assert_eq!(errno(&verdicts[0]), 2, "ENOENT");
    assert!(verdicts[1].is_err(), "{verdicts:?}");
}

async fn one_refused_step_does_not_stop_the_others<K: Kernel>(kernel: &mut K) {
    let net = &NETS[0];
    let (tcp, udp) = (net.service(Protocol::Tcp), net.service(Protocol::Udp));
    let verdicts = kernel
        .apply(&[
            add(tcp, scheduled("never", 0)),
            add(udp, scheduled("rr", 0)),
            add(net.backend(0, Protocol::Udp), weighing(1)),
        ])
        .await;
    let taken: Vec<bool> = verdicts.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [false, true, true]);
}

async fn a_set_that_a_rule_uses_stays<K: Kernel>(kernel: &mut K) {
    for family in Family::ALL {
        let (set, rule) = (Key::LoopbackSet(family), Key::LoopbackRule(family));
        must(
            kernel,
            &[add(set, Object::Present), add(rule, Object::Present)],
        )
        .await;
        let verdicts = kernel.apply(&[Step::Remove { key: set }]).await;
        // EBUSY in memory, IPSET_ERR_BUSY from ipset
        assert!([16, 4100].contains(&errno(&verdicts[0])), "{verdicts:?}");
        must(
            kernel,
            &[Step::Remove { key: rule }, Step::Remove { key: set }],
        )
        .await;
    }
}

async fn a_service_takes_its_backends_with_it<K: Kernel>(kernel: &mut K) {
    let net = &NETS[1];
    let service = net.service(Protocol::Udp);
    must(
        kernel,
        &[
            add(service, scheduled("rr", 0)),
            add(net.backend(0, Protocol::Udp), weighing(1)),
            Step::Remove { key: service },
        ],
    )
    .await;
    assert_eq!(objects(kernel).await, Table::new());
}

async fn a_link_takes_its_vips_with_it<K: Kernel>(kernel: &mut K) {
    must(kernel, &[add(Key::Link, Object::Present)]).await;
    for net in &NETS {
        must(kernel, &[add(net.vip(), bound())]).await;
    }
    must(kernel, &[Step::Remove { key: Key::Link }]).await;
    assert_eq!(objects(kernel).await, Table::new());
    let verdicts = kernel.apply(&[add(NETS[0].vip(), bound())]).await;
    assert_eq!(errno(&verdicts[0]), 19, "ENODEV");
}

async fn many_objects_at_once_are_all_there<K: Kernel>(kernel: &mut K) {
    let mut wanted = Table::from([
        (Key::Link, Object::Present),
        (Key::LoopbackSet(Family::V4), Object::Present),
    ]);
    for high in 0..3u8 {
        for low in 1..=200u8 {
            let frontend = Frontend::Address(Listener {
                address: [10, 101, high, low].into(),
                port: port(80),
                protocol: Protocol::Tcp,
            });
            let endpoint = Endpoint {
                address: [10, 1, high, low].into(),
                port: port(8080),
            };
            let entry = LoopbackEntry {
                address: endpoint.address,
                protocol: Protocol::Tcp,
                port: endpoint.port,
                source: endpoint.address,
            };
            let backend = BackendKey { frontend, endpoint };
            wanted.extend([
                (Key::Item(ItemKey::LoopbackEntry(entry)), Object::Present),
                (
                    Key::Item(ItemKey::VirtualService(frontend)),
                    scheduled("wrr", 0),
                ),
                (Key::Item(ItemKey::Backend(backend)), weighing(3)),
            ]);
        }
    }
    put_up(kernel, &wanted).await;
    assert_eq!(objects(kernel).await, wanted);
    // and a part of them, too many to ask for one by one
    let units: BTreeSet<Unit> = wanted
        .keys()
        .map(|key| key.unit())
        .filter(|unit| *unit != Unit::Base)
        .take(900)
        .collect();
    let scope = Scope::Units(units);
    let within = wanted.iter().filter(|(key, _)| scope.has(**key));
    let within: Table = within.map(|(key, object)| (*key, object.clone())).collect();
    assert_eq!(read(kernel, &scope).await, within);
}

async fn settings_keep_what_they_are_given<K: Kernel>(kernel: &mut K) {
    for setting in Setting::ALL {
        // what is set up brings settings of its own
        let before = read(kernel, &Scope::Units([Unit::Base].into())).await;
        let key = Key::Setting(setting);
        let found = before.get(&key).cloned();
        if found.is_none() && setting.optional() {
            continue;
        }
        let found = found.unwrap_or_else(|| panic!("{key} is missing"));
        let values = match setting.place() {
            Place::Sysctl(_) => ["1", "0"],
            Place::Timeout => ["7", "8"],
            Place::Link(_) => ["up", "down"],
        };
        for value in values {
            let value = Object::Value(value.to_owned());
            must(kernel, &[edit(key, value.clone())]).await;
            let now = read(kernel, &Scope::Units([Unit::Base].into())).await;
            assert_eq!(now.get(&key), Some(&value), "{key}");
        }
        must(kernel, &[edit(key, found)]).await;
    }
}

#[cfg(test)]
mod tests {
    use crate::kernel::fake::Fake;

    #[tokio::test]
    async fn the_kernel_in_memory_keeps_the_contract_of_the_loopback_sets() {
        let passed = super::loopback::run(&mut Fake::new()).await;
        assert_eq!(passed.len(), 6);
    }

    #[tokio::test]
    async fn the_kernel_in_memory_keeps_the_contract() {
        let passed = super::run(&mut Fake::new()).await;
        assert_eq!(passed.len(), 32);
    }
}
