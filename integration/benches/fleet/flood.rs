//! A thousand changes a second, from several operators at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use weir_proto::wire;

use crate::changes::of;
use crate::controller::Operator;
use crate::fleet::Fleet;
use crate::row::{Row, Rows};

const OPERATORS: usize = 10;
const SECONDS: usize = 10;
const A_SECOND: usize = 1_000;
/// Calls of one operator that may be under way: fewer than it has backends, so that no two are for the same one.
const UNDER_WAY: usize = 64;
/// Asking may take longer than the ten seconds where the controller is too slow; the row then says so.
const TAKEN_WITHIN: f64 = 11.0;
/// What has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// Changes that are on schedule, each by a call of its own.
pub(crate) fn run(fleet: &mut Fleet, rows: &mut Rows) -> Result<()> {
    let rounds = SECONDS * A_SECOND / fleet.size.all();
    let marks: Vec<u32> = (0..rounds).map(|_| fleet.next_mark().1).collect();
    let last = marks.last().copied().context("no round of changes")?;
    let agents = fleet.agents.count();
    // its last weight of every backend, whatever comes together before
    let every = vec![fleet.size.all(); agents];
    fleet.agents.board.expect(last.into(), every);
    let mut schedules = vec![Vec::new(); OPERATORS];
    for (round, mark) in marks.into_iter().enumerate() {
        for number in 0..fleet.size.all() {
            let resource = fleet.size.set(fleet.size.place(number), mark);
            schedules[(round * fleet.size.all() + number) % OPERATORS].push(resource);
        }
    }
    let updates = "weir_controller_updates_sent_total";
    let before = fleet.controller.counts(updates)?.unwrap_or_default();
    let begun = Instant::now();
    let done = fleet.runtime.block_on(async {
        let mut operators = JoinSet::new();
        for schedule in schedules {
            let operator = fleet.controller.operator().await?;
            operators.spawn(on_schedule(operator, schedule));
        }
        let mut answered = begun;
        while let Some(last) = operators.join_next().await {
            answered = answered.max(last??);
        }
        let seen = fleet.agents.board.all(PATIENCE).await?;
        Ok::<_, anyhow::Error>((answered, seen))
    });
    let (answered, seen) = done?;
    let held = seen.into_iter().flatten().max().unwrap_or(answered);
    let sent = fleet.controller.counts(updates)?.unwrap_or_default() - before;
    let changes = SECONDS * A_SECOND;
    rows.note(&format!(
        "flood: {} updates to each node, for {changes} changes",
        (sent / agents as f64).round()
    ));
    let case = "10,000 at 1,000/s, all taken within";
    let of_taking = of("flood", case, "s", changes);
    let took = (answered - begun).as_secs_f64();
    rows.add(Row::limit(of_taking, took, TAKEN_WITHIN, None));
    let of_holding = of("flood", "converged after the last", "s", changes);
    let after = held.saturating_duration_since(answered).as_secs_f64();
    rows.add(Row::limit(of_holding, after, 2.0, Some(1.0)));
    Ok(())
}

/// Makes changes, a call for each, and gives when the last was answered.
async fn on_schedule(operator: Operator, schedule: Vec<wire::Resource>) -> Result<Instant> {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let pace = Duration::from_secs(1) * u32::try_from(OPERATORS)? / u32::try_from(A_SECOND)?;
    let mut due = interval(pace);
    // behind its schedule it hurries
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    for resource in schedule {
        due.tick().await;
        let room = room.clone().acquire_owned();
        let room = timeout(PATIENCE, room).await.context("no answer")??;
        let mut operator = operator.clone();
        calls.spawn(async move {
            let answered = operator.apply(vec![resource]).await;
            drop(room);
            answered.map(|(answered, _)| answered.accepted)
        });
    }
    let mut last = Instant::now();
    while let Some(answered) = calls.join_next().await {
        last = last.max(answered??);
    }
    Ok(last)
}
