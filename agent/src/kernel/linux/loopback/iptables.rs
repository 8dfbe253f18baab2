//! The loopback rule through a program of the iptables family, for kernels where nf_tables cannot hold it.
//!
//! There are two kinds under one name, and often only one works: `iptables-nft` needs nf_tables in the
//! kernel, `iptables-legacy` the old tables. The first that can change the nat table is used from then on.

use std::{io, process::Output};

use tokio::process::Command;
use weir_proto::trace::chain;

use super::Standing;
use crate::kernel::linux::netlink::Family;

/// In the order tried; the last is whichever the distribution made the default.
const VARIANTS: [&str; 3] = ["iptables-nft", "iptables-legacy", "iptables"];
/// Seconds that the program waits for another one to give up the lock (`/run/xtables.lock`). kube-proxy and
/// container runtimes hold it for a second or two while they restore large tables.
const LOCK_WAIT: &str = "5";

/// Why the program did not do it.
#[derive(Debug, thiserror::Error)]
pub enum IptablesError {
    /// It could not be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ran and refused.
    #[error("{program} refused: {stderr}")]
    Refused {
        /// The program.
        program: String,
        /// Its last words.
        stderr: String,
    },
    /// No variant works here.
    #[error("no iptables works: {0}")]
    None(String),
}

/// The engine that runs a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iptables {
    /// The variant's name for IPv4.
    variant: &'static str,
    /// Whether it takes `--random-fully` (iptables 1.6.2, Linux 3.13).
    random_fully: bool,
}

impl Iptables {
    /// Finds a variant that can change the nat table of IPv4 in this network namespace.
    ///
    /// Tries with a chain that it makes and deletes: over a kernel without nf_tables `iptables-nft` lists
    /// the table as if it were there and fails only when it changes something. What may stay is the empty
    /// nat table itself.
    pub async fn find() -> Result<Self, IptablesError> {
        let scratch = format!("weir-probe-{}", std::process::id());
        let mut refusals = Vec::new();
        for variant in VARIANTS {
            let made = run(variant, &["-w", LOCK_WAIT, "-t", "nat", "-N", &scratch]).await;
            let deleted = match made {
                Ok(_) => run(variant, &["-w", LOCK_WAIT, "-t", "nat", "-X", &scratch]).await,
                refused => refused,
            };
            match deleted {
                Ok(_) => {
                    return Ok(Self {
                        variant,
                        random_fully: true,
                    });
                }
                Err(error) => refusals.push(chain(&error)),
            }
        }
        Err(IptablesError::None(refusals.join("; ")))
    }

    /// Says which variant it is.
    pub fn describe(&self) -> String {
        format!("the program {}", self.variant)
    }

    /// Says how the rule stands. One that an earlier version put up without `--random-fully` is older.
    pub async fn standing(&mut self, family: Family, set: &str) -> Result<Standing, IptablesError> {
        let found = self.found(family, set).await?;
        let wanted = match self.random_fully {
            true => [0, 1],
            false => [1, 0],
        };
        Ok(match found {
            [0, 0] => Standing::Absent,
            found if found == wanted => Standing::Whole,
            // a variant that does not know the option is found out by the first rule it puts up
            [1, 0] if self.refuses_random_fully(family, set).await => Standing::Whole,
            _ => Standing::Older,
        })
    }

    /// Appends the rule unless it is there, and then deletes those of ours that are not like it.
    pub async fn install(&mut self, family: Family, set: &str) -> Result<(), IptablesError> {
        if self.standing(family, set).await? == Standing::Whole {
            return Ok(());
        }
        let [plain, random] = self.found(family, set).await?;
        if [plain, random][usize::from(self.random_fully)] == 0 {
            self.append(family, set).await?;
        }
        let (spare_plain, spare_random) = match self.random_fully {
            true => (plain, random.saturating_sub(1)),
            false => (plain.saturating_sub(1), random),
        };
        self.delete(family, set, [spare_plain, spare_random]).await
    }

    /// Deletes every rule of ours on the set.
    pub async fn remove(&mut self, family: Family, set: &str) -> Result<(), IptablesError> {
        let found = self.found(family, set).await?;
        self.delete(family, set, found).await
    }

    /// Counts the rules of ours on a set: those without `--random-fully`, and those with it.
    async fn found(&self, family: Family, set: &str) -> Result<[usize; 2], IptablesError> {
        let program = program(self.variant, family);
        let list = ["-w", LOCK_WAIT, "-t", "nat", "-S", "POSTROUTING"];
        match run(&program, &list).await {
            Ok(output) => Ok(count(&String::from_utf8_lossy(&output.stdout), set)),
            Err(IptablesError::Refused { stderr, .. }) if says_absent(&stderr) => Ok([0, 0]),
            Err(error) => Err(error),
        }
    }

    /// Deletes so many rules of each kind.
    async fn delete(
        &self,
        family: Family,
        set: &str,
        [plain, random]: [usize; 2],
    ) -> Result<(), IptablesError> {
        let program = program(self.variant, family);
        let kinds = [false, true].into_iter().zip([plain, random]);
        for (random_fully, times) in kinds {
            for _ in 0..times {
                run(&program, &arguments("-D", set, random_fully)).await?;
            }
        }
        Ok(())
    }

