//! What every kernel does about lockdowns and their guards.

use std::collections::BTreeSet;

use ipnet::IpNet;
use weir_proto::model::{Family, Frontend, Protocol};

use super::{NETS, Net, add, errno, must, objects, put_up, read};
use crate::kernel::Kernel;
use crate::plan::{Guard, Key, Object, Scope, Step, Table};

impl Net {
    fn guard(&self, make: impl FnOnce(weir_proto::model::Listener) -> Guard) -> Key {
        match self.frontend(Protocol::Tcp) {
            Frontend::Address(listener) => Key::Guard(make(listener)),
            Frontend::Mark(mark) => panic!("{mark:?}"),
        }
    }

    fn opening(&self, range: Option<&str>) -> Key {
        let range: Option<IpNet> =
            range.map(|range| range.parse().unwrap_or_else(|why| panic!("{range}: {why}")));
        self.guard(|listener| Guard::Opening(listener, range))
    }

    /// A range, a range in it, and an address in both.
    fn ranges(&self) -> [&'static str; 3] {
        match self.family {
            Family::V4 => ["10.0.0.0/8", "10.9.0.0/16", "10.9.9.9/32"],
            Family::V6 => ["fd00::/8", "fd00:9::/32", "fd00:9::9/128"],
        }
    }

    /// A lockdown with an entry of each kind.
    pub(super) fn lockdown(&self) -> Table {
        let [wide, narrow, host] = self.ranges();
        let vip = super::address(self.vip);
        let keys = [
            Key::Lockdown(self.family),
            self.opening(None),
            self.opening(Some(wide)),
            self.opening(Some(narrow)),
            self.opening(Some(host)),
            self.guard(Guard::Port),
            Key::Guard(Guard::Vip(vip)),
        ];
        keys.into_iter().map(|key| (key, Object::Present)).collect()
    }
}

pub(super) async fn a_guard_without_its_lockdown_is_refused<K: Kernel>(kernel: &mut K) {
    for net in &NETS {
        for key in net.lockdown().into_keys().skip(1) {
            let verdicts = kernel.apply(&[add(key, Object::Present)]).await;
            assert_eq!(errno(&verdicts[0]), 2, "ENOENT: {key}");
        }
    }
}

pub(super) async fn guards_come_and_go_one_by_one<K: Kernel>(kernel: &mut K) {
    for net in &NETS {
        let mut wanted = net.lockdown();
        put_up(kernel, &wanted).await;
        for key in net.lockdown().into_keys().skip(1) {
            must(kernel, &[Step::Remove { key }]).await;
            wanted.remove(&key);
            let there = objects(kernel).await;
            let of_net = |key: &Key| match key {
                Key::Lockdown(family) => *family == net.family,
                Key::Guard(guard) => guard.family() == net.family,
                _ => true,
            };
            let there: BTreeSet<Key> = there.into_keys().filter(of_net).collect();
            assert_eq!(there, wanted.keys().copied().collect(), "without {key}");
        }
    }
}

pub(super) async fn an_address_is_not_taken_for_the_range_it_lies_in<K: Kernel>(kernel: &mut K) {
    for net in &NETS {
        let [wide, _, host] = net.ranges();
        let lockdown = Key::Lockdown(net.family);
        let (wide, host) = (net.opening(Some(wide)), net.opening(Some(host)));
        must(
            kernel,
            &[lockdown, wide].map(|key| add(key, Object::Present)),
        )
        .await;
        let scope = Scope::Units([wide.unit(), host.unit()].into());
        let found: Vec<Key> = read(kernel, &scope).await.into_keys().collect();
        assert_eq!(found, [wide]);
    }
}

pub(super) async fn a_lockdown_takes_its_guards_with_it<K: Kernel>(kernel: &mut K) {
    for net in &NETS {
        put_up(kernel, &net.lockdown()).await;
        let key = Key::Lockdown(net.family);
        must(kernel, &[Step::Remove { key }]).await;
        assert_eq!(objects(kernel).await, Table::new());
        let verdicts = kernel.apply(&[Step::Remove { key }]).await;
        // to take away what is not there harms nothing
        assert!(
            verdicts
                .iter()
                .all(|verdict| verdict.is_ok() || errno(verdict) == 2)
        );
    }
}
