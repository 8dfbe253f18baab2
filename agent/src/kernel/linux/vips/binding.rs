//! The requests that a step on a VIP takes. Pure.
//!
//! What the kernel does with an address and a route of the same name (seen with 6.1):
//! - an address brings a local route of its own (`fib_add_ifaddr` in `net/ipv4/fib_frontend.c`, `addrconf_f6i_alloc` in
//!   `net/ipv6/route.c`), which stands beside ours and goes with the address alone, because it is of protocol kernel;
//! - the last IPv4 address that leaves a link takes every IPv4 route on the link with it (`fib_inetaddr_event` calls
//!   `fib_disable_ip`). So where there is a route of ours, [`ANCHOR`] stays as well.

use std::net::IpAddr;

use nix::errno::Errno;
use weir_proto::model::VipBinding;

use super::super::link::rtm::{Command, LocalRoute, RT_SCOPE_HOST, RT_SCOPE_UNIVERSE};
use super::super::netlink::NlError;
use super::super::verdict;
use super::node::Found;
use crate::kernel::Verdict;
use crate::plan::VipSpec;

/// What a step sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// Sent at first: what binds the VIP. With each the refusal that is none.
    pub(super) first: Vec<(Command, Option<Errno>)>,
    /// Sent once all of that was taken: what unbinds it. That it is not there is well.
    pub(super) then: Vec<Command>,
    /// Whether at least one of the latter must have been there.
    pub(super) must_be_there: bool,
}

/// Where a step acts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The link's index.
    pub(super) link: u32,
    /// The VIP.
    pub(super) address: IpAddr,
    /// What the node speaks from. A node without an address has none: then it has nobody to speak to either, and the
    /// route goes without.
    pub(super) source: Option<IpAddr>,
}

impl Place {
    /// Binds a VIP that is not bound.
    pub(super) fn add(self, spec: &VipSpec) -> Work {
        let first = match spec.binding {
            VipBinding::Route => vec![(self.add_route(self.source, false), None)],
            VipBinding::Address => vec![(self.add_address(spec), None)],
        };
        Work {
            first,
            then: Vec::new(),
            must_be_there: false,
        }
    }

    /// Binds a VIP another way than it is bound; packets to it end here all the while.
    ///
    /// The kernel can neither have an IPv4 address twice on a link nor change its scope (`__inet_insert_ifa` and
    /// `inet_rtm_newaddr` in `net/ipv4/devinet.c`): a route of ours stands in while it goes and comes.
    pub(super) fn edit(self, spec: &VipSpec, found: Found) -> Work {
        let mut first = Vec::new();
        let then = match spec.binding {
            VipBinding::Route => {
                if !found.route {
                    first.push((self.add_route(self.source, true), Some(Errno::EEXIST)));
                }
                self.del_address()
            }
            VipBinding::Address if self.address.is_ipv4() => {
                if !found.route {
                    first.push((self.add_route(None, true), Some(Errno::EEXIST)));
                }
                first.push((self.del_address(), Some(Errno::EADDRNOTAVAIL)));
                first.push((self.add_address(spec), None));
                self.del_route()
            }
            VipBinding::Address => {
                first.push((self.add_address(spec), Some(Errno::EEXIST)));
                self.del_route()
            }
        };
        Work {
            first,
            then: vec![then],
            must_be_there: false,
        }
    }

    /// Unbinds a VIP: however it may be bound or, where that is known, as it is. A refusal costs more than a look.
    pub(super) fn remove(self, found: Option<Found>) -> Work {
        let then = match found {
            Some(Found {
                route: true,
                address: false,
                ..
            }) => vec![self.del_route()],
            Some(Found {
                route: false,
                address: true,
                ..
            }) => vec![self.del_address()],
            _ => vec![self.del_address(), self.del_route()],
        };
        Work {
            first: Vec::new(),
            then,
            must_be_there: true,
        }
    }

    fn add_address(self, spec: &VipSpec) -> Command {
        let scope = if spec.silent {
            RT_SCOPE_HOST
        } else {
            RT_SCOPE_UNIVERSE
        };
        Command::AddAddress {
            link: self.link,
            address: self.address,
            scope,
        }
    }

    fn add_route(self, source: Option<IpAddr>, beside: bool) -> Command {
        let route = LocalRoute {
            link: self.link,
            address: self.address,
            source,
        };
        Command::AddRoute { route, beside }
    }

    fn del_address(self) -> Command {
        Command::DelAddress {
            link: self.link,
            address: self.address,
        }
    }

    fn del_route(self) -> Command {
        Command::DelRoute {
            link: self.link,
            address: self.address,
        }
    }
}

impl Work {
    /// Judges what became of the first requests.
    pub(super) fn begun(&self, answers: impl Iterator<Item = Result<(), NlError>>) -> Verdict {
        for ((command, well), answer) in self.first.iter().zip(answers) {
            match answer {
                Err(NlError::Errno(errno)) if well.is_some_and(|well| well as i32 == errno) => {}
                answer => said(command, answer)?,
            }
        }
        Ok(())
    }

    /// Judges what became of the others.
    pub(super) fn ended(&self, answers: impl Iterator<Item = Result<(), NlError>>) -> Verdict {
        let mut gone = !self.must_be_there;
        for (command, answer) in self.then.iter().zip(answers) {
            match answer {
                Ok(()) => gone = true,
                Err(NlError::Errno(errno)) if is_absent(errno) => {}
                answer => said(command, answer)?,
            }
        }
        match gone {
            true => Ok(()),
            false => Err(verdict::refused(
                Errno::EADDRNOTAVAIL,
                "the VIP is not bound",
            )),
        }
    }

