//! What somebody else has on the node, and what of it is still there.
//!
//! Everything here starts programs on a thread that is inside the namespace: to enter it by a program of its own for
//! each would cost most of the time.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Result, ensure};
use weir_integration::program;

/// Services on addresses of their own, by mark, on one of the VIPs with another port, and three with the very
/// frontends of ours.
const SERVICES: &str = "\
-A -t 10.100.7.7:80 -s wrr
-a -t 10.100.7.7:80 -r 10.0.0.11:8080 -m -w 5
-a -t 10.100.7.7:80 -r 10.0.0.12:8080 -g -w 6
-A -f 7 -s rr
-a -f 7 -r 10.0.0.11:0 -m -w 2
-A -f 7 -s sh -6
-A -t 10.100.0.1:9999 -s sh -p 60
-a -t 10.100.0.1:9999 -r 10.0.0.11:8080 -m -w 1
-A -t 10.100.0.1:80 -s rr
-a -t 10.100.0.1:80 -r 10.0.0.11:8080 -m -w 9
-A -u 10.100.0.2:81 -s rr -o
-A -t [fd00:100::1]:80 -s wlc
-a -t [fd00:100::1]:80 -r [fd00::11]:8080 -m -w 3
";
const SETS: &str = "\
create THEIRS hash:ip,port,ip
add THEIRS 10.0.0.11,tcp:8080,10.0.0.11
add THEIRS 10.0.0.99,udp:53,10.0.0.99
create WEIR-LOOPBACKS hash:ip,port,ip
add WEIR-LOOPBACKS 10.0.0.12,tcp:8080,10.0.0.12
create weir-loopback-6 hash:ip,port,ip family inet6
add weir-loopback-6 fd00::11,tcp:8080,fd00::11
create WEIR hash:net
add WEIR 10.0.0.0/8
";
/// 10.100.0.7 and 10.100.0.5 are among the addresses that ours would like to bind.
const LINK: &str = "\
link add theirs0 type dummy
link set theirs0 up
addr add 10.100.7.7/32 dev theirs0
addr add 10.100.0.7/32 dev theirs0
addr add fd64::7/128 dev theirs0 nodad
route add local 10.100.0.5/32 dev theirs0 table local
route add 10.200.0.0/24 dev theirs0
";
const RULES: &str = "\
*nat
-A PREROUTING -d 10.100.7.8/32 -p tcp -j DNAT --to-destination 10.0.0.11
-A POSTROUTING -m set --match-set THEIRS dst,dst,src -j MASQUERADE
-A POSTROUTING -s 10.99.0.0/16 -m comment --comment \"weir: loopback\" -j MASQUERADE
COMMIT
*mangle
-A PREROUTING -d 10.100.0.1/32 -p tcp -m tcp --dport 9998 -j MARK --set-mark 7
COMMIT
*filter
:THEIRS -
-A INPUT -j THEIRS
-A THEIRS -m set --match-set WEIR-LOOPBACKS dst,dst,src -j RETURN
COMMIT
";
const RULES_6: &str = "\
*nat
-A POSTROUTING -d fd64::/64 -j MASQUERADE
COMMIT
";
/// On the link of ours: beside it, in the way of ours, and with the mask of a network.
const ON_OUR_LINK: [&str; 4] = [
    "10.100.9.9/32",
    "10.100.0.8/32",
    "10.100.0.6/24",
    "fd00:100::9/128",
];

/// What each kind of program shows: lines in their order for rules, sorted for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    rules: Vec<String>,
    rest: Vec<String>,
}

fn run(line: &str, input: &str) -> Result<String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    program::run(command.args(words), input)
}

/// Reads all that anybody has, without what changes by itself.
pub(super) fn everything() -> Result<Foreign> {
    let run = |line: &str| -> Result<Vec<String>> {
        let output = run(line, "")?;
        Ok(output.lines().map(|line| line.trim().to_owned()).collect())
    };
    let mut rules = Vec::new();
    for save in ["iptables-legacy-save", "ip6tables-legacy-save"] {
        let rule = |line: &String| line.starts_with("-A") || line.contains(" - [");
        rules.extend(run(save)?.into_iter().filter(rule));
    }
    let mut rest = Vec::new();
    for show in [
        "ipvsadm -Sn",
        "ipvsadm -L --timeout",
        "ipset save",
        "ip -o addr show",
        "ip -4 route show table all",
        "ip -6 route show table all",
        "sysctl net.ipv4.vs.conntrack net.ipv4.vs.expire_nodest_conn net.ipv4.ip_forward net.ipv6.conf.all.forwarding",
    ] {
        rest.extend(run(show)?);
    }
    // what a link has by itself, by an address that is another each time
    let by_itself = |line: &String| ["fe80::", "ff00::"].iter().any(|net| line.contains(net));
    rest.retain(|line| !by_itself(line));
    rest.sort_unstable();
    Ok(Foreign { rules, rest })
}

