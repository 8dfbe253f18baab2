//! The loopback sets and rules in nf_tables alone: the table `inet weir`, a set for each family of addresses, and a
//! rule on each that masquerades.
//!
//! The table is ours by the comment it carries, and one of this name without it is somebody else's. What others put
//! into our table stays, and the table with it.

mod lot;

use nix::errno::Errno;
use weir_proto::model::{Family, ItemKey, LoopbackEntry};

use self::lot::{Lot, Message};
use super::Left;
use super::entries::{self, ONE_BY_ONE};
use super::nftables::{
    Command, ELEMENTS_PER_MESSAGE, Element, Expression, NewSet, Nftables, Place, Refused, Rule,
    Set, comment_of_rule, comment_of_set, masquerade_of_set,
};
use crate::kernel::linux::netlink::{Counts, NlError};
use crate::plan::{Key, Object, Scope, Step, Table, Unit};

const TABLE: &str = "weir";
const CHAIN: Place<'_> = Place {
    table: TABLE,
    name: "postrouting",
};
const COMMENT: &str = "weir: loopback backends";
/// Most elements of one transaction, which goes in one send: of IPv6 they take 3.4 MB of the 8 MiB send buffer. What is
/// more than this changes in several.
const ELEMENTS_AT_ONCE: usize = 64 * 1024;

/// The tables of one network namespace, as far as they are weir's.
pub(in super::super) struct Native {
    door: Nftables,
}

/// Whose the table is.
enum Owner {
    Nobody,
    /// Ours, with so many objects in it.
    Ours(u32),
    Foreign,
}

