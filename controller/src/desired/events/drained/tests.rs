use weir_proto::model::BackendKey;

use super::*;
use crate::desired::samples::{endpoint, frontend};

const START: u64 = 3_600_000;
const DEADLINE: u64 = START + 60_000;

fn key(port: u16) -> ItemKey {
    ItemKey::Backend(BackendKey {
        frontend: frontend("10.1.0.1:80"),
        endpoint: endpoint(&format!("10.0.0.1:{port}")),
    })
}

fn progress(port: u16, left: u64, done: bool) -> DrainProgress {
    DrainProgress {
        key: key(port),
        active: left,
        inactive: 0,
        started_unix_ms: START,
        deadline_unix_ms: DEADLINE,
        on_deadline: OnDeadline::Reset,
        done,
    }
}

fn turn(turned: Turned, left: u64) -> DrainTurn {
    DrainTurn {
        key: key(80),
        turned,
        left,
        on_deadline: OnDeadline::Reset,
        allowed_ms: 60_000,
    }
}

/// Each step: what is told and when, and what that is.
type Steps<'a> = &'a [(&'a [DrainProgress], u64, &'a [DrainTurn])];

#[test]
fn a_drain_begins_and_ends_once_whatever_is_told_between() {
    let draining = |left| [progress(80, left, false)];
    let over = [progress(80, 0, true)];
    let began = |left| turn(Turned::Began, left);
    let ended = turn(Turned::Ended, 0);
    let deadline = |left| turn(Turned::Deadline, left);
    let cases: &[(&str, Steps<'_>)] = &[
        (
            "it ends in time",
            &[
                (&draining(3), START, &[began(3)]),
                (&draining(2), START + 1_000, &[]),
                (&over, START + 2_000, std::slice::from_ref(&ended)),
                (&over, START + 3_000, &[]),
                (&[], START + 4_000, &[]),
            ],
        ),
        (
            "nothing is to wait for",
            &[(&over, START, std::slice::from_ref(&ended))],
        ),
        (
            "what was taken out is told of no more when it is over",
            &[
                (&draining(1), START, &[began(1)]),
                (&[], START + 1_000, std::slice::from_ref(&ended)),
            ],
        ),
        (
            "connections are left, and cut",
            &[
                (&draining(3), START, &[began(3)]),
                (&over, DEADLINE + 500, &[deadline(3), ended.clone()]),
            ],
        ),
        (
            "connections are left, and kept",
            &[
                (&draining(3), START, &[began(3)]),
                (&draining(2), DEADLINE, &[deadline(2)]),
                (&draining(1), DEADLINE + 1_000, &[]),
                (&over, DEADLINE + 2_000, std::slice::from_ref(&ended)),
            ],
        ),
        (
            "the controller is younger than the drain",
            &[
                (&draining(3), START + RECENT_MS + 1, &[deadline(3)]),
                (&over, START + RECENT_MS + 2, std::slice::from_ref(&ended)),
            ],
        ),
    ];
    for (what, steps) in cases {
        let mut watch = DrainWatch::default();
        for (told, now, turns) in *steps {
            let turned = watch.take((told, true), |_| false, *now);
            assert_eq!(turned, *turns, "{what}, at {now}");
        }
    }
}

#[test]
fn a_backend_that_takes_connections_again_was_not_drained_to_the_end() {
    let mut watch = DrainWatch::default();
    let told = [progress(80, 3, false)];
    assert_eq!(watch.take((&told, true), |_| false, START).len(), 1);
    let turned = watch.take((&[], true), |it| *it == key(80), START + 1);
    assert_eq!(turned, []);
}

#[test]
fn what_a_node_has_no_room_to_name_is_not_over() {
    let mut watch = DrainWatch::default();
    let told = [progress(80, 3, false), progress(81, 0, false)];
    assert_eq!(watch.take((&told, true), |_| false, START).len(), 2);
    let turned = watch.take((&told[1..], false), |_| false, START + 1);
    assert_eq!(turned, []);
}

#[test]
fn a_backend_that_is_drained_again_begins_again() {
    let mut watch = DrainWatch::default();
    let over = [progress(80, 0, true)];
    assert_eq!(watch.take((&over, true), |_| false, START).len(), 1);
    let again = DrainProgress {
        started_unix_ms: START + 1_000,
        deadline_unix_ms: DEADLINE + 1_000,
        ..progress(80, 2, false)
    };
    let turned = watch.take((&[again], true), |_| false, START + 1_000);
    assert_eq!(turned, [turn(Turned::Began, 2)]);
}

#[test]
fn the_time_of_a_drain_is_over_though_nothing_is_told() {
    let mut watch = DrainWatch::default();
    assert_eq!(watch.next_unix_ms(), None);
    let told = [progress(80, 3, false), progress(81, 0, false)];
    watch.take((&told, true), |_| false, START);
    assert_eq!(watch.next_unix_ms(), Some(DEADLINE));
    assert_eq!(watch.due(DEADLINE - 1), []);
    assert_eq!(watch.due(DEADLINE), [turn(Turned::Deadline, 3)]);
    assert_eq!(watch.due(DEADLINE), []);
    assert_eq!(watch.next_unix_ms(), None);
}
