//! An agent that dies, and one that is asked to end: the kernel goes on serving, and nothing is lost.

use anyhow::{Result, ensure};
use weir_integration::client::Proto;
use weir_integration::load::Load;
use weir_integration::program;

use crate::site::{WEB, WEB_VIP, on_two_pods, same};

/// Requests before, between and after what is done to the agent.
const SOME: usize = 30;

#[test]
fn an_agent_killed_and_restarted_without_its_controller_loses_no_request() -> Result<()> {
    on_two_pods(|site| {
        site.apply(WEB)?;
        let before = site.kernel()?;
        let load = Load::start(&site.topology.client, Proto::Tcp, WEB_VIP.parse()?)?;
        load.more(SOME)?;
        site.weir.kill_agent("node-a")?;
        site.weir.kill_controller()?;
        load.more(SOME)?;
        site.weir.start_agent_alone(&site.topology, "node-a")?;
        load.more(SOME)?;
        site.kernel_becomes(&before)?;
        ensure!(site.weir.agent_runs("node-a")?, "the restarted agent ended");
        let outcome = load.stop()?;
        ensure!(
            outcome.failed.is_empty() && outcome.pods() == ["pod-x", "pod-y"],
            "{outcome}: {:?}",
            outcome.failed
        );
        Ok(())
    })
}

#[test]
fn a_restarted_agent_restores_an_empty_kernel_from_its_journal_without_its_controller() -> Result<()>
{
    on_two_pods(|site| {
        site.apply(WEB)?;
        let before = site.kernel()?;
        site.weir.kill_controller()?;
        site.weir.kill_agent("node-a")?;
        // As after a reboot: services, entries and the virtual addresses are gone.
        let node = &site.node_a()?.netns;
        for line in [&["ipvsadm", "-C"][..], &["ipset", "flush", "WEIR-LOOPBACK"]] {
            program::run(node.command(line[0]).args(&line[1..]), "")?;
        }
        node.ip("link del weir0")?;
        site.weir.start_agent_alone(&site.topology, "node-a")?;
        site.kernel_becomes(&before)?;
        site.answered_everywhere(Proto::Tcp, WEB_VIP, &["pod-x", "pod-y"])
    })
}

#[test]
fn an_agent_that_is_asked_to_end_leaves_the_kernel_serving() -> Result<()> {
    on_two_pods(|site| {
        site.apply(WEB)?;
        let before = site.kernel()?;
        let load = Load::start(&site.topology.client, Proto::Tcp, WEB_VIP.parse()?)?;
        load.more(SOME)?;
        let status = site.weir.terminate_agent("node-a")?;
        ensure!(status.success(), "the agent ended with {status}");
        load.more(SOME)?;
        let outcome = load.stop()?;
        ensure!(outcome.failed.is_empty(), "{:?}", outcome.failed);
        same(&before, &site.kernel()?)?;
        site.answered_everywhere(Proto::Tcp, WEB_VIP, &["pod-x", "pod-y"])
    })
}

#[test]
fn an_agent_that_lost_its_journal_takes_over_what_it_had_made() -> Result<()> {
    on_two_pods(|site| {
        let clean = site.kernel()?;
        site.apply(WEB)?;
        let before = site.kernel()?;
        site.weir.kill_agent("node-a")?;
        site.weir.lose_journal(&site.topology, "node-a")?;
        site.weir.start_agent(&site.topology, "node-a")?;
        site.apply(WEB)?;
        same(&before, &site.kernel()?)?;
        site.weir
            .weirctl(&site.topology, &["delete", "service", "web", "--wait"], "")?;
        site.weir.terminate_agent("node-a")?;
        site.weir.cleanup(&site.topology, "node-a")?;
        // the values of settings before weir were in the journal: nobody knows them any more
        let left = site.kernel()?.new_since(&clean);
        let settings = |line: &String| line.starts_with("ipv4/") || line.starts_with("bridge/");
        ensure!(left.iter().all(settings), "{left:#?}");
        Ok(())
    })
}
