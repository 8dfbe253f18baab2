//! The settings of the plan: files under `/proc/sys`, the time-outs of IPVS, and the state of links.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use weir_proto::trace::chain;

use super::ipvs::{Command, Ipvs, Timeouts};
use super::netlink::NlError;
use super::sysctl::{self, SysctlError};
use super::tunnels::Tunnels;
use super::verdict;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::{Key, Object, Place, Problem, Scope, Setting, Step, Table, Unit};

/// A route that a router's advertisement made (`include/uapi/linux/ipv6_route.h`).
const RTF_ADDRCONF: u32 = 0x0004_0000;

/// The settings of one network namespace.
pub(super) struct Settings {
    files: sysctl::Sysctl,
    ipvs: Option<Ipvs>,
    tunnels: Tunnels,
    /// The IPv6 routes (`net/ipv6/route.c`, `rt6_info_route`).
    routes: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            files: sysctl::Sysctl::default(),
            ipvs: None,
            tunnels: Tunnels::default(),
            routes: PathBuf::from("/proc/self/net/ipv6_route"),
        }
    }
}

impl Settings {
    /// Reads all settings of the plan, if the scope has them. One that the kernel lacks is left out.
    pub(super) async fn read(
        &mut self,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), KernelError> {
        let base = match scope {
            Scope::All => true,
            Scope::Units(units) => units.contains(&Unit::Base),
        };
        if !base {
            return Ok(());
        }
        let timeouts = self.timeouts().await?;
        for setting in Setting::ALL {
            let value = match setting.place() {
                Place::Sysctl(name) => match self.files.read(name) {
                    Ok(value) => Some(value),
                    Err(SysctlError::Absent(_)) => self.as_made(setting),
                    Err(error) => return Err(verdict::unreadable("a sysctl", error)),
                },
                Place::Timeout => timeouts.map(|timeouts| seconds(timeouts, setting).to_string()),
                Place::Link(name) => {
                    let state = self.tunnels.state(name).await;
                    Some(state.map_err(|error| verdict::unreadable("a tunnel link", error))?)
                }
            };
            if let Some(value) = value {
                table.insert(Key::Setting(setting), Object::Value(value));
            }
        }
        Ok(())
    }

    /// Sets them.
    pub(super) async fn apply(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            verdicts.push(self.take(step).await);
        }
        verdicts
    }

    async fn take(&mut self, step: &Step) -> Verdict {
        let Step::Edit {
            key: Key::Setting(setting),
            object: Object::Value(value),
        } = step
        else {
            return Err(verdict::refused(
                Errno::EINVAL,
                "a setting can only be edited",
            ));
        };
        match setting.place() {
            Place::Sysctl(name) => {
                if *setting == Setting::ForwardV6 && value != "0" {
                    self.keeps_its_routes()?;
                }
                self.files.write(name, value).map_err(refused)
            }
            Place::Timeout => {
                let done = self.set_timeout(*setting, value).await;
                verdict::of(done, |_| None)
            }
            Place::Link(name) => self.tunnels.set(name, value).await,
        }
    }

    /// Gives the value that a link's setting has once the link is made; none of what is no link's.
    fn as_made(&self, setting: Setting) -> Option<String> {
        match setting {
            Setting::Tunl0RpFilter | Setting::Ip6tnl0RpFilter => {
                self.files.read("net.ipv4.conf.default.rp_filter").ok()
            }
            _ => None,
        }
    }

    /// Reads the connection time-outs; none of a kernel without IPVS.
    async fn timeouts(&mut self) -> Result<Option<Timeouts>, KernelError> {
        let read = match self.ipvs().await {
            Ok(ipvs) => ipvs.timeouts().await,
            Err(error) => Err(error),
        };
        match read {
            Ok(timeouts) => Ok(Some(timeouts)),
            // a door that was open knows IPVS by a number that it had before its module was loaded anew
            Err(NlError::Errno(errno)) if errno == Errno::ENOENT as i32 && self.ipvs.is_none() => {
                Ok(None)
            }
            Err(error) => {
                self.ipvs = None;
                Err(verdict::unreadable("the IPVS time-outs", error))
            }
        }
    }

    async fn set_timeout(&mut self, setting: Setting, value: &str) -> Result<(), NlError> {
        let invalid = NlError::Errno(Errno::EINVAL as i32);
        let seconds: u32 = value.parse().map_err(|_| invalid)?;
        // 0 leaves the others as they are
        let mut timeouts = Timeouts::default();
        match setting {
            Setting::TimeoutTcp => timeouts.tcp = seconds,
            Setting::TimeoutTcpFin => timeouts.tcp_fin = seconds,
            _ => timeouts.udp = seconds,
        }
        let command = [Command::SetConfig(timeouts)];
        let answers = self.ipvs().await?.batch(&command).await;
        answers.into_iter().next().unwrap_or(Err(NlError::Timeout))
    }

    async fn ipvs(&mut self) -> Result<&mut Ipvs, NlError> {
        match &mut self.ipvs {
            Some(ipvs) => Ok(ipvs),
            none => Ok(none.insert(Ipvs::open().await?)),
        }
    }
}

