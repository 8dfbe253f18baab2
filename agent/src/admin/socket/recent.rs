//! What happened on this node lately: a ring of so many things, made of what the agent's parts tell anyway.
//!
//! What comes and goes between two looks is one thing or nothing: it is the last state that counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;
use weir_proto::model::{Degraded, Generation, Hold};

use crate::clock::now_unix_ms;
use crate::plan::{Repairs, Report};
use crate::reconciler::Status;
use crate::session::Link;

/// How many things are kept. Who empties a whole table makes thousands, of which the first say no more than the last.
const MOST: usize = 200;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum What {
    Connected,
    Disconnected,
    Rejected,
    Held,
    Released,
    Degraded,
    Mended,
    Repaired,
    Failed,
    Recovered,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happened {
    /// 1, 2, 3, ... since the start.
    pub(super) sequence: u64,
    /// When.
    pub(super) at_unix_ms: u64,
    /// What.
    pub(super) what: What,
    /// To what.
    pub(super) object: String,
    /// One sentence; empty: no more to say.
    pub(super) detail: String,
}

/// The last things that happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    last: VecDeque<Arc<Happened>>,
    count: u64,
}

/// What is looked at, as it was last.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) connected: bool,
    pub(super) trouble: String,
    pub(super) rejected: Option<(Generation, String)>,
    pub(super) hold: Option<Hold>,
    pub(super) degraded: Option<Degraded>,
    pub(super) report: Report,
}

/// What there is to look at.
#[derive(Debug, Clone)]
pub(super) struct Sights {
    pub(super) status: watch::Receiver<Status>,
    pub(super) link: watch::Receiver<Link>,
    pub(super) degraded: watch::Receiver<Option<Degraded>>,
    pub(super) repairs: watch::Receiver<Repairs>,
}

impl Recent {
    /// Gives those behind a number, the oldest first.
    pub(super) fn since(&self, sequence: u64) -> Vec<Arc<Happened>> {
        let later = self.last.iter().filter(|it| it.sequence > sequence);
        later.cloned().collect()
    }

    fn note(&mut self, at_unix_ms: u64, (what, object, detail): (What, String, String)) {
        self.count += 1;
        if self.last.len() == MOST {
            self.last.pop_front();
        }
        self.last.push_back(Arc::new(Happened {
            sequence: self.count,
            at_unix_ms,
            what,
            object,
            detail,
        }));
    }
}

/// Says what happened between two looks.
pub(super) fn happened(before: &Seen, after: &Seen) -> Vec<(What, String, String)> {
    let mut all = Vec::new();
    let mut say = |what, object: &str, detail: &str| {
        all.push((what, object.to_owned(), detail.to_owned()));
    };
    match (before.connected, after.connected) {
        (false, true) => say(What::Connected, "controller", ""),
        (true, false) => say(What::Disconnected, "controller", &after.trouble),
        // the first attempt failed
        (false, false) if before.trouble.is_empty() && !after.trouble.is_empty() => {
            say(What::Disconnected, "controller", &after.trouble);
        }
        _ => {}
    }
    if let Some((generation, why)) = &after.rejected
        && before.rejected != after.rejected
    {
        say(What::Rejected, &format!("generation {generation}"), why);
    }
    match (&before.hold, &after.hold) {
        (held, Some(hold)) if held.as_ref() != Some(hold) => {
            let object = format!("generation {}", hold.generation);
            say(What::Held, &object, &hold.cause);
        }
        (Some(hold), None) => {
            say(
                What::Released,
                &format!("generation {}", hold.generation),
                "",
            );
        }
        _ => {}
    }
    match (&before.degraded, &after.degraded) {
        (None, Some(degraded)) => say(What::Degraded, "journal", &degraded.reason),
        (Some(_), None) => say(What::Mended, "journal", ""),
        _ => {}
    }
    let causes = |report: &Report| -> BTreeMap<String, String> {
        let failures = report.failures.iter();
        failures
            .map(|it| (it.key.to_string(), it.cause.clone()))
            .collect()
    };
    let (old, new) = (causes(&before.report), causes(&after.report));
    for (object, cause) in new.iter().filter(|(object, _)| !old.contains_key(*object)) {
        say(What::Failed, object, cause);
    }
    for object in old.keys().filter(|object| !new.contains_key(*object)) {
        say(What::Recovered, object, "");
    }
    all
}

