//! The address that holds IPv4 routes on `weir0`, and when it can go: with the last of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::model::VipBinding;

use super::super::link::ANCHOR;
use crate::plan::{Object, Step};

/// What is known of the anchor and of what it holds.
#[derive(Debug, Default)]
pub(super) struct Anchor {
    /// Whether it may be there.
    there: bool,
    /// The IPv4 VIPs that are bound as routes; none: not known.
    routes: Option<BTreeSet<IpAddr>>,
}

impl Anchor {
    /// Takes note of everything that is bound on the link.
    pub(super) fn seen(&mut self, bound: &BTreeMap<IpAddr, Object>) {
        self.there = bound.contains_key(&ANCHOR);
        let routes = bound.iter().filter(|(_, object)| is_route(object));
        let routes = routes.map(|(address, _)| *address);
        self.routes = Some(routes.filter(IpAddr::is_ipv4).collect());
    }

    /// Takes note that it is put up.
    pub(super) fn put_up(&mut self) {
        self.there = true;
    }

    /// Takes note of a step that was taken on a VIP, or that may have been.
    pub(super) fn note(&mut self, vip: IpAddr, step: &Step, taken: bool) {
        if !taken {
            self.routes = None;
        }
        let Some(routes) = self.routes.as_mut().filter(|_| vip.is_ipv4()) else {
            return;
        };
        match step {
            Step::Add { object, .. } | Step::Edit { object, .. } if is_route(object) => {
                routes.insert(vip);
            }
            Step::Add { .. } | Step::Edit { .. } | Step::Remove { .. } => {
                routes.remove(&vip);
            }
        }
    }

    /// Says whether it holds nothing any more. It is taken for gone then.
    pub(super) fn let_go(&mut self) -> bool {
        let idle = self.there && self.routes.as_ref().is_some_and(BTreeSet::is_empty);
        self.there &= !idle;
        idle
    }
}

fn is_route(object: &Object) -> bool {
    matches!(object, Object::Vip(spec) if spec.binding == VipBinding::Route)
}

#[cfg(test)]
mod tests {
    use weir_proto::model::ItemKey;

    use super::*;
    use crate::plan::{Key, VipSpec};

    const ROUTE: Object = Object::Vip(VipSpec {
        binding: VipBinding::Route,
        silent: false,
    });

    fn vip(last: u8) -> IpAddr {
        [10, 9, 0, last].into()
    }

    fn note(anchor: &mut Anchor, last: u8, object: Option<Object>, taken: bool) {
        let key = Key::Item(ItemKey::Vip(vip(last)));
        let step = match object {
            Some(object) => Step::Edit { key, object },
            None => Step::Remove { key },
        };
        anchor.note(vip(last), &step, taken);
    }

    #[test]
    fn the_anchor_goes_with_the_last_route_once() {
        let mut anchor = Anchor::default();
        let address = Object::Vip(VipSpec::default());
        anchor.seen(&BTreeMap::from([
            (ANCHOR, address.clone()),
            (vip(1), ROUTE),
        ]));
        note(&mut anchor, 2, Some(ROUTE), true);
        note(&mut anchor, 1, None, true);
        assert!(!anchor.let_go(), "a route is left");
        note(&mut anchor, 2, Some(address), true);
        assert!(anchor.let_go());
        assert!(!anchor.let_go());
    }

    #[test]
    fn what_is_not_known_keeps_it() {
        let mut anchor = Anchor::default();
        anchor.put_up();
        assert!(!anchor.let_go(), "nothing was looked at");
        anchor.seen(&BTreeMap::from([(vip(1), ROUTE)]));
        anchor.put_up();
        note(&mut anchor, 1, None, false);
        assert!(!anchor.let_go(), "whether the route is gone is not known");
    }
}
