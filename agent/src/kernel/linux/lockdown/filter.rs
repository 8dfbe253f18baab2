//! The rules of a lockdown through a program of the iptables family: a chain of ours, and a jump to it at the top of
//! `filter INPUT`.
//!
//! The program is run only where rules are looked at, put up or taken away. They go in by one run of its `restore`,
//! which replaces the table as a whole (`do_replace` in `net/ipv4/netfilter/ip_tables.c`): there is never a half of
//! them. Each rule bears a comment by which it is known again: how a version prints a rule is its own affair.

use std::io;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use weir_proto::model::Family;
use weir_proto::trace::chain;

use super::xtables::Kind;
use crate::kernel::linux::loopback::IptablesError;
use crate::kernel::linux::loopback::iptables::{LOCK_WAIT, VARIANTS, program};
use crate::kernel::linux::loopback::netlink_family;

/// The chain that the rules are in.
pub const CHAIN: &str = "WEIR-LOCKDOWN";
/// What the comments of our rules begin with.
const MARK: &str = "weir:";
/// The comment of the jump.
const JUMP: &str = "weir:lockdown";

/// What changes the filter table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The variant's name for IPv4.
    variant: &'static str,
}

/// How the rules of a family stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether there is a chain by our name.
    pub chain: bool,
    /// How many jumps of ours lead to it.
    pub jumps: usize,
    /// Whether all rules are there, in their order, and no other in the chain.
    pub rules: bool,
    /// Packets that were rejected.
    pub rejected: u64,
}

impl Standing {
    /// Says whether nothing is amiss.
    pub fn is_whole(self) -> bool {
        self.rules && self.jumps == 1
    }
}

impl Filter {
    /// Finds a variant that can hold such rules for IPv4 in this network namespace: tries with a chain that it makes
    /// and deletes again. What may stay is the empty filter table itself.
    pub async fn find() -> Result<Self, IptablesError> {
        let scratch = format!("weir-probe-{}", std::process::id());
        let make = format!(
            "*filter\n:{scratch} - [0:0]\n-A {scratch} -p tcp -m tcp --syn -m conntrack --ctstate ESTABLISHED \
             -m comment --comment weir -j REJECT --reject-with tcp-reset\nCOMMIT\n"
        );
        let delete = format!("*filter\n-F {scratch}\n-X {scratch}\nCOMMIT\n");
        let mut refusals = Vec::new();
        for variant in VARIANTS {
            let filter = Self { variant };
            let made = filter.restore(Family::V4, &make).await;
            let deleted = match made {
                Ok(()) => filter.restore(Family::V4, &delete).await,
                refused => refused,
            };
            match deleted {
                Ok(()) => return Ok(filter),
                Err(error) => refusals.push(chain(&error)),
            }
        }
        Err(IptablesError::None(refusals.join("; ")))
    }

    /// Says which variant it is.
    pub fn describe(&self) -> String {
        format!("the program {}", self.variant)
    }

    /// Looks at the rules of a family.
    pub async fn standing(&self, family: Family) -> Result<Standing, IptablesError> {
        let program = program(self.variant, netlink_family(family));
        let list = ["-w", LOCK_WAIT, "-t", "filter", "-S", "-v"];
        let output = run(&program, &list, "").await?;
        Ok(read(&String::from_utf8_lossy(&output.stdout), family))
    }

    /// Puts the rules up in place of those in the chain, and the jump on top of the input chain unless it is there.
    pub async fn install(&self, family: Family, found: Standing) -> Result<(), IptablesError> {
        let missing = match found.jumps {
            0 => format!("-I INPUT 1 {}\n", jump()),
            _ => String::new(),
        };
        let spare = format!("-D INPUT {}\n", jump()).repeat(found.jumps.saturating_sub(1));
        let rules: String = rules(family)
            .iter()
            .map(|rule| format!("-A {CHAIN} {}\n", rule.text()))
            .collect();
        // to name a chain is to make it, or to empty it
        let script = format!("*filter\n:{CHAIN} - [0:0]\n{rules}{missing}{spare}COMMIT\n");
        self.restore(family, &script).await
    }

