//! The settings of the plan, as files under `/proc/sys`.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use weir_proto::trace::chain;

use super::sysctl::{self, SysctlError};
use super::verdict;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::{Key, Object, Problem, Scope, Step, Sysctl, Table, Unit};

/// A route that a router's advertisement made (`include/uapi/linux/ipv6_route.h`).
const RTF_ADDRCONF: u32 = 0x0004_0000;

/// The settings of one network namespace.
#[derive(Debug)]
pub(super) struct Settings {
    files: sysctl::Sysctl,
    /// The IPv6 routes (`net/ipv6/route.c`, `rt6_info_route`).
    routes: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            files: sysctl::Sysctl::default(),
            routes: PathBuf::from("/proc/self/net/ipv6_route"),
        }
    }
}

impl Settings {
    /// Reads all settings of the plan, if the scope has them. One that the kernel lacks is left out.
    pub(super) fn read(&self, scope: &Scope, table: &mut Table) -> Result<(), KernelError> {
        let base = match scope {
            Scope::All => true,
            Scope::Units(units) => units.contains(&Unit::Base),
        };
        for sysctl in Sysctl::ALL.into_iter().filter(|_| base) {
            match self.files.read(sysctl.name()) {
                Ok(value) => {
                    table.insert(Key::Sysctl(sysctl), Object::Value(value));
                }
                Err(SysctlError::Absent(_)) => {}
                Err(error) => return Err(verdict::unreadable("a sysctl", error)),
            }
        }
        Ok(())
    }

    /// Sets them.
    pub(super) fn apply(&self, steps: &[&Step]) -> Vec<Verdict> {
        steps.iter().map(|step| self.take(step)).collect()
    }

    fn take(&self, step: &Step) -> Verdict {
        match step {
            Step::Edit {
                key: Key::Sysctl(Sysctl::ForwardV6),
                object: Object::Value(value),
            } if value == Sysctl::ForwardV6.value() => {
                self.keeps_its_routes()?;
                let name = Sysctl::ForwardV6.name();
                self.files.write(name, value).map_err(refused)
            }
            Step::Edit {
                key: Key::Sysctl(sysctl),
                object: Object::Value(value),
            } => self.files.write(sysctl.name(), value).map_err(refused),
            _ => Err(verdict::refused(
                Errno::EINVAL,
                "a setting can only be edited",
            )),
        }
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

    fn forwarding(routes: &str, accept_ra: &str) -> (Verdict, String) {
        let dir = tempfile::tempdir().expect("dir");
        let all = dir.path().join("net/ipv6/conf/all");
        let eth0 = dir.path().join("net/ipv6/conf/eth0");
        fs::create_dir_all(&all).expect("dir");
        fs::create_dir_all(&eth0).expect("dir");
        fs::write(all.join("forwarding"), "0").expect("file");
        fs::write(eth0.join("accept_ra"), accept_ra).expect("file");
        let settings = Settings {
            files: sysctl::Sysctl::at(dir.path()),
            routes: dir.path().join("routes"),
        };
        fs::write(&settings.routes, routes).expect("file");
        let step = Step::Edit {
            key: Key::Sysctl(Sysctl::ForwardV6),
            object: Object::Value("1".to_owned()),
        };
        let verdict = settings.take(&step);
        (
            verdict,
            fs::read_to_string(all.join("forwarding")).expect("file"),
        )
    }

    #[test]
    fn ipv6_is_not_forwarded_where_that_drops_an_advertised_default_route() {
        let (verdict, value) = forwarding(ADVERTISED, "1");
        let cause = "link eth0 has its default route from a router's advertisement, which IPv6 forwarding would \
                     drop: set net.ipv6.conf.eth0.accept_ra=2 first";
        assert_eq!(verdict, Err(verdict::refused(Errno::EBUSY, cause)));
        assert_eq!(value, "0");
    }

    #[test]
    fn ipv6_is_forwarded_where_routes_stay() {
        let fixed = ADVERTISED.replace("00450003", "00000003");
        for (routes, accept_ra) in [(ADVERTISED, "2"), (fixed.as_str(), "1"), ("", "1")] {
            assert_eq!(forwarding(routes, accept_ra), (Ok(()), "1".to_owned()));
        }
    }
}