/// Keeps the ring for as long as there is something to look at.
pub(super) async fn keep(mut sights: Sights, ring: watch::Sender<Recent>) {
    let mut seen = Seen::default();
    let mut told = 0;
    loop {
        let now = look(&mut sights);
        let mut news = happened(&seen, &now);
        seen = now;
        let (repairs, count) = {
            let repairs = sights.repairs.borrow_and_update();
            (repairs.since(told), repairs.total())
        };
        told = count;
        news.extend(repairs.into_iter().map(|repair| {
            let or_nothing = |text: String| {
                if text.is_empty() {
                    "nothing".to_owned()
                } else {
                    text
                }
            };
            let (found, expected) = (or_nothing(repair.found), or_nothing(repair.expected));
            let detail = format!("found {found}, and is {expected} again");
            (What::Repaired, repair.object, detail)
        }));
        if !news.is_empty() {
            let at = now_unix_ms();
            ring.send_modify(|ring| news.into_iter().for_each(|one| ring.note(at, one)));
        }
        let changed = tokio::select! {
            changed = sights.status.changed() => changed,
            changed = sights.link.changed() => changed,
            changed = sights.degraded.changed() => changed,
            changed = sights.repairs.changed() => changed,
        };
        if changed.is_err() {
            // a part is gone: the agent ends
            return;
        }
    }
}

fn look(sights: &mut Sights) -> Seen {
    let report = sights.status.borrow_and_update().report.clone();
    let degraded = sights.degraded.borrow_and_update().clone();
    let link = sights.link.borrow_and_update();
    Seen {
        connected: link.contact.is_now(),
        trouble: link.trouble.clone(),
        rejected: link.rejected.clone(),
        hold: link.hold.clone(),
        degraded,
        report,
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::model::{ItemFailure, ItemKey};

    use super::*;

    fn failing(address: [u8; 4]) -> Report {
        Report {
            failures: vec![ItemFailure {
                key: ItemKey::Vip(address.into()),
                errno: 99,
                cause: "no".to_owned(),
                field: String::new(),
            }],
            count: 1,
        }
    }

    #[test]
    fn what_happened_is_the_difference_between_two_looks() {
        let calm = Seen::default();
        let connected = Seen {
            connected: true,
            ..calm.clone()
        };
        let gone = Seen {
            trouble: "the stream broke".to_owned(),
            ..calm.clone()
        };
        let hold = Hold {
            generation: Generation(7),
            dropped: 3,
            served: 4,
            since_unix_ms: 1,
            cause: "too much".to_owned(),
        };
        let held = Seen {
            hold: Some(hold),
            ..calm.clone()
        };
        let degraded = Seen {
            degraded: Some(Degraded {
                reason: "full".to_owned(),
                since_unix_ms: 1,
            }),
            ..calm.clone()
        };
        let rejected = Seen {
            rejected: Some((Generation(5), "stale".to_owned())),
            ..calm.clone()
        };
        let fails = Seen {
            report: failing([10, 0, 0, 1]),
            ..calm.clone()
        };
        let fails_elsewhere = Seen {
            report: failing([10, 0, 0, 2]),
            ..calm.clone()
        };
        // what was seen, what is seen now, and what is told of it
        type Case<'a> = (&'a Seen, &'a Seen, &'a [(What, &'a str, &'a str)]);
        let cases: [Case<'_>; 11] = [
            (&calm, &calm, &[]),
            (&calm, &connected, &[(What::Connected, "controller", "")]),
            (
                &connected,
                &gone,
                &[(What::Disconnected, "controller", "the stream broke")],
            ),
            (
                &calm,
                &gone,
                &[(What::Disconnected, "controller", "the stream broke")],
            ),
            (&gone, &gone, &[]),
            (
                &calm,
                &rejected,
                &[(What::Rejected, "generation 5", "stale")],
            ),
            (&calm, &held, &[(What::Held, "generation 7", "too much")]),
            (&held, &calm, &[(What::Released, "generation 7", "")]),
            (&calm, &degraded, &[(What::Degraded, "journal", "full")]),
            (&degraded, &calm, &[(What::Mended, "journal", "")]),
            (
                &fails,
                &fails_elsewhere,
                &[
                    (What::Failed, "vip 10.0.0.2", "no"),
                    (What::Recovered, "vip 10.0.0.1", ""),
                ],
            ),
        ];
        for (before, after, expected) in cases {
            let told = happened(before, after);
            let told: Vec<(What, &str, &str)> = told
                .iter()
                .map(|(what, object, detail)| (*what, object.as_str(), detail.as_str()))
                .collect();
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn the_ring_forgets_the_oldest_and_goes_on_counting() {
        let mut ring = Recent::default();
        for _ in 0..MOST + 5 {
            ring.note(1, (What::Connected, "controller".to_owned(), String::new()));
        }
        let numbers: Vec<u64> = ring.since(0).iter().map(|it| it.sequence).collect();
        assert_eq!(numbers.len(), MOST);
        assert_eq!((numbers[0], numbers[MOST - 1]), (6, 205));
        assert_eq!(ring.since(204).len(), 1);
    }
}
