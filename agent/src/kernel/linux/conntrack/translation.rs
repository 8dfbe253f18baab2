//! Which flows are meant, and what to ask in order to see them. Pure.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{Family, Filter, Flow};

/// Most walks over the table, each within the kernel: about as many cost what it costs to show and to read all of it
/// once.
const ONE_BY_ONE: usize = 16;

/// Who answers in place of whom: every flow of it was sent to the one and is answered by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Translation {
    /// The protocol's number in an IP header.
    pub protocol: u8,
    /// What clients speak to.
    pub destination: SocketAddr,
    /// Who answers.
    pub replier: SocketAddr,
}

/// What of a filter a kernel heeds, from the most to the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filters {
    /// Both tuples.
    #[default]
    Both,
    /// The original one.
    Original,
    /// Nothing: it shows everything.
    Nothing,
}

impl Filters {
    /// Gives what a kernel heeds that refused a filter.
    pub(super) fn less(self, refused: &Filter) -> Self {
        match self {
            Self::Both if refused.replier.is_some() => Self::Original,
            Self::Both | Self::Original | Self::Nothing => Self::Nothing,
        }
    }
}

impl Translation {
    /// Gives the translation of a flow; none of one without ports.
    pub fn of(flow: &Flow) -> Option<Self> {
        Some(Self {
            protocol: flow.original.protocol,
            destination: flow.original.receiver()?,
            replier: flow.reply.sender()?,
        })
    }
}

/// Gives the dumps that together show every flow of the `wanted` translations and as few others as the kernel and the
/// number of dumps allow: a family, with a filter where there is one. A translation from one family into the other
/// has no flows.
pub fn questions(
    wanted: &BTreeSet<Translation>,
    filters: Filters,
) -> Vec<(Family, Option<Filter>)> {
    let family = |address: SocketAddr| Family::of(address.ip());
    let possible = || {
        let within = |one: &&Translation| family(one.destination) == family(one.replier);
        wanted.iter().filter(within)
    };
    let asked = |filter: Filter| (filter.family(), Some(filter));
    if filters == Filters::Both && possible().count() <= ONE_BY_ONE {
        let each = possible().map(|one| Filter {
            protocol: one.protocol,
            destination: one.destination,
            replier: Some(one.replier),
        });
        return each.map(asked).collect();
    }
    let destinations: BTreeSet<(u8, SocketAddr)> = possible()
        .map(|one| (one.protocol, one.destination))
        .collect();
    if filters <= Filters::Original && destinations.len() <= ONE_BY_ONE {
        let each = destinations
            .into_iter()
            .map(|(protocol, destination)| Filter {
                protocol,
                destination,
                replier: None,
            });
        return each.map(asked).collect();
    }
    let families: BTreeSet<Family> = possible().map(|one| family(one.destination)).collect();
    families.into_iter().map(|family| (family, None)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(service: u16, backend: u16) -> Translation {
        Translation {
            protocol: 6,
            destination: SocketAddr::new([10, 9, 0, 1].into(), service),
            replier: SocketAddr::new([10, 1, 0, 1].into(), backend),
        }
    }

    fn filter(service: u16, backend: Option<u16>) -> (Family, Option<Filter>) {
        let one = of(service, backend.unwrap_or(0));
        let filter = Filter {
            protocol: one.protocol,
            destination: one.destination,
            replier: backend.map(|_| one.replier),
        };
        (Family::Inet, Some(filter))
    }

    #[test]
    fn a_few_translations_are_asked_for_one_by_one() {
        let wanted = [of(80, 8080), of(80, 8081)].into();
        let both = [filter(80, Some(8080)), filter(80, Some(8081))];
        assert_eq!(questions(&wanted, Filters::Both), both);
        assert_eq!(questions(&wanted, Filters::Original), [filter(80, None)]);
        let all = [(Family::Inet, None)];
        assert_eq!(questions(&wanted, Filters::Nothing), all);
        assert_eq!(questions(&BTreeSet::new(), Filters::Nothing), []);
    }

    #[test]
    fn many_backends_of_one_service_are_asked_for_together() {
        let wanted = (1..=17).map(|backend| of(80, backend)).collect();
        assert_eq!(questions(&wanted, Filters::Both), [filter(80, None)]);
        let wanted = (1..=17).map(|service| of(service, 80)).collect();
        let all = [(Family::Inet, None)];
        assert_eq!(questions(&wanted, Filters::Both), all);
    }

    #[test]
    fn a_kernel_that_refuses_filters_is_asked_with_less_of_them_until_none_is_left() {
        let (_, both) = filter(80, Some(8080));
        let (_, original) = filter(80, None);
        let less =
            |filters: Filters, refused: Option<Filter>| filters.less(&refused.expect("a filter"));
        assert_eq!(less(Filters::Both, both), Filters::Original);
        assert_eq!(less(Filters::Both, original), Filters::Nothing);
        assert_eq!(less(Filters::Original, original), Filters::Nothing);
    }

    #[test]
    fn nothing_is_asked_of_a_translation_between_families() {
        let mut across = of(80, 8080);
        across.replier = SocketAddr::new([0xfd00, 0, 0, 0, 0, 0, 0, 1].into(), 8080);
        for filters in [Filters::Both, Filters::Original, Filters::Nothing] {
            assert_eq!(questions(&[across].into(), filters), []);
        }
    }
}
