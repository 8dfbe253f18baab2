//! The loopback sets and their entries, as ipset has them.

use std::time::Duration;

use nix::errno::Errno;
use weir_proto::model::{Family, ItemKey, LoopbackEntry, Port, Protocol};

use super::ipset::{Command, Element, HASH_IP_PORT_IP, Header, Ipset};
use super::netlink::{self, NlError};
use super::verdict;
use crate::kernel::{KernelError, Verdict};
use crate::plan::{Key, Object, Scope, Step, Table, Unit};

/// Above so many entries one listing of the set is cheaper than asking for each.
const ONE_BY_ONE: usize = 64;
/// Most entries of a set. It takes no memory until it is used; a million backends on one node are out of
/// reach of everything else.
const MAX_ELEMENTS: u32 = 1 << 20;

const IPSET_ERR_BUSY: i32 = 4100;
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
    /// Reads the sets and entries of the scope.
    pub(super) async fn read(
        &mut self,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), KernelError> {
        for family in Family::ALL {
            let read = match scope {
                Scope::All => self.read_set(family, scope, table).await,
                Scope::Units(units) => {
                    let entries: Vec<LoopbackEntry> = units
                        .iter()
                        .filter_map(|unit| entry_of(*unit, family))
                        .collect();
                    let base = units.contains(&Unit::Base);
                    if entries.len() > ONE_BY_ONE {
                        self.read_set(family, scope, table).await
                    } else {
                        self.read_entries(family, &entries, base, table).await
                    }
                }
            };
            read.map_err(|error| verdict::unreadable("a loopback set", error))?;
        }
        Ok(())
    }

    async fn read_set(
        &mut self,
        family: Family,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), NlError> {
        let set = match self.door()?.list(set_name(family)).await {
            Err(error) if is_absent(&error) => None,
            listed => listed?,
        };
        let Some(set) = set else { return Ok(()) };
        table.insert(Key::LoopbackSet(family), object(&set.header, family));
        let entries = set.elements.iter().filter_map(entry);
        table.extend(
            entries.map(|entry| (Key::Item(ItemKey::LoopbackEntry(entry)), Object::Present)),
        );
        table.retain(|key, _| scope.has(*key));
        Ok(())
    }

    async fn read_entries(
        &mut self,
        family: Family,
        entries: &[LoopbackEntry],
        base: bool,
        table: &mut Table,
    ) -> Result<(), NlError> {
        let name = set_name(family);
        if base {
            let header = match self.door()?.header(name).await {
                Err(error) if is_absent(&error) => None,
                header => header?,
            };
            if let Some(header) = header {
                table.insert(Key::LoopbackSet(family), object(&header, family));
            }
        }
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

    /// Makes and destroys sets.
    pub(super) async fn apply(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            verdicts.push(verdict::of(self.take(step).await, explain));
        }
        verdicts
    }

    async fn take(&mut self, step: &Step) -> Result<(), NlError> {
        let Key::LoopbackSet(family) = step.key() else {
            return Err(NlError::Errno(Errno::EINVAL as i32));
        };
        let name = set_name(family);
        let ipset = self.door()?;
        match step {
            Step::Add { .. } => {
                ipset
                    .create(name, netlink_family(family), MAX_ELEMENTS)
                    .await
            }
            Step::Remove { .. } => destroy(ipset, name).await,
            // a set of ours has one shape
            Step::Edit { .. } => Err(NlError::Errno(Errno::EEXIST as i32)),
        }
    }

    /// Adds and deletes entries, many to a message.
    pub(super) async fn apply_entries(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(steps.len());
        for run in steps.chunk_by(|one, next| way(one) == way(next)) {
            let elements: Vec<Element> = run.iter().filter_map(|step| entry_step(step)).collect();
            let answers = match (self.door(), run.first()) {
                (Ok(ipset), Some(first)) => match way(first) {
                    (family, true) => ipset.del(set_name(family), &elements).await,
                    (family, false) => ipset.add(set_name(family), &elements).await,
                },
                (Err(error), _) => elements.iter().map(|_| Err(error.clone())).collect(),
                (Ok(_), None) => Vec::new(),
            };
            verdicts.extend(
                answers
                    .into_iter()
                    .map(|answer| verdict::of(answer, explain)),
            );
        }
        verdicts
    }

    fn door(&mut self) -> Result<&mut Ipset, NlError> {
        match &mut self.ipset {
            Some(ipset) => Ok(ipset),
            none => Ok(none.insert(Ipset::open()?)),
        }
    }
}

/// Destroys a set, waiting for nf_tables to let go of it.
pub(super) async fn destroy(ipset: &mut Ipset, name: &str) -> Result<(), NlError> {
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

/// Gives which set an entry step changes, and whether it takes away.
fn way(step: &Step) -> (Family, bool) {
    let family = match step.key() {
        Key::Item(ItemKey::LoopbackEntry(entry)) => Family::of(entry.address),
        _ => Family::V4,
    };
    (family, matches!(step, Step::Remove { .. }))
}

fn entry_step(step: &Step) -> Option<Element> {
    match step.key() {
        Key::Item(ItemKey::LoopbackEntry(entry)) => Some(element(&entry)),
        _ => None,
    }
}

fn entry_of(unit: Unit, family: Family) -> Option<LoopbackEntry> {
    match unit {
        Unit::Entry(entry) if Family::of(entry.address) == family => Some(entry),
        Unit::Base
        | Unit::Entry(_)
        | Unit::Guard(_)
        | Unit::Service(_)
        | Unit::Vip(_)
        | Unit::SyncDaemon(_) => None,
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

fn object(header: &Header, family: Family) -> Object {
    if header.type_name == HASH_IP_PORT_IP && header.family == Some(netlink_family(family)) {
        Object::Present
    } else {
        Object::Value(header.type_name.clone())
    }
}

pub(super) fn netlink_family(family: Family) -> netlink::Family {
    match family {
        Family::V4 => netlink::Family::Inet,
        Family::V6 => netlink::Family::Inet6,
    }
}

fn element(entry: &LoopbackEntry) -> Element {
    Element {
        ip: entry.address,
        proto: entry.protocol.number(),
        port: entry.port.get(),
        ip2: entry.source,
    }
}

/// Gives the entry; none for one that weir could never make.
fn entry(element: &Element) -> Option<LoopbackEntry> {
    Some(LoopbackEntry {
        address: element.ip,
        protocol: Protocol::from_number(element.proto)?,
        port: Port::new(element.port.into()).ok()?,
        source: element.ip2,
    })
}
