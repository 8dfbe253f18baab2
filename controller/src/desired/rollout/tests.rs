use super::*;
use crate::desired::samples::{node_name, service_name};

/// A rollout over nodes n0, n1, ... that nobody uses, at time 0.
fn rollout(canary: &str, nodes: usize) -> Rollout {
    let members = (0..nodes).map(|number| (node_name(&format!("n{number}")), Member::default()));
    Rollout {
        revision: Revision(7),
        canary: canary.parse().expect("steps"),
        step: 0,
        phase: RolloutPhase::Running,
        reason: String::new(),
        before: Arc::default(),
        services: [service_name("web")].into(),
        members: members.collect(),
        who: "anonymous".to_owned(),
        begun_unix_ms: 0,
        changed_unix_ms: 0,
        allow_mass_delete: false,
        usual: Count::default(),
    }
}

fn count(failed: u64, connections: u64) -> Count {
    Count {
        connections,
        failed,
    }
}

impl Rollout {
    /// Does what is next, and gives the nodes that were reached.
    fn go(&mut self, now: u64) -> Vec<NodeName> {
        match self.next(now) {
            Next::Wait(_) => Vec::new(),
            Next::Reach(step, nodes) => {
                let nodes: Vec<NodeName> = nodes.into_iter().collect();
                let with = nodes.iter().map(|name| (name.clone(), Generation(5)));
                self.reach(step, with, now);
                nodes
            }
            Next::Halt(reason) => {
                self.set_phase(RolloutPhase::Halted, reason, now);
                Vec::new()
            }
            Next::Finish => {
                self.set_phase(RolloutPhase::Done, String::new(), now);
                Vec::new()
            }
        }
    }

    fn say(&mut self, node: &NodeName, converged: u64, refuses: Option<&str>, now: u64) {
        let heard = Heard {
            converged: Generation(converged),
            refuses: refuses.map(str::to_owned),
            ..Heard::default()
        };
        self.heard(node, heard, now);
    }

    fn converge(&mut self, nodes: &[NodeName], now: u64) {
        for node in nodes {
            self.say(node, 5, None, now);
        }
    }

    fn settle(&mut self, touched: &BTreeSet<NodeName>) {
        let known: Vec<NodeName> = self.members.keys().cloned().collect();
        for name in known.iter().chain(touched) {
            self.place(name.clone(), touched.contains(name));
        }
    }

    fn names(&self) -> Vec<NodeName> {
        let order = self.order().into_iter();
        order.map(|(name, _, _)| name.clone()).collect()
    }
}

#[test]
fn each_step_begins_when_every_node_of_the_one_before_has_converged() {
    let mut rollout = rollout("1,20%,100%", 10);
    let order = rollout.names();
    let first = rollout.go(1);
    assert_eq!(first, order[..1]);
    assert_eq!(rollout.next(2), Next::Wait(None));
    rollout.say(&first[0], 4, None, 2);
    assert_eq!(rollout.next(2), Next::Wait(None), "an earlier generation");
    rollout.converge(&first, 3);
    let second = rollout.go(3);
    assert_eq!((second.as_slice(), rollout.step), (&order[1..2], 1));
    rollout.converge(&second, 4);
    let third = rollout.go(4);
    assert_eq!((third.len(), rollout.step), (8, 2));
    rollout.converge(&third[1..], 5);
    assert_eq!(rollout.next(1_000_000), Next::Wait(None), "one is missing");
    rollout.converge(&third[..1], 6);
    rollout.go(6);
    assert_eq!((rollout.phase, rollout.step), (RolloutPhase::Done, 2));
    assert_eq!(rollout.next(7), Next::Wait(None));
    assert_eq!(rollout.changed_unix_ms, 6);
}

#[test]
fn a_step_that_reaches_no_further_node_is_passed_over() {
    let mut rollout = rollout("1,2,3,100%", 2);
    let first = rollout.go(1);
    rollout.converge(&first, 1);
    let second = rollout.go(1);
    assert_eq!((second.len(), rollout.step), (1, 1));
    rollout.converge(&second, 1);
    assert_eq!(rollout.next(1), Next::Finish);
}

#[test]
fn a_rollout_without_nodes_is_over_at_once() {
    let mut rollout = rollout("1,100%", 0);
    rollout.go(1);
    assert_eq!((rollout.phase, rollout.step), (RolloutPhase::Done, 1));
}