/// Why nf_tables does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum NativeError {
    #[error("a table inet weir is there and is somebody else's")]
    Foreign,
    #[error("the loopback set is not there")]
    NoSet,
    #[error("nf_tables refused")]
    Refused(#[from] Refused),
    #[error("nf_tables cannot be read")]
    Read(#[from] NlError),
}

impl Native {
    /// Opens a socket in this thread's network namespace.
    pub(super) fn open() -> Result<Self, NlError> {
        Ok(Self {
            door: Nftables::open()?,
        })
    }

    /// Gives what was sent and received so far.
    pub(super) fn counts(&self) -> Counts {
        self.door.counts()
    }

    /// Tries whether the kernel can hold everything, and leaves nothing behind: makes a table with the same sets and
    /// rules, and deletes it in the same transaction.
    pub(super) async fn probe(&mut self) -> Result<(), NativeError> {
        let name = format!("weir-probe-{}", std::process::id());
        let place = |within| Place {
            table: &name,
            name: within,
        };
        let comment = comment_of_set(COMMENT);
        let sets = Family::ALL.map(|family| new_set(place(set_name(family)), family, &comment));
        let rules = Family::ALL.map(expressions);
        let chain = place(CHAIN.name);
        let mut batch = vec![Command::NewTable(&name, &[]), Command::NewChain(chain)];
        batch.extend(sets);
        batch.extend(rules.iter().map(|rule| Command::NewRule(chain, rule, &[])));
        batch.push(Command::DelTable(&name));
        Ok(self.door.try_out(&batch).await?)
    }

    /// Says what of ours is there of a family.
    pub(super) async fn left(&mut self, family: Family) -> Result<Left, NlError> {
        let Owner::Ours(_) = self.owner().await? else {
            return Ok(Left::default());
        };
        Ok(Left {
            set: self.door.set(place(family)).await?.is_some(),
            rule: !self.rules(family).await?.is_empty(),
        })
    }

    /// Reads the sets, rules and entries of the scope. What somebody else's table holds is not among it.
    pub(super) async fn read(&mut self, scope: &Scope, table: &mut Table) -> Result<(), NlError> {
        let Owner::Ours(_) = self.owner().await? else {
            return Ok(());
        };
        let base = match scope {
            Scope::All => true,
            Scope::Units(units) => units.contains(&Unit::Base),
        };
        for family in Family::ALL {
            if base {
                self.read_base(family, table).await?;
            }
            let asked = entries::within(scope, family);
            match asked {
                Some(asked) if asked.len() <= ONE_BY_ONE => {
                    for entry in asked {
                        let element = entries::element(&entry);
                        if self.door.has(place(family), &element).await? {
                            table.insert(key(entry), Object::Present);
                        }
                    }
                }
                _ => {
                    let found = self.elements(family).await?;
                    let found = found.iter().filter_map(entries::entry).map(key);
                    let asked = found.filter(|key| scope.has(*key));
                    table.extend(asked.map(|key| (key, Object::Present)));
                }
            }
        }
        Ok(())
    }

    async fn read_base(&mut self, family: Family, table: &mut Table) -> Result<(), NlError> {
        let Some(set) = self.door.set(place(family)).await? else {
            return Ok(());
        };
        table.insert(Key::LoopbackSet(family), object(&set, family));
        let rules = self.rules(family).await?;
        let object = match &rules[..] {
            [] => return Ok(()),
            [one] if is_whole(one, family) => Object::Present,
            _ => Object::Value("not as this version puts it".to_owned()),
        };
        table.insert(Key::LoopbackRule(family), object);
        Ok(())
    }

    /// Makes the set of a family, with what `from` gives in it.
    pub(super) async fn add_set(
        &mut self,
        family: Family,
        from: &[Element],
    ) -> Result<(), NativeError> {
        let comment = comment_of_set(COMMENT);
        let mark = comment_of_rule(COMMENT);
        let mut batch = Vec::new();
        match self.owner().await? {
            Owner::Foreign => return Err(NativeError::Foreign),
            Owner::Nobody => batch.push(Command::NewTable(TABLE, &mark)),
            Owner::Ours(_) => {}
        }
        batch.push(new_set(place(family), family, &comment));
        batch.extend(adding(family, from));
        Ok(self.door.transaction(&batch).await?)
    }

    /// Puts a set of the right shape in the place of one of another, with the elements that fit and the rule on it,
    /// at once.
    pub(super) async fn replace_set(&mut self, family: Family) -> Result<(), NativeError> {
        let Owner::Ours(_) = self.owner().await? else {
            return Err(NativeError::Foreign);
        };
        let kept = self.elements(family).await?;
        let kept: Vec<Element> = kept
            .into_iter()
            .filter(|element| entries::entry(element).is_some_and(|entry| of(&entry) == family))
            .collect();
        let rules = self.rules(family).await?;
        let (comment, mark) = (comment_of_set(COMMENT), comment_of_rule(COMMENT));
        let rule = expressions(family);
        let mut batch: Vec<Command<'_>> = rules
            .iter()
            .map(|rule| Command::DelRule(CHAIN, rule.handle))
            .collect();
        batch.push(Command::DelSet(place(family)));
        batch.push(new_set(place(family), family, &comment));
        batch.extend(adding(family, &kept));
        if !rules.is_empty() {
            batch.push(Command::NewRule(CHAIN, &rule, &mark));
        }
        Ok(self.door.transaction(&batch).await?)
    }

    /// Puts the rule on a family's set up, in place of all of ours that are not as they should be.
    pub(super) async fn put_rule(&mut self, family: Family) -> Result<(), NativeError> {
        match self.owner().await? {
            Owner::Foreign => return Err(NativeError::Foreign),
            Owner::Nobody => return Err(NativeError::NoSet),
            Owner::Ours(_) => {}
        }
        if self.door.set(place(family)).await?.is_none() {
            return Err(NativeError::NoSet);
        }
        let rules = self.rules(family).await?;
        if matches!(&rules[..], [one] if is_whole(one, family)) {
            return Ok(());
        }
        let (rule, mark) = (expressions(family), comment_of_rule(COMMENT));
        let mut batch = vec![
            Command::NewChain(CHAIN),
            Command::NewRule(CHAIN, &rule, &mark),
        ];
        let old = rules.iter().map(|rule| rule.handle);
        batch.extend(old.map(|handle| Command::DelRule(CHAIN, handle)));
        Ok(self.door.transaction(&batch).await?)
    }

    /// Takes the rule on a family's set away, and the chain when nothing else is in it; one that is not there is well.
    pub(super) async fn remove_rule(&mut self, family: Family) -> Result<(), NativeError> {
        let Owner::Ours(_) = self.owner().await? else {
            return Ok(());
        };
        let rules = self.rules(family).await?;
        let mut batch: Vec<Command<'_>> = rules
            .iter()
            .map(|rule| Command::DelRule(CHAIN, rule.handle))
            .collect();
        let chain = self.door.chain(CHAIN).await?;
        if chain.is_some_and(|chain| chain.uses as usize == rules.len()) {
            batch.push(Command::DelChain(CHAIN));
        }
        if batch.is_empty() {
            return Ok(());
        }
        Ok(self.door.transaction(&batch).await?)
    }

    /// Takes a family's set away, the chain when no rule is in it (somebody may have flushed ours), and the table when
    /// nothing else is in it. Refused with `ENOENT` when there is none, and with `EBUSY` while a rule looks it up.
    pub(super) async fn remove_set(&mut self, family: Family) -> Result<(), NativeError> {
        let Owner::Ours(uses) = self.owner().await? else {
            return Err(NlError::Errno(Errno::ENOENT as i32).into());
        };
        let mut batch = vec![Command::DelSet(place(family))];
        let chain = self.door.chain(CHAIN).await?;
        if chain.is_some_and(|chain| chain.uses == 0) {
            batch.push(Command::DelChain(CHAIN));
        }
        if uses as usize == batch.len() {
            batch.push(Command::DelTable(TABLE));
        }
        Ok(self.door.transaction(&batch).await?)
    }

    /// Gives the elements of a family's set that are an address, a protocol, a port and an address.
    pub(super) async fn elements(&mut self, family: Family) -> Result<Vec<Element>, NlError> {
        let elements = self.door.elements(place(family)).await?;
        Ok(elements.unwrap_or_default())
    }

    /// Adds and deletes entries, all in one transaction, and gives the verdict on each. Those that are refused are left
    /// out, and the others happen all the same.
    pub(super) async fn apply_entries(&mut self, steps: &[&Step]) -> Vec<Result<(), NlError>> {
        match self.owner().await {
            Ok(Owner::Ours(_)) => {}
            Ok(Owner::Nobody | Owner::Foreign) => {
                return vec![Err(NlError::Errno(Errno::ENOENT as i32)); steps.len()];
            }
            Err(error) => return vec![Err(error); steps.len()],
        }
        let mut verdicts = Vec::with_capacity(steps.len());
        for lot in steps.chunks(ELEMENTS_AT_ONCE) {
            verdicts.extend(self.apply_lot(lot).await);
        }
        verdicts
    }

    async fn apply_lot(&mut self, steps: &[&Step]) -> Vec<Result<(), NlError>> {
        let mut lot = Lot::new(steps);
        // a second time without what was refused; should the set be gone by then, all is
        for _ in 0..2 {
            let messages = lot.messages();
            let batch: Vec<Command<'_>> = messages.iter().map(Message::command).collect();
            if batch.is_empty() {
                break;
            }
            let Err(refused) = self.door.transaction(&batch).await else {
                lot.taken(&messages);
                break;
            };
            if refused.requests.is_empty() {
                lot.all_left(&refused.error);
                break;
            }
            let culprits = refused.requests.iter();
            let culprits: Vec<&Message> = culprits
                .filter_map(|(place, _)| messages.get(*place))
                .collect();
            for message in culprits {
                self.sift(message, &mut lot).await;
            }
        }
        lot.verdicts()
    }

    /// Sends the elements of a refused message one by one in a transaction of their own, to see which are refused.
    async fn sift(&mut self, message: &Message, lot: &mut Lot) {
        let singles: Vec<Message> = message.singles();
        let batch: Vec<Command<'_>> = singles.iter().map(Message::command).collect();
        let Err(refused) = self.door.transaction(&batch).await else {
            // what was in the way went meanwhile
            lot.taken(&singles);
            return;
        };
        for (place, error) in &refused.requests {
            if let Some(single) = singles.get(*place) {
                lot.refused(single, error);
            }
        }
        if refused.requests.is_empty() {
            for single in &singles {
                lot.refused(single, &refused.error);
            }
        }
    }

    /// Reads whose the table is. A kernel that keeps no comment of a table keeps that of a set.
    async fn owner(&mut self) -> Result<Owner, NlError> {
        let Some(table) = self.door.table(TABLE).await? else {
            return Ok(Owner::Nobody);
        };
        let mut ours = table.userdata == comment_of_rule(COMMENT);
        if table.userdata.is_empty() {
            for family in Family::ALL {
                let set = self.door.set(place(family)).await?;
                ours |= set.is_some_and(|set| set.userdata == comment_of_set(COMMENT));
            }
        }
        Ok(if ours {
            Owner::Ours(table.uses)
        } else {
            Owner::Foreign
        })
    }

    /// Reads the rules of ours that look a family's set up.
    async fn rules(&mut self, family: Family) -> Result<Vec<Rule>, NlError> {
        let mark = comment_of_rule(COMMENT);
        let looks_up = |rule: &Rule| {
            rule.expressions.iter().any(|expression| {
                matches!(expression, Expression::Lookup { set, .. } if set == set_name(family))
            })
        };
        let mut rules = self.door.rules(CHAIN).await?;
        rules.retain(|rule| rule.userdata == mark && looks_up(rule));
        Ok(rules)
    }
}

fn set_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "loopback4",
        Family::V6 => "loopback6",
    }
}

