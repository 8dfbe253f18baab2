//! A lockdown in nf_tables alone: for each family a table of its own with four sets and two chains, made in one
//! transaction and without a program.
//!
//! A table is ours by the comment it carries, and one of this name without it is somebody else's. Rules are known again by
//! their comments: what a kernel shows of a rule's expressions is its own affair.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;
use weir_proto::model::{Family, Listener, Port, Protocol};
use weir_proto::trace::chain;

use super::{Part, rules};
use crate::kernel::linux::loopback::netlink_family;
use crate::kernel::linux::loopback::nftables::{
    Command, ELEMENTS_PER_MESSAGE, Expression, Field, KeySet, Nftables, Place, Refused, Rule,
    comment_of_rule, comment_of_set,
};
use crate::kernel::linux::netlink::NlError;
use crate::kernel::linux::verdict;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::{Guard, Key, Object, Step, Table};

const COMMENT: &str = "weir: lockdown";
const INPUT: &str = "input";
/// Above so many guards one listing of the sets is cheaper than asking for each.
const ONE_BY_ONE: usize = 64;
const SETS: [&str; 4] = [rules::OPEN, rules::ALLOW, rules::GUARDED, rules::LOCKED];

/// The engine.
pub(super) struct Native {
    door: Nftables,
    rejected: BTreeMap<Family, u64>,
}

/// Whose a table is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    Ours,
    Foreign,
}

impl Native {
    /// Tries whether the kernel can hold everything, and leaves nothing behind: makes tables and deletes them in the
    /// same transaction.
    pub(super) async fn find() -> Result<Self, String> {
        let door = Nftables::open().map_err(|error| chain(&error))?;
        let rejected = BTreeMap::new();
        let mut native = Self { door, rejected };
        for family in Family::ALL {
            let name = format!("weir-probe-{}", std::process::id());
            let all = Parts::of(family);
            let mut batch = vec![Command::NewTable(&name, &[])];
            batch.extend(all.sets(&name));
            batch.extend(all.rules(&name));
            batch.push(Command::DelTable(&name));
            let tried = native.door.try_out(&batch).await;
            tried.map_err(|refused| chain(&refused))?;
        }
        Ok(native)
    }

    pub(super) fn rejected(&self) -> BTreeMap<Family, u64> {
        self.rejected.clone()
    }

    /// Reads what one family has.
    pub(super) async fn read(&mut self, part: &Part, table: &mut Table) -> Result<(), KernelError> {
        let read = self.read_part(part, table).await;
        read.map_err(|error| verdict::unreadable("a lockdown table", error))
    }

    async fn read_part(&mut self, part: &Part, table: &mut Table) -> Result<(), NlError> {
        let family = part.family;
        let owner = self.owner(family).await?;
        if part.base {
            let object = match owner {
                Owner::Nobody => None,
                Owner::Foreign => Some(Object::Value("somebody else's table".to_owned())),
                Owner::Ours => Some(self.base(family).await?),
            };
            table.extend(object.map(|object| (Key::Lockdown(family), object)));
        }
        if owner != Owner::Ours {
            return Ok(());
        }
        if part.all || part.guards.len() > ONE_BY_ONE {
            for set in SETS {
                let keys = self.door.keys(place(family, set)).await?;
                let guards = keys.iter().flatten();
                let guards = guards.filter_map(|bytes| guard(set, family, bytes));
                let asked = guards.filter(|guard| part.all || part.guards.contains(guard));
                table.extend(asked.map(|guard| (Key::Guard(guard), Object::Present)));
            }
            return Ok(());
        }
        for guard in &part.guards {
            let (set, bytes) = entry(*guard);
            if self.door.has_key(place(family, set), &bytes).await? {
                table.insert(Key::Guard(*guard), Object::Present);
            }
        }
        Ok(())
    }

