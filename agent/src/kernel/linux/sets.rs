//! The loopback sets and their entries, as ipset has them.
//!
//! A set that no longer fits, and one that changes much, is built aside and swapped in, so that the rule on it never
//! sees an empty one (`ip_set_swap` in `net/netfilter/ipset/ip_set_core.c`: contents and names change places, the
//! indexes that rules go by stay).

mod aside;

use std::time::Duration;

use nix::errno::Errno;
use weir_proto::model::{Family, ItemKey, LoopbackEntry};

use super::ipset::{Command, Element, HASH_IP_PORT_IP, Header, Ipset};
use super::loopback::{Left, ONE_BY_ONE, change, element, entry, netlink_family, within};
use super::netlink::{Counts, NlError};
use super::verdict;
use crate::kernel::Verdict;
use crate::plan::{Key, Object, Scope, Step, Table, Unit};

/// Most entries of a set to begin with. It takes no memory until it is used; a million backends on one node are out of
/// reach of almost everything else. By it a set of ours is told from others of this name: nobody asks for so many
/// without need.
const MAX_ELEMENTS: u32 = 1 << 20;
/// From so many changes at once on it may be cheaper to build a set aside: about as many as one message takes.
const LARGE: usize = 500;
/// A change is large when it is at least one in so many of what is there: to copy an entry and to change one cost
/// about the same.
const LARGE_PART: usize = 4;
/// A set never shrinks. Beyond so many buckets for each entry it wastes memory and time when it is read.
const BUCKETS_PER_ENTRY: u32 = 64;
/// Buckets that a set is made with when nothing is said; fewer are not worth a word.
const FEW_BUCKETS: u32 = 1024;

const IPSET_ERR_BUSY: i32 = 4100;
const IPSET_ERR_HASH_FULL: i32 = 4352;
/// A deleted nf_tables rule is freed, and with it its hold on the set, only after a grace period
/// (`nf_tables_trans_destroy_work` in `net/netfilter/nf_tables_api.c`): some ten milliseconds, on a busy machine a few
/// hundred.
pub(super) const RELEASE_TRIES: u32 = 20;
pub(super) const RELEASE_PAUSE: Duration = Duration::from_millis(50);

/// Gives the name of a family's set.
pub fn set_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "WEIR-LOOPBACK",
        Family::V6 => "WEIR-LOOPBACK-6",
    }
}

/// The sets of one network namespace.
#[derive(Default)]
pub(super) struct Sets {
    ipset: Option<Ipset>,
}

impl Sets {
    /// Gives what was said to ipset so far.
    pub(super) fn counts(&self) -> Counts {
        self.ipset.as_ref().map(Ipset::counts).unwrap_or_default()
    }

    /// Reads the sets and entries of the scope.
    pub(super) async fn read(&mut self, scope: &Scope, table: &mut Table) -> Result<(), NlError> {
        let base = match scope {
            Scope::All => true,
            Scope::Units(units) => units.contains(&Unit::Base),
        };
        for family in Family::ALL {
            match within(scope, family) {
                Some(entries) if entries.len() <= ONE_BY_ONE => {
                    self.read_entries(family, &entries, base, table).await?;
                }
                _ => self.read_set(family, scope, table).await?,
            }
        }
        Ok(())
    }

    async fn read_set(
        &mut self,
        family: Family,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), NlError> {
        let Some(header) = self.header(family).await? else {
            return Ok(());
        };
        insert(
            Key::LoopbackSet(family),
            object(&header, family),
            scope,
            table,
        );
        if !is_of_type(&header, family) {
            // what is in it cannot be an entry
            return Ok(());
        }
        for element in self.elements(family).await? {
            if let Some(entry) = entry(&element) {
                let key = Key::Item(ItemKey::LoopbackEntry(entry));
                insert(key, Object::Present, scope, table);
            }
        }
        Ok(())
    }

