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
        ensure!(
            !held.sets.iter().any(|line| line.contains("10.0.0.21")),
            "{:#?}",
            held.sets
        );
        site.apply(WEB)?;
        site.answered_everywhere(Proto::Tcp, WEB_VIP, &["pod-x", "pod-y"])?;
        let after = site.kernel()?;
        // The returned backend may stand before or behind the other: round robin does not care.
        let lost = after.lost_since(&before);
        let new = after.new_since(&before);
        ensure!(
            lost.is_empty() && new.is_empty(),
            "lost {lost:#?}, new {new:#?}"
        );
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
        let empty = site.kernel()?;
        site.apply(WEB)?;
        site.weir
            .weirctl(&site.topology, &["delete", "service", "web", "--wait"], "")?;
        // The link, the sets and the rule may stay for the next service.
        let held = site.kernel()?;
        let left: Vec<String> = held
            .new_since(&empty)
            .into_iter()
            .filter(|line| line.contains("10.100.") || line.contains("10.0.0."))
            .collect();
        ensure!(left.is_empty(), "{left:#?}");
        Ok(())
    })
}
