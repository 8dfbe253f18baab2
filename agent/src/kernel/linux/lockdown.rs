//! What lets new connections to VIPs in or rejects them: sets of what is declared and what is guarded, and a chain of
//! rules that looks them up before IPVS sees a packet.
//!
//! IPVS stands at the hook of local input (`ip_vs_ops4` in `net/netfilter/ipvs/ip_vs_core.c`) behind the filter chains
//! there, so a chain of that hook sees each packet as its client sent it. An engine makes sets and rules of one family
//! together; an entry of a set is one of [`Guard`].

pub mod filter;
pub mod xtables;

use std::collections::BTreeMap;

use nix::errno::Errno;
use weir_proto::model::Family;

use self::xtables::Xtables;
use super::verdict;
use crate::kernel::{KernelError, Verdict};
use crate::plan::{Guard, Key, Scope, Step, Table, Unit};

/// The lockdowns of one network namespace, through the engine that works there.
pub(super) struct Lockdowns {
    engine: Result<Engine, String>,
}

/// What holds sets and rules.
enum Engine {
    /// Kernel IP sets, and rules of a program of the iptables family.
    Xtables(Xtables),
}

impl Lockdowns {
    /// Finds an engine that works here, and says which or why none does.
    pub(super) async fn choose() -> (Self, Result<String, String>) {
        let (engine, said) = match Xtables::find().await {
            Ok(found) => {
                let said = found.describe();
                (Ok(Engine::Xtables(found)), Ok(said))
            }
            Err(missing) => (Err(missing.clone()), Err(missing)),
        };
        (Self { engine }, said)
    }

    /// Reads the lockdowns and guards of the scope.
    pub(super) async fn read(
        &mut self,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), KernelError> {
        let Ok(Engine::Xtables(engine)) = &mut self.engine else {
            return Ok(());
        };
        for family in Family::ALL {
            let part = Part::of(scope, family);
            if part.base || part.all || !part.guards.is_empty() {
                engine.read(&part, table).await?;
            }
        }
        Ok(())
    }

    /// Makes, repairs and removes lockdowns.
    pub(super) async fn apply(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            let verdict = match (&mut self.engine, step.key()) {
                (Ok(Engine::Xtables(engine)), Key::Lockdown(family)) => match step {
                    Step::Add { .. } | Step::Edit { .. } => engine.install(family).await,
                    Step::Remove { .. } => engine.remove(family).await,
                },
                (Err(missing), _) => Err(verdict::refused(Errno::EOPNOTSUPP, missing.clone())),
                (Ok(_), _) => Err(verdict::refused(Errno::EINVAL, "not a lockdown")),
            };
            verdicts.push(verdict);
        }
        verdicts
    }

    /// Adds and deletes guards, many to a message.
    pub(super) async fn apply_guards(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        match &mut self.engine {
            Ok(Engine::Xtables(engine)) => engine.apply(steps).await,
            Err(missing) => steps
                .iter()
                .map(|_| Err(verdict::refused(Errno::EOPNOTSUPP, missing.clone())))
                .collect(),
        }
    }

    /// Gives how many packets each family's rules had rejected when they were last looked at. Counting begins anew
    /// when the rules are put up again.
    pub(super) fn rejected(&self) -> BTreeMap<Family, u64> {
        match &self.engine {
            Ok(Engine::Xtables(engine)) => engine.rejected(),
            Err(_) => BTreeMap::new(),
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