    async fn base(&mut self, family: Family) -> Result<Object, NlError> {
        let mut whole = true;
        for set in SETS {
            let found = self.door.set(place(family, set)).await?;
            let length = Field::length(&fields(set, family));
            whole &= found.is_some_and(|set| set.key_length == length && set.flags == 0);
        }
        let found = self.rules(family).await?;
        let wanted = Parts::of(family);
        whole &= names(&found[0]).eq(wanted.input.iter().map(|(_, comment)| comment.clone()));
        whole &= names(&found[1]).eq(wanted.ranges.iter().map(|(_, comment)| comment.clone()));
        let counted = found.iter().flatten().flat_map(|rule| &rule.expressions);
        let packets = counted.filter_map(|expression| match expression {
            Expression::Counter { packets, .. } => Some(*packets),
            _ => None,
        });
        self.rejected.insert(family, packets.sum());
        Ok(if whole {
            Object::Present
        } else {
            Object::Value("not whole".to_owned())
        })
    }

    async fn rules(&mut self, family: Family) -> Result<[Vec<Rule>; 2], NlError> {
        Ok([
            self.door.rules(place(family, INPUT)).await?,
            self.door.rules(place(family, rules::RANGES)).await?,
        ])
    }

    /// Says whether anything of ours is there for a family.
    pub(super) async fn is_there(&mut self, family: Family) -> Result<bool, NlError> {
        Ok(self.owner(family).await? == Owner::Ours)
    }

    async fn owner(&mut self, family: Family) -> Result<Owner, NlError> {
        let Some(table) = self.door.table(table_name(family)).await? else {
            self.rejected.remove(&family);
            return Ok(Owner::Nobody);
        };
        let mut ours = table.userdata == comment_of_rule(COMMENT);
        if table.userdata.is_empty() {
            // a kernel that keeps no comment of a table keeps that of a set
            let set = self.door.set(place(family, rules::OPEN)).await?;
            ours = set.is_some_and(|set| set.userdata == comment_of_set(COMMENT));
        }
        Ok(if ours { Owner::Ours } else { Owner::Foreign })
    }

    /// Makes a family's lockdown, or makes it whole: the sets that are missing, and all rules anew.
    pub(super) async fn install(&mut self, family: Family) -> Verdict {
        let name = table_name(family);
        let unknown = |error: NlError| StepError::Unknown(chain(&error));
        let all = Parts::of(family);
        let table_comment = comment_of_rule(COMMENT);
        let mut batch = Vec::new();
        let mut there = Vec::new();
        match self.owner(family).await.map_err(unknown)? {
            Owner::Foreign => {
                let cause = format!("a table inet {name} is there and is not ours");
                return Err(verdict::refused(Errno::EEXIST, cause));
            }
            Owner::Nobody => batch.push(Command::NewTable(name, &table_comment)),
            Owner::Ours => {
                for set in SETS {
                    let found = self.door.set(place(family, set)).await.map_err(unknown)?;
                    there.extend(found.map(|_| set));
                }
                for (chain, rules) in [INPUT, rules::RANGES]
                    .into_iter()
                    .zip(self.rules(family).await.map_err(unknown)?)
                {
                    let chain = place(family, chain);
                    let handles = rules.into_iter().map(|rule| rule.handle);
                    batch.extend(handles.map(|handle| Command::DelRule(chain, handle)));
                }
            }
        }
        let missing = all.sets(name).into_iter();
        batch.extend(missing.filter(|new| match new {
            Command::NewKeySet(new) => !there.contains(&new.place.name),
            _ => true,
        }));
        batch.extend(all.rules(name));
        self.transaction(&batch).await
    }

    /// Takes a family's table away; one that is not there, or is somebody else's, is well.
    pub(super) async fn remove(&mut self, family: Family) -> Verdict {
        let owner = self.owner(family).await;
        if owner.map_err(|error| StepError::Unknown(chain(&error)))? != Owner::Ours {
            return Ok(());
        }
        self.rejected.remove(&family);
        let gone = [Command::DelTable(table_name(family))];
        self.transaction(&gone).await
    }