    async fn read_entries(
        &mut self,
        family: Family,
        entries: &[LoopbackEntry],
        base: bool,
        table: &mut Table,
    ) -> Result<(), NlError> {
        if base && let Some(header) = self.header(family).await? {
            table.insert(Key::LoopbackSet(family), object(&header, family));
        }
        let name = set_name(family);
        for entry in entries {
            match self.door()?.test(name, &element(entry)).await {
                Ok(true) => {
                    table.insert(Key::Item(ItemKey::LoopbackEntry(*entry)), Object::Present);
                }
                Ok(false) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says whether a family's set is there and of weir's making, and whether rules refer to it.
    pub(super) async fn left(&mut self, family: Family) -> Result<Left, NlError> {
        let header = self.header(family).await?;
        let ours = header.filter(|header| {
            is_of_type(header, family) && header.max_elements >= Some(MAX_ELEMENTS)
        });
        Ok(Left {
            set: ours.is_some(),
            rule: ours.is_some_and(|header| header.references > 0),
        })
    }

    /// Gives what is in a family's set.
    pub(super) async fn elements(&mut self, family: Family) -> Result<Vec<Element>, NlError> {
        let set = match self.door()?.list(set_name(family)).await {
            Err(error) if is_absent(&error) => None,
            listed => listed?,
        };
        Ok(set.map_or_else(Vec::new, |set| set.elements))
    }

    async fn header(&mut self, family: Family) -> Result<Option<Header>, NlError> {
        match self.door()?.details(set_name(family)).await {
            Err(error) if is_absent(&error) => Ok(None),
            header => header,
        }
    }

    /// Makes a family's set, with what `from` gives in it, or gives one that does not fit its right shape.
    pub(super) async fn put_set(
        &mut self,
        step: &Step,
        family: Family,
        from: &[Element],
    ) -> Verdict {
        let there = match step {
            Step::Edit { .. } => self.header(family).await,
            Step::Add { .. } | Step::Remove { .. } => Ok(None),
        };
        let put = match (self.door(), there) {
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(ipset), Ok(None)) => aside::make(ipset, family, from).await,
            (Ok(ipset), Ok(Some(header))) => aside::mend(ipset, family, &header).await,
        };
        verdict::of(put, explain)
    }

    /// Destroys a family's set, and what a build that was cut short left beside it.
    pub(super) async fn remove_set(&mut self, family: Family) -> Verdict {
        let removed = match self.door() {
            Ok(ipset) => {
                let removed = destroy(ipset, set_name(family)).await;
                // one that is not there, or is somebody's, is no matter
                let _ = aside::clear(ipset, family).await;
                removed
            }
            Err(error) => Err(error),
        };
        verdict::of(removed, explain)
    }

    /// Adds and deletes entries, many to a message; a large change by a set that is built aside.
    pub(super) async fn apply_entries(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts = vec![Ok(()); steps.len()];
        for (step, verdict) in steps.iter().zip(&mut verdicts) {
            if change(step).is_none() {
                *verdict = Err(verdict::refused(Errno::EINVAL, "not a loopback entry"));
            }
        }
        for family in Family::ALL {
            let mut changes = Changes::default();
            let mut places = Vec::new();
            for (place, step) in steps.iter().enumerate() {
                if let Some((of, away, element)) = change(step)
                    && of == family
                {
                    places.push(place);
                    changes.away.push(away);
                    changes.elements.push(element);
                }
            }
            let answers = self.change(family, &changes).await;
            for (place, answer) in places.into_iter().zip(answers) {
                verdicts[place] = verdict::of(answer, explain);
            }
        }
        verdicts
    }

    async fn change(&mut self, family: Family, changes: &Changes) -> Vec<Result<(), NlError>> {
        let count = changes.elements.len();
        if count == 0 {
            return Vec::new();
        }
        let large = match self.is_large(family, count).await {
            Ok(large) => large,
            Err(error) => return vec![Err(error); count],
        };
        let ipset = match self.door() {
            Ok(ipset) => ipset,
            Err(error) => return vec![Err(error); count],
        };
        if large && let Ok(answers) = aside::change(ipset, family, changes).await {
            return answers;
        }
        let answers = in_place(ipset, family, changes).await;
        let is_full = |error: &NlError| error.errno() == Some(IPSET_ERR_HASH_FULL);
        if !answers
            .iter()
            .any(|answer| answer.as_ref().is_err_and(is_full))
        {
            return answers;
        }
        // a set does not grow: a larger one takes its place
        match aside::change(ipset, family, changes).await {
            Ok(grown) => grown,
            Err(_) => answers,
        }
    }

    /// Says whether so many changes are a large part of a family's set, or the first.
    async fn is_large(&mut self, family: Family, changes: usize) -> Result<bool, NlError> {
        if changes < LARGE {
            return Ok(false);
        }
        let header = self.header(family).await?;
        let there = header.and_then(|header| header.elements);
        Ok(there.is_some_and(|there| changes * LARGE_PART >= there as usize))
    }

    fn door(&mut self) -> Result<&mut Ipset, NlError> {
        match &mut self.ipset {
            Some(ipset) => Ok(ipset),
            none => Ok(none.insert(Ipset::open()?)),
        }
    }
}

/// Elements, and of each whether it is taken away. Apart, so that what is added need not be copied.
#[derive(Default)]
struct Changes {
    away: Vec<bool>,
    elements: Vec<Element>,
}

/// Changes the set that is there, in runs of what is added and what is deleted.
async fn in_place(
    ipset: &mut Ipset,
    family: Family,
    changes: &Changes,
) -> Vec<Result<(), NlError>> {
    let name = set_name(family);
    let mut answers = Vec::with_capacity(changes.elements.len());
    let mut rest = &changes.elements[..];
    for run in changes.away.chunk_by(|one, next| one == next) {
        let (elements, behind) = rest.split_at(run.len());
        rest = behind;
        answers.extend(match run {
            [true, ..] => ipset.del(name, elements).await,
            _ => ipset.add(name, elements).await,
        });
    }
    answers
}

/// Destroys a set, waiting for nf_tables to let go of it.
async fn destroy(ipset: &mut Ipset, name: &str) -> Result<(), NlError> {
    for _ in 0..RELEASE_TRIES {
        match ipset.run(&Command::Destroy(name)).await {
            Err(NlError::Errno(IPSET_ERR_BUSY)) => tokio::time::sleep(RELEASE_PAUSE).await,
            done => return done,
        }
    }
    ipset.run(&Command::Destroy(name)).await
}

/// Says whether there is no set: none of this name, or, as `nfnetlink_rcv_msg` (`net/netfilter/nfnetlink.c`) puts it,
/// no such subsystem. What is wanted of a kernel without ipset is refused when it is asked for.
pub(super) fn is_absent(error: &NlError) -> bool {
    [Errno::ENOENT, Errno::EINVAL]
        .map(|errno| Some(errno as i32))
        .contains(&error.errno())
}

fn insert(key: Key, object: Object, scope: &Scope, table: &mut Table) {
    if scope.has(key) {
        table.insert(key, object);
    }
}

fn explain(errno: Errno) -> Option<(String, &'static str)> {
    let cause = match errno {
        Errno::ENOENT => "the loopback set is not there",
        Errno::EEXIST => "a set of this name is there and is not like ours",
        // nfnetlink_rcv_msg: no such subsystem
        Errno::EINVAL | Errno::EOPNOTSUPP => {
            "this kernel has no ipset: load the modules ip_set and ip_set_hash_ipportip"
        }
        _ => return None,
    };
    Some((cause.to_owned(), ""))
}

fn is_of_type(header: &Header, family: Family) -> bool {
    header.type_name == HASH_IP_PORT_IP && header.family == Some(netlink_family(family))
}

/// Gives what a set is: as it should be, or what does not fit about it.
fn object(header: &Header, family: Family) -> Object {
    let room = header.max_elements.unwrap_or(MAX_ELEMENTS);
    let buckets = header.hash_size.unwrap_or(FEW_BUCKETS);
    let elements = header.elements.unwrap_or(u32::MAX);
    if !is_of_type(header, family) {
        Object::Value(header.type_name.clone())
    } else if room < MAX_ELEMENTS {
        Object::Value(format!("room for {room} entries"))
    } else if buckets > FEW_BUCKETS && buckets / BUCKETS_PER_ENTRY > elements {
        Object::Value(format!("{buckets} buckets for {elements} entries"))
    } else {
        Object::Present
    }
}
