//! What lets new connections to VIPs in or rejects them: sets of what is declared and what is guarded, and a chain of
//! rules that looks them up before IPVS sees a packet.
//!
//! IPVS stands at the hook of local input (`ip_vs_ops4` in `net/netfilter/ipvs/ip_vs_core.c`) behind the filter chains
//! there, so a chain of that hook sees each packet as its client sent it. An engine makes sets and rules of one family
//! together; an entry of a set is one of [`Guard`].

pub mod filter;
mod native;
pub mod rules;
pub mod xtables;

use std::collections::BTreeMap;

use nix::errno::Errno;
use weir_proto::model::Family;

use self::native::Native;
use self::xtables::Xtables;
use super::verdict;
use crate::kernel::{KernelError, Verdict};
use crate::plan::{Guard, Key, Object, Scope, Step, Table, Unit};

/// The lockdowns of one network namespace, through the engine that works there.
pub(super) struct Lockdowns {
    /// In nf_tables alone, where the kernel has it.
    native: Result<Native, String>,
    /// In IP sets and rules of iptables.
    sets: Result<Xtables, String>,
}

impl Lockdowns {
    /// Finds an engine that works here, nf_tables before the other, and says which or why none does.
    pub(super) async fn choose() -> (Self, Result<String, String>) {
        let native = Native::find().await;
        let mut sets = Xtables::open().await;
        let said = match (&native, &mut sets) {
            (Ok(_), _) => Ok("nf_tables".to_owned()),
            (Err(missing), Ok(found)) => match found.describe().await {
                Ok(how) => Ok(format!("{how}, since nf_tables: {missing}")),
                Err(also) => Err(format!("nf_tables: {missing}; {also}")),
            },
            (Err(missing), Err(also)) => Err(format!("nf_tables: {missing}; {also}")),
        };
        if let (Err(_), Err(missing)) = (&native, &said) {
            sets = Err(missing.clone());
        }
        (Self { native, sets }, said)
    }

    /// Reads the lockdowns and guards of the scope.
    pub(super) async fn read(
        &mut self,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), KernelError> {
        for family in Family::ALL {
            let part = Part::of(scope, family);
            if !part.base && !part.all && part.guards.is_empty() {
                continue;
            }
            match (&mut self.native, &mut self.sets) {
                (Ok(native), sets) => {
                    native.read(&part, table).await?;
                    // an agent of ours may have found the other engine at an earlier start
                    if let Ok(sets) = sets
                        && part.base
                        && sets.is_there(family).await?
                    {
                        let both = Object::Value("in another engine".to_owned());
                        table.insert(Key::Lockdown(family), both);
                    }
                }
                (Err(_), Ok(sets)) => sets.read(&part, table).await?,
                (Err(_), Err(_)) => {}
            }
        }
        Ok(())
    }

    /// Makes, repairs and removes lockdowns.
    pub(super) async fn apply(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            let Key::Lockdown(family) = step.key() else {
                verdicts.push(Err(verdict::refused(Errno::EINVAL, "not a lockdown")));
                continue;
            };
            verdicts.push(match step {
                Step::Add { .. } => self.install(family).await,
                Step::Edit { .. } => self.repair(family).await,
                Step::Remove { .. } => self.remove(family).await,
            });
        }
        verdicts
    }

    async fn install(&mut self, family: Family) -> Verdict {
        match (&mut self.native, &mut self.sets) {
            (Ok(native), _) => native.install(family).await,
            (Err(_), Ok(sets)) => sets.install(family).await,
            (Err(_), Err(missing)) => Err(verdict::refused(Errno::EOPNOTSUPP, missing.clone())),
        }
    }

    /// Makes whole what is there. What the other engine holds is ours as well, for this is no new object; it goes once
    /// there is something in its place.
    async fn repair(&mut self, family: Family) -> Verdict {
        let replaced = match &mut self.native {
            Ok(native) => native.is_there(family).await.unwrap_or(false),
            Err(_) => false,
        };
        self.install(family).await?;
        if replaced {
            self.remove_sets(family).await?;
        }
        Ok(())
    }

    async fn remove(&mut self, family: Family) -> Verdict {
        if let Ok(native) = &mut self.native {
            native.remove(family).await?;
        }
        self.remove_sets(family).await
    }

    async fn remove_sets(&mut self, family: Family) -> Verdict {
        match &mut self.sets {
            Ok(sets) => sets.remove(family).await,
            Err(_) => Ok(()),
        }
    }

    /// Adds and deletes guards, many to a message.
    pub(super) async fn apply_guards(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        match (&mut self.native, &mut self.sets) {
            (Ok(native), _) => native.apply(steps).await,
            (Err(_), Ok(sets)) => sets.apply(steps).await,
            (Err(_), Err(missing)) => steps
                .iter()
                .map(|_| Err(verdict::refused(Errno::EOPNOTSUPP, missing.clone())))
                .collect(),
        }
    }

    /// Gives how many packets each family's rules had rejected when they were last looked at. Counting begins anew
    /// when the rules are put up again.
    pub(super) fn rejected(&self) -> BTreeMap<Family, u64> {
        match (&self.native, &self.sets) {
            (Ok(native), _) => native.rejected(),
            (Err(_), Ok(sets)) => sets.rejected(),
            (Err(_), Err(_)) => BTreeMap::new(),
        }
    }
}

/// The part of a scope that is about one family's lockdown.
struct Part {
    family: Family,
    /// Everything there is.
    all: bool,
    /// Whether the lockdown itself is asked for.
    base: bool,
    /// The guards asked for, unless it is everything.
    guards: Vec<Guard>,
}

impl Part {
    fn of(scope: &Scope, family: Family) -> Self {
        let Scope::Units(units) = scope else {
            return Self {
                family,
                all: true,
                base: true,
                guards: Vec::new(),
            };
        };
        let guards = units.iter().filter_map(|unit| match unit {
            Unit::Guard(guard) if guard.family() == family => Some(*guard),
            _ => None,
        });
        Self {
            family,
            all: false,
            base: units.contains(&Unit::Base),
            guards: guards.collect(),
        }
    }
}