    /// Takes jumps, rules and chain away, as far as they are there.
    pub async fn remove(&self, family: Family) -> Result<(), IptablesError> {
        let found = self.standing(family).await?;
        if !found.chain {
            return Ok(());
        }
        let jumps = format!("-D INPUT {}\n", jump()).repeat(found.jumps);
        let script = format!("*filter\n{jumps}-F {CHAIN}\n-X {CHAIN}\nCOMMIT\n");
        self.restore(family, &script).await
    }

    async fn restore(&self, family: Family, script: &str) -> Result<(), IptablesError> {
        let program = program(self.variant, netlink_family(family));
        let arguments = ["-w", LOCK_WAIT, "--noflush"];
        run(&format!("{program}-restore"), &arguments, script).await?;
        Ok(())
    }
}

/// One rule: what it is called, what it looks for, and what becomes of the packet.
struct Rule {
    name: String,
    looks_for: String,
    target: String,
}

impl Rule {
    fn text(&self) -> String {
        let Self {
            name,
            looks_for,
            target,
        } = self;
        format!("{looks_for} -m comment --comment {MARK}{name} -j {target}")
    }
}

/// Gives the jump, as it is inserted and as it is deleted.
fn jump() -> String {
    format!("-m comment --comment {JUMP} -j {CHAIN}")
}

/// Gives the rules, in their order: first all that is let through, the most frequent before the others.
fn rules(family: Family) -> Vec<Rule> {
    let rule = |name: &str, looks_for: String, target: &str| Rule {
        name: name.to_owned(),
        looks_for,
        target: target.to_owned(),
    };
    // only a SYN alone begins a connection (tcp_rcv_state_process in net/ipv4/tcp_input.c). Conntrack cannot tell: a flow
    // whose backend answers its client directly is never seen to be answered, and stays new to it
    let under_way = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN".to_owned();
    let mut rules = vec![rule("tcp-under-way", under_way, "RETURN")];
    // not all that is not new: what conntrack was told not to look at, or cannot make sense of, would come in
    let known = "-m conntrack --ctstate RELATED,ESTABLISHED".to_owned();
    rules.push(rule("known-flow", known, "RETURN"));
    let set = |kind: Kind| format!("-m set --match-set {} {}", kind.name(family), kind.fields());
    rules.push(rule("open", set(Kind::Open), "RETURN"));
    rules.push(rule("allowed", set(Kind::Allow), "RETURN"));
    // echo request; destination unreachable (with it: fragmentation needed, packet too big), time exceeded, parameter
    // problem; neighbour solicitation and advertisement
    let (protocol, types): (&str, &[u8]) = match family {
        Family::V4 => ("-p icmp -m icmp --icmp-type", &[8, 3, 11, 12]),
        Family::V6 => (
            "-p ipv6-icmp -m icmp6 --icmpv6-type",
            &[128, 1, 2, 3, 4, 135, 136],
        ),
    };
    for number in types {
        let name = format!("icmp-{number}");
        rules.push(rule(&name, format!("{protocol} {number}"), "RETURN"));
    }
    let unreachable = match family {
        Family::V4 => "REJECT --reject-with icmp-port-unreachable",
        Family::V6 => "REJECT --reject-with icmp6-port-unreachable",
    };
    for (name, kind) in [("guarded", Kind::Guarded), ("locked", Kind::Locked)] {
        rules.push(rule(
            &format!("{name}-tcp"),
            format!("-p tcp {}", set(kind)),
            "REJECT --reject-with tcp-reset",
        ));
        rules.push(rule(name, set(kind), unreachable));
    }
    rules
}