#[test]
fn the_order_is_the_same_every_time_and_another_at_each_revision() {
    let order = rollout("1,100%", 50).names();
    assert_eq!(order, rollout("1,100%", 50).names());
    let mut firsts: BTreeSet<NodeName> = BTreeSet::new();
    for revision in 1..=50 {
        let other = Rollout {
            revision: Revision(revision),
            ..rollout("1,100%", 50)
        };
        firsts.extend(other.names().into_iter().next());
    }
    assert!(firsts.len() > 20, "{firsts:?}");
}

#[test]
fn every_node_is_told_with_the_step_that_reaches_it() {
    let mut rollout = rollout("1,50%,100%", 4);
    let steps = |rollout: &Rollout| -> Vec<usize> {
        let order = rollout.order().into_iter();
        order.map(|(_, _, step)| step).collect()
    };
    assert_eq!(steps(&rollout), [0, 1, 2, 2]);
    let first = rollout.go(1);
    rollout.converge(&first, 1);
    rollout.go(1);
    assert_eq!(steps(&rollout), [0, 1, 2, 2]);
    let mut names: BTreeSet<NodeName> = rollout.members.keys().cloned().collect();
    names.extend(["m0", "m1", "m2", "m3"].map(node_name));
    rollout.settle(&names);
    assert_eq!(steps(&rollout), [0, 1, 1, 1, 2, 2, 2, 2]);
}

#[test]
fn what_a_node_refuses_halts_it_and_is_passed_over_once_it_goes_on() {
    let mut rollout = rollout("1,100%", 3);
    let first = rollout.go(1);
    rollout.say(&first[0], 5, Some("scheduler mh: not there"), 2);
    rollout.go(2);
    let reason = format!("node {} refuses scheduler mh: not there", first[0]);
    assert_eq!(
        (rollout.phase, rollout.reason.as_str()),
        (RolloutPhase::Halted, reason.as_str())
    );
    assert_eq!(rollout.go(3), [], "it goes no further by itself");
    rollout.resume(4);
    assert_eq!(
        (rollout.phase, rollout.reason.as_str()),
        (RolloutPhase::Running, "")
    );
    assert!(rollout.members[&first[0]].excused);
    let rest = rollout.go(5);
    assert_eq!((rest.len(), rollout.step), (2, 1));
    // the one that refused says so once more; another is heard for the first time
    rollout.say(&first[0], 5, Some("scheduler mh: not there"), 6);
    assert_eq!(rollout.next(6), Next::Wait(None));
    rollout.say(&rest[0], 5, Some("scheduler mh: not there"), 6);
    assert!(matches!(rollout.next(6), Next::Halt(_)));
}

#[test]
fn what_a_node_refuses_no_longer_halts_nothing() {
    let mut rollout = rollout("1,100%", 2);
    let first = rollout.go(1);
    rollout.say(&first[0], 5, Some("a backend"), 2);
    rollout.say(&first[0], 5, None, 2);
    assert_eq!(rollout.go(2).len(), 1);
}

#[test]
fn a_node_that_loses_the_batch_is_waited_for_again() {
    let mut rollout = rollout("1,100%", 2);
    let first = rollout.go(1);
    rollout.converge(&first, 2);
    rollout.say(&first[0], 0, None, 3);
    assert_eq!(rollout.next(3), Next::Wait(None));
    assert!(!rollout.members[&first[0]].holds());
}

#[test]
fn connections_that_fail_more_often_than_elsewhere_halt_it() {
    let mut rollout = rollout("1,100%", 3);
    let first = rollout.go(100_000);
    rollout.converge(&first, 101_000);
    let other = rollout.names().pop().expect("a node");
    rollout.counted(&other, count(1, 100), 5_000, 102_000);
    // an interval that began before the node held the batch
    rollout.counted(&first[0], count(50, 100), 5_000, 103_000);
    assert_eq!(rollout.members[&first[0]].counted, Count::default());
    assert_eq!(rollout.next(103_000), Next::Wait(Some(113_000)));
    rollout.counted(&first[0], count(6, 50), 5_000, 108_000);
    assert_eq!(
        rollout.next(108_000),
        Next::Halt(
            "connections fail more often where the batch is: 6 of 50 (12.0%), against 1 of 100 (1.0%) \
             elsewhere and before"
                .to_owned()
        )
    );
    rollout.go(108_000);
    rollout.resume(109_000);
    assert_eq!(rollout.next(109_000), Next::Wait(Some(113_000)));
    assert_eq!(rollout.members[&first[0]].counted, count(6, 50));
    assert_eq!(rollout.go(113_000).len(), 2, "they count no more");
}

