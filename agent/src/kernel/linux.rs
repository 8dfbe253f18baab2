//! The Linux kernel: codecs for what it speaks, thin sockets that speak it, and what weir's plan means in it.
//!
//! Each protocol has a codec that is pure (bytes in, values out) and knows nothing of weir's model, so
//! that any program could use it, and a socket file that only sends what the codec wrote and reads what
//! came back. `services`, `sets`, `rules`, `vips` and `settings` turn the plan's values into requests. Nothing here
//! decides anything.

pub mod capabilities;
pub mod chains;
pub mod conntrack;
mod flows;
pub mod ipset;
pub mod ipvs;
pub mod link;
pub mod lockdown;
pub mod loopback;
pub mod meter;
pub mod netlink;
mod objects;
mod rules;
mod services;
pub mod sets;
mod settings;
mod sync_daemons;
pub mod sysctl;
mod tunnels;
mod verdict;
pub mod vips;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::faults::{self, Injected, Point};
use weir_proto::model::{BackendKey, Capability, Family, Frontend, ItemKey};

use self::capabilities::Probed;
use self::flows::Flows;
use self::lockdown::Lockdowns;
use self::loopback::{Loopback, Wanted};
use self::meter::LinuxMeter;
use self::netlink::Counts;
use self::services::Services;
use self::settings::Settings;
use self::sync_daemons::SyncDaemons;
use self::vips::Vips;
use super::{FailedContainers, Kernel, KernelError, Meter, StepError, Verdict};
use crate::plan::{Connections, Guard, Key, Problem, Scope, Step, Table, Visit, Visits};

/// The kernel of the network namespace that it was opened in.
pub struct Linux {
    settings: Settings,
    vips: Vips,
    loopback: Loopback,
    lockdowns: Lockdowns,
    services: Services,
    sync_daemons: SyncDaemons,
    flows: Flows,
}

/// The part of the kernel that holds an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Settings,
    Link,
    Sets,
    Rules,
    Entries,
    Lockdowns,
    Guards,
    Services,
    Backends,
    Vips,
    SyncDaemons,
}

impl Linux {
    /// Opens this thread's network namespace, and says what its kernel can do. What it lacks shows again when it is
    /// needed. None of the addresses in `needed`, which others have, is ever bound here.
    pub async fn open(needed: Vec<IpAddr>) -> (Self, Vec<Capability>) {
        Self::open_with(needed, Wanted::Auto).await
    }

    /// Opens it like [`Self::open`] does, with the loopback engine that was asked for.
    pub async fn open_with(needed: Vec<IpAddr>, wanted: Wanted) -> (Self, Vec<Capability>) {
        let Probed {
            capabilities,
            loopback,
            lockdowns,
        } = capabilities::probe(wanted).await;
        let mut kernel = Self {
            settings: Settings::default(),
            vips: Vips::new(needed),
            loopback,
            lockdowns,
            services: Services::default(),
            sync_daemons: SyncDaemons::default(),
            flows: Flows::default(),
        };
        kernel.vips.listen().await;
        (kernel, capabilities)
    }

    /// Gives what was said to IPVS so far, for tests and benches that count.
    pub fn ipvs_counts(&self) -> Counts {
        self.services.counts()
    }

    /// Gives what was said about addresses and routes so far, for tests and benches that count.
    pub fn vip_counts(&self) -> Counts {
        self.vips.counts()
    }

    /// Gives what was said of loopback sets so far to ipset, and to nf_tables, for tests and benches that count.
    pub fn loopback_counts(&self) -> [Counts; 2] {
        self.loopback.counts()
    }

    /// Gives what was said to conntrack so far in order to see flows, and in order to delete them, for tests that count.
    pub fn flow_counts(&self) -> [Counts; 2] {
        self.flows.counts()
    }

    /// Gives the addresses this node can be reached at: those of all links but loopback and our own.
    pub async fn node_addresses(&mut self) -> Result<Vec<IpAddr>, KernelError> {
        self.vips.node_addresses().await
    }
}