fn place(family: Family) -> Place<'static> {
    Place {
        table: TABLE,
        name: set_name(family),
    }
}

fn new_set<'a>(place: Place<'a>, family: Family, userdata: &'a [u8]) -> Command<'a> {
    Command::NewSet(NewSet {
        place,
        family: entries::netlink_family(family),
        id: match family {
            Family::V4 => 4,
            Family::V6 => 6,
        },
        userdata,
    })
}

fn expressions(family: Family) -> Vec<Expression> {
    masquerade_of_set(entries::netlink_family(family), set_name(family))
}

fn adding(family: Family, elements: &[Element]) -> impl Iterator<Item = Command<'_>> {
    let chunks = elements.chunks(ELEMENTS_PER_MESSAGE);
    chunks.map(move |some| Command::Add(place(family), some))
}

/// Says whether a rule does what this version writes, whatever it counted.
fn is_whole(rule: &Rule, family: Family) -> bool {
    let mut found = rule.expressions.clone();
    for expression in &mut found {
        if let Expression::Counter { packets, bytes } = expression {
            (*packets, *bytes) = (0, 0);
        }
    }
    found == expressions(family)
}

fn object(set: &Set, family: Family) -> Object {
    let length = match family {
        Family::V4 => 16,
        Family::V6 => 40,
    };
    if set.key_length == length && set.flags == 0 {
        Object::Present
    } else {
        let Set {
            key_length, flags, ..
        } = set;
        Object::Value(format!("a key of {key_length} bytes, flags {flags:#x}"))
    }
}

fn key(entry: LoopbackEntry) -> Key {
    Key::Item(ItemKey::LoopbackEntry(entry))
}

fn of(entry: &LoopbackEntry) -> Family {
    Family::of(entry.address)
}
