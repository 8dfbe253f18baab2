//! An agent that starts again where nothing changed: opens its journal, finds out what the kernel can do, and reads it all.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc;
use weir_agent::journal::Journal;
use weir_agent::kernel::linux::Linux;
use weir_agent::plan::Change;
use weir_agent::reconciler::{Accepted, Reconciler, Status};
use weir_integration::netns::Netns;
use weir_integration::program;
use weir_proto::model::{
    Generation, Item, NodeBackend, ServiceName, Vip, VipBinding, VirtualService,
};

use crate::row::{Row, Rows};
use crate::table::{self, Size};
use crate::{RUNS, fresh};

/// As much as User-Mode Linux has room for: each page of a guest's process is a mapping of the host's, of which there are
/// 65,530 (`vm.max_map_count`).
const HELD: Size = Size {
    services: 2_000,
    backends: 10,
};
/// Longer than any run: what is measured is the first look.
const AUDIT: Duration = Duration::from_secs(3_600);
const BOOT: &str = "the bench's";

/// From the start of an agent until it is ready, beside one listing of the same table.
pub(crate) fn restart(rows: &mut Rows) -> Result<()> {
    let netns = fresh()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("journal");
    let change = Change {
        generation: Generation(1),
        upserted: items()?,
        removed: Vec::new(),
    };
    let loaded = run(&netns, &path, Some(change))?.1;
    ensure!(loaded.report.count == 0, "{:?}", loaded.report.failures);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for turn in 0..=RUNS {
        let (took, status) = run(&netns, &path, None)?;
        let counts = status.counts;
        ensure!(
            counts.steps == 0 && counts.refused_steps == 0,
            "{counts:?}, where nothing had changed"
        );
        let begun = Instant::now();
        program::run(netns.command("ipvsadm").arg("-Sn"), "").context("the restart's peer")?;
        if turn > 0 {
            ours.push(took);
            theirs.push(begun.elapsed());
        }
    }
    let case = HELD.to_string();
    rows.add(Row::new("restart", (&case, "ipvsadm -Sn"), &ours, &theirs));
    Ok(())
}

/// Runs an agent's journal and reconciler until they have settled; accepts a change first, where there is one.
fn run(netns: &Netns, journal: &Path, change: Option<Change>) -> Result<(Duration, Status)> {
    netns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let begun = Instant::now();
            let (kernel, _) = Linux::open(Vec::new()).await;
            let (journal, mut remembered) = Journal::open(journal, BOOT)?;
            if let Some(change) = change {
                journal.accept(&change.clone().into(), &[]).await?;
                remembered.keeping.accepted.apply(change);
            }
            let (reconciler, mut status) = Reconciler::new(kernel, journal, remembered);
            let (changes, queue) = mpsc::channel::<Accepted>(1);
            let task = tokio::spawn(reconciler.run(queue, AUDIT));
            let settled = status.wait_for(|status| status.settled).await?.clone();
            let took = begun.elapsed();
            drop(changes);
            task.await?;
            Ok((took, settled))
        })
    })?
}

fn items() -> Result<Vec<Item>> {
    let name = ServiceName::new("bench")?;
    let mut items = Vec::new();
    for service in 0..HELD.services {
        let frontend = table::frontend(service);
        let address = frontend.vip().context("a VIP")?;
        items.push(Item::Vip(Vip {
            binding: VipBinding::Route,
            lockdown: false,
            ..Vip::new(address)
        }));
        items.push(Item::VirtualService(VirtualService::new(
            frontend,
            name.clone(),
        )));
        for backend in 0..HELD.backends {
            let key = table::backend_key(service, backend);
            let weir_agent::plan::Key::Item(weir_proto::model::ItemKey::Backend(key)) = key else {
                anyhow::bail!("{key} is no backend");
            };
            items.push(Item::Backend(NodeBackend::new(key)));
        }
    }
    Ok(items)
}
