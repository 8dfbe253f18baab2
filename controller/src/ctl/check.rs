//! `weirctl check`.
//!
//! `judge` says of what the controller tells what is fine, what is not, and what to do; this room asks and prints.

mod judge;

use anyhow::Result;
use weir_proto::checkup::{self, Finding, Sum};
use weir_proto::wire;

use super::args::{CheckArgs, CheckForm, To};
use super::connect::Controller;
use super::now;
use super::outcome::{Trouble, print, style};
use judge::{Fleet, judge, unreached};

/// Looks at the fleet, and says what is to be done.
pub(super) async fn run(to: &To, args: &CheckArgs) -> Result<()> {
    let findings = match look(to).await {
        Ok(findings) => findings,
        // the command line is wrong: nothing was looked at
        Err(error) if matches!(error.downcast_ref(), Some(Trouble::Usage(_))) => return Err(error),
        Err(error) => unreached(&format!("{error:#}")),
    };
    print(&match args.output {
        CheckForm::Text => checkup::page(&findings, style().is_coloured()),
        CheckForm::Json => checkup::json(&findings)?,
    })?;
    match Sum::of(&findings).failed {
        0 => Ok(()),
        _ => Err(Trouble::Shown.into()),
    }
}

async fn look(to: &To) -> Result<Vec<Finding>> {
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    let rollout = client.rollout_status(wire::RolloutStatusRequest { watch: false });
    let (mut rollout, skew_ms) = controller.timed(rollout).await?;
    let rollout = controller.next(&mut rollout).await?.unwrap_or_default();
    let nodes = controller.node_states(Vec::new()).await?;
    let drains = controller.drains().await?;
    let services = controller.list(wire::Kind::Service).await?;
    let sets = controller.list(wire::Kind::BackendSet).await?;
    let machines = controller.list(wire::Kind::Node).await?;
    Ok(judge(&Fleet {
        url: &to.controller,
        now: now(),
        skew_ms,
        own_expires_unix_ms: controller.own_expires_unix_ms,
        certificate_expires_unix_ms: controller.certificate_expires_unix_ms,
        revision: rollout.revision,
        rollout: rollout.rollout.as_ref(),
        nodes: &nodes,
        drains: &drains,
        services: &services,
        sets: &sets,
        machines: &machines,
    }))
}
