//! Lets go of everything that is ours: what is in the kernel goes on serving, and is nobody's.

use std::collections::BTreeMap;
use std::fmt;

use weir_proto::model::Generation;

use crate::journal::{Journal, JournalError, Remembered};
use crate::plan::{Key, Setting};

/// What was let go of.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The generation that was accepted; 0: none was.
    pub generation: Generation,
    /// How many items were accepted, by kind.
    pub items: BTreeMap<&'static str, usize>,
    /// How many objects of the kernel were ours, by kind.
    pub objects: BTreeMap<&'static str, usize>,
    /// The values that settings had before us, which nobody else knows.
    pub settings: Vec<(Setting, String)>,
}

/// Forgets all that is remembered, and touches no kernel. What hangs on `weir0` is from then on somebody else's to an
/// agent with this journal, until it is adopted.
pub async fn release(journal: &Journal, remembered: &Remembered) -> Result<Outcome, JournalError> {
    let Remembered {
        keeping,
        ledger,
        drains: _,
        totals: _,
    } = remembered;
    let held = &keeping.accepted;
    let outcome = Outcome {
        generation: held.generation,
        items: by_kind(held.state.items().keys().map(|key| Key::Item(*key))),
        objects: by_kind(ledger.made()),
        settings: ledger
            .settings()
            .map(|(setting, before)| (setting, before.to_owned()))
            .collect(),
    };
    journal.release(remembered).await?;
    Ok(outcome)
}

fn by_kind(keys: impl Iterator<Item = Key>) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key.kind()).or_default() += 1;
    }
    counts
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            generation,
            items,
            objects,
            settings,
        } = self;
        for (kind, count) in objects {
            writeln!(f, "let go of {count} {kind}")?;
        }
        for (setting, before) in settings {
            writeln!(f, "{setting} stays as it is; it was {before} before weir")?;
        }
        for (kind, count) in items {
            writeln!(f, "forgot {count} {kind} of generation {generation}")?;
        }
        write!(
            f,
            "{} objects let go of, {} settings left, {} items forgotten; the kernel goes on serving",
            objects.values().sum::<usize>(),
            settings.len(),
            items.values().sum::<usize>()
        )
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::model::{Item, ItemKey, Vip};

    use super::*;
    use crate::plan::{Change, LedgerChange};

    #[tokio::test]
    async fn everything_is_forgotten_but_that_it_was_released() {
        let dir = tempfile::tempdir().expect("dir");
        let (journal, _) = Journal::open(dir.path(), "boot").expect("journal");
        let vip = |last: u8| Vip::new([10, 1, 0, last].into());
        let change = Change {
            generation: Generation(3),
            upserted: vec![Item::Vip(vip(1)), Item::Vip(vip(2)), Item::StrictArp],
            removed: vec![],
        };
        journal.accept(&change.into(), &[]).await.expect("accepted");
        let ours = LedgerChange {
            made: [Key::Link, Key::Item(ItemKey::Vip([10, 1, 0, 1].into()))].into(),
            found: [(Setting::ForwardV4, "0".to_owned())].into(),
            ..LedgerChange::default()
        };
        journal.record(&ours).await.expect("recorded");
        drop(journal);
        let (journal, remembered) = Journal::open(dir.path(), "boot").expect("journal");
        let outcome = release(&journal, &remembered).await.expect("released");
        assert_eq!(
            outcome.to_string(),
            "let go of 1 link\n\
             let go of 1 vip\n\
             sysctl net.ipv4.ip_forward stays as it is; it was 0 before weir\n\
             forgot 1 setting of generation 3\n\
             forgot 2 vip of generation 3\n\
             2 objects let go of, 1 settings left, 3 items forgotten; the kernel goes on serving"
        );
        drop(journal);
        let mut released = Remembered::default();
        released.ledger.release();
        // a reboot does not bring the claim back
        for boot in ["boot", "boot", "next boot"] {
            let (_, remembered) = Journal::open(dir.path(), boot).expect("journal");
            assert_eq!(remembered, released);
            let again = Remembered::from_records(&remembered.to_records());
            assert_eq!(again.expect("read"), released);
        }
    }
}
