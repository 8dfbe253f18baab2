//! What is not weir's stays as it is, whatever weir does, and nothing of weir's stays after a cleanup.

use anyhow::{Result, ensure};
use weir_integration::client::Proto;
use weir_integration::dump::Dump;
use weir_integration::netns::Netns;
use weir_integration::program;

use crate::site::{WEB, WEB_VIP, on_two_pods, same};

/// Lays a service, a set and addresses of somebody else's, next to what weir will lay: one of the
/// addresses shares the subnet of the virtual ones.
fn lay_foreign(node: &Netns) -> Result<()> {
    program::run(
        node.command("ipvsadm").arg("-R"),
        "-A -t 10.100.7.7:80 -s wrr\n-a -t 10.100.7.7:80 -r 10.0.0.21:8080 -m -w 5\n",
    )?;
    program::run(
        node.command("ipset").arg("restore"),
        "create THEIRS hash:ip,port,ip\nadd THEIRS 10.0.0.11,tcp:8080,10.0.0.11\n",
    )?;
    node.ip("link add theirs0 type dummy\nlink set theirs0 up\n\
         addr add 10.100.7.7/32 dev theirs0\naddr add fd64::7/128 dev theirs0 nodad")
}

#[test]
fn foreign_objects_survive_apply_and_cleanup_and_nothing_of_ours_remains() -> Result<()> {
    on_two_pods(|site| {
        let node = &site.topology.node("node-a")?.netns;
        // What the agent does when it starts is not in this: it has to come from before weir.
        site.weir.terminate_agent("node-a")?;
        site.weir.cleanup(&site.topology, "node-a")?;
        lay_foreign(node)?;
        let foreign = site.kernel()?;
        let everything = Dump::read(node)?;
        ensure!(
            foreign.sysctls["ipv4/vs/conntrack"] == "0",
            "{:?}",
            foreign.sysctls
        );

        site.weir.start_agent(&site.topology, "node-a")?;
        site.apply(WEB)?;
        site.answered_everywhere(Proto::Tcp, WEB_VIP, &["pod-x", "pod-y"])?;
        let serving = site.kernel()?;
        let mut lost = serving.lost_since(&foreign);
        // A sysctl that the agent needs has another value while it runs.
        lost.retain(|line| !line.starts_with("ipv4/"));
        ensure!(lost.is_empty(), "{lost:#?}");
        ensure!(
            serving.sysctls["ipv4/vs/conntrack"] == "1",
            "{:?}",
            serving.sysctls
        );

        site.weir.terminate_agent("node-a")?;
        let said = site.weir.cleanup(&site.topology, "node-a")?;
        ensure!(
            said.contains("left virtual service 10.100.7.7:80/TCP: it is not ours"),
            "{said}"
        );
        same(&foreign, &site.kernel()?)?;
        everything.same_as(&Dump::read(&site.topology.node("node-a")?.netns)?)
    })
}

#[test]
fn a_vip_that_the_node_has_on_another_link_is_refused_and_stays_there() -> Result<()> {
    on_two_pods(|site| {
        let node = &site.topology.node("node-a")?.netns;
        // added after the agent told the controller its addresses: only the node can know
        lay_foreign(node)?;
        let before = site.kernel()?;
        let clash = WEB.replace("10.100.100.100", "10.100.7.7");
        let refused = site
            .apply(&clash)
            .expect_err("the node has the address")
            .to_string();
        ensure!(
            refused.contains("10.100.7.7 is an address of this node already"),
            "{refused}"
        );
        let lost = site.kernel()?.lost_since(&before);
        ensure!(
            lost.iter().all(|line| line.starts_with("ipv4/")),
            "{lost:#?}"
        );
        Ok(())
    })
}

#[test]
fn a_service_that_somebody_else_made_is_told_and_left_alone_even_when_just_like_ours() -> Result<()>
{
    on_two_pods(|site| {
        let node = &site.topology.node("node-a")?.netns;
        program::run(
            node.command("ipvsadm").arg("-R"),
            "-A -t 10.100.100.100:8080 -s rr\n\
             -a -t 10.100.100.100:8080 -r 10.0.0.11:8080 -m -w 1\n\
             -a -t 10.100.100.100:8080 -r 10.0.0.21:8080 -m -w 1\n",
        )?;
        let theirs = program::run(node.command("ipvsadm").arg("-Sn"), "")?;
        let refused = site
            .apply(WEB)
            .expect_err("somebody has the service")
            .to_string();
        let told = "virtual service 10.100.100.100:8080/TCP is there and is not ours";
        ensure!(refused.contains(told), "{refused}");
        site.weir
            .weirctl(&site.topology, &["delete", "service", "web", "--wait"], "")?;
        let now = program::run(node.command("ipvsadm").arg("-Sn"), "")?;
        ensure!(now == theirs, "{now}");
        Ok(())
    })
}
