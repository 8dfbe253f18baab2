//! Drains that the operator asks for: of a backend, and of a node.

use anyhow::{Result, ensure};
use weir_integration::eventually::eventually;

use crate::farm::{backend, held, hold, number};
use crate::site::{SOON, Site};
use crate::talk::{AT, NAME, leaves, nothing_drains, on_a_talk, weighs};

/// Waits until `weirctl get drains` says all of that in one line.
fn drains_tell(site: &Site, words: &[&str]) -> Result<()> {
    eventually(&format!("a drain with {words:?}"), SOON, || {
        let drains = site.weirctl("get drains")?;
        let told = drains
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(told, "{drains}");
        Ok(())
    })
}

#[test]
fn a_backend_is_drained_by_order_and_taken_back_in_place() -> Result<()> {
    on_a_talk("", |site, mut talk| {
        let before = site.kernel()?;
        let socket = format!("{}:9080", backend(talk.with));
        let name = format!("{NAME}/{socket}");
        let drain = format!("drain backend {NAME} {socket} --deadline 10m");
        site.weirctl(&drain)?;
        drains_tell(site, &[&name, "node-a", " 1 ", "9m", "draining"])?;
        talk.comes_to_zero(site)?;
        talk.goes_on_at_zero(site)?;
        talk.others_go_elsewhere(site)?;
        // the file says nothing of it, and ends nothing
        site.apply(&talk.both)?;
        talk.goes_on_at_zero(site)?;

        site.weirctl(&format!("undrain backend {NAME} {socket}"))?;
        site.kernel_is_like(&before)?;
        talk.held.talks("thank you")?;
        nothing_drains(site)?;

        site.weirctl(&drain)?;
        drains_tell(site, &[&name, "draining"])?;
        talk.comes_to_zero(site)?;
        talk.goes_on_at_zero(site)?;
        talk.held.finish()?;
        site.weirctl(&format!("{drain} --wait"))?;
        leaves(site, talk.with)?;
        drains_tell(site, &[&name, "done"])?;
        site.apply(&talk.both)?;
        weighs(site, talk.with, None)?;
        site.weirctl(&format!("undrain backend {NAME} {socket}"))?;
        site.kernel_is_like(&before)
    })
}

/// Whether node-a holds the VIP.
fn has_vip(site: &Site) -> Result<bool> {
    let addresses = site.on_node("ip -o addr show")?;
    Ok(addresses.contains(" 10.100.0.1/32 "))
}

#[test]
fn a_node_is_drained_with_its_backends_and_gives_up_its_vips_last() -> Result<()> {
    on_a_talk("", |site, mut talk| {
        // one without connections
        site.apply(&held("idle", "10.100.0.2:9080", "", &[0, 0, 1]))?;
        let before = site.kernel()?;
        site.weirctl("drain node node-a")?;
        drains_tell(site, &["node-a", "draining"])?;
        eventually("no backend is given anything", SOON, || {
            weighs(site, talk.with, Some(0))?;
            weighs(site, talk.other, None)?;
            weighs(site, 3, None)
        })?;
        talk.goes_on_at_zero(site)?;
        ensure!(has_vip(site)?, "the VIP left before the last connection");

        talk.ends(site)?;
        eventually("the VIPs go", SOON, || {
            ensure!(!has_vip(site)?, "the node has them");
            Ok(())
        })?;
        drains_tell(site, &["node ", "node-a", "done"])?;

        site.weirctl("undrain node node-a")?;
        site.kernel_is_like(&before)?;
        let mut again = hold(site, AT, 2)?;
        again.iter_mut().try_for_each(|held| held.talks("again"))?;
        let mut took: Vec<u8> = Vec::new();
        for held in &again {
            took.push(number(&held.answer.pod)?);
        }
        took.sort_unstable();
        ensure!(took == [1, 2], "{took:?}");
        nothing_drains(site)
    })
}
