//! A restart with nothing changed.

use anyhow::{Result, ensure};
use weir_integration::eventually::eventually;

use crate::rig::{Rig, SOON};

#[test]
fn an_agent_started_again_with_nothing_changed_takes_no_step() -> Result<()> {
    let mut rig = Rig::start("weir-agent")?;
    restart(&mut rig).inspect_err(|_| rig.show())?;
    rig.finish()
}

fn restart(rig: &mut Rig) -> Result<()> {
    let before = rig.kernel()?;
    rig.kill()?;
    rig.start_agent()?;
    rig.settles()?;
    eventually("the agent has looked at everything", SOON, || {
        rig.is_ready()?;
        let audits = rig.counts("weir_agent_audits_total")?;
        ensure!(audits == 1, "{audits} audits");
        Ok(())
    })?;
    for name in [
        "weir_agent_steps_total",
        "weir_agent_refused_steps_total",
        "weir_agent_failed_passes_total",
    ] {
        let counted = rig.counts(name)?;
        ensure!(counted == 0, "{name} is {counted}");
    }
    let after = rig.kernel()?;
    ensure!(
        after == before,
        "lost: {:#?}\nnew: {:#?}",
        after.lost_since(&before),
        after.new_since(&before)
    );
    Ok(())
}
