//! A backend that is taken out of its file, and one that is put back.

use anyhow::{Result, ensure};
use weir_integration::load::Load;

use crate::farm::backend;
use crate::site::Site;
use crate::talk::{AT, Talk, leaves, nothing_drains, on_a_talk, weighs};

/// Requests before, between and after.
const SOME: usize = 15;

#[test]
fn a_backend_taken_out_of_the_file_keeps_its_connection_and_goes_with_it() -> Result<()> {
    on_a_talk("", |site, mut talk| {
        let before = site.kernel()?;
        let load = Load::greet(&site.topology.client, AT.parse()?)?;
        load.more(SOME)?;
        site.apply(&talk.alone())?;
        load.more(SOME)?;
        talk.goes_on_at_zero(site)?;
        let outcome = load.stop()?;
        ensure!(outcome.failed.is_empty(), "{outcome}: {:?}", outcome.failed);
        talk.others_go_elsewhere(site)?;
        let drains = site.weirctl("get drains")?;
        let told = format!("{}:9080", backend(talk.with));
        ensure!(
            drains.contains(&told) && drains.contains("draining"),
            "{drains}"
        );
        talk.goes_on_at_zero(site)?;

        // as the client closes it, without farewell
        let Talk { held, with, .. } = talk;
        held.reset()?;
        leaves(site, with)?;
        let after = site.kernel()?;
        let gone = format!("-a -t {AT} -r {}:9080 -m -w 1", backend(with));
        let lost: Vec<String> = after.lost_since(&before);
        let lost: Vec<&str> = lost.iter().map(|line| line.trim_end()).collect();
        ensure!(lost == [gone.as_str()], "{lost:#?}");
        let new = after.new_since(&before);
        ensure!(new.is_empty(), "{new:#?}");
        nothing_drains(site)
    })
}

#[test]
fn a_backend_that_is_back_before_it_has_gone_is_as_it_was_and_so_is_its_connection() -> Result<()> {
    on_a_talk("", |site, mut talk| {
        let before = site.kernel()?;
        site.apply(&talk.alone())?;
        talk.goes_on_at_zero(site)?;
        site.apply(&talk.both)?;
        weighs(site, talk.with, Some(1))?;
        talk.held.talks("still me")?;
        site.kernel()?.is_like(&before)?;
        nothing_drains(site)?;
        let repairs = repairs(site)?;
        ensure!(repairs == 0, "{repairs} repairs of our own doing");
        Ok(())
    })
}

fn repairs(site: &Site) -> Result<u64> {
    site.counts("weir_agent_repairs_total")
}
