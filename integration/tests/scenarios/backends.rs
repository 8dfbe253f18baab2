//! A backend that leaves and comes back, by the operator's file.

use anyhow::{Result, ensure};
use weir_integration::client::Proto;
use weir_integration::load::Load;

use crate::site::{WEB, WEB_VIP, on_two_pods};

/// Requests while the file that is applied no longer says anything new.
const SOME: usize = 10;

/// The example without the line of one backend.
fn without(address: &str) -> String {
    let lines = WEB.lines().filter(|line| !line.contains(address));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_backend_taken_out_of_the_file_answers_no_more_and_put_back_it_does() -> Result<()> {
    on_two_pods(|site| {
        site.apply(WEB)?;
        let before = site.kernel()?;
        site.apply(&without("10.0.0.21"))?;
        site.answered_everywhere(Proto::Tcp, WEB_VIP, &["pod-x"])?;
        let held = site.kernel()?;
        ensure!(!held.sets.contains("10.0.0.21"), "{}", held.sets);
        site.apply(WEB)?;
        site.answered_everywhere(Proto::Tcp, WEB_VIP, &["pod-x", "pod-y"])?;
        let mut after = site.kernel()?;
        // The returned backend may stand before or behind the other: round robin does not care.
        after.ipvs = sorted(&after.ipvs);
        let mut wanted = before;
        wanted.ipvs = sorted(&wanted.ipvs);
        ensure!(after == wanted, "{after:#?}\nwas {wanted:#?}");
        Ok(())
    })
}

#[test]
fn no_request_fails_while_the_other_backend_comes_and_goes() -> Result<()> {
    on_two_pods(|site| {
        site.apply(WEB)?;
        let load = Load::start(&site.topology.client, Proto::Tcp, WEB_VIP.parse()?)?;
        load.more(SOME)?;
        site.apply(&without("10.0.0.11"))?;
        load.more(SOME)?;
        site.apply(WEB)?;
        load.more(SOME)?;
        let outcome = load.stop()?;
        ensure!(outcome.failed.is_empty(), "{outcome}: {:?}", outcome.failed);
        Ok(())
    })
}

#[test]
fn a_deleted_service_leaves_nothing_behind_it() -> Result<()> {
    on_two_pods(|site| {
        site.apply(WEB)?;
        site.weir
            .weirctl(&site.topology, &["delete", "service", "web", "--wait"], "")?;
        let held = site.kernel()?;
        ensure!(held.ipvs.is_empty(), "{}", held.ipvs);
        ensure!(!held.sets.contains("\nadd "), "{}", held.sets);
        ensure!(!held.addresses.contains("10.100."), "{}", held.addresses);
        ensure!(!held.routes.contains("10.100."), "{}", held.routes);
        Ok(())
    })
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}
