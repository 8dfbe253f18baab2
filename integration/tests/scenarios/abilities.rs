//! What this kernel cannot do is refused when it is asked for, and is no trouble until then.

use anyhow::{Result, ensure};

use crate::site::{WEB, on_two_pods, same};

#[test]
fn a_scheduler_that_the_kernel_lacks_is_refused_when_it_is_applied() -> Result<()> {
    on_two_pods(|site| {
        let before = site.kernel()?;
        let twos = WEB.replace("scheduler: rr", "scheduler: twos");
        let refused = match site.apply(&twos) {
            Ok(()) => String::new(),
            Err(refused) => format!("{refused:#}"),
        };
        let said = "services[web].scheduler: no selected node can run it: node-a lacks scheduler_twos: \
                    load the module ip_vs_twos (CONFIG_IP_VS_TWOS)";
        ensure!(refused.contains(said), "{refused:?}");
        same(&before, &site.kernel()?)?;

        let nodes = site
            .weir
            .weirctl(&site.topology, &["get", "nodes", "-o", "wide"], "")?;
        let row = nodes.lines().last().unwrap_or_default();
        // the age comes last
        let missing = row.split_whitespace().nth_back(1);
        ensure!(missing == Some("scheduler_twos"), "{nodes}");
        let status = site.weir.weirctl(&site.topology, &["status"], "")?;
        ensure!(!status.contains("scheduler_twos"), "{status}");
        site.apply(&WEB.replace("scheduler: rr", "scheduler: mh"))
    })
}
