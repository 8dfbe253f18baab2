//! What a colleague changes where the kernel gives no notice is put back by the next audit, and each repair is counted.

use anyhow::{Context, Result, ensure};
use weir_integration::client::Proto;
use weir_integration::eventually::eventually;
use weir_integration::kernel_state::KernelState;
use weir_integration::topology::Topology;
use weir_integration::weir::AgentProgram;

use crate::site::{SOON, Site, WEB, WEB_VIP, answered, on_with};

/// Audits follow each other as fast as the agent lets them.
const AUDIT_SECONDS: u64 = 1;

/// One that lets nobody in but to what is declared.
const LOCKED: &str = "
---
apiVersion: weir/v1
kind: Service
metadata: {name: locked}
spec:
  lockdown: true
  frontends: [{address: 10.100.100.101, port: 8080, protocol: TCP, allowSources: [192.168.77.0/24]}]
  scheduler: wrr
  backends: [{address: 10.0.0.11, port: 8080, node: node-a, weight: 3}]
";
const LOCKED_VIP: &str = "10.100.100.101:8080";

/// Runs a scenario with an agent that audits often.
fn on_watched_pods(scenario: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    let agent = AgentProgram {
        audit_seconds: AUDIT_SECONDS,
        ..AgentProgram::default()
    };
    on_with(agent, Topology::two_pods, scenario)
}

fn answers(site: &Site) -> Result<()> {
    let client = &site.topology.client;
    answered("client", client, Proto::Tcp, WEB_VIP, &["pod-x", "pod-y"])?;
    answered("client", client, Proto::Tcp, LOCKED_VIP, &["pod-x"])
}

/// What somebody does: a command, what it reads, and how many things of weir's that changes.
struct Deed {
    line: String,
    input: String,
    things: u64,
}

impl Deed {
    fn new(line: &str, things: u64) -> Deed {
        Deed {
            line: line.into(),
            input: String::new(),
            things,
        }
    }

    /// One command for a program that restores a table of rules.
    fn rules(rule: &str, table: &str, change: impl Fn(&str) -> String) -> Result<Deed> {
        let (save, rule) = rule.split_once(": ").context("a rule of no program")?;
        let change = change(rule.strip_prefix("-A ").context("no rule")?);
        Ok(Deed {
            line: format!("{} --noflush", save.replace("-save", "-restore")),
            input: format!("*{table}\n{change}\nCOMMIT\n"),
            things: 1,
        })
    }
}

/// All that a colleague may do to what `held` tells.
fn deeds(held: &KernelState) -> Result<Vec<Deed>> {
    let rule = |mark: &str| {
        let mut rules = held.rules.iter();
        let rule = rules.find(|rule| rule.contains(mark));
        rule.with_context(|| format!("no rule with {mark} among {:#?}", held.rules))
    };
    let members: Vec<&str> = held
        .sets
        .iter()
        .filter_map(|line| line.strip_prefix("add WEIR-LOOPBACK "))
        .collect();
    let member = members.first().context("an empty set")?;
    let flushed = rule("-A WEIR-LOCKDOWN")?;
    Ok(vec![
        // two services with three backends
        Deed::new("ipvsadm -C", 5),
        // with its backends
        Deed::new("ipvsadm -D -t 10.100.100.100:8080", 3),
        Deed::new("ipvsadm -d -t 10.100.100.100:8080 -r 10.0.0.11:8080", 1),
        Deed::new(
            "ipvsadm -e -t 10.100.100.101:8080 -r 10.0.0.11:8080 -m -w 9",
            1,
        ),
        Deed::new("ipvsadm -E -t 10.100.100.100:8080 -s wlc", 1),
        Deed::new(&format!("ipset del WEIR-LOOPBACK {member}"), 1),
        Deed::new("ipset flush WEIR-LOOPBACK", members.len() as u64),
        Deed::rules(rule("WEIR-LOOPBACK")?, "nat", |rule| format!("-D {rule}"))?,
        Deed::rules(flushed, "filter", |_| "-F WEIR-LOCKDOWN".into())?,
        Deed::new("sysctl -q -w net.ipv4.vs.conntrack=0", 1),
        Deed::new("sysctl -q -w net.ipv4.vs.expire_nodest_conn=0", 1),
    ])
}

