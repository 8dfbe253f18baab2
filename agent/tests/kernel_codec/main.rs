//! The codecs against a real kernel: IPVS, ipset, links and sysctls, each test in a network namespace of
//! its own. Needs root, `ip_vs`, `ip_set`, `dummy` and an iptables; says which is missing.
#![allow(missing_docs, clippy::unwrap_used)]

mod ipset;
mod ipvs;
mod netns;
mod node;

use nix::errno::Errno;
use weir_agent::kernel::linux::netlink::NlError;

fn errnos(verdicts: &[Result<(), NlError>]) -> Vec<Option<Errno>> {
    let errno = |error: &NlError| match error {
        NlError::Errno(errno) => Errno::from_raw(*errno),
        error => panic!("no refusal but {error:?}"),
    };
    verdicts
        .iter()
        .map(|verdict| verdict.as_ref().err().map(errno))
        .collect()
}
