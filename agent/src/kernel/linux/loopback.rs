//! The loopback sets and rules, by which a backend reaches itself through a service: what goes from an entry of the
//! set back to it is masqueraded.
//!
//! Two engines hold them behind one seam. `ipset` is a kernel set and one rule that looks it up, which `nft_compat`
//! puts up without a program and `iptables` by running one. `nftables` holds all of it in a table of its own. Another
//! run of the agent may have used the other engine: what that left is seen as ours that is not as wanted, and goes
//! once the one in use stands.

mod choice;
mod entries;
pub mod iptables;
mod native;
pub mod nft_compat;
pub mod nftables;
mod rule;

pub use choice::Wanted;
pub(super) use choice::{Engine, Found, decide};
pub(super) use entries::{ONE_BY_ONE, change, element, entry, netlink_family, within};
pub use iptables::{Iptables, IptablesError};
pub use nft_compat::{NftCompat, NftError};
pub use rule::{Choice, RuleEngine, RuleError, SetRef, Standing};

use nix::errno::Errno;
use weir_proto::model::Family;
use weir_proto::trace::chain;

use self::native::{Native, NativeError};
use super::ipset::Element;
use super::netlink::{Counts, NlError};
use super::rules::Rules;
use super::sets::Sets;
use super::verdict;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::{Key, Object, Scope, Step, Table, Unit};

/// What of ours one engine holds of one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// A set.
    pub(super) set: bool,
    /// A rule.
    pub(super) rule: bool,
}

/// The loopback sets and rules of one network namespace.
pub(super) struct Loopback {
    engine: Engine,
    ipset: Option<Ipset>,
    native: Option<Native>,
}

/// How much of what the other engine left is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Rule,
    All,
}

/// The engine that is a set and a rule beside it.
struct Ipset {
    sets: Sets,
    rules: Rules,
}

/// What a kernel has of the two engines.
pub(super) struct Doors {
    /// Whether there is ipset, so that something may have been left there.
    pub(super) ipset: bool,
    /// What puts the rule on an ipset set up.
    pub(super) rule: Option<RuleEngine>,
    /// nf_tables, if it is there.
    pub(super) native: Option<Native>,
}

/// Tries nf_tables alone, and says what came of it.
pub(super) async fn try_native() -> (Option<Native>, Found) {
    let mut native = match Native::open() {
        Ok(native) => native,
        Err(error) => return (None, Err(chain(&error))),
    };
    match native.probe().await {
        Ok(()) => (
            Some(native),
            Ok("nf_tables with sets and masquerade".to_owned()),
        ),
        Err(error) => {
            let advice = "load nf_tables, nft_chain_nat and nft_masq; it takes Linux 5.2";
            (None, Err(format!("{}: {advice}", chain(&error))))
        }
    }
}

impl Loopback {
    /// Takes the engine that was chosen, and the doors to both.
    pub(super) fn new(engine: Engine, doors: Doors) -> Self {
        let Doors {
            ipset,
            rule,
            native,
        } = doors;
        let sides = || Ipset {
            sets: Sets::default(),
            rules: Rules::new(rule),
        };
        Self {
            engine,
            ipset: ipset.then(sides),
            native,
        }
    }

    /// Gives what was said so far of sets to ipset, and of anything to nf_tables.
    pub(super) fn counts(&self) -> [Counts; 2] {
        let ipset = self.ipset.as_ref().map(|ipset| ipset.sets.counts());
        let native = self.native.as_ref().map(Native::counts);
        [ipset.unwrap_or_default(), native.unwrap_or_default()]
    }

    /// Reads sets, rules and entries of the scope. What the other engine left of ours shows as a set or rule that is
    /// not as wanted.
    pub(super) async fn read(
        &mut self,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), KernelError> {
        let unreadable = |error| verdict::unreadable("a loopback set", error);
        match (&self.engine, &mut self.ipset, &mut self.native) {
            (Engine::Ipset, Some(ipset), _) => {
                ipset.sets.read(scope, table).await.map_err(unreadable)?;
                ipset.rules.read(scope, table).await?;
            }
            (Engine::Nftables, _, Some(native)) => {
                native.read(scope, table).await.map_err(unreadable)?;
            }
            _ => {}
        }
        let base = match scope {
            Scope::All => true,
            Scope::Units(units) => units.contains(&Unit::Base),
        };
        for family in Family::ALL.into_iter().filter(|_| base) {
            let left = self.left(family).await.map_err(unreadable)?;
            show_left(left, family, table);
        }
        Ok(())
    }

