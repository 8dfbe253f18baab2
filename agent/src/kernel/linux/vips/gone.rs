//! What went from the link of the VIPs, and who took it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::link::ANCHOR;
use super::super::link::rtm::{Command, Notice};
use super::LINK;
use crate::plan::{Scope, Unit};

/// The link of the VIPs as it was last told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its number.
    pub(super) index: u32,
    /// Whether it is set up.
    pub(super) up: bool,
}

/// What went and was not yet asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// The link with all on it, or nobody knows what.
    everything: bool,
    /// How often a thing of an address went, less how often we took it away ourselves.
    things: BTreeMap<(IpAddr, Thing), u32>,
}

/// What an address has on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Address,
    /// Goes with the address, but can be taken away alone.
    RouteOfAddress,
    Route,
}

impl Gone {
    /// Takes a notice in, `link` being ours, if it is there.
    pub(super) fn note(&mut self, notice: Notice, link: &mut Option<Seen>) {
        let is_ours = |index| link.is_some_and(|link| link.index == index);
        match notice {
            Notice::Link { index, name, up } if name == LINK => {
                // whatever makes it go down takes the routes on it, and the addresses of IPv6
                self.everything |= link.is_some_and(|link| link.index == index && link.up && !up);
                *link = Some(Seen { index, up });
            }
            // it has another name now
            Notice::Link { index, .. } | Notice::LinkGone { index } if is_ours(index) => {
                self.everything = true;
                *link = None;
            }
            Notice::AddressGone {
                link: index,
                address,
            } if is_ours(index) => self.count(address, Thing::Address),
            Notice::LocalRouteGone {
                link: index,
                address,
                kernel,
            } if is_ours(index) => {
                let thing = match kernel {
                    true => Thing::RouteOfAddress,
                    false => Thing::Route,
                };
                self.count(address, thing);
            }
            Notice::Link { .. }
            | Notice::LinkGone { .. }
            | Notice::AddressGone { .. }
            | Notice::LocalRouteGone { .. } => {}
        }
    }

    /// Takes note that something may have gone of which there is no notice.
    pub(super) fn may_be_anything(&mut self) {
        self.everything = true;
    }

    /// Takes note that a request of ours was granted, after its notices came: the kernel gives them before it answers.
    pub(super) fn was_ours(&mut self, command: &Command) {
        match *command {
            Command::DelAddress { address, .. } => {
                self.discount(address, Thing::Address);
                self.discount(address, Thing::RouteOfAddress);
            }
            Command::DelRoute { address, .. } => self.discount(address, Thing::Route),
            _ => {}
        }
    }

    /// Gives where to look, once.
    pub(super) fn take(&mut self) -> Option<Scope> {
        let Self { everything, things } = std::mem::take(self);
        // without the anchor the kernel may take every IPv4 route on the link, and says nothing of them
        if everything || things.keys().any(|(address, _)| *address == ANCHOR) {
            return Some(Scope::All);
        }
        let units: BTreeSet<Unit> = things
            .into_keys()
            .map(|(address, _)| Unit::Vip(address))
            .collect();
        (!units.is_empty()).then_some(Scope::Units(units))
    }

