//! What a plan says is what applying does to the kernels, and planning does nothing to them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use weir_integration::client::{Held, Proto};
use weir_integration::eventually::eventually;
use weir_integration::weir::Ended;

use crate::pair::{CHANGED, Kernels, Pair, WEB, on_a_pair, well};
use crate::seen::{NodePlan, Plan, changes, connections};
use crate::site::{SOON, answered};

/// What leaves to where its connections do not follow, and what needs of the kernel what nothing needed before.
const MOVED: &str = "
apiVersion: weir/v1
kind: Service
metadata: {name: more}
spec:
  frontends: [{address: 10.100.0.2, port: 9054, protocol: UDP}]
  lockdown: false
  scheduler: wrr
  backends: [{address: 10.0.1.11, port: 9053, node: node-b}]
---
apiVersion: weir/v1
kind: Service
metadata: {name: web}
spec:
  frontends: [{address: 10.100.0.1, port: 9081, protocol: TCP}]
  scheduler: rr
  backends: [{address: 10.0.0.21, port: 9080, node: node-a}]
---
apiVersion: weir/v1
kind: Service
metadata: {name: six}
spec:
  vipBinding: ROUTE
  frontends: [{address: 'fd64::1', port: 9080, protocol: TCP}]
  sessionAffinity: {timeoutSeconds: 60}
  scheduler: rr
  backends: [{address: 'fd00::11', port: 9080, node: node-a}, {address: 'fd00:0:0:1::11', port: 9080, node: node-b}]
";

/// At an address and at a port that somebody else has, and at one that nobody has.
const TAKEN: &str = "
apiVersion: weir/v1
kind: Service
metadata: {name: taken}
spec:
  frontends:
    - {address: 10.100.0.1, port: 8443, protocol: TCP}
    - {address: 10.100.0.3, port: 8443, protocol: TCP}
    - {address: 10.100.7.7, port: 9080, protocol: TCP}
  scheduler: rr
  backends: [{address: 10.0.0.21, port: 9080, node: node-a}]
";

/// What was foretold of a change that was made then.
struct Foretold {
    /// As people read it.
    text: String,
    nodes: BTreeMap<String, NodePlan>,
    /// As the change left them.
    kernels: Kernels,
}

impl Pair<'_> {
    /// Plans and then applies a file, and fails unless planning does nothing, and applying what was planned.
    fn foretold(&self, yaml: &str, applied: &Ended) -> Result<Foretold> {
        let before = self.kernels()?;
        let counted = self.connections()?;
        let planned = self.weirctl("plan -f FILE", yaml)?;
        let written = self.weirctl("plan -f FILE -o json", yaml)?;
        let now = self.kernels()?;
        ensure!(now == before, "planning changed {before:#?}\nto {now:#?}");
        ensure!(
            planned.status == Some(1) && planned.err.is_empty(),
            "{planned:?}"
        );
        let plan: Plan =
            serde_json::from_str(&written.out).with_context(|| format!("{written:?}"))?;

        let made = self.weirctl("apply -f FILE --wait", yaml)?;
        ensure!(made == *applied, "{made:#?}");
        let after = self.kernels()?;
        let mut nodes = BTreeMap::new();
        for node in plan.nodes {
            let name = node.node.clone();
            let (foretold, seen) = (node.changes()?, changes(&before[&name], &after[&name])?);
            ensure!(
                foretold == seen,
                "{name}: foretold {foretold:#?}\nseen {seen:#?}"
            );
            node.counts(&counted[&name]).context(name.clone())?;
            nodes.insert(name, node);
        }
        ensure!(nodes.keys().eq(after.keys()), "of {:?} alone", nodes.keys());
        Ok(Foretold {
            text: planned.out,
            nodes,
            kernels: after,
        })
    }

    /// Fails unless a file has nothing to change.
    fn holds(&self, yaml: &str, said: &str) -> Result<()> {
        let again = self.weirctl("plan -f FILE", yaml)?;
        ensure!(
            again == well(&format!("{said}no node would change\n")),
            "{again:?}"
        );
        Ok(())
    }

    fn connections(&self) -> Result<BTreeMap<String, crate::seen::Connections>> {
        let nodes = self.site.topology.nodes.iter();
        let counted = nodes.map(|node| {
            let listed = self.on(&node.name, "ipvsadm -Ln")?;
            Ok((node.name.clone(), connections(&listed)?))
        });
        counted.collect()
    }
}