impl Foreign {
    /// Puts it all there, but for what needs the link of ours.
    pub(super) fn lay() -> Result<Self> {
        for (program, input) in [
            ("ipvsadm -R", SERVICES),
            ("ipset restore", SETS),
            ("iptables-legacy-restore -n", RULES),
            ("ip6tables-legacy-restore -n", RULES_6),
        ] {
            run(program, input)?;
        }
        run("ip -batch -", LINK)?;
        let laid = everything()?;
        ensure!(laid.rules.len() == 8 && laid.rest.len() > 40, "{laid:#?}");
        Ok(laid)
    }

    /// Puts addresses on the link of ours.
    pub(super) fn lay_on_our_link(&self) -> Result<()> {
        let add = ON_OUR_LINK.map(|address| format!("addr add {address} dev weir0\n"));
        run("ip -batch -", &add.concat())?;
        Ok(())
    }

    /// Reads it all with the link of ours and nothing else of ours.
    pub(super) fn with_our_link(&self) -> Result<Self> {
        let now = everything()?;
        self.within(&now)?;
        ensure!(now.rules == self.rules, "{now:#?}");
        Ok(now)
    }

    /// Takes the addresses off the link of ours.
    pub(super) fn leave_our_link(&self) -> Result<()> {
        let delete = ON_OUR_LINK.map(|address| format!("addr del {address} dev weir0\n"));
        run("ip -batch -", &delete.concat())?;
        Ok(())
    }

    /// Fails unless every line is still there, the rules in their order, and nothing was put into it.
    pub(super) fn is_untouched(&self) -> Result<()> {
        let now = everything()?;
        self.within(&now)?;
        let into: Vec<&String> = now.rest.iter().filter(|line| self.has_new(line)).collect();
        ensure!(into.is_empty(), "put into what is not ours: {into:#?}");
        Ok(())
    }

    /// Fails unless there is nothing else.
    pub(super) fn is_all_there_is(&self) -> Result<()> {
        let now = everything()?;
        self.within(&now)?;
        let old: BTreeSet<&String> = self.rest.iter().chain(&self.rules).collect();
        let lines = now.rest.iter().chain(&now.rules);
        let left: Vec<&String> = lines.filter(|line| !old.contains(line)).collect();
        ensure!(now == *self, "left: {left:#?}");
        Ok(())
    }

    /// Takes away what was laid.
    pub(super) fn remove(&self) -> Result<()> {
        ensure!(everything()? == *self, "not what was laid");
        for line in [
            "ipvsadm -C",
            "iptables-legacy -t nat -F",
            "iptables-legacy -t mangle -F",
            "iptables-legacy -F",
            "iptables-legacy -X",
            "ip6tables-legacy -t nat -F",
            "ipset destroy",
            "ip link del theirs0",
        ] {
            run(line, "")?;
        }
        Ok(())
    }

    fn within(&self, now: &Self) -> Result<()> {
        let there: BTreeSet<&String> = now.rest.iter().collect();
        // a setting that weir needs has another value while it runs
        let setting = |line: &str| line.starts_with("net.");
        let rest = self.rest.iter().filter(|line| !setting(line));
        let lost: Vec<&String> = rest.filter(|line| !there.contains(line)).collect();
        ensure!(lost.is_empty(), "lost: {lost:#?}\nof {:#?}", now.rest);
        let mut rules = now.rules.clone();
        rules.retain(|rule| self.rules.contains(rule));
        ensure!(rules == self.rules, "the rules are now {:#?}", now.rules);
        Ok(())
    }

    /// Says whether a line is about something of theirs and was not there.
    fn has_new(&self, line: &str) -> bool {
        let theirs = SERVICES.lines().chain(SETS.lines()).any(|made| {
            let (verb, what) = made.split_once(' ').unwrap_or_default();
            let words = if verb.starts_with('-') { 2 } else { 1 };
            let name: Vec<&str> = what.split(' ').take(words).collect();
            let about = line.split_once(' ').map_or("", |(_, about)| about);
            format!("{about} ").starts_with(&format!("{} ", name.join(" ")))
        });
        (theirs || line.contains("theirs0")) && !self.rest.iter().any(|old| old == line)
    }
}
