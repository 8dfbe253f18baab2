//! Everything that a namespace's kernel shows of itself through the operator's tools, for comparing before and after.
//!
//! Unlike [`crate::kernel_state`], which has what weir may change, this has all there is: every link, route and rule, and
//! every sysctl under `/proc/sys/net`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::netns::Netns;
use crate::program;

/// What changes by itself, under `/proc/sys/net`.
const RESTLESS: [&str; 1] = ["netfilter/nf_conntrack_count"];

/// The tools and what they are asked, and whether a kernel may lack what they show.
const ASKED: [(&[&str], bool); 18] = [
    (&["ipvsadm", "-Sn"], false),
    (&["ipvsadm", "-L", "--timeout"], false),
    (&["ipvsadm", "-Ln", "--daemon"], false),
    (&["ip", "-o", "link", "show"], false),
    (&["ip", "-o", "addr", "show"], false),
    (&["ip", "-4", "rule", "show"], false),
    (&["ip", "-6", "rule", "show"], false),
    (&["ip", "-4", "route", "show", "table", "all"], false),
    (&["ip", "-6", "route", "show", "table", "all"], false),
    (&["ip", "-o", "tunnel", "show"], true),
    (&["ip", "-6", "-o", "tunnel", "show"], true),
    (&["ipset", "save"], false),
    (&["iptables-legacy-save"], true),
    (&["ip6tables-legacy-save"], true),
    (&["iptables-nft-save"], true),
    (&["ip6tables-nft-save"], true),
    // stateless: without what rules counted
    (&["nft", "-s", "list", "ruleset"], true),
    (&["nft", "list", "tables"], true),
];

/// A line for each thing, by what showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump(BTreeSet<String>);

impl Dump {
    /// Reads all of it. A tool that is not installed is an error; what the kernel lacks shows as nothing.
    pub fn read(netns: &Netns) -> Result<Dump> {
        let mut lines = BTreeSet::new();
        for (words, may_fail) in ASKED {
            let shown = program::run(netns.command(words[0]).args(&words[1..]), "");
            let shown = match shown {
                Err(error) if may_fail && is_installed(words[0])? => {
                    lines.insert(format!("{}: cannot", words.join(" ")));
                    drop(error);
                    continue;
                }
                shown => shown?,
            };
            let mut at = String::new();
            for (number, line) in shown.lines().enumerate() {
                let Some(line) = settled(line) else { continue };
                // rules stand in an order, and blocks begin at the margin; the rest is a set
                if words[0] == "nft" || words[0].starts_with("ip") && words[0].ends_with("-save") {
                    if !line.starts_with(char::is_whitespace) {
                        at = line.clone();
                    }
                    lines.insert(format!("{}: {number}: {at}: {line}", words.join(" ")));
                } else {
                    lines.insert(format!("{}: {line}", words.join(" ")));
                }
            }
        }
        netns.enter(|| sysctls(Path::new("/proc/sys/net"), &mut lines))??;
        Ok(Dump(lines))
    }

    /// Fails, with what was lost and what is new, unless `after` shows the same.
    pub fn same_as(&self, after: &Dump) -> Result<()> {
        let lost: Vec<&String> = self.0.difference(&after.0).collect();
        let new: Vec<&String> = after.0.difference(&self.0).collect();
        ensure!(
            lost.is_empty() && new.is_empty(),
            "lost: {lost:#?}\nnew: {new:#?}"
        );
        Ok(())
    }

    /// Gives the lines that contain a text.
    pub fn with(&self, text: &str) -> Vec<&str> {
        let lines = self.0.iter().map(String::as_str);
        lines.filter(|line| line.contains(text)).collect()
    }
}

fn is_installed(tool: &str) -> Result<bool> {
    let path = std::env::var("PATH").context("reading PATH")?;
    let found = path
        .split(':')
        .any(|dir| Path::new(dir).join(tool).is_file());
    ensure!(found, "no {tool} here");
    Ok(found)
}

/// Gives a line without what a kernel changes by itself; none, when that is all of it.
fn settled(line: &str) -> Option<String> {
    // comments of iptables-save have the time, the kernel's own addresses of a link are random
    if line.starts_with('#') || line.contains("fe80::") || line.contains("ff00::/8") {
        return None;
    }
    let line = without(line, " qdisc ", 1);
    let line = line.split(" initval ").next().unwrap_or_default();
    // the counters of a chain's policy
    let line = line.split(" [").next().unwrap_or_default();
    Some(line.to_owned())
}

/// Gives a line without a mark and the words that follow it. Of a queue nothing is left but its name, which a link that
/// was never up does not have.
fn without(line: &str, mark: &str, words: usize) -> String {
    match line.split_once(mark) {
        Some((start, rest)) => {
            let rest: Vec<&str> = rest.split(' ').skip(words).collect();
            format!("{start} {}", rest.join(" "))
        }
        None => line.to_owned(),
    }
}

fn sysctls(dir: &Path, lines: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            sysctls(&path, lines)?;
        } else if !RESTLESS.iter().any(|end| path.ends_with(end)) {
            // some can only be written
            let value = fs::read_to_string(&path).unwrap_or_default();
            lines.insert(format!("{}={}", path.display(), value.trim()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_changes_by_itself_is_left_out() {
        for (line, left) in [
            ("# Generated by iptables-save", None),
            (":INPUT ACCEPT [3:180]", Some(":INPUT ACCEPT")),
            (
                "2: tunl0@NONE: <NOARP> mtu 1480 qdisc noop state DOWN",
                Some("2: tunl0@NONE: <NOARP> mtu 1480 state DOWN"),
            ),
            (
                "create THEIRS hash:ip maxelem 65536 initval 0x1",
                Some("create THEIRS hash:ip maxelem 65536"),
            ),
            ("fe80::/64 dev eth0", None),
        ] {
            assert_eq!(settled(line).as_deref(), left);
        }
    }

    #[test]
    fn what_is_lost_and_new_is_named() {
        let dump = |lines: &[&str]| Dump(lines.iter().map(|line| line.to_string()).collect());
        let before = dump(&["a", "b"]);
        assert!(before.same_as(&before).is_ok());
        let error = before.same_as(&dump(&["b", "c"])).expect_err("differs");
        let text = error.to_string();
        assert!(text.contains("\"a\"") && text.contains("\"c\""), "{text}");
        assert_eq!(before.with("b"), ["b"]);
    }
}