impl Kernel for Linux {
    async fn read(&mut self, scope: &Scope) -> Result<Table, KernelError> {
        faults::reach(Point::ReadBefore).await.map_err(lost)?;
        match self.read_once(scope).await {
            Ok(table) => Ok(table),
            // a table that changed while it was read, an answer lost, a module loaded anew: a second time it counts
            Err(_) => self.read_once(scope).await,
        }
    }

    async fn apply(&mut self, steps: &[Step]) -> Vec<Verdict> {
        let mut failed = FailedContainers::default();
        let mut verdicts = Vec::with_capacity(steps.len());
        let mut cut = faults::reach(Point::ApplyBefore).await.is_err();
        let unlocked = self.unlocked(steps).await;
        // steps of one part that follow each other go to the kernel together; a container and what lives in it are
        // never of one part, so what it takes to check a step is known before its run
        for run in steps.chunk_by(|one, next| part(one.key()) == part(next.key())) {
            let begun = verdicts.len();
            cut |= begun > 0 && faults::reach(Point::ApplyMiddle).await.is_err();
            if cut {
                verdicts.resize_with(steps.len(), unanswered);
                break;
            }
            if failed.is_empty() && unlocked.is_empty() {
                self.take(run, &mut verdicts).await;
            } else {
                let blocked = run.iter().map(|step| match unlocked.get(&step.key()) {
                    Some(problem) => Err(problem.clone().into()),
                    None => failed.check(step),
                });
                self.take_free(run, blocked.collect(), &mut verdicts).await;
            }
            verdicts.resize_with(begun + run.len(), unanswered);
            for (step, verdict) in run.iter().zip(&verdicts[begun..]) {
                failed.note(step, verdict);
            }
        }
        if faults::reach(Point::ApplyAfter).await.is_err() {
            verdicts.fill_with(unanswered);
        }
        verdicts
    }

    async fn refusals(&mut self, steps: &[Step]) -> Result<BTreeMap<Key, Problem>, KernelError> {
        let mut refused = self.vips.refusals(steps).await?;
        for step in steps {
            let vip = locks(step).and_then(|vip| refused.get(&vip));
            if let Some(problem) = vip.cloned() {
                refused.insert(step.key(), problem);
            }
        }
        Ok(refused)
    }

    async fn connections(
        &mut self,
        of: &BTreeSet<Frontend>,
    ) -> Result<BTreeMap<BackendKey, Connections>, KernelError> {
        match self.services.connections(of).await {
            Ok(connections) => Ok(connections),
            Err(_) => self.services.connections(of).await,
        }
    }

    async fn forget_flows(&mut self, of: &BTreeSet<BackendKey>) -> Result<u64, KernelError> {
        self.flows.forget(of).await
    }

    async fn visits(&mut self, of: &Visit) -> Result<Visits, KernelError> {
        flows::visits(of).await
    }

    fn meter(&self) -> impl Meter + use<> {
        LinuxMeter::default()
    }

    async fn disturbed(&mut self) -> Scope {
        self.vips.disturbed().await
    }

    fn rejected(&self) -> BTreeMap<Family, u64> {
        self.lockdowns.rejected()
    }
}

impl Linux {
    async fn read_once(&mut self, scope: &Scope) -> Result<Table, KernelError> {
        let mut table = Table::new();
        self.settings.read(scope, &mut table).await?;
        self.vips.read(scope, &mut table).await?;
        self.loopback.read(scope, &mut table).await?;
        self.lockdowns.read(scope, &mut table).await?;
        self.services.read(scope, &mut table).await?;
        self.sync_daemons.read(scope, &mut table).await?;
        faults::reach(Point::ReadAfter).await.map_err(lost)?;
        Ok(table)
    }

