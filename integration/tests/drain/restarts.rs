//! A drain outlives the agent, however that ends, and whether or not there is a controller.

use anyhow::{Context, Result, ensure};
use weir_integration::eventually::eventually;

use crate::site::{SOON, Site};
use crate::talk::{Talk, on_a_talk};

/// An end of an agent, and the start of the next.
type Ending = fn(&mut Site) -> Result<()>;

fn killed(site: &mut Site) -> Result<()> {
    site.weir.kill_agent("node-a")?;
    site.weir.start_agent(&site.topology, "node-a")
}

fn asked_to_end(site: &mut Site) -> Result<()> {
    let status = site.weir.terminate_agent("node-a")?;
    ensure!(status.success(), "the agent ended with {status}");
    site.weir.start_agent(&site.topology, "node-a")
}

fn killed_without_its_controller(site: &mut Site) -> Result<()> {
    site.weir.kill_controller()?;
    site.weir.kill_agent("node-a")?;
    site.weir.start_agent_alone(&site.topology, "node-a")
}

/// Ends the agent, and fails unless the next one finds all as it was.
fn outlives(site: &mut Site, talk: &mut Talk, ending: Ending) -> Result<()> {
    ending(site)?;
    talk.goes_on_at_zero(site)?;
    eventually("the agent has looked at everything", SOON, || {
        site.weir.agent_is_ready(&site.topology, "node-a")
    })?;
    talk.goes_on_at_zero(site)?;
    talk.others_go_elsewhere(site)
}

#[test]
fn a_drain_outlives_agents_that_are_killed_and_asked_to_end_and_ends_with_its_connection()
-> Result<()> {
    on_a_talk("", |site, mut talk| {
        site.apply(&talk.alone())?;
        talk.goes_on_at_zero(site)?;
        let endings: [(&str, Ending); 3] = [
            ("killed", killed),
            ("asked to end", asked_to_end),
            (
                "killed without its controller",
                killed_without_its_controller,
            ),
        ];
        for (what, ending) in endings {
            outlives(site, &mut talk, ending).context(what)?;
        }
        talk.ends(site)
    })
}
