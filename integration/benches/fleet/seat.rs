//! How long an operator waits for weirctl itself, and for it to show a large cluster.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Builder;
use weir_integration::program;

use crate::changes::of;
use crate::cluster::Size;
use crate::controller::{Controller, flags};
use crate::pki;
use crate::row::{Row, Rows, percentile};

const SIZE: Size = Size {
    services: 10_000,
    backends: 3,
    nodes: 1,
};
const STARTS: usize = 41;
const GETS: usize = 11;
/// Runs that no figure is of: the first ones bring the program and its libraries into memory.
const WARM_UP: usize = 3;
const LONGEST_START: f64 = 20.0;
const LONGEST_GET: f64 = 300.0;
/// Everything that is made of services.
const VIEWS: [&str; 4] = ["services", "frontends", "backends", "vips"];

/// Times weirctl from its start to its end.
pub(crate) fn run(rows: &mut Rows) -> Result<()> {
    let weirctl = program::ours("weirctl")?;
    let start = timed(STARTS, || {
        let mut command = Command::new(&weirctl);
        command.arg("version");
        command
    })?;
    let case = of("seat", "weirctl version, start to end", "ms", STARTS);
    rows.add(Row::limit(case, start, LONGEST_START, None));
    let theirs = timed(STARTS, || {
        let mut command = Command::new("ipvsadm");
        command.arg("--version");
        command
    });
    match theirs {
        Ok(theirs) => {
            let case = of("seat", "start to end", "ms", STARTS);
            rows.add(Row::beside(case, "ipvsadm --version", start, theirs));
        }
        Err(why) => rows.note(&format!("seat: not beside ipvsadm: {why:#}")),
    }
    let controller = Controller::start()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut operator = controller.operator().await?;
        for batch in SIZE.batches_from(0) {
            operator.apply(batch).await?;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let files = controller.pki.files(&pki::operator()?)?;
    for view in VIEWS {
        let taken = timed(GETS, || {
            let mut command = Command::new(&weirctl);
            command
                .args(["get", view, "--controller"])
                .arg(format!("https://{}", controller.address))
                .args(flags(&files));
            command
        })?;
        let case = format!("get {view} of 10,000 services");
        rows.add(Row::limit(
            of("seat", &case, "ms", GETS),
            taken,
            LONGEST_GET,
            None,
        ));
    }
    Ok(())
}

/// Gives the median of so many runs, in milliseconds; each must succeed.
fn timed(runs: usize, command: impl Fn() -> Command) -> Result<f64> {
    let mut times: Vec<Duration> = Vec::with_capacity(runs);
    for run in 0..WARM_UP + runs {
        let mut command = command();
        command.stdin(Stdio::null());
        let begun = Instant::now();
        let output = command
            .output()
            .with_context(|| format!("running {command:?}"))?;
        let taken = begun.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{command:?}: {}: {said}",
            output.status
        );
        if run >= WARM_UP {
            times.push(taken);
        }
    }
    Ok(percentile(&times, 50).as_secs_f64() * 1e3)
}
