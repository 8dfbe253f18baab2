//! The Linux kernel: codecs for what it speaks, thin sockets that speak it, and what weir's plan means in it.
//!
//! Each protocol has a codec that is pure (bytes in, values out) and knows nothing of weir's model, so
//! that any program could use it, and a socket file that only sends what the codec wrote and reads what
//! came back. `services`, `sets`, `rules`, `vips` and `settings` turn the plan's values into requests. Nothing here
//! decides anything.

pub mod capabilities;
pub mod ipset;
pub mod ipvs;
pub mod link;
pub mod loopback;
pub mod netlink;
mod objects;
mod rules;
mod services;
pub mod sets;
mod settings;
mod sync_daemons;
pub mod sysctl;
mod verdict;
pub mod vips;

use std::net::IpAddr;

use weir_proto::model::{Capability, ItemKey};

use self::capabilities::Probed;
use self::loopback::{Loopback, Wanted};
use self::netlink::Counts;
use self::services::Services;
use self::settings::Settings;
use self::sync_daemons::SyncDaemons;
use self::vips::Vips;
use super::{FailedContainers, Kernel, KernelError, StepError, Verdict};
use crate::plan::{Key, Scope, Step, Table};

/// The kernel of the network namespace that it was opened in.
pub struct Linux {
    settings: Settings,
    vips: Vips,
    loopback: Loopback,
    services: Services,
    sync_daemons: SyncDaemons,
}

/// Steps that are worked on together: about as many as the 64 KiB of a send take, so that the memory for one lot
/// serves the next.
const AT_ONCE: usize = 512;

/// The part of the kernel that holds an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Settings,
    Link,
    Sets,
    Rules,
    Entries,
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
        } = capabilities::probe(wanted).await;
        let kernel = Self {
            settings: Settings::default(),
            vips: Vips::new(needed),
            loopback,
            services: Services::default(),
            sync_daemons: SyncDaemons::default(),
        };
        (kernel, capabilities)
    }

    /// Gives what was said to IPVS so far, for tests and benches that count.
    pub fn ipvs_counts(&self) -> Counts {
        self.services.counts()
    }

    /// Gives what was said of loopback sets so far to ipset, and to nf_tables, for tests and benches that count.
    pub fn loopback_counts(&self) -> [Counts; 2] {
        self.loopback.counts()
    }

    /// Gives the addresses this node can be reached at: those of all links but loopback and our own.
    pub async fn node_addresses(&mut self) -> Result<Vec<IpAddr>, KernelError> {
        self.vips.node_addresses().await
    }
}

impl Kernel for Linux {
    async fn read(&mut self, scope: &Scope) -> Result<Table, KernelError> {
        match self.read_once(scope).await {
            Ok(table) => Ok(table),
            // a table that changed while it was read, an answer lost, a module loaded anew: a second time it counts
            Err(_) => self.read_once(scope).await,
        }
    }

    async fn apply(&mut self, steps: &[Step]) -> Vec<Verdict> {
        let mut failed = FailedContainers::default();
        let mut verdicts = Vec::with_capacity(steps.len());
        // steps of one part that follow each other go to the kernel together
        let runs = steps.chunk_by(|one, next| part(one.key()) == part(next.key()));
        for run in runs.flat_map(|run| run.chunks(at_once(run))) {
            let blocked: Vec<Verdict> = run.iter().map(|step| failed.check(step)).collect();
            let free: Vec<&Step> = run
                .iter()
                .zip(&blocked)
                .filter_map(|(step, verdict)| verdict.is_ok().then_some(step))
                .collect();
            let mut taken = self.take(&free).await.into_iter();
            for (step, verdict) in run.iter().zip(blocked) {
                let unanswered =
                    || Err(StepError::Unknown("the kernel gave no verdict".to_owned()));
                let verdict = verdict.and_then(|()| taken.next().unwrap_or_else(unanswered));
                failed.note(step, &verdict);
                verdicts.push(verdict);
            }
        }
        verdicts
    }
}

impl Linux {
    async fn read_once(&mut self, scope: &Scope) -> Result<Table, KernelError> {
        let mut table = Table::new();
        self.settings.read(scope, &mut table).await?;
        self.vips.read(scope, &mut table).await?;
        self.loopback.read(scope, &mut table).await?;
        self.services.read(scope, &mut table).await?;
        self.sync_daemons.read(scope, &mut table).await?;
        Ok(table)
    }

    async fn take(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let Some(first) = steps.first() else {
            return Vec::new();
        };
        match part(first.key()) {
            Part::Settings => self.settings.apply(steps).await,
            Part::SyncDaemons => self.sync_daemons.apply(steps).await,
            Part::Link => self.vips.apply_link(steps).await,
            Part::Vips => self.vips.apply(steps).await,
            Part::Sets => self.loopback.apply_sets(steps).await,
            Part::Rules => self.loopback.apply_rules(steps).await,
            Part::Entries => self.loopback.apply_entries(steps).await,
            Part::Services | Part::Backends => self.services.apply(steps).await,
        }
    }
}

/// Gives how many of these steps, which are of one part, are worked on together: all of those on loopback entries, which
/// change a set at once, and a send full of others.
fn at_once(steps: &[Step]) -> usize {
    match steps.first().map(|step| part(step.key())) {
        Some(Part::Entries) => steps.len(),
        _ => AT_ONCE,
    }
}

fn part(key: Key) -> Part {
    match key {
        Key::Setting(_) => Part::Settings,
        Key::Link => Part::Link,
        Key::LoopbackSet(_) => Part::Sets,
        Key::LoopbackRule(_) => Part::Rules,
        Key::Item(ItemKey::LoopbackEntry(_)) => Part::Entries,
        Key::Item(ItemKey::VirtualService(_)) => Part::Services,
        Key::Item(ItemKey::Backend(_)) => Part::Backends,
        Key::Item(ItemKey::Vip(_) | ItemKey::SilentVip(_)) => Part::Vips,
        Key::Item(ItemKey::SyncDaemon(_)) => Part::SyncDaemons,
        // what the plan takes for settings
        Key::Item(ItemKey::StrictArp | ItemKey::ConnectionTimeouts | ItemKey::TunnelEnd(_)) => {
            Part::Settings
        }
    }
}