    /// Says what of ours there is that the engine in use does not hold.
    async fn left(&mut self, family: Family) -> Result<Left, NlError> {
        let mut left = Left::default();
        if let (false, Some(ipset)) = (self.engine == Engine::Ipset, &mut self.ipset) {
            left = ipset.sets.left(family).await?;
        }
        if let (false, Some(native)) = (self.engine == Engine::Nftables, &mut self.native) {
            let also = native.left(family).await?;
            left = Left {
                set: left.set || also.set,
                rule: left.rule || also.rule,
            };
        }
        Ok(left)
    }

    /// Makes, mends and removes sets.
    pub(super) async fn apply_sets(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            verdicts.push(match step.key() {
                Key::LoopbackSet(family) => self.take_set(step, family).await,
                _ => Err(verdict::refused(Errno::EINVAL, "not a loopback set")),
            });
        }
        verdicts
    }

    async fn take_set(&mut self, step: &Step, family: Family) -> Verdict {
        if let Step::Remove { .. } = step {
            let own = self.remove_set(family).await;
            // what the other engine left is ours as well
            return match self.clear_left(family, Part::All).await? {
                true if own.as_ref().is_err_and(StepError::says_absent) => Ok(()),
                _ => own,
            };
        }
        let from = self.elements_left(family).await?;
        match (&self.engine, &mut self.ipset, &mut self.native) {
            (Engine::Ipset, Some(ipset), _) => ipset.sets.put_set(step, family, &from).await,
            (Engine::Nftables, _, Some(native)) => {
                let there = native.left(family).await.map(|left| left.set);
                let put = match (step, there) {
                    (_, Err(error)) => Err(error.into()),
                    (Step::Edit { .. }, Ok(true)) => native.replace_set(family).await,
                    (_, Ok(_)) => native.add_set(family, &from).await,
                };
                native_verdict(put)
            }
            _ => Err(self.no_engine()),
        }
    }

    async fn remove_set(&mut self, family: Family) -> Verdict {
        match (&self.engine, &mut self.ipset, &mut self.native) {
            (Engine::Ipset, Some(ipset), _) => {
                ipset.sets.remove_set(family).await?;
                ipset.rules.sweep(family).await;
                Ok(())
            }
            (Engine::Nftables, _, Some(native)) => native_verdict(native.remove_set(family).await),
            _ => Err(verdict::refused(
                Errno::ENOENT,
                "the loopback set is not there",
            )),
        }
    }

    /// Puts rules up and takes them down. When one stands, what the other engine left goes.
    pub(super) async fn apply_rules(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            verdicts.push(match step.key() {
                Key::LoopbackRule(family) => self.take_rule(step, family).await,
                _ => Err(verdict::refused(Errno::EINVAL, "not a loopback rule")),
            });
        }
        verdicts
    }

    async fn take_rule(&mut self, step: &Step, family: Family) -> Verdict {
        let remove = matches!(step, Step::Remove { .. });
        let own = match (&self.engine, &mut self.ipset, &mut self.native) {
            (Engine::Ipset, Some(ipset), _) => ipset.rules.take(step, family).await,
            (Engine::Nftables, _, Some(native)) if remove => {
                native_verdict(native.remove_rule(family).await)
            }
            (Engine::Nftables, _, Some(native)) => native_verdict(native.put_rule(family).await),
            _ if remove => Ok(()),
            _ => Err(self.no_engine()),
        };
        // of what is taken down the set has its turn later
        let part = if remove { Part::Rule } else { Part::All };
        match own {
            Err(error) if remove && error.says_absent() => {
                let cleared = self.clear_left(family, part).await?;
                cleared.then_some(()).ok_or(error)
            }
            Err(error) => Err(error),
            Ok(()) => self.clear_left(family, part).await.map(|_cleared| ()),
        }
    }

    /// Takes away what the other engine left of ours, and says whether there was any.
    async fn clear_left(&mut self, family: Family, part: Part) -> Result<bool, StepError> {
        let unknown = |error: NlError| StepError::Unknown(chain(&error));
        let mut cleared = false;
        if let (false, Some(ipset)) = (self.engine == Engine::Ipset, &mut self.ipset) {
            let left = ipset.sets.left(family).await.map_err(unknown)?;
            if left.set {
                ipset.rules.clear(family).await?;
            }
            if left.set && part == Part::All {
                ipset.sets.remove_set(family).await?;
                ipset.rules.sweep(family).await;
            }
            cleared = left.set;
        }
        if let (false, Some(native)) = (self.engine == Engine::Nftables, &mut self.native) {
            let left = native.left(family).await.map_err(unknown)?;
            if left.rule {
                native_verdict(native.remove_rule(family).await)?;
            }
            if left.set && part == Part::All {
                native_verdict(native.remove_set(family).await)?;
            }
            cleared |= left.set || left.rule;
        }
        Ok(cleared)
    }

    /// Gives what is in the set that the other engine left: it goes into the new one before that is used.
    async fn elements_left(&mut self, family: Family) -> Result<Vec<Element>, StepError> {
        let found = match (&self.engine, &mut self.ipset, &mut self.native) {
            (Engine::Nftables, Some(ipset), _) => match ipset.sets.left(family).await {
                Ok(left) if left.set => ipset.sets.elements(family).await,
                Ok(_) => Ok(Vec::new()),
                Err(error) => Err(error),
            },
            (Engine::Ipset, _, Some(native)) => match native.left(family).await {
                Ok(left) if left.set => native.elements(family).await,
                Ok(_) => Ok(Vec::new()),
                Err(error) => Err(error),
            },
            _ => Ok(Vec::new()),
        };
        found.map_err(|error| StepError::Unknown(chain(&error)))
    }

    /// Adds and deletes entries, many to a message.
    pub(super) async fn apply_entries(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        match (&self.engine, &mut self.ipset, &mut self.native) {
            (Engine::Ipset, Some(ipset), _) => ipset.sets.apply_entries(steps).await,
            (Engine::Nftables, _, Some(native)) => {
                let answers = native.apply_entries(steps).await.into_iter();
                answers
                    .map(|answer| verdict::of(answer, explain_native))
                    .collect()
            }
            _ => steps.iter().map(|_| Err(self.no_engine())).collect(),
        }
    }

    fn no_engine(&self) -> StepError {
        let why = match &self.engine {
            Engine::Neither(why) => why.as_str(),
            Engine::Ipset | Engine::Nftables => "the loopback engine is not there",
        };
        verdict::refused(Errno::EOPNOTSUPP, why)
    }
}

