//! The kernel room at work: plan, encode, send, and every verdict waited for.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_agent::kernel::Kernel;
use weir_agent::kernel::linux::Linux;
use weir_agent::plan::{Ledger, LedgerChange, Scope, Step, Table, Unit, plan};
use weir_integration::netns::Netns;

use crate::table::{self, Size};

/// What changing one backend took.
pub(crate) struct Changes {
    pub(crate) times: Vec<Duration>,
    /// To IPVS, to change it.
    pub(crate) requests: usize,
    /// Of all services.
    pub(crate) full_dumps: u64,
}

/// Takes an empty kernel to a table, having seen that it is empty.
pub(crate) fn cold_load(netns: &Netns, wanted: &Table) -> Result<Duration> {
    inside(netns, async |kernel| {
        // as before every pass; and so that our sockets are open, as the floor's is
        kernel.read(&Scope::All).await?;
        let begun = Instant::now();
        let steps = plan(&Table::new(), wanted, &Ledger::default()).steps;
        all_taken(kernel, &steps).await?;
        Ok(begun.elapsed())
    })
}

/// Changes the weight of one backend again and again: reads its service, plans, applies. What else is measured takes its
/// turn after each.
pub(crate) fn one_change(
    netns: &Netns,
    size: Size,
    runs: usize,
    mut in_turn: impl FnMut(usize) -> Result<()> + Send,
) -> Result<Changes> {
    inside(netns, async |kernel| {
        let mut ledger = Ledger::default();
        let service = size.services / 2;
        let frontend = table::frontend(service);
        let scope = Scope::Units([Unit::Service(frontend)].into());
        let key = table::backend_key(service, 0);
        let made = key.container().into_iter().collect();
        ledger.apply(&LedgerChange {
            made,
            ..LedgerChange::default()
        });
        let mut changes = Changes {
            times: Vec::with_capacity(runs),
            requests: 0,
            full_dumps: 0,
        };
        for run in 0..runs {
            let before = kernel.ipvs_counts();
            let begun = Instant::now();
            let actual = kernel.read(&scope).await?;
            let mut wanted = actual.clone();
            wanted.insert(key, table::weighing(2 + u32::try_from(run)?));
            let steps = plan(&actual, &wanted, &ledger).steps;
            all_taken(kernel, &steps).await?;
            changes.times.push(begun.elapsed());
            changes.requests = steps.len();
            // one dump is that of the service's own backends
            changes.full_dumps = (kernel.ipvs_counts().dumps - before.dumps).saturating_sub(1);
            in_turn(run)?;
        }
        Ok(changes)
    })
}

/// Removes one backend of each of so many services, and brings them back.
pub(crate) fn away_and_back(netns: &Netns, services: usize) -> Result<Duration> {
    let numbers = 0..services;
    let full = table::wanted(Size {
        services,
        backends: 1,
    });
    let mut without = full.clone();
    without.retain(|key, _| key.container().is_none());
    let mut ledger = Ledger::default();
    ledger.apply(&LedgerChange {
        made: numbers
            .filter_map(|service| table::backend_key(service, 0).container())
            .collect(),
        ..LedgerChange::default()
    });
    inside(netns, async |kernel| {
        let one = Unit::Service(table::frontend(0));
        kernel.read(&Scope::Units([one].into())).await?;
        let begun = Instant::now();
        let away = plan(&full, &without, &ledger).steps;
        all_taken(kernel, &away).await?;
        let back = plan(&without, &full, &ledger).steps;
        all_taken(kernel, &back).await?;
        let took = begun.elapsed();
        ensure!(
            (away.len(), back.len()) == (services, services),
            "{} steps away, {} back",
            away.len(),
            back.len()
        );
        Ok(took)
    })
}

/// Reads everything and finds nothing to do.
pub(crate) fn audit(netns: &Netns, wanted: &Table) -> Result<Duration> {
    inside(netns, async |kernel| {
        let mut ledger = Ledger::default();
        ledger.apply(&LedgerChange {
            made: wanted
                .keys()
                .filter(|key| key.container().is_none())
                .copied()
                .collect(),
            ..LedgerChange::default()
        });
        let begun = Instant::now();
        let mut actual = kernel.read(&Scope::All).await?;
        actual.retain(|key, _| wanted.contains_key(key));
        let steps = plan(&actual, wanted, &ledger).steps;
        let took = begun.elapsed();
        ensure!(
            steps.is_empty(),
            "{} steps, where nothing had changed",
            steps.len()
        );
        Ok(took)
    })
}

async fn all_taken(kernel: &mut Linux, steps: &[Step]) -> Result<()> {
    let verdicts = kernel.apply(steps).await;
    for (step, verdict) in steps.iter().zip(verdicts) {
        verdict.with_context(|| format!("{step:?}"))?;
    }
    Ok(())
}

fn inside<T: Send>(
    netns: &Netns,
    act: impl AsyncFnOnce(&mut Linux) -> Result<T> + Send,
) -> Result<T> {
    netns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let (mut kernel, _) = Linux::open(Vec::new()).await;
            act(&mut kernel).await
        })
    })?
}