    /// Says whether an IPv4 route of ours comes to stand.
    pub(super) fn needs_anchor(&self) -> bool {
        let is_route = |command: &Command| matches!(command, Command::AddRoute { route, .. } if route.address.is_ipv4());
        self.first.iter().any(|(command, _)| is_route(command))
    }
}

/// `inet_rtm_deladdr` and `inet6_addr_del`; `fib_table_delete` and `ip6_route_del`.
fn is_absent(errno: i32) -> bool {
    [Errno::EADDRNOTAVAIL as i32, Errno::ESRCH as i32].contains(&errno)
}

fn said(command: &Command, answer: Result<(), NlError>) -> Verdict {
    let act = match command {
        Command::AddAddress { .. } => "add the address",
        Command::DelAddress { .. } => "delete the address",
        Command::AddRoute { .. } => "add the route",
        Command::DelRoute { .. } => "delete the route",
        Command::Lookup(_)
        | Command::GetAddress { .. }
        | Command::Addresses { .. }
        | Command::LocalRoutes { .. }
        | Command::MainRoutes { .. } => "read",
    };
    verdict::of(answer, |errno| {
        let cause = format!("cannot {act}: {}", verdict::sentence(errno as i32));
        Some((cause, ""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: VipSpec = VipSpec {
        binding: VipBinding::Route,
        silent: false,
    };
    const ADDRESS: VipSpec = VipSpec {
        binding: VipBinding::Address,
        silent: false,
    };
    const SILENT: VipSpec = VipSpec {
        binding: VipBinding::Address,
        silent: true,
    };

    fn place(address: &str) -> Place {
        Place {
            link: 4,
            address: address.parse().unwrap_or_else(|why| panic!("{why}")),
            source: None,
        }
    }

    fn found(spec: VipSpec) -> Found {
        Found {
            address: spec.binding == VipBinding::Address,
            route: spec.binding == VipBinding::Route,
            ..Found::default()
        }
    }

    /// Does what the kernel would and gives its answer.
    fn carry_out(command: Command, held: &mut Found) -> Result<(), NlError> {
        let (there, after, errno) = match command {
            Command::AddAddress { .. } => (&mut held.address, true, Errno::EEXIST),
            Command::AddRoute { .. } => (&mut held.route, true, Errno::EEXIST),
            Command::DelAddress { .. } => (&mut held.address, false, Errno::EADDRNOTAVAIL),
            Command::DelRoute { .. } => (&mut held.route, false, Errno::ESRCH),
            other => panic!("{other:?} changes nothing"),
        };
        if *there == after {
            return Err(NlError::Errno(errno as i32));
        }
        *there = after;
        Ok(())
    }

    /// Runs a step on what is held, which must never be nothing in between.
    fn run(work: &Work, held: &mut Found) -> [Verdict; 2] {
        let mut answer = |command: &Command| {
            let answer = carry_out(*command, held);
            assert!(held.any(), "nothing is bound after {command:?}");
            answer
        };
        let first: Vec<_> = work.first.iter().map(|(one, _)| answer(one)).collect();
        let then: Vec<_> = work.then.iter().map(answer).collect();
        [work.begun(first.into_iter()), work.ended(then.into_iter())]
    }

    #[test]
    fn a_vip_is_bound_all_the_while_it_changes() {
        for address in ["10.9.0.1", "fd09::1"] {
            for from in [ROUTE, ADDRESS, SILENT] {
                for to in [ROUTE, ADDRESS, SILENT] {
                    let mut held = found(from);
                    let work = place(address).edit(&to, held);
                    assert_eq!(run(&work, &mut held), [Ok(()), Ok(())], "{from:?} {to:?}");
                    assert_eq!(held, found(to), "{from:?} {to:?}");
                    // and again, after an answer was lost
                    let work = place(address).edit(&to, held);
                    assert_eq!(run(&work, &mut held), [Ok(()), Ok(())], "{from:?} {to:?}");
                    assert_eq!(held, found(to), "{from:?} {to:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_known_of_a_vip_is_what_is_taken_away() {
        let place = place("10.9.0.1");
        let known = |spec| place.remove(Some(found(spec))).then;
        assert_eq!(known(ROUTE), [place.del_route()]);
        assert_eq!(known(ADDRESS), [place.del_address()]);
        let both = [place.del_address(), place.del_route()];
        assert_eq!(place.remove(None).then, both);
        assert_eq!(place.remove(Some(Found::default())).then, both);
    }

    #[test]
    fn to_remove_what_is_not_there_is_refused_and_half_of_it_is_not() {
        let work = place("10.9.0.1").remove(None);
        let absent = || Err(NlError::Errno(Errno::EADDRNOTAVAIL as i32));
        let gone = || Err(NlError::Errno(Errno::ESRCH as i32));
        assert_eq!(work.ended([absent(), Ok(())].into_iter()), Ok(()));
        assert_eq!(work.ended([Ok(()), gone()].into_iter()), Ok(()));
        let refused = work.ended([absent(), gone()].into_iter());
        assert!(refused.is_err_and(|error| error.says_absent()));
        let unknown = work.ended([Err(NlError::Timeout), Ok(())].into_iter());
        assert!(unknown.is_err_and(|error| !error.says_absent()));
    }

    #[test]
    fn only_an_ipv4_route_needs_the_anchor() {
        let needs = |address, spec| place(address).add(&spec).needs_anchor();
        assert!(needs("10.9.0.1", ROUTE));
        assert!(!needs("10.9.0.1", ADDRESS));
        assert!(!needs("fd09::1", ROUTE));
    }
}