    async fn transaction(&mut self, batch: &[Command<'_>]) -> Verdict {
        let done = self.door.transaction(batch).await;
        done.or_else(|Refused { error, .. }| verdict::of(Err(error), explain))
    }

    /// Adds and deletes guards: all in one transaction, or, where one is refused, each in its own.
    pub(super) async fn apply(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = steps.iter().map(|_| Ok(())).collect();
        for family in Family::ALL {
            if !steps.iter().any(|step| of(step) == Some(family)) {
                continue;
            }
            // somebody else's table is none to put anything into
            let why = match self.owner(family).await {
                Ok(Owner::Ours) => continue,
                Ok(Owner::Nobody | Owner::Foreign) => NlError::Errno(Errno::ENOENT as i32),
                Err(error) => error,
            };
            for (step, verdict) in steps.iter().zip(&mut verdicts) {
                if of(step) == Some(family) {
                    *verdict = verdict::of(Err(why.clone()), explain);
                }
            }
        }
        let free = steps.iter().zip(&verdicts);
        let free = free.filter_map(|(step, verdict)| verdict.is_ok().then_some(*step));
        let mut taken = self.apply_to_ours(free.collect()).await.into_iter();
        for verdict in verdicts.iter_mut().filter(|verdict| verdict.is_ok()) {
            *verdict = taken.next().unwrap_or(Ok(()));
        }
        verdicts
    }

    async fn apply_to_ours(&mut self, steps: Vec<&Step>) -> Vec<Verdict> {
        let entries: Vec<Entry> = steps.iter().filter_map(|step| Entry::of(step)).collect();
        // what is alike goes together: the order within a transaction does not matter
        let mut alike: BTreeMap<(bool, Family, &str), Vec<Vec<u8>>> = BTreeMap::new();
        for entry in &entries {
            let keys = alike.entry((entry.removes, entry.family, entry.set));
            keys.or_default().push(entry.key.clone());
        }
        let mut batch = Vec::new();
        for ((removes, family, set), keys) in &alike {
            for some in keys.chunks(ELEMENTS_PER_MESSAGE) {
                batch.push(command(*removes, place(*family, set), some));
            }
        }
        if self.door.transaction(&batch).await.is_ok() {
            return steps.iter().map(|_| Ok(())).collect();
        }
        let mut verdicts = Vec::with_capacity(steps.len());
        for entry in &entries {
            let keys = std::slice::from_ref(&entry.key);
            let one = command(entry.removes, place(entry.family, entry.set), keys);
            verdicts.push(self.transaction(&[one]).await);
        }
        verdicts
    }
}

/// A step on a guard, in the words of nf_tables.
struct Entry {
    removes: bool,
    family: Family,
    set: &'static str,
    key: Vec<u8>,
}

impl Entry {
    fn of(step: &Step) -> Option<Self> {
        let Key::Guard(guard) = step.key() else {
            return None;
        };
        let (set, key) = entry(guard);
        Some(Self {
            removes: matches!(step, Step::Remove { .. }),
            family: guard.family(),
            set,
            key,
        })
    }
}

/// Everything that a table has, with its comments, for commands to borrow from.
struct Parts {
    fields: [(&'static str, Vec<Field>); 4],
    set_comment: Vec<u8>,
    input: Vec<(Vec<Expression>, Vec<u8>)>,
    ranges: Vec<(Vec<Expression>, Vec<u8>)>,
}

impl Parts {
    fn of(family: Family) -> Self {
        let commented = |rules: Vec<rules::Rule>| {
            let rules = rules.into_iter();
            rules
                .map(|rule| {
                    let comment = comment_of_rule(&format!("weir: {}", rule.name));
                    (rule.expressions, comment)
                })
                .collect()
        };
        Self {
            fields: SETS.map(|set| (set, fields(set, family))),
            set_comment: comment_of_set(COMMENT),
            input: commented(rules::input(family)),
            ranges: commented(rules::ranges(family)),
        }
    }

    fn sets<'a>(&'a self, table: &'a str) -> Vec<Command<'a>> {
        let ids = 1..;
        let sets = self.fields.iter().zip(ids).map(|((name, fields), id)| {
            Command::NewKeySet(KeySet {
                place: Place { table, name },
                fields,
                id,
                userdata: &self.set_comment,
            })
        });
        sets.collect()
    }

    /// Gives chains and rules; the chain that is jumped to is there before the jump.
    fn rules<'a>(&'a self, table: &'a str) -> Vec<Command<'a>> {
        let [ranges, input] = [rules::RANGES, INPUT].map(|name| Place { table, name });
        let mut commands = vec![
            Command::NewPlainChain(ranges),
            Command::NewInputChain(input),
        ];
        for (chain, rules) in [(ranges, &self.ranges), (input, &self.input)] {
            let rules = rules.iter();
            commands.extend(rules.map(|(rule, comment)| Command::NewRule(chain, rule, comment)));
        }
        commands
    }
}

fn names(rules: &[Rule]) -> impl Iterator<Item = Vec<u8>> {
    rules.iter().map(|rule| rule.userdata.clone())
}

fn command<'a>(removes: bool, place: Place<'a>, keys: &'a [Vec<u8>]) -> Command<'a> {
    if removes {
        Command::DelKeys(place, keys)
    } else {
        Command::AddKeys(place, keys)
    }
}

fn of(step: &Step) -> Option<Family> {
    match step.key() {
        Key::Guard(guard) => Some(guard.family()),
        _ => None,
    }
}

fn table_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "weir-lockdown",
        Family::V6 => "weir-lockdown-6",
    }
}

fn place(family: Family, name: &str) -> Place<'_> {
    Place {
        table: table_name(family),
        name,
    }
}

