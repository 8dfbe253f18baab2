//! The links that unwrap tunnelled packets: `tunl0`, `sit0` and `ip6tnl0`.
//!
//! The kernel makes them itself, in every network namespace, when their module is loaded; where the sysctl
//! `net.core.fb_tunnels_only_for_init_net` keeps it from that, one without endpoints does the same. They are never
//! deleted: the kernel's own cannot be.

use nix::errno::Errno;
use tokio::process::Command;

use super::capabilities::modprobe;
use super::link::rtm::{self, RT_SCOPE_HOST, Tunnel, TunnelKind};
use super::link::{ANCHOR, Rtnl};
use super::netlink::{NlError, Request};
use super::verdict;
use crate::kernel::{StepError, Verdict};

const UP: &str = "up";
const DOWN: &str = "down";
/// The kernel's own `ip6tnl0` as it comes (`ip6_fb_tnl_dev_init` in `net/ipv6/ip6_tunnel.c`), which drops IPv4.
const IPV6_ONLY: &str = "up for IPv6 only";
/// Without an address, all that comes out of the tunnel fails the check of its way back, the loose one too (`no_addr` of
/// `__fib_validate_source` in `net/ipv4/fib_frontend.c`).
const BARE: &str = "up without an IPv4 address";

/// The tunnel links of one network namespace.
#[derive(Default)]
pub(super) struct Tunnels {
    rtnl: Option<Rtnl>,
}

impl Tunnels {
    /// Gives the state of a link: up, when it unwraps whatever it can unwrap, and down, when it is not there.
    pub(super) async fn state(&mut self, name: &str) -> Result<String, NlError> {
        let state = match self.rtnl()?.tunnel(name).await? {
            Some(tunnel) if tunnel.up && is_narrow(&tunnel) => IPV6_ONLY,
            Some(tunnel) if tunnel.up && self.is_bare(&tunnel).await? => BARE,
            Some(tunnel) if tunnel.up => UP,
            Some(_) | None => DOWN,
        };
        Ok(state.to_owned())
    }

    /// Brings a link into a state, and makes sure that it exists if that is not down.
    pub(super) async fn set(&mut self, name: &str, state: &str) -> Verdict {
        let Some(kind) = TunnelKind::of_link(name) else {
            let cause = format!("{name} is no tunnel link");
            return Err(verdict::refused(Errno::EINVAL, cause));
        };
        let up = match state {
            DOWN => false,
            UP | IPV6_ONLY | BARE => true,
            _ => {
                let cause = format!("a link cannot be set {state:?}");
                return Err(verdict::refused(Errno::EINVAL, cause));
            }
        };
        let found = match self.find(name).await? {
            None if !up => return Ok(()),
            None => self.make(name, kind).await?,
            Some(found) => found,
        };
        if found.kind.as_deref() != Some(kind.name()) {
            let is = found.kind.as_deref().unwrap_or("physical");
            return Err(verdict::refused(
                Errno::EEXIST,
                format!("link {name} exists and is a {is}, not a {}", kind.name()),
            ));
        }
        if state == UP && is_narrow(&found) {
            self.widen(name, found.index).await?;
        }
        let set = self.run(Tunnel::set(found.index, up)).await;
        verdict::of(set, |_| None)?;
        self.anchor(&found, state == UP).await
    }

    /// Sees to it that a link that unwraps IPv4 has an address; `wanted` is whether it needs one.
    async fn anchor(&mut self, tunnel: &Tunnel, wanted: bool) -> Verdict {
        let link = tunnel.index;
        let command = if !wanted {
            rtm::Command::DelAddress {
                link,
                address: ANCHOR,
            }
        } else if self.is_bare(tunnel).await.map_err(unknown)? {
            rtm::Command::AddAddress {
                link,
                address: ANCHOR,
                scope: RT_SCOPE_HOST,
            }
        } else {
            return Ok(());
        };
        match self.run(command.encode()).await {
            // it was never given
            Err(NlError::Errno(errno)) if !wanted && errno == Errno::EADDRNOTAVAIL as i32 => Ok(()),
            done => verdict::of(done, |_| None),
        }
    }

    /// Whether a link that unwraps IPv4 has no address.
    async fn is_bare(&mut self, tunnel: &Tunnel) -> Result<bool, NlError> {
        if tunnel.kind.as_deref() == Some(TunnelKind::Sit.name()) {
            return Ok(false);
        }
        let addresses = self.rtnl()?.addresses(false, tunnel.index).await?;
        Ok(addresses.is_empty())
    }

    async fn make(&mut self, name: &str, kind: TunnelKind) -> Result<Tunnel, StepError> {
        modprobe(kind.module()).await;
        if let Some(found) = self.find(name).await? {
            return Ok(found);
        }
        let made = self.run(Tunnel::make(name, kind)).await;
        verdict::of(made, |errno| match errno {
            // rtnl_newlink: no such kind
            Errno::EOPNOTSUPP => {
                let (kind, module) = (kind.name(), kind.module());
                let cause = format!("this kernel has no {kind} links: load the module {module}");
                Some((cause, ""))
            }
            _ => None,
        })?;
        let gone = || verdict::refused(Errno::ENODEV, format!("link {name} is not there"));
        self.find(name).await?.ok_or_else(gone)
    }

    /// Makes `ip6tnl0` unwrap both families. Older kernels change their own link only through an ioctl
    /// (`ip6_tnl_changelink` and `ip6_tnl0_update` in `net/ipv6/ip6_tunnel.c`), for which this asks the program `ip`.
    async fn widen(&mut self, name: &str, index: u32) -> Verdict {
        match self.run(Tunnel::widen(index)).await {
            Err(NlError::Errno(_)) => {}
            widened => return verdict::of(widened, |_| None),
        }
        let ran = Command::new("ip")
            .args(["-6", "tunnel", "change", name, "mode", "any"])
            .kill_on_drop(true)
            .output()
            .await;
        match ran {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let cause = format!("link {name} cannot be made to take IPv4: {}", said.trim());
                Err(verdict::refused(Errno::EOPNOTSUPP, cause))
            }
            Err(error) => Err(verdict::refused(
                Errno::EOPNOTSUPP,
                format!(
                    "link {name} takes no IPv4, and there is no program ip to change it: {error}"
                ),
            )),
        }
    }

    async fn find(&mut self, name: &str) -> Result<Option<Tunnel>, StepError> {
        let found = match self.rtnl() {
            Ok(rtnl) => rtnl.tunnel(name).await,
            Err(error) => Err(error),
        };
        found.map_err(|error| StepError::Unknown(format!("cannot read link {name}: {error}")))
    }

    async fn run(&mut self, request: Request) -> Result<(), NlError> {
        self.rtnl()?.run(&request).await
    }

    fn rtnl(&mut self) -> Result<&mut Rtnl, NlError> {
        match &mut self.rtnl {
            Some(rtnl) => Ok(rtnl),
            none => Ok(none.insert(Rtnl::open()?)),
        }
    }
}

fn unknown(error: NlError) -> StepError {
    StepError::Unknown(format!("cannot read a tunnel link's addresses: {error}"))
}

fn is_narrow(tunnel: &Tunnel) -> bool {
    tunnel.kind.as_deref() == Some(TunnelKind::Ip6tnl.name()) && tunnel.protocol != 0
}