#[test]
fn nodes_are_looked_at_for_a_while_where_connections_run() {
    let mut rollout = rollout("1,100%", 2);
    rollout.usual = count(0, 1);
    let first = rollout.go(1_000);
    rollout.converge(&first, 2_000);
    assert_eq!(rollout.next(2_000), Next::Wait(Some(14_000)));
    // what it says again begins nothing anew
    rollout.converge(&first, 8_000);
    assert_eq!(rollout.next(13_999), Next::Wait(Some(14_000)));
    let rest = rollout.go(14_000);
    rollout.converge(&rest, 14_500);
    assert_eq!(rollout.next(15_000), Next::Wait(Some(26_500)));
    assert_eq!(rollout.next(26_500), Next::Finish);
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait_until_it_is_where_it_was() {
    let mut rollout = rollout("1,100%", 2);
    rollout.usual = count(0, 1);
    let first = rollout.go(1_000_000);
    rollout.converge(&first, 1_000_000);
    rollout.set_back(500_000);
    assert_eq!(rollout.next(500_000), Next::Wait(Some(512_000)));
    rollout.counted(&first[0], count(9, 10), 5_000, 505_000);
    assert!(matches!(rollout.next(505_000), Next::Halt(_)));
}

#[test]
fn nodes_come_and_go() {
    let mut rollout = rollout("1,100%", 3);
    let first = rollout.go(1);
    rollout.converge(&first, 1);
    let second = rollout.go(1);
    assert_eq!(second.len(), 2);
    // one that does not converge goes; another comes, and is reached as the step says
    let mut names: BTreeSet<NodeName> = rollout.members.keys().cloned().collect();
    names.remove(&second[0]);
    names.insert(node_name("late"));
    rollout.converge(&second[1..], 2);
    rollout.settle(&names);
    assert_eq!(rollout.go(2), [node_name("late")]);
    rollout.say(&second[0], 5, None, 3);
    assert_eq!(rollout.next(3), Next::Wait(None));
    rollout.converge(&[node_name("late")], 3);
    assert_eq!(rollout.next(3), Next::Finish);
    // one that was reached and comes back has lost the batch
    names.remove(&first[0]);
    rollout.settle(&names);
    names.insert(first[0].clone());
    rollout.settle(&names);
    assert!(!rollout.has_reached(&first[0]));
    assert_eq!(rollout.go(4), first);
}

#[test]
fn what_can_be_done_depends_on_where_it_stands() {
    use RolloutPhase::{Done, Halted, Paused, Running, Undone};
    let can = |steering: Steering| {
        let phases = [Running, Paused, Halted, Done, Undone].into_iter();
        let can = phases.filter(|phase| {
            let rollout = Rollout {
                phase: *phase,
                ..rollout("100%", 1)
            };
            rollout.check(steering).is_ok()
        });
        can.collect::<Vec<_>>()
    };
    assert_eq!(can(Steering::Pause), [Running]);
    assert_eq!(can(Steering::Resume), [Paused, Halted]);
    assert_eq!(can(Steering::Undo), [Running, Paused, Halted]);
    let mut done = rollout("100%", 1);
    done.set_phase(Done, String::new(), 1);
    assert_eq!(
        done.check(Steering::Undo)
            .map_err(|error| error.to_string()),
        Err(
            "rollout 7 is done: every node has it; roll back to the revision before it instead"
                .to_owned()
        )
    );
}

#[test]
fn one_that_is_paused_goes_nowhere() {
    let mut rollout = rollout("1,100%", 2);
    let first = rollout.go(1);
    rollout.set_phase(RolloutPhase::Paused, String::new(), 2);
    rollout.converge(&first, 3);
    assert_eq!(rollout.next(3), Next::Wait(None));
    rollout.say(&first[0], 5, Some("a backend"), 3);
    assert_eq!(rollout.next(3), Next::Wait(None), "nor does it halt");
    rollout.say(&first[0], 5, None, 3);
    rollout.resume(4);
    assert_eq!(rollout.go(4).len(), 1);
}
