//! What it costs to count: a look at every service, and at the backends of those through which anything passed.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_agent::kernel::Meter;
use weir_agent::kernel::linux::meter::LinuxMeter;
use weir_agent::plan::{Look, Numbers};
use weir_agent::sampler::EVERY;
use weir_integration::netns::Netns;

use crate::row::{Row, Rows};
use crate::table::{self, Size};
use crate::{RUNS, fresh, ours};

const COUNTED: Size = Size {
    services: 10_000,
    backends: 10,
};
/// Services through which something passes between two looks.
const BUSY: usize = 100;
/// Longer than a connection to this very machine takes to be refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at a table through which nothing passes, at one through some of which something does, and at one that is all new.
pub(crate) fn sampling(rows: &mut Rows) -> Result<()> {
    let netns = fresh()?;
    // what is sent to VIPs and backends stays here, where nobody listens
    netns.ip("route add local 10.0.0.0/8 dev lo")?;
    netns.ip("route add local 11.0.0.0/8 dev lo")?;
    ours::cold_load(&netns, &table::wanted(COUNTED))?;
    let (mut idle, mut busy, mut new) = (Vec::new(), Vec::new(), Vec::new());
    look_again_and_again(&netns, |took| {
        let [first, nothing, some] = took;
        new.push(first);
        idle.push(nothing);
        busy.push(some);
    })?;
    for (case, times) in [
        (format!("{COUNTED}, nothing passes"), idle),
        (format!("{COUNTED}, {BUSY} busy"), busy),
        (format!("{COUNTED}, all are new"), new),
    ] {
        if rows.asked(&case) {
            rows.add(Row::share("sampling", &case, &times, EVERY));
        }
    }
    Ok(())
}

/// Gives how long looks took: a first one, one after nothing had passed, one after something had.
fn look_again_and_again(netns: &Netns, mut each: impl FnMut([Duration; 3]) + Send) -> Result<()> {
    netns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            for _ in 0..RUNS {
                let mut meter = LinuxMeter::default();
                let mut numbers = Numbers::default();
                let first = look(&mut meter, &mut numbers, COUNTED.services).await?;
                let nothing = look(&mut meter, &mut numbers, 0).await?;
                for service in 0..BUSY {
                    let refused = TcpStream::connect_timeout(&table::vip(service), PATIENCE);
                    ensure!(refused.is_err(), "somebody listens");
                }
                let some = look(&mut meter, &mut numbers, BUSY).await?;
                each([first, nothing, some]);
            }
            Ok(())
        })
    })?
}

/// Takes a look as the sampler does; so many services must have been new in it, or a few more whose connections are followed.
async fn look(meter: &mut LinuxMeter, numbers: &mut Numbers, expected: usize) -> Result<Duration> {
    let begun = Instant::now();
    let counted = meter.counters().await?;
    let conntrack = meter.conntrack().await?;
    let found = counted.len();
    numbers.look(Look {
        counted: Some(counted),
        conntrack: Some(conntrack),
        took: Duration::ZERO,
    });
    let took = begun.elapsed();
    conntrack.context("no connection tracking")?;
    ensure!(
        (expected..=expected + BUSY).contains(&found),
        "{found} services, where {expected} were new"
    );
    Ok(took)
}
