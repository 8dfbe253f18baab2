//! The one rule of each family that masquerades what its loopback set in ipset matches.

use nix::errno::Errno;
use weir_proto::model::Family;
use weir_proto::trace::chain;

use super::ipset::Ipset;
use super::loopback::{
    Iptables, NftCompat, RuleEngine, RuleError, SetRef, Standing, netlink_family,
};
use super::netlink::NlError;
use super::sets::{RELEASE_PAUSE, RELEASE_TRIES, is_absent, set_name};
use super::verdict;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::{Key, Object, Scope, Step, Table, Unit};

/// The rules of one network namespace, through the engine that works there.
pub(super) struct Rules {
    engine: Option<RuleEngine>,
    ipset: Option<Ipset>,
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
            let object = match self.standing(family).await {
                Ok(Standing::Whole) => Object::Present,
                Ok(Standing::Older) => Object::Value("not as this version puts it".to_owned()),
                Ok(Standing::Absent) => continue,
                Err(Fault::Rule(error)) => Object::Unreadable(chain(&error)),
                Err(Fault::Set(error)) => return Err(verdict::unreadable("a loopback set", error)),
            };
            table.insert(Key::LoopbackRule(family), object);
        }
        Ok(())
    }

    /// A rule refers to its set: without the set there is none.
    async fn standing(&mut self, family: Family) -> Result<Standing, Fault> {
        let Some(index) = self.index(family).await? else {
            return Ok(Standing::Absent);
        };
        match &mut self.engine {
            Some(engine) => Ok(engine.standing(set(family, index)).await?),
            None => Ok(Standing::Absent),
        }
    }

    /// Puts the rule of a family up or takes it down.
    pub(super) async fn take(&mut self, step: &Step, family: Family) -> Verdict {
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
        if matches!(step, Step::Remove { .. }) && self.is_used(family).await {
            // an agent of ours may have found another engine at an earlier start; what that cannot do, it did not do
            let _ = self.remove_by_any(set).await;
        }
        done.map_err(refused)
    }

    /// Takes away what held the rule of a family whose set is gone: the rule may have been flushed and its table left, and
    /// what somebody else put there stays.
    pub(super) async fn sweep(&mut self, family: Family) {
        if let Some(RuleEngine::NftCompat(nft)) = &mut self.engine {
            // what cannot be taken away now is empty, and in nobody's way
            let _ = nft.remove(netlink_family(family)).await;
        }
    }

    /// Takes away every rule of ours on a family's set, whatever put it up: the set is about to go.
    pub(super) async fn clear(&mut self, family: Family) -> Verdict {
        let index = match self.index(family).await {
            Ok(index) => index,
            Err(error) => return Err(StepError::Unknown(error.to_string())),
        };
        match index {
            Some(index) => self
                .remove_by_any(set(family, index))
                .await
                .map_err(refused),
            None => Ok(()),
        }
    }

    /// Takes the rules on a set away one engine after the other, until nothing refers to it.
    async fn remove_by_any(&mut self, set: SetRef<'_>) -> Result<(), RuleError> {
        if self.references(set.name).await == 0 {
            return Ok(());
        }
        // over a kernel without nf_tables this fails, and left nothing there
        if let Ok(compat) = NftCompat::open() {
            let _ = RuleEngine::NftCompat(compat).remove(set).await;
        }
        for _ in 0..RELEASE_TRIES {
            if self.references(set.name).await == 0 {
                return Ok(());
            }
            tokio::time::sleep(RELEASE_PAUSE).await;
        }
        RuleEngine::Iptables(Iptables::find().await?)
            .remove(set)
            .await
    }

    /// Says whether a rule still refers to a family's set, after nf_tables had time to let go of it.
    async fn is_used(&mut self, family: Family) -> bool {
        for _ in 0..RELEASE_TRIES {
            if self.references(set_name(family)).await == 0 {
                return false;
            }
            tokio::time::sleep(RELEASE_PAUSE).await;
        }
        true
    }

    /// Gives how many rules refer to a set; none to one that cannot be asked for.
    async fn references(&mut self, name: &str) -> u32 {
        let Some(ipset) = &mut self.ipset else {
            return 0;
        };
        match ipset.details(name).await {
            Ok(Some(header)) => header.references,
            Ok(None) | Err(_) => 0,
        }
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

fn refused(error: RuleError) -> StepError {
    verdict::refused(Errno::EIO, chain(&error))
}

fn set(family: Family, index: u16) -> SetRef<'static> {
    SetRef {
        family: netlink_family(family),
        name: set_name(family),
        index,
    }
}
