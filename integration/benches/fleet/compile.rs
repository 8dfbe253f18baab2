//! One touched service in a larger and larger cluster.

use anyhow::{Result, ensure};
use tokio::runtime::Builder;

use crate::changes::of;
use crate::cluster::{self, FIRST_MARK, Size};
use crate::controller::Controller;
use crate::process;
use crate::row::{Row, Rows, exponent, percentile};
use crate::stub;

const SERVICES: [usize; 3] = [100, 10_000, 30_000];
const CHANGES: usize = 101;
const WARM_UP: usize = 10;
const COMPILATIONS: &str = "weir_controller_service_compilations_total";

/// What the controller takes for a change of one backend, from the call to the answer: its time on a core, which other
/// programs do not add to.
pub(crate) fn run(rows: &mut Rows) -> Result<()> {
    let controller = Controller::start()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut figures = Vec::new();
    runtime.block_on(async {
        let mut operator = controller.operator().await?;
        stub::come(&controller, cluster::node(0)).await?;
        let mut loaded = 0;
        let mut mark = FIRST_MARK;
        for services in SERVICES {
            let size = Size {
                services,
                backends: 3,
                nodes: 1,
            };
            for batch in size.batches_from(loaded) {
                operator.apply(batch).await?;
            }
            loaded = services;
            operator.all_hold(1).await?;
            let mut times = Vec::new();
            let before = controller.counts(COMPILATIONS)?;
            for number in 0..WARM_UP + CHANGES {
                mark += 1;
                // all over the cluster, and not its first services only
                let place = size.place(number * 7_919);
                let before = process::cpu(controller.process())?;
                operator.apply(vec![size.set(place, mark)]).await?;
                let taken = process::cpu(controller.process())? - before;
                if number >= WARM_UP {
                    times.push(taken);
                }
                // what comes after the answer is not the next one's
                operator.all_hold(1).await?;
            }
            let compiled = controller.counts(COMPILATIONS)?.zip(before);
            let compiled = compiled.map(|(after, before)| after - before);
            ensure!(
                compiled == Some((WARM_UP + CHANGES) as f64),
                "{compiled:?} services were compiled for {} changes",
                WARM_UP + CHANGES
            );
            let median = percentile(&times, 50).as_secs_f64() * 1e6;
            rows.note(&format!("compile: {median:.0} us of {services} services"));
            figures.push((services, median));
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let of = of(
        "compile",
        "growth, 100 to 30000 services",
        "exponent",
        CHANGES,
    );
    rows.add(Row::limit(of, exponent(&figures), 0.1, None));
    Ok(())
}