    /// Gives the locks that are to be put on VIPs of these steps which cannot be bound, and why: the address is somebody
    /// else's, and so is what listens there.
    async fn unlocked(&mut self, steps: &[Step]) -> BTreeMap<Key, Problem> {
        if !steps.iter().any(|step| locks(step).is_some()) {
            return BTreeMap::new();
        }
        // what cannot be seen is told by the steps themselves
        let mut refused = self.refusals(steps).await.unwrap_or_default();
        refused.retain(|key, _| matches!(key, Key::Guard(_)));
        refused
    }

    /// Takes those steps of one part that are not blocked.
    async fn take_free(
        &mut self,
        run: &[Step],
        blocked: Vec<Verdict>,
        verdicts: &mut Vec<Verdict>,
    ) {
        let steps = run.iter().zip(&blocked);
        let free: Vec<&Step> = steps
            .filter_map(|(step, verdict)| verdict.is_ok().then_some(step))
            .collect();
        let mut taken = Vec::with_capacity(free.len());
        self.take(&free, &mut taken).await;
        let mut taken = taken.into_iter();
        verdicts.extend(
            blocked
                .into_iter()
                .map(|verdict| verdict.and_then(|()| taken.next().unwrap_or_else(unanswered))),
        );
    }

    /// Takes steps of one part and puts their verdicts behind `verdicts`.
    async fn take<S: Borrow<Step> + Sync>(&mut self, steps: &[S], verdicts: &mut Vec<Verdict>) {
        let Some(first) = steps.first() else { return };
        let all = || steps.iter().map(Borrow::borrow).collect::<Vec<&Step>>();
        verdicts.extend(match part(first.borrow().key()) {
            // the only parts with so many steps that a list of them more would show
            Part::Services | Part::Backends => return self.services.apply(steps, verdicts).await,
            Part::Settings => self.settings.apply(&all()).await,
            Part::SyncDaemons => self.sync_daemons.apply(&all()).await,
            Part::Link => self.vips.apply_link(&all()).await,
            Part::Vips => self.vips.apply(&all()).await,
            Part::Sets => self.loopback.apply_sets(&all()).await,
            Part::Rules => self.loopback.apply_rules(&all()).await,
            Part::Lockdowns => self.lockdowns.apply(&all()).await,
            Part::Guards => self.lockdowns.apply_guards(&all()).await,
            Part::Entries => self.loopback.apply_entries(&all()).await,
        });
    }
}

/// Gives the VIP that a step locks.
fn locks(step: &Step) -> Option<Key> {
    match step {
        Step::Add {
            key: Key::Guard(Guard::Vip(address)),
            ..
        } => Some(Key::Item(ItemKey::Vip(*address))),
        _ => None,
    }
}

/// What a step has that came to no verdict; there is none, unless a part forgets one.
fn unanswered() -> Verdict {
    Err(StepError::Unknown("the kernel gave no verdict".to_owned()))
}

/// What the kernel said, and nobody heard.
fn lost(fault: Injected) -> KernelError {
    verdict::unreadable("its answer", fault)
}

fn part(key: Key) -> Part {
    match key {
        Key::Setting(_) => Part::Settings,
        Key::Link => Part::Link,
        Key::LoopbackSet(_) => Part::Sets,
        Key::LoopbackRule(_) => Part::Rules,
        Key::Lockdown(_) => Part::Lockdowns,
        Key::Guard(_) => Part::Guards,
        Key::Item(ItemKey::LoopbackEntry(_)) => Part::Entries,
        Key::Item(ItemKey::VirtualService(_)) => Part::Services,
        Key::Item(ItemKey::Backend(_)) => Part::Backends,
        Key::Item(ItemKey::Vip(_) | ItemKey::SilentVip(_)) => Part::Vips,
        Key::Item(ItemKey::SyncDaemon(_)) => Part::SyncDaemons,
        // what the plan takes for settings, or for nothing in the kernel
        Key::Item(
            ItemKey::StrictArp
            | ItemKey::ConnectionTimeouts
            | ItemKey::TunnelEnd(_)
            | ItemKey::NodeDrain
            | ItemKey::Unread(_),
        ) => Part::Settings,
    }
}