    fn count(&mut self, address: IpAddr, thing: Thing) {
        // what every link has by itself
        if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            return;
        }
        *self.things.entry((address, thing)).or_default() += 1;
    }

    fn discount(&mut self, address: IpAddr, thing: Thing) {
        if let Some(count) = self.things.get_mut(&(address, thing)) {
            *count -= 1;
            if *count == 0 {
                self.things.remove(&(address, thing));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Option<Seen> = Some(Seen { index: 7, up: true });

    fn vip(last: u8) -> IpAddr {
        [10, 9, 0, last].into()
    }

    fn link(index: u32, name: &str, up: bool) -> Notice {
        let name = name.to_owned();
        Notice::Link { index, name, up }
    }

    fn address(link: u32, address: IpAddr) -> Notice {
        Notice::AddressGone { link, address }
    }

    fn route(address: IpAddr, kernel: bool) -> Notice {
        Notice::LocalRouteGone {
            link: 7,
            address,
            kernel,
        }
    }

    fn units(vips: &[u8]) -> Option<Scope> {
        let units = vips.iter().map(|last| Unit::Vip(vip(*last))).collect();
        Some(Scope::Units(units))
    }

    #[test]
    fn what_goes_from_our_link_is_told_once_and_together() {
        let mut gone = Gone::default();
        for notice in [
            address(7, vip(1)),
            route(vip(1), true),
            route(vip(2), false),
            address(8, vip(3)),
            route([0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), true),
        ] {
            gone.note(notice, &mut OURS.clone());
        }
        assert_eq!(gone.take(), units(&[1, 2]));
        assert_eq!(gone.take(), None);
    }

    #[test]
    fn nothing_is_ours_without_a_link() {
        let mut gone = Gone::default();
        gone.note(address(7, vip(1)), &mut None);
        assert_eq!(gone.take(), None);
    }

    #[test]
    fn a_link_that_goes_takes_everything() {
        let cases = [
            (link(7, "weir0", true), None, OURS),
            (
                link(7, "weir0", false),
                Some(Scope::All),
                Some(Seen {
                    index: 7,
                    up: false,
                }),
            ),
            (link(7, "other", true), Some(Scope::All), None),
            (Notice::LinkGone { index: 7 }, Some(Scope::All), None),
            (Notice::LinkGone { index: 8 }, None, OURS),
            (link(8, "other", false), None, OURS),
            (
                link(9, "weir0", true),
                None,
                Some(Seen { index: 9, up: true }),
            ),
        ];
        for (notice, scope, after) in cases {
            let (mut gone, mut link) = (Gone::default(), OURS);
            gone.note(notice.clone(), &mut link);
            assert_eq!((gone.take(), link), (scope, after), "{notice:?}");
        }
        let mut gone = Gone::default();
        gone.may_be_anything();
        gone.note(address(7, vip(1)), &mut OURS.clone());
        assert_eq!(gone.take(), Some(Scope::All));
        assert_eq!(gone.take(), None);
    }

    #[test]
    fn a_link_that_stays_down_is_no_news() {
        let down = Some(Seen {
            index: 7,
            up: false,
        });
        let (mut gone, mut seen) = (Gone::default(), down);
        gone.note(link(7, "weir0", false), &mut seen);
        assert_eq!((gone.take(), seen), (None, down));
    }

    #[test]
    fn what_we_take_away_ourselves_is_no_news_and_what_somebody_takes_beside_it_is() {
        let remove = |last| Command::DelAddress {
            link: 7,
            address: vip(last),
        };
        let unroute = |last| Command::DelRoute {
            link: 7,
            address: vip(last),
        };
        let mut gone = Gone::default();
        // one is turned from an address into a route, and somebody takes that
        for notice in [
            address(7, vip(1)),
            route(vip(1), true),
            route(vip(2), false),
            route(vip(1), false),
        ] {
            gone.note(notice, &mut OURS.clone());
        }
        for command in [remove(1), unroute(2), remove(3)] {
            gone.was_ours(&command);
        }
        assert_eq!(gone.take(), units(&[1]));
        for _ in 0..2 {
            gone.note(address(7, vip(4)), &mut OURS.clone());
        }
        gone.was_ours(&remove(4));
        assert_eq!(
            gone.take(),
            units(&[4]),
            "it went twice, and we took it once"
        );
    }

    #[test]
    fn the_anchor_holds_every_route() {
        let mut gone = Gone::default();
        gone.note(address(7, ANCHOR), &mut OURS.clone());
        assert_eq!(gone.take(), Some(Scope::All));
        gone.note(address(7, ANCHOR), &mut OURS.clone());
        gone.was_ours(&Command::DelAddress {
            link: 7,
            address: ANCHOR,
        });
        assert_eq!(gone.take(), None);
    }
}
