//! Takes everything that is ours out of the kernel, and nothing else.

use std::fmt;

use crate::journal::{Journal, JournalError, Remembered};
use crate::kernel::{Kernel, KernelError, StepError, read_surely};
use crate::plan::{Key, Ledger, LedgerChange, Object, Plan, Problem, Scope, Step, Table, plan};

/// What a clean-up did, or would do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was only tried out: nothing is done.
    pub dry_run: bool,
    /// Objects that are gone, in the order they went.
    pub removed: Vec<Key>,
    /// Settings that have the value again they had before us.
    pub restored: Vec<(Key, String)>,
    /// Objects of ours that stay, with the reason.
    pub left: Vec<(Key, Problem)>,
    /// Objects that stay because they are somebody else's, but for what lives in them.
    pub foreign: Vec<Key>,
}

/// Why nothing could be cleaned up.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// The kernel could not be read.
    #[error("the kernel could not be read")]
    Kernel(#[from] KernelError),
    /// The journal could not be written.
    #[error("the journal could not be written")]
    Journal(#[from] JournalError),
}

/// Takes out what the ledger has, forgets the accepted state, and tells what was done. What could not be
/// removed stays in the ledger, so that it can be tried again.
pub async fn cleanup<K: Kernel>(
    kernel: &mut K,
    journal: &Journal,
    remembered: Remembered,
) -> Result<Outcome, CleanupError> {
    let (actual, plan) = look(kernel, &remembered.ledger).await?;
    let mut ledger = remembered.ledger.clone();
    // first of all: an agent that starts again must not put everything back
    journal.forget(&remembered).await?;
    let verdicts = kernel.apply(&plan.steps).await;
    let mut change = LedgerChange {
        gone: ledger.vanished(&Scope::All, &actual, &Table::new()),
        ..LedgerChange::default()
    };
    let mut outcome = Outcome {
        foreign: foreign(&actual, &ledger),
        ..Outcome::default()
    };
    for (step, verdict) in plan.steps.iter().zip(verdicts) {
        // nothing is added here: what was written down before does not matter
        let gone = verdict.as_ref().err().is_none_or(StepError::says_absent);
        ledger.after(step, gone, &LedgerChange::default(), &mut change);
        match (step, verdict) {
            (Step::Remove { .. }, Err(error)) if error.says_absent() => {}
            (_, Err(error)) => outcome.left.push((step.key(), error.problem())),
            (
                Step::Edit {
                    key,
                    object: Object::Value(value),
                },
                Ok(()),
            ) => outcome.restored.push((*key, value.clone())),
            (_, Ok(())) => outcome.removed.push(step.key()),
        }
    }
    outcome.left.extend(kept(&plan));
    restored(&ledger, &actual, &mut change);
    journal.record(&change).await?;
    ledger.apply(&change);
    Ok(outcome)
}

/// Tells what a clean-up would do, and does nothing.
pub async fn rehearse<K: Kernel>(
    kernel: &mut K,
    remembered: &Remembered,
) -> Result<Outcome, CleanupError> {
    let (actual, plan) = look(kernel, &remembered.ledger).await?;
    let mut outcome = Outcome {
        dry_run: true,
        foreign: foreign(&actual, &remembered.ledger),
        ..Outcome::default()
    };
    outcome.left.extend(kept(&plan));
    for step in plan.steps {
        match step {
            Step::Edit {
                key,
                object: Object::Value(value),
            } => outcome.restored.push((key, value)),
            step => outcome.removed.push(step.key()),
        }
    }
    Ok(outcome)
}

/// Reads everything, and plans to take away what is ours.
async fn look<K: Kernel>(kernel: &mut K, ledger: &Ledger) -> Result<(Table, Plan), CleanupError> {
    let actual = read_surely(kernel, &Scope::All, ledger).await?;
    let plan = plan(&actual, &Table::new(), ledger);
    Ok((actual, plan))
}

fn kept(plan: &Plan) -> impl Iterator<Item = (Key, Problem)> {
    let why = || Problem::new(0, "it holds addresses that are not ours".to_owned());
    plan.kept.iter().map(move |key| (*key, why()))
}

/// Gives what is somebody else's. A setting is nobody's.
fn foreign(actual: &Table, ledger: &Ledger) -> Vec<Key> {
    let keys = actual.keys().copied();
    let objects = keys.filter(|key| key.container().is_none());
    let foreign = objects.filter(|key| !matches!(key, Key::Setting(_)) && !ledger.owns(*key));
    foreign.collect()
}

/// Notes settings that are as they were found already, or that this kernel no longer has.
fn restored(ledger: &Ledger, actual: &Table, change: &mut LedgerChange) {
    for (setting, _) in ledger.settings() {
        if !actual.contains_key(&Key::Setting(setting)) {
            change.restored.insert(setting);
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            dry_run,
            removed,
            restored,
            left,
            foreign,
        } = self;
        let [remove, set, leave, so] = match dry_run {
            true => ["would remove", "would set", "would leave", "would be "],
            false => ["removed", "set", "left", ""],
        };
        for key in removed {
            writeln!(f, "{remove} {key}")?;
        }
        for (key, value) in restored {
            writeln!(f, "{set} {key} back to {value}")?;
        }
        for (key, problem) in left {
            writeln!(f, "{leave} {key}: {}", problem.cause)?;
        }
        for key in foreign {
            writeln!(f, "{leave} {key}: it is not ours")?;
        }
        write!(
            f,
            "{} objects {so}removed, {} settings put back, {} left, and {} that are not ours",
            removed.len(),
            restored.len(),
            left.len(),
            foreign.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::model::{Family, Generation, Item, ItemKey, Vip};

    use super::*;
    use crate::kernel::fake::{Fake, base_table};
    use crate::plan::{Change, Setting, VipSpec};

    fn vip(last: u8) -> Key {
        Key::Item(ItemKey::Vip([10, 1, 0, last].into()))
    }

    #[tokio::test]
    async fn what_is_ours_goes_what_is_not_stays_and_the_state_is_forgotten() {
        let dir = tempfile::tempdir().expect("dir");
        let (journal, _) = Journal::open(dir.path(), "boot").expect("journal");
        let kernel = Fake::new();
        let before = kernel.table();
        let forward = Key::Setting(Setting::ForwardV4);
        kernel.tamper(|table| {
            table.extend(base_table());
            table.insert(vip(1), Object::Vip(VipSpec::default()));
            table.insert(forward, Object::Value("1".to_owned()));
        });
        let full = kernel.table();
        let made = LedgerChange {
            made: kernel
                .table()
                .into_keys()
                .filter(|key| !matches!(key, Key::Setting(_)))
                .collect(),
            found: [(Setting::ForwardV4, "0".to_owned())].into(),
            ..LedgerChange::default()
        };
        let change = Change {
            generation: Generation(3),
            upserted: vec![Item::Vip(Vip::new([10, 1, 0, 1].into()))],
            removed: vec![],
        };
        journal.record(&made).await.expect("record");
        journal.accept(&change.into(), &[]).await.expect("accept");
        drop(journal);
        let (journal, remembered) = Journal::open(dir.path(), "boot").expect("journal");
        let rehearsed = rehearse(&mut kernel.clone(), &remembered)
            .await
            .expect("rehearsed");
        assert_eq!((kernel.table(), kernel.take_steps()), (full, vec![]));
        let outcome = cleanup(&mut kernel.clone(), &journal, remembered)
            .await
            .expect("cleaned up");
        assert_eq!(
            rehearsed,
            Outcome {
                dry_run: true,
                removed: outcome.removed.clone(),
                restored: outcome.restored.clone(),
                ..Outcome::default()
            }
        );
        assert_eq!(
            outcome.to_string(),
            "removed vip 10.1.0.1\n\
             removed IPv6 lockdown\n\
             removed IPv4 lockdown\n\
             removed IPv6 loopback rule\n\
             removed IPv4 loopback rule\n\
             removed IPv6 loopback set\n\
             removed IPv4 loopback set\n\
             removed link weir0\n\
             set sysctl net.ipv4.ip_forward back to 0\n\
             8 objects removed, 1 settings put back, 0 left, and 0 that are not ours"
        );
        assert_eq!(kernel.table(), before);
        drop(journal);
        let (_, remembered) = Journal::open(dir.path(), "boot").expect("journal");
        assert_eq!(remembered, Remembered::default());
    }

    #[tokio::test]
    async fn a_rehearsal_says_what_would_go_and_what_would_stay_and_why() {
        let kernel = Fake::new();
        kernel.tamper(|table| {
            for key in [vip(1), vip(2)] {
                table.insert(key, Object::Vip(VipSpec::default()));
            }
            table.insert(Key::Link, Object::Present);
        });
        let mut remembered = Remembered::default();
        remembered.ledger.apply(&LedgerChange {
            made: [Key::Link, vip(1)].into(),
            found: [(Setting::Conntrack, "7".to_owned())].into(),
            ..LedgerChange::default()
        });
        let outcome = rehearse(&mut kernel.clone(), &remembered)
            .await
            .expect("rehearsed");
        assert_eq!(
            outcome.to_string(),
            "would remove vip 10.1.0.1\n\
             would set sysctl net.ipv4.vs.conntrack back to 7\n\
             would leave link weir0: it holds addresses that are not ours\n\
             would leave vip 10.1.0.2: it is not ours\n\
             1 objects would be removed, 1 settings put back, 1 left, and 1 that are not ours"
        );
        assert_eq!(kernel.take_steps(), []);
    }

    #[tokio::test]
    async fn what_could_not_be_removed_stays_ours() {
        let dir = tempfile::tempdir().expect("dir");
        let (journal, _) = Journal::open(dir.path(), "boot").expect("journal");
        let kernel = Fake::new();
        let set = Key::LoopbackSet(Family::V4);
        kernel.tamper(|table| {
            table.insert(set, Object::Present);
        });
        let busy = crate::kernel::StepError::from(Problem::new(16, "in use".to_owned()));
        kernel.fail(set, busy);
        let made = LedgerChange {
            made: [set].into(),
            ..LedgerChange::default()
        };
        journal.record(&made).await.expect("record");
        drop(journal);
        let (journal, remembered) = Journal::open(dir.path(), "boot").expect("journal");
        let outcome = cleanup(&mut kernel.clone(), &journal, remembered)
            .await
            .expect("cleaned up");
        assert_eq!(outcome.left, [(set, Problem::new(16, "in use".to_owned()))]);
        drop(journal);
        let (_, remembered) = Journal::open(dir.path(), "boot").expect("journal");
        assert!(remembered.ledger.owns(set));
    }
}