/// Fails unless a table has so many repairs, among them what was found and what is expected of some.
fn told(table: &str, expected: u64) -> Result<()> {
    let rows = table.lines().skip(1).count() as u64;
    ensure!(rows == expected, "{rows} rows, not {expected}:\n{table}");
    for words in [
        ["10.0.0.11:8080", "weight 9", "weight 3"],
        ["10.100.100.100:8080", "wlc", "rr"],
        ["conntrack", " 0 ", " 1"],
    ] {
        let mut lines = table.lines();
        ensure!(
            lines.any(|line| words.iter().all(|word| line.contains(word))),
            "no line with {words:?}:\n{table}"
        );
    }
    Ok(())
}

#[test]
fn what_a_colleague_changes_is_put_back_by_the_next_audit_and_each_repair_is_counted() -> Result<()>
{
    on_watched_pods(|site| {
        site.apply(&[WEB, LOCKED].concat())?;
        answers(site)?;
        let before = site.kernel()?;
        let mut expected = site.counts("weir_agent_repairs_total")?;
        ensure!(expected == 0, "{expected} repairs of what nobody changed");
        for Deed {
            line,
            input,
            things,
        } in deeds(&before)?
        {
            site.on_node_with(&line, &input)?;
            expected += things;
            eventually(&format!("{line}: it is repaired"), SOON, || {
                let repairs = site.counts("weir_agent_repairs_total")?;
                ensure!(
                    repairs == expected,
                    "{repairs} repairs in all, not {expected}"
                );
                Ok(())
            })?;
            site.kernel_is_like(&before).context(line)?;
            answers(site)?;
        }
        let failed = site.counts("weir_agent_refused_steps_total")?;
        ensure!(failed == 0, "{failed} repairs were refused");
        eventually("the operator is told of each", SOON, || {
            told(&site.weirctl("get repairs node-a")?, expected)
        })
    })
}

#[test]
fn a_service_that_somebody_made_first_is_a_conflict_and_is_not_fought_over() -> Result<()> {
    /// So many looks at it, and no hand raised.
    const LOOKS: u64 = 3;
    on_watched_pods(|site| {
        site.apply(LOCKED)?;
        site.on_node("ipvsadm -A -t 10.100.100.100:8080 -s wlc")?;
        site.on_node("ipvsadm -a -t 10.100.100.100:8080 -r 10.0.0.21:8080 -m -w 5")?;
        let theirs = site.on_node("ipvsadm -Ln -t 10.100.100.100:8080")?;
        let refused = site.apply(WEB).expect_err("somebody has it").to_string();
        let told = "virtual service 10.100.100.100:8080/TCP is there and is not ours";
        ensure!(refused.contains(told), "{refused}");

        let steps = site.counts("weir_agent_steps_total")?;
        let audits = site.counts("weir_agent_audits_total")?;
        eventually("the agent looks again and again", SOON, || {
            let looks = site.counts("weir_agent_audits_total")? - audits;
            ensure!(looks >= LOOKS, "{looks} looks");
            Ok(())
        })?;
        let steps = site.counts("weir_agent_steps_total")? - steps;
        ensure!(steps == 0, "{steps} steps against somebody's service");
        let repairs = site.counts("weir_agent_repairs_total")?;
        ensure!(repairs == 0, "{repairs} repairs");
        let now = site.on_node("ipvsadm -Ln -t 10.100.100.100:8080")?;
        ensure!(now == theirs, "{now}");
        let status = site.weirctl("status").expect_err("not all is as wanted");
        ensure!(status.to_string().contains(told), "{status:#}");
        let client = &site.topology.client;
        answered("client", client, Proto::Tcp, LOCKED_VIP, &["pod-x"])?;

        // he is done with it, and it is wanted still
        site.on_node("ipvsadm -D -t 10.100.100.100:8080")?;
        eventually("it is ours now", SOON, || answers(site))
    })
}