/// Reads what `-S -v` printed of the whole table.
fn read(listing: &str, family: Family) -> Standing {
    let mut standing = Standing::default();
    let mut found = Vec::new();
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |word: &str| {
            let place = words.iter().position(|found| *found == word)?;
            Some(words.get(place + 1)?.trim_matches('"'))
        };
        match words.first_chunk() {
            Some(["-N", CHAIN]) => standing.chain = true,
            Some(["-A", CHAIN]) => {
                let (comment, target) = (after("--comment"), after("-j"));
                if target == Some("REJECT") {
                    let packets = after("-c").and_then(|packets| packets.parse::<u64>().ok());
                    standing.rejected = standing.rejected.saturating_add(packets.unwrap_or(0));
                }
                let line = format!(
                    "{} {}",
                    comment.unwrap_or_default(),
                    target.unwrap_or_default()
                );
                found.push(line);
            }
            Some(["-A", "INPUT"]) => {
                let ours = after("--comment") == Some(JUMP) && after("-j") == Some(CHAIN);
                standing.jumps += usize::from(ours);
            }
            _ => {}
        }
    }
    let wanted = rules(family).into_iter().map(|rule| {
        let target = rule.target.split(' ').next().unwrap_or_default();
        format!("{MARK}{} {target}", rule.name)
    });
    standing.rules = wanted.eq(found);
    standing
}

/// Runs a program with this input; an error has what it said last.
async fn run(program: &str, arguments: &[&str], input: &str) -> Result<Output, IptablesError> {
    let cannot_run = |source: io::Error| IptablesError::Run {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(cannot_run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // one that does not read it to the end says why
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(cannot_run)?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(IptablesError::Refused {
        program: program.to_owned(),
        stderr: stderr.trim().replace('\n', " "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What iptables 1.8.9 prints of our rules, with these counts for those that reject.
    fn printed(family: Family, packets: u64) -> String {
        let mut text = format!(
            "-P INPUT ACCEPT -c 9 540\n-N THEIRS\n-N {CHAIN}\n\
             -A INPUT -m comment --comment \"{JUMP}\" -c 9 540 -j {CHAIN}\n-A INPUT -j THEIRS\n"
        );
        for Rule {
            name,
            looks_for,
            target,
        } in rules(family)
        {
            let counts = if target == "RETURN" { 7 } else { packets };
            text += &format!(
                "-A {CHAIN} {looks_for} -m comment --comment \"{MARK}{name}\" -c {counts} 60 -j {target}\n"
            );
        }
        text
    }

    #[test]
    fn rules_are_known_again_and_what_they_rejected_is_summed_up() {
        for (family, rejecting) in [(Family::V4, 4), (Family::V6, 4)] {
            let standing = read(&printed(family, 5), family);
            let whole = Standing {
                chain: true,
                jumps: 1,
                rules: true,
                rejected: 5 * rejecting,
            };
            assert_eq!(standing, whole);
            assert!(standing.is_whole());
        }
        assert_eq!(
            read("-P INPUT ACCEPT -c 0 0\n", Family::V4),
            Standing::default()
        );
    }

    #[test]
    fn a_rule_more_or_less_or_another_jump_is_seen() {
        let whole = printed(Family::V4, 0);
        let ours = |line: &&str| line.starts_with("-A") && line.contains(CHAIN);
        for line in whole.lines().filter(ours) {
            let without = whole.replace(&format!("{line}\n"), "");
            assert!(
                !read(&without, Family::V4).is_whole(),
                "without {line}:\n{without}"
            );
        }
        let more = format!("-A {CHAIN} -c 0 0 -j ACCEPT\n");
        assert!(!read(&format!("{whole}{more}"), Family::V4).is_whole());
        let jump = format!("-A INPUT -m comment --comment \"{JUMP}\" -c 9 540 -j {CHAIN}\n");
        assert_eq!(read(&format!("{whole}{jump}"), Family::V4).jumps, 2);
        let theirs = format!("-A INPUT -s 192.0.2.1/32 -c 9 540 -j {CHAIN}\n");
        assert_eq!(read(&format!("{whole}{theirs}"), Family::V4).jumps, 1);
    }

    #[test]
    fn what_lets_through_stands_before_what_rejects() {
        for family in Family::ALL {
            let rejects = |rule: &Rule| rule.target.starts_with("REJECT");
            let rules = rules(family);
            assert!(rules.is_sorted_by_key(rejects));
            let rejecting = rules.iter().filter(|rule| rejects(rule));
            let names: Vec<&str> = rejecting.map(|rule| rule.name.as_str()).collect();
            assert_eq!(names, ["guarded-tcp", "guarded", "locked-tcp", "locked"]);
        }
    }
}