fn fields(set: &str, family: Family) -> Vec<Field> {
    let address = Field::Address(netlink_family(family));
    match set {
        rules::LOCKED => vec![address],
        rules::ALLOW => vec![address, Field::Protocol, Field::Port, address, Field::Port],
        _ => vec![address, Field::Protocol, Field::Port],
    }
}

fn explain(errno: Errno) -> Option<(String, &'static str)> {
    let cause = match errno {
        Errno::ENOENT => "the lockdown, or this of it, is not there",
        _ => return None,
    };
    Some((cause.to_owned(), ""))
}

/// Gives the set that a guard is in, and its key there.
fn entry(guard: Guard) -> (&'static str, Vec<u8>) {
    let of = |listener: Listener| {
        let mut key = octets(listener.address);
        key.extend([listener.protocol.number(), 0, 0, 0]);
        key.extend(listener.port.get().to_be_bytes());
        key.extend([0, 0]);
        key
    };
    match guard {
        Guard::Opening(listener, None) => (rules::OPEN, of(listener)),
        Guard::Opening(listener, Some(range)) => {
            let prefix = vec![0, range.prefix_len(), 0, 0];
            let key = [of(listener), octets(range.network()), prefix];
            (rules::ALLOW, key.concat())
        }
        Guard::Port(listener) => (rules::GUARDED, of(listener)),
        Guard::Vip(address) => (rules::LOCKED, octets(address)),
    }
}

/// Gives the guard; none for what weir could never make.
fn guard(set: &str, family: Family, key: &[u8]) -> Option<Guard> {
    let length = match family {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    let (head, rest) = key.split_at_checked(length)?;
    let address = address(head)?;
    if set == rules::LOCKED {
        return rest.is_empty().then_some(Guard::Vip(address));
    }
    let (port, rest) = rest.split_first_chunk::<8>()?;
    let [protocol, 0, 0, 0, high, low, 0, 0] = *port else {
        return None;
    };
    let listener = Listener {
        address,
        port: Port::new(u16::from_be_bytes([high, low]).into()).ok()?,
        protocol: Protocol::from_number(protocol)?,
    };
    match set {
        rules::OPEN if rest.is_empty() => Some(Guard::Opening(listener, None)),
        rules::GUARDED if rest.is_empty() => Some(Guard::Port(listener)),
        rules::ALLOW => {
            let (source, prefix) = rest.split_at_checked(length)?;
            let [0, prefix, 0, 0] = *prefix else {
                return None;
            };
            let range = IpNet::new(self::address(source)?, prefix).ok()?;
            Some(Guard::Opening(listener, Some(range)))
        }
        _ => None,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(octets).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(octets).ok()?)),
        _ => None,
    }
}