/// Shows what the other engine left. Of a set that stands nothing need be done but to clear up, with the rule.
fn show_left(left: Left, family: Family, table: &mut Table) {
    let other = || Object::Value("held by the other engine".to_owned());
    let (set, rule) = (Key::LoopbackSet(family), Key::LoopbackRule(family));
    if left.set && !table.contains_key(&set) {
        table.insert(set, other());
    }
    if left.rule || (left.set && table.contains_key(&rule)) {
        table.insert(rule, other());
    }
}

fn native_verdict(done: Result<(), NativeError>) -> Verdict {
    let error = match done {
        Ok(()) => return Ok(()),
        Err(NativeError::Refused(refused)) => refused.error,
        Err(NativeError::Read(error)) => error,
        Err(error @ NativeError::Foreign) => {
            return Err(verdict::refused(Errno::EEXIST, chain(&error)));
        }
        Err(error @ NativeError::NoSet) => {
            return Err(verdict::refused(Errno::ENOENT, chain(&error)));
        }
    };
    verdict::of(Err(error), explain_native)
}

fn explain_native(errno: Errno) -> Option<(String, &'static str)> {
    let cause = match errno {
        Errno::ENOENT => "the loopback set is not there",
        Errno::EEXIST => "a set of this name is there and is not like ours",
        Errno::EBUSY => "a rule uses the set",
        Errno::EAGAIN => "the set changed meanwhile",
        _ => return None,
    };
    Some((cause.to_owned(), ""))
}
