//! A service of two backends on a farm, and a client who talks to one of them while it leaves.

use anyhow::{Context, Result, ensure};
use weir_integration::client::Held;
use weir_integration::eventually::eventually;

use crate::farm::{backend, held, hold, number, on_a_farm};
use crate::site::{SOON, Site};

/// Where the service is.
pub(crate) const AT: &str = "10.100.0.1:9080";
/// Its name.
pub(crate) const NAME: &str = "talks";

/// IPVS forgets a connection that the server has closed after a second. The others of its time-outs are fixed.
const TIMEOUTS: &str = "---\napiVersion: weir/v1\nkind: Node\nmetadata: {name: node-a}\n\
                        spec: {connectionTimeouts: {tcpFinSeconds: 1}}\n";

/// Somebody who talks to one of two backends.
pub(crate) struct Talk {
    /// The connection.
    pub(crate) held: Held,
    /// Whom he talks to.
    pub(crate) with: u8,
    /// The backend beside.
    pub(crate) other: u8,
    /// The file with both backends.
    pub(crate) both: String,
}

/// Runs a scenario in which somebody talks. `spec` are further lines of the service's spec, each with an end.
pub(crate) fn on_a_talk(
    spec: &str,
    scenario: impl FnOnce(&mut Site, Talk) -> Result<()>,
) -> Result<()> {
    on_a_farm(|site| {
        let both = held(NAME, AT, &format!("scheduler: rr\n{spec}"), &[1; 2]);
        site.apply(&[TIMEOUTS, &both].concat())?;
        let mut held = hold(site, AT, 1)?.pop().context("nobody to talk to")?;
        held.talks("hello")?;
        let with = number(&held.answer.pod)?;
        let talk = Talk {
            held,
            with,
            other: 3 - with,
            both,
        };
        scenario(site, talk)
    })
}

impl Talk {
    /// The file without the backend that is talked to.
    pub(crate) fn alone(&self) -> String {
        without(&self.both, self.with)
    }

    /// Waits until the backend that is talked to stands at weight 0: a drain by order is told before the kernel has it.
    pub(crate) fn comes_to_zero(&self, site: &Site) -> Result<()> {
        eventually("the backend is given nothing", SOON, || {
            weighs(site, self.with, Some(0))
        })
    }

    /// Fails unless the talk goes on while its backend stands at weight 0.
    pub(crate) fn goes_on_at_zero(&mut self, site: &Site) -> Result<()> {
        weighs(site, self.with, Some(0))?;
        self.held.talks("and then?").context("the talk is over")
    }

    /// Fails unless new connections are all taken by the other backend.
    pub(crate) fn others_go_elsewhere(&self, site: &Site) -> Result<()> {
        for held in hold(site, AT, 4)? {
            let greeted = number(&held.reset()?.pod)?;
            ensure!(greeted == self.other, "backend {greeted} took one");
        }
        Ok(())
    }

    /// Ends the talk, and waits until its backend is out of the kernel.
    pub(crate) fn ends(&mut self, site: &Site) -> Result<()> {
        self.held.finish()?;
        leaves(site, self.with)
    }
}

/// A service's file without one of its backends.
pub(crate) fn without(yaml: &str, number: u8) -> String {
    let address = format!("address: {},", backend(number));
    let lines = yaml.lines().filter(|line| !line.contains(&address));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The weight of a backend in node-a's kernel; none: it is not there.
pub(crate) fn weight(site: &Site, number: u8) -> Result<Option<u32>> {
    let services = site.on_node("ipvsadm -Sn")?;
    let address = format!(" -r {}:", backend(number));
    let line = services.lines().find(|line| line.contains(&address));
    let Some(line) = line else { return Ok(None) };
    let weight = line.split(" -w ").nth(1).context("no weight")?;
    let weight = weight.split_whitespace().next().context("no weight")?;
    Ok(Some(weight.parse()?))
}

/// Fails unless a backend has that weight.
pub(crate) fn weighs(site: &Site, number: u8, expected: Option<u32>) -> Result<()> {
    let weight = weight(site, number)?;
    ensure!(
        weight == expected,
        "backend {number} has weight {weight:?}, not {expected:?}"
    );
    Ok(())
}

/// Waits until a backend is out of node-a's kernel.
pub(crate) fn leaves(site: &Site, number: u8) -> Result<()> {
    eventually("the backend leaves", SOON, || weighs(site, number, None))
}

/// The flows to a backend that node-a's conntrack knows, a line each.
pub(crate) fn flows(site: &Site, protocol: &str, number: u8) -> Result<String> {
    site.on_node(&format!(
        "conntrack -L -p {protocol} --orig-dst 10.100.0.1 --reply-src {}",
        backend(number)
    ))
}

/// Waits until the controller knows of no drain.
pub(crate) fn nothing_drains(site: &Site) -> Result<()> {
    eventually("nothing is drained", SOON, || {
        let drains = site.weirctl("get drains")?;
        let drains = drains.trim();
        ensure!(!drains.contains("node-a"), "{drains}");
        Ok(())
    })
}
