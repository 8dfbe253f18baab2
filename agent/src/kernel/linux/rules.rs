//! The one rule of each family that masquerades what its loopback set matches.

use nix::errno::Errno;
use weir_proto::model::Family;
use weir_proto::trace::chain;

use super::ipset::Ipset;
use super::loopback::{Iptables, NftCompat, RuleEngine, RuleError, SetRef};
use super::netlink::NlError;
use super::sets::{RELEASE_PAUSE, RELEASE_TRIES, is_absent, netlink_family, set_name};
use super::verdict;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::{Key, Object, Scope, Step, Table, Unit};

/// The rules of one network namespace, through the engine that works there.
pub(super) struct Rules {
    engine: Option<RuleEngine>,
    ipset: Option<Ipset>,
}

/// The engine that is not in use.
#[derive(Clone, Copy)]
enum Other {
    Iptables,
    NftCompat,
}

/// Why a rule cannot be seen or changed.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the loopback set cannot be asked for")]
    Set(#[from] NlError),
    #[error(transparent)]
    Rule(#[from] RuleError),
}

impl Rules {
    /// Takes the engine that the probe found, if it found one.
    pub(super) fn new(engine: Option<RuleEngine>) -> Self {
        Self {
            engine,
            ipset: None,
        }
    }

    /// Reads which rules are there, if the scope has them. A rule that cannot be read (its family's modules are
    /// missing, another program holds the lock) is no reason not to see the rest.
    pub(super) async fn read(
        &mut self,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), KernelError> {
        let base = match scope {
            Scope::All => true,
            Scope::Units(units) => units.contains(&Unit::Base),
        };
        for family in Family::ALL.into_iter().filter(|_| base) {
            let object = match self.present(family).await {
                Ok(true) => Object::Present,
                Ok(false) => continue,
                Err(Fault::Rule(error)) => Object::Unreadable(chain(&error)),
                Err(Fault::Set(error)) => return Err(verdict::unreadable("a loopback set", error)),
            };
            table.insert(Key::LoopbackRule(family), object);
        }
        Ok(())
    }

    /// A rule refers to its set: without the set there is none.
    async fn present(&mut self, family: Family) -> Result<bool, Fault> {
        let Some(index) = self.index(family).await? else {
            return Ok(false);
        };
        match &mut self.engine {
            Some(engine) => Ok(engine.present(set(family, index)).await?),
            None => Ok(false),
        }
    }

    /// Puts rules up and takes them down.
    pub(super) async fn apply(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            verdicts.push(self.take(step).await);
        }
        verdicts
    }

    async fn take(&mut self, step: &Step) -> Verdict {
        let Key::LoopbackRule(family) = step.key() else {
            return Err(verdict::refused(Errno::EINVAL, "not a loopback rule"));
        };
        let index = match self.index(family).await {
            Ok(Some(index)) => index,
            Ok(None) => {
                return Err(verdict::refused(
                    Errno::ENOENT,
                    "the loopback set is not there",
                ));
            }
            Err(error) => return Err(StepError::Unknown(error.to_string())),
        };
        let Some(engine) = &mut self.engine else {
            return Err(verdict::refused(
                Errno::EOPNOTSUPP,
                "neither nf_tables nor iptables works here: see the capability loopback_rule",
            ));
        };
        let set = set(family, index);
        let done = match step {
            Step::Add { .. } | Step::Edit { .. } => engine.install(set).await,
            Step::Remove { .. } => engine.remove(set).await,
        };
        let other = match engine {
            RuleEngine::NftCompat(_) => Other::Iptables,
            RuleEngine::Iptables(_) => Other::NftCompat,
        };
        if matches!(step, Step::Remove { .. }) && self.is_used(family).await {
            // an agent of ours may have found another engine at an earlier start; what that cannot do, it did not do
            let _ = remove_by(other, set).await;
        }
        done.map_err(|error| verdict::refused(Errno::EIO, chain(&error)))
    }

    /// Says whether a rule still refers to a family's set, after nf_tables had time to let go of it.
    async fn is_used(&mut self, family: Family) -> bool {
        let Some(ipset) = &mut self.ipset else {
            return false;
        };
        for _ in 0..RELEASE_TRIES {
            match ipset.list(set_name(family)).await {
                Ok(Some(set)) if set.header.references > 0 => {
                    tokio::time::sleep(RELEASE_PAUSE).await;
                }
                _ => return false,
            }
        }
        true
    }

    /// Gives the index of a family's set. A kernel without ipset has none.
    async fn index(&mut self, family: Family) -> Result<Option<u16>, NlError> {
        let ipset = match &mut self.ipset {
            Some(ipset) => ipset,
            none => none.insert(Ipset::open()?),
        };
        match ipset.index(set_name(family)).await {
            Err(error) if is_absent(&error) => Ok(None),
            index => index,
        }
    }
}

async fn remove_by(other: Other, set: SetRef<'_>) -> Result<(), RuleError> {
    let mut engine = match other {
        Other::Iptables => RuleEngine::Iptables(Iptables::find().await?),
        Other::NftCompat => RuleEngine::NftCompat(NftCompat::open()?),
    };
    engine.remove(set).await
}

fn set(family: Family, index: u16) -> SetRef<'static> {
    SetRef {
        family: netlink_family(family),
        name: set_name(family),
        index,
    }
}
