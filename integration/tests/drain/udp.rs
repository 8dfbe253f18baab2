//! A backend of datagrams goes at once, and who sends from the same port on is answered by another.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use weir_integration::client::Asker;
use weir_integration::eventually::eventually;

use crate::farm::{asked, number, on_a_farm};
use crate::site::{SILENCE, SOON};
use crate::talk::{flows, weighs, without};

const AT: &str = "10.100.0.1:53";

#[test]
fn a_client_of_datagrams_is_answered_by_another_backend_when_its_own_is_taken_out() -> Result<()> {
    on_a_farm(|site| {
        let both = asked("names", AT, "scheduler: rr\n", &[1; 2]);
        site.apply(&both)?;
        let target: SocketAddr = AT.parse()?;
        let client = &site.topology.client;
        // a datagram may be lost while its backend goes, and is sent again
        let asker = client.enter(|| Asker::open(target, SILENCE))??;
        let ask = || -> Result<u8> { number(&asker.ask()?.pod) };
        let first = eventually("a backend answers", SOON, ask)?;
        ensure!(ask()? == first, "a port does not stay with its backend");
        let known = flows(site, "udp", first)?;
        ensure!(!known.is_empty(), "conntrack does not know the client");

        site.apply(&without(&both, first))?;
        eventually("another backend answers", SOON, || {
            let now = ask()?;
            ensure!(now != first, "backend {now} does");
            Ok(())
        })?;
        weighs(site, first, None)?;
        // what conntrack knew goes after the pass
        eventually("conntrack forgets", SOON, || {
            let known = flows(site, "udp", first)?;
            ensure!(known.is_empty(), "{known}");
            Ok(())
        })
    })
}