fn seconds(timeouts: Timeouts, setting: Setting) -> u32 {
    match setting {
        Setting::TimeoutTcp => timeouts.tcp,
        Setting::TimeoutTcpFin => timeouts.tcp_fin,
        _ => timeouts.udp,
    }
}

impl Settings {
    /// Refuses to forward IPv6 where that would cut the node off: the kernel drops the default routes that routers
    /// advertised, and takes no more of them, save from links with `accept_ra` 2
    /// (`net/ipv6/addrconf.c`, `dev_forward_change`; `net/ipv6/route.c`, `__rt6_purge_dflt_routers`).
    fn keeps_its_routes(&self) -> Verdict {
        // a kernel without IPv6 has no such file, and nothing to lose
        let routes = fs::read_to_string(&self.routes).unwrap_or_default();
        for link in routes.lines().filter_map(advertised_default) {
            let name = format!("net.ipv6.conf.{}.accept_ra", link.replace('.', "/"));
            if self.files.read(&name).is_ok_and(|value| value != "2") {
                return Err(verdict::refused(
                    Errno::EBUSY,
                    format!(
                        "link {link} has its default route from a router's advertisement, which IPv6 forwarding \
                         would drop: set {name}=2 first"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Gives the link of a default route that a router advertised.
fn advertised_default(line: &str) -> Option<&str> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [to, "00", _, _, _, _, _, _, flags, link] = fields.as_slice() else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    (to.bytes().all(|digit| digit == b'0') && flags & RTF_ADDRCONF != 0).then_some(*link)
}

fn refused(error: SysctlError) -> StepError {
    let source = match &error {
        SysctlError::Absent(_) => Some(Errno::ENOENT as i32),
        SysctlError::Name(_) => Some(Errno::EINVAL as i32),
        SysctlError::Denied { source, .. }
        | SysctlError::Refused { source, .. }
        | SysctlError::Io { source, .. } => source.raw_os_error(),
    };
    StepError::from(Problem::new(
        source.unwrap_or(Errno::EIO as i32),
        chain(&error),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADVERTISED: &str = "\
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth0
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
";

    async fn forwarding(routes: &str, accept_ra: &str) -> (Verdict, String) {
        let dir = tempfile::tempdir().expect("dir");
        let all = dir.path().join("net/ipv6/conf/all");
        let eth0 = dir.path().join("net/ipv6/conf/eth0");
        fs::create_dir_all(&all).expect("dir");
        fs::create_dir_all(&eth0).expect("dir");
        fs::write(all.join("forwarding"), "0").expect("file");
        fs::write(eth0.join("accept_ra"), accept_ra).expect("file");
        let mut settings = Settings {
            files: sysctl::Sysctl::at(dir.path()),
            routes: dir.path().join("routes"),
            ..Settings::default()
        };
        fs::write(&settings.routes, routes).expect("file");
        let step = Step::Edit {
            key: Key::Setting(Setting::ForwardV6),
            object: Object::Value("1".to_owned()),
        };
        let verdict = settings.take(&step).await;
        (
            verdict,
            fs::read_to_string(all.join("forwarding")).expect("file"),
        )
    }

    #[tokio::test]
    async fn ipv6_is_not_forwarded_where_that_drops_an_advertised_default_route() {
        let (verdict, value) = forwarding(ADVERTISED, "1").await;
        let cause = "link eth0 has its default route from a router's advertisement, which IPv6 forwarding would \
                     drop: set net.ipv6.conf.eth0.accept_ra=2 first";
        assert_eq!(verdict, Err(verdict::refused(Errno::EBUSY, cause)));
        assert_eq!(value, "0");
    }

    #[tokio::test]
    async fn ipv6_is_forwarded_where_routes_stay() {
        let fixed = ADVERTISED.replace("00450003", "00000003");
        for (routes, accept_ra) in [(ADVERTISED, "2"), (fixed.as_str(), "1"), ("", "1")] {
            assert_eq!(
                forwarding(routes, accept_ra).await,
                (Ok(()), "1".to_owned())
            );
        }
    }
}
