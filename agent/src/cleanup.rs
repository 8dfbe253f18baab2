//! Takes everything that is ours out of the kernel, and nothing else.

use std::fmt;

use crate::journal::{Journal, JournalError, Remembered};
use crate::kernel::{Kernel, KernelError, StepError, read_surely};
use crate::plan::{Key, Ledger, LedgerChange, Object, Problem, Scope, Step, Table, plan};

/// What a clean-up did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Objects that are gone, in the order they went.
    pub removed: Vec<Key>,
    /// Settings that have the value again they had before us.
    pub restored: Vec<(Key, String)>,
    /// Objects of ours that stay, with the reason.
    pub left: Vec<(Key, Problem)>,
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
    let mut ledger = remembered.ledger.clone();
    let actual = read_surely(kernel, &Scope::All, &ledger).await?;
    let nothing = Table::new();
    let plan = plan(&actual, &nothing, &ledger);
    // first of all: an agent that starts again must not put everything back
    journal.forget(&remembered).await?;
    let verdicts = kernel.apply(&plan.steps).await;
    let mut change = LedgerChange {
        gone: ledger.vanished(&Scope::All, &actual, &nothing),
        ..LedgerChange::default()
    };
    let mut outcome = Outcome::default();
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
    for key in plan.kept {
        let why = "it holds addresses that are not ours".to_owned();
        outcome.left.push((key, Problem::new(0, why)));
    }
    restored(&ledger, &actual, &mut change);
    journal.record(&change).await?;
    ledger.apply(&change);
    Ok(outcome)
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
            removed,
            restored,
            left,
        } = self;
        for key in removed {
            writeln!(f, "removed {key}")?;
        }
        for (key, value) in restored {
            writeln!(f, "set {key} back to {value}")?;
        }
        for (key, problem) in left {
            writeln!(f, "left {key}: {}", problem.cause)?;
        }
        write!(
            f,
            "{} objects removed, {} settings put back, {} left",
            removed.len(),
            restored.len(),
            left.len()
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
        let outcome = cleanup(&mut kernel.clone(), &journal, remembered)
            .await
            .expect("cleaned up");
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
             8 objects removed, 1 settings put back, 0 left"
        );
        assert_eq!(kernel.table(), before);
        drop(journal);
        let (_, remembered) = Journal::open(dir.path(), "boot").expect("journal");
        assert_eq!(remembered, Remembered::default());
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