    /// Says whether this variant does not know `--random-fully`, and remembers it: asks whether one with it
    /// is there.
    async fn refuses_random_fully(&mut self, family: Family, set: &str) -> bool {
        let program = program(self.variant, family);
        if let Err(IptablesError::Refused { stderr, .. }) =
            run(&program, &arguments("-C", set, true)).await
            && self.random_fully
            && stderr.contains("random-fully")
        {
            self.random_fully = false;
        }
        !self.random_fully
    }

    /// Appends the rule; drops `--random-fully` for good when the variant does not know it.
    async fn append(&mut self, family: Family, set: &str) -> Result<(), IptablesError> {
        let program = program(self.variant, family);
        loop {
            match run(&program, &arguments("-A", set, self.random_fully)).await {
                Err(IptablesError::Refused { stderr, .. })
                    if self.random_fully && stderr.contains("random-fully") =>
                {
                    self.random_fully = false;
                }
                outcome => return outcome.map(|_output| ()),
            }
        }
    }
}

fn program(variant: &str, family: Family) -> String {
    match family {
        Family::Inet => variant.to_owned(),
        Family::Inet6 => variant.replacen("iptables", "ip6tables", 1),
    }
}

fn arguments<'a>(act: &'a str, set: &'a str, random_fully: bool) -> Vec<&'a str> {
    let mut arguments = vec!["-w", LOCK_WAIT, "-t", "nat", act, "POSTROUTING"];
    arguments.extend(["-m", "set", "--match-set", set, "dst,dst,src"]);
    arguments.extend(["-m", "comment", "--comment", "weir", "-j", "MASQUERADE"]);
    if random_fully {
        arguments.push("--random-fully");
    }
    arguments
}

/// Counts the rules of ours on a set in what `-S` printed: those without `--random-fully`, and those with it.
fn count(listing: &str, set: &str) -> [usize; 2] {
    let mut found = [0, 0];
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let has = |part: &[&str]| words.windows(part.len()).any(|words| words == part);
        let ours = has(&["-A", "POSTROUTING"])
            && has(&["--match-set", set, "dst,dst,src"])
            && (has(&["--comment", "weir"]) || has(&["--comment", "\"weir\""]))
            && has(&["-j", "MASQUERADE"])
            && !has(&["!"]);
        if ours {
            found[usize::from(has(&["--random-fully"]))] += 1;
        }
    }
    found
}

/// Knows the sentences for an absent rule: of the legacy variant, and of the one over nf_tables.
fn says_absent(stderr: &str) -> bool {
    stderr.contains("does a matching rule exist in that chain")
        || stderr.contains("No chain/target/match by that name")
}

async fn run(program: &str, arguments: &[&str]) -> Result<Output, IptablesError> {
    let output = Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await;
    let output = output.map_err(|source| IptablesError::Run {
        program: program.to_owned(),
        source,
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr)
        .trim()
        .replace('\n', " ");
    Err(IptablesError::Refused {
        program: program.to_owned(),
        stderr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_spelled_as_an_operator_would() {
        assert_eq!(
            arguments("-A", "weir4", true).join(" "),
            "-w 5 -t nat -A POSTROUTING -m set --match-set weir4 dst,dst,src -m comment --comment weir \
             -j MASQUERADE --random-fully"
        );
        assert!(!arguments("-A", "weir4", false).contains(&"--random-fully"));
    }

    #[test]
    fn rules_of_ours_are_counted_by_whether_they_choose_ports_at_random() {
        let listing = "-P POSTROUTING ACCEPT\n\
            -A POSTROUTING -m set --match-set weir4 dst,dst,src -m comment --comment weir -j MASQUERADE\n\
            -A POSTROUTING -m set --match-set weir4 dst,dst,src -m comment --comment weir -j MASQUERADE --random-fully\n\
            -A POSTROUTING -m set --match-set weir4 dst,dst,src -m comment --comment \"weir\" -j MASQUERADE --random-fully\n\
            -A POSTROUTING -m set --match-set weir44 dst,dst,src -m comment --comment weir -j MASQUERADE\n\
            -A POSTROUTING -m set --match-set weir4 dst,dst,src -m comment --comment theirs -j MASQUERADE\n\
            -A POSTROUTING -m set --match-set weir4 dst,dst,src -j MASQUERADE\n\
            -A POSTROUTING -m set ! --match-set weir4 dst,dst,src -m comment --comment weir -j MASQUERADE\n";
        assert_eq!(count(listing, "weir4"), [1, 2]);
        assert_eq!(count("", "weir4"), [0, 0]);
    }

    #[test]
    fn each_variant_has_a_twin_for_ipv6() {
        let twins = VARIANTS.map(|variant| program(variant, Family::Inet6));
        assert_eq!(twins, ["ip6tables-nft", "ip6tables-legacy", "ip6tables"]);
    }
}
