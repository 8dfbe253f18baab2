//! What becomes of a connection that outlasts the time its backend has.

use anyhow::{Context, Result, ensure};
use weir_integration::client::Held;
use weir_integration::eventually::eventually;

use crate::farm::{hold, number};
use crate::site::{SOON, Site};
use crate::talk::{AT, flows, leaves, on_a_talk};

/// Somebody who talks to the other backend.
fn beside(site: &Site, other: u8) -> Result<Held> {
    let mut held = hold(site, AT, 2)?;
    held.retain(|held| number(&held.answer.pod).is_ok_and(|number| number == other));
    held.pop().context("the other backend takes none")
}

#[test]
fn a_connection_that_is_to_be_reset_is_cut_at_the_deadline_and_the_others_go_on() -> Result<()> {
    let drain = "drain: {deadlineSeconds: 2, onDeadline: RESET}\n";
    on_a_talk(drain, |site, mut talk| {
        let mut beside = beside(site, talk.other)?;
        let known = flows(site, "tcp", talk.with)?;
        ensure!(!known.is_empty(), "conntrack does not know the talk");
        site.apply(&talk.alone())?;
        leaves(site, talk.with)?;
        eventually("conntrack forgets", SOON, || {
            let known = flows(site, "tcp", talk.with)?;
            ensure!(known.is_empty(), "{known}");
            Ok(())
        })?;
        eventually("the talk is cut", SOON, || Ok(talk.held.is_cut()?))?;
        beside.talks("what was that?")?;
        talk.others_go_elsewhere(site)
    })
}

#[test]
fn a_connection_that_is_to_be_kept_goes_on_after_the_deadline_until_it_ends() -> Result<()> {
    on_a_talk("drain: {deadlineSeconds: 1}\n", |site, mut talk| {
        site.apply(&talk.alone())?;
        eventually("the deadline passes", SOON, || {
            let drains = site.weirctl("get drains")?;
            ensure!(drains.contains("past deadline (keep)"), "{drains}");
            Ok(())
        })?;
        talk.goes_on_at_zero(site)?;
        talk.others_go_elsewhere(site)?;
        talk.ends(site)
    })
}