/// Cuts those of the connections that a backend has.
fn cut(held: Vec<Held>, backend: &str) -> Result<Vec<Held>> {
    let (gone, rest) = held
        .into_iter()
        .partition(|it: &Held| it.answer.pod == backend);
    let gone: Vec<Held> = gone;
    for held in gone {
        held.reset()?;
    }
    Ok(rest)
}

#[test]
fn what_is_planned_is_what_the_kernels_show_when_it_is_applied_and_planning_changes_nothing()
-> Result<()> {
    const LEAVES: &str = "10.0.0.11";
    on_a_pair(|pair| {
        // on nodes that have nothing yet, all that weir stands on is part of it
        let applied = well("service/web created\nconverged on 2 nodes\n");
        pair.foretold(WEB, &applied)?;
        pair.holds(WEB, "service/web unchanged (plan)\n")?;

        let mut held = pair.hold("node-a", 6)?;
        let finished = held.iter_mut().find(|it| it.answer.pod == LEAVES);
        finished.context("the backend has none")?.finish()?;
        held.extend(pair.hold("node-b", 3)?);
        let applied = "service/web configured\nservice/more created\nconverged on 2 nodes\n";
        let changed = pair.foretold(CHANGED, &well(applied))?;
        let expected = include_str!("plan.txt");
        ensure!(changed.text == expected, "{}", changed.text);
        let unchanged = "service/web unchanged (plan)\nservice/more unchanged (plan)\n";
        pair.holds(CHANGED, unchanged)?;
        let mut others = held.iter_mut().filter(|it| it.answer.pod != LEAVES);
        others.try_for_each(|it| it.talks("still there?"))?;

        // the last of it, when its connections have ended
        held = cut(held, LEAVES)?;
        eventually("the backend leaves as foretold", SOON, || {
            let kernels = pair.kernels()?;
            for (node, plan) in &changed.nodes {
                let seen = changes(&changed.kernels[node], &kernels[node])?;
                let gone = seen.iter().filter(|(_, (_, is))| is.is_none());
                let gone = gone.map(|(object, _)| object.as_str());
                ensure!(
                    gone.eq(plan.going()) && seen.len() == plan.going().len(),
                    "{node}: {seen:#?}"
                );
            }
            Ok(())
        })?;
        pair.holds(CHANGED, unchanged)?;

        // what somebody changed in what a change touches is put back by it
        pair.on(
            "node-b",
            "ipvsadm -a -t 10.100.0.1:9080 -r 10.0.0.11:9080 -m -w 4",
        )?;
        pair.on(
            "node-b",
            "ipvsadm -e -u 10.100.0.2:9053 -r 10.0.1.11:9053 -m -w 9",
        )?;
        let applied = "service/more configured\nservice/web configured\nservice/six created\n\
                       converged on 2 nodes\n";
        pair.foretold(MOVED, &well(applied))?;
        drop(held);
        Ok(())
    })
}

#[test]
fn what_somebody_else_has_is_planned_as_what_cannot_be_had_and_applying_does_the_rest() -> Result<()>
{
    on_a_pair(|pair| {
        pair.site.apply(WEB)?;
        let refused = Ended {
            status: Some(1),
            out: "service/taken created\n".to_owned(),
            err: include_str!("taken.txt").to_owned(),
        };
        let reached = || {
            let client = &pair.site.topology.client;
            answered("client", client, Proto::Tcp, "10.100.7.7:80", &["pod-y"])
        };
        reached()?;
        let foretold = pair.foretold(TAKEN, &refused)?;
        reached().context("somebody's own service is cut off")?;
        // the lock of a VIP is told with the VIP once it is refused
        let lock = "locked vip 10.100.7.7: 10.100.7.7 is an address of this node already";
        for (node, plan) in foretold.nodes {
            let told = refused.err.lines();
            let told = told.filter_map(|line| line.strip_prefix(&format!("{node}: ")));
            let mut told: Vec<String> = told.map(|line| line.replace("EEXIST: ", "")).collect();
            told.insert(0, lock.to_owned());
            ensure!(
                plan.conflicts == told,
                "{node}: {:#?}\nrefused: {told:#?}",
                plan.conflicts
            );
        }
        Ok(())
    })
}
