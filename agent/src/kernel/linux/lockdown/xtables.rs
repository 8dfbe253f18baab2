//! A lockdown as kernel IP sets that iptables rules look up.

use std::collections::BTreeMap;

use ipnet::IpNet;
use nix::errno::Errno;
use weir_proto::model::{Family, Listener, Port, Protocol};
use weir_proto::trace::chain;

use super::Part;
use super::filter::{CHAIN, Filter};
use crate::kernel::linux::ipset::{HASH_IP, HASH_IP_PORT, HASH_IP_PORT_NET, Header, Ipset, Member};
use crate::kernel::linux::loopback::{IptablesError, netlink_family};
use crate::kernel::linux::netlink::NlError;
use crate::kernel::linux::sets::{destroy, is_absent};
use crate::kernel::linux::verdict;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::{Guard, Key, Object, Step, Table};

/// Above so many guards one listing of the sets is cheaper than asking for each.
const ONE_BY_ONE: usize = 64;
/// Most entries of a set; it takes no memory until it is used.
const MAX_ELEMENTS: u32 = 1 << 20;
/// Where ipset's own error numbers begin (`include/uapi/linux/netfilter/ipset/ip_set.h`).
const IPSET_ERR_PRIVATE: i32 = 4096;

/// One of a family's sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What everybody may connect to.
    Open,
    /// What some may connect to.
    Allow,
    /// Ports that nobody else may connect to.
    Guarded,
    /// Addresses that nobody may connect to otherwise.
    Locked,
}

impl Kind {
    /// Every one, in the order in which they are filled: what lets in comes before what shuts out.
    pub const ALL: [Self; 4] = [Self::Open, Self::Allow, Self::Guarded, Self::Locked];

    /// Gives the name of a family's set.
    pub fn name(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Open, Family::V4) => "WEIR-OPEN",
            (Self::Open, Family::V6) => "WEIR-OPEN-6",
            (Self::Allow, Family::V4) => "WEIR-ALLOW",
            (Self::Allow, Family::V6) => "WEIR-ALLOW-6",
            (Self::Guarded, Family::V4) => "WEIR-GUARDED",
            (Self::Guarded, Family::V6) => "WEIR-GUARDED-6",
            (Self::Locked, Family::V4) => "WEIR-LOCKED",
            (Self::Locked, Family::V6) => "WEIR-LOCKED-6",
        }
    }

    /// Gives which ends of a packet a rule looks up in it.
    pub(super) fn fields(self) -> &'static str {
        match self {
            Self::Open | Self::Guarded => "dst,dst",
            Self::Allow => "dst,dst,src",
            Self::Locked => "dst",
        }
    }

    /// Gives its type, and the revision of it that the `ipset` of Debian 12 shows (the one before bucket sizes).
    fn shape(self) -> (&'static str, u8) {
        match self {
            Self::Open | Self::Guarded => (HASH_IP_PORT, 5),
            Self::Allow => (HASH_IP_PORT_NET, 7),
            Self::Locked => (HASH_IP, 4),
        }
    }
}

/// The engine.
pub(super) struct Xtables {
    ipset: Ipset,
    filter: Option<Filter>,
    rejected: BTreeMap<Family, u64>,
}

impl Xtables {
    /// Tries whether sets of these kinds can be had here; an error says what is missing.
    pub(super) async fn open() -> Result<Self, String> {
        let mut ipset = Ipset::open().map_err(|error| format!("no IP sets: {}", chain(&error)))?;
        for kind in [Kind::Open, Kind::Allow, Kind::Locked] {
            let (type_name, _) = kind.shape();
            let family = netlink_family(Family::V4);
            let revisions = ipset.revisions(type_name, family).await;
            revisions.map_err(|error| {
                let module = type_name.replace([':', ','], "");
                let module = module.replacen("hash", "ip_set_hash_", 1);
                format!(
                    "no {type_name} sets ({}): load the module {module}",
                    chain(&error)
                )
            })?;
        }
        Ok(Self {
            ipset,
            filter: None,
            rejected: BTreeMap::new(),
        })
    }

    /// Says what it works with; an error says what is missing.
    pub(super) async fn describe(&mut self) -> Result<String, String> {
        match self.filter().await {
            Ok(filter) => Ok(format!("IP sets and {}", filter.describe())),
            Err(error) => Err(format!(
                "{}; install iptables, and load xt_conntrack and ipt_REJECT",
                chain(&error)
            )),
        }
    }

    /// Gives the program that holds the rules: looked for when it is first needed.
    async fn filter(&mut self) -> Result<Filter, IptablesError> {
        if let Some(filter) = &self.filter {
            return Ok(filter.clone());
        }
        let found = Filter::find().await?;
        Ok(self.filter.insert(found).clone())
    }

    /// Says whether anything by the names of our sets is there for a family.
    pub(super) async fn is_there(&mut self, family: Family) -> Result<bool, KernelError> {
        let headers = self.headers(family).await;
        let headers = headers.map_err(|error| verdict::unreadable("a lockdown set", error))?;
        Ok(headers.iter().any(Option::is_some))
    }

    pub(super) fn rejected(&self) -> BTreeMap<Family, u64> {
        self.rejected.clone()
    }

    /// Reads what one family has.
    pub(super) async fn read(&mut self, part: &Part, table: &mut Table) -> Result<(), KernelError> {
        let unreadable = |error: NlError| verdict::unreadable("a lockdown set", error);
        if part.base {
            let headers = self.headers(part.family).await.map_err(unreadable)?;
            if let Some(object) = self.base(part.family, headers).await {
                table.insert(Key::Lockdown(part.family), object);
            }
        }
        let read = if part.all || part.guards.len() > ONE_BY_ONE {
            self.read_sets(part, table).await
        } else {
            self.read_guards(part, table).await
        };
        read.map_err(unreadable)
    }

    async fn headers(&mut self, family: Family) -> Result<[Option<Header>; 4], NlError> {
        let mut headers = [None, None, None, None];
        for (kind, header) in Kind::ALL.into_iter().zip(&mut headers) {
            *header = match self.ipset.header(kind.name(family)).await {
                Err(error) if is_absent(&error) => None,
                read => read?,
            };
        }
        Ok(headers)
    }

    /// Gives how a family's lockdown stands; none without any of its sets: then there are no rules either.
    async fn base(&mut self, family: Family, headers: [Option<Header>; 4]) -> Option<Object> {
        if headers.iter().all(Option::is_none) {
            self.rejected.remove(&family);
            return None;
        }
        let like_ours = |(kind, header): (Kind, &Option<Header>)| {
            header
                .as_ref()
                .is_some_and(|header| is_like_ours(kind, family, header))
        };
        let sets = Kind::ALL.into_iter().zip(&headers).all(like_ours);
        // a rule that cannot be read (another program holds the lock) is no reason not to see the rest
        let standing = match self.filter().await {
            Ok(filter) => filter.standing(family).await,
            Err(error) => Err(error),
        };
        match standing {
            Ok(standing) => {
                self.rejected.insert(family, standing.rejected);
                Some(if sets && standing.is_whole() {
                    Object::Present
                } else {
                    Object::Value("not whole".to_owned())
                })
            }
            Err(error) => Some(Object::Unreadable(chain(&error))),
        }
    }

    async fn read_sets(&mut self, part: &Part, table: &mut Table) -> Result<(), NlError> {
        for kind in Kind::ALL {
            for guard in self.guards(kind, part.family).await? {
                if part.all || part.guards.contains(&guard) {
                    table.insert(Key::Guard(guard), Object::Present);
                }
            }
        }
        Ok(())
    }

    /// Lists a set; one that is not like ours has nothing of ours in it.
    async fn guards(&mut self, kind: Kind, family: Family) -> Result<Vec<Guard>, NlError> {
        let name = kind.name(family);
        let header = match self.ipset.header(name).await {
            Err(error) if is_absent(&error) => None,
            header => header?,
        };
        if !header.is_some_and(|header| is_like_ours(kind, family, &header)) {
            return Ok(Vec::new());
        }
        let members = self.ipset.members(name).await?.unwrap_or_default();
        let guards = members.iter().filter_map(|member| guard(kind, member));
        Ok(guards.collect())
    }

    async fn read_guards(&mut self, part: &Part, table: &mut Table) -> Result<(), NlError> {
        let mut listed = None;
        for wanted in &part.guards {
            let (kind, member) = entry(*wanted);
            let name = kind.name(part.family);
            let mut there = match self.ipset.test_member(name, &member).await {
                Err(error) if is_absent(&error) || is_another(&error) => false,
                tested => tested?,
            };
            // a range as long as an address may be said to be there for the sake of one that it lies in
            if there && member.net.is_some_and(is_host) {
                if listed.is_none() {
                    listed = Some(self.guards(kind, part.family).await?);
                }
                there = listed.iter().flatten().any(|guard| guard == wanted);
            }
            if there {
                table.insert(Key::Guard(*wanted), Object::Present);
            }
        }
        Ok(())
    }

    /// Makes what is missing of a family's lockdown, and takes away what is too much of its rules.
    pub(super) async fn install(&mut self, family: Family) -> Verdict {
        let mut made = Vec::new();
        let done = self.make(family, &mut made).await;
        if done.is_err() {
            // nothing of it may stay: it would be nobody's
            for name in made {
                let _ = destroy(&mut self.ipset, name).await;
            }
        }
        done
    }

    async fn make(&mut self, family: Family, made: &mut Vec<&'static str>) -> Verdict {
        for kind in Kind::ALL {
            let name = kind.name(family);
            let (shape, of) = (kind.shape(), netlink_family(family));
            let created = self.ipset.create_typed(name, shape, of, MAX_ELEMENTS).await;
            let there =
                matches!(created, Err(NlError::Errno(errno)) if errno == Errno::EEXIST as i32);
            let like_ours = match self.ipset.header(name).await {
                Ok(Some(header)) if there => is_like_ours(kind, family, &header),
                _ => false,
            };
            match created {
                Err(_) if like_ours => {}
                created => {
                    verdict::of(created, explain)?;
                    made.push(name);
                }
            }
        }
        let failed = |error| verdict::refused(Errno::EIO, chain(&error));
        let filter = self.filter().await.map_err(failed)?;
        let found = filter.standing(family).await.map_err(failed)?;
        if found.chain && made.len() == Kind::ALL.len() {
            // rules of ours cannot be without their sets
            let cause = format!("a chain {CHAIN} is there and is not ours");
            return Err(verdict::refused(Errno::EEXIST, cause));
        }
        if found.is_whole() {
            return Ok(());
        }
        filter.install(family, found).await.map_err(failed)
    }

    /// Takes a family's rules and sets away.
    pub(super) async fn remove(&mut self, family: Family) -> Verdict {
        let headers = self.headers(family).await;
        if headers.is_ok_and(|headers| headers.iter().all(Option::is_none)) {
            // rules cannot be without their sets
            return Ok(());
        }
        let failed = |error| verdict::refused(Errno::EIO, chain(&error));
        let filter = self.filter().await.map_err(failed)?;
        filter.remove(family).await.map_err(failed)?;
        self.rejected.remove(&family);
        for kind in Kind::ALL {
            match destroy(&mut self.ipset, kind.name(family)).await {
                Err(error) if is_absent(&error) => {}
                done => verdict::of(done, explain)?,
            }
        }
        Ok(())
    }

    /// Adds and deletes guards: what lets in first when adding, last when deleting.
    pub(super) async fn apply(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let unanswered = || Err(StepError::Unknown("not taken".to_owned()));
        let mut verdicts: Vec<Verdict> = steps.iter().map(|_| unanswered()).collect();
        let mut begun = 0;
        for run in steps.chunk_by(|one, next| removes(one) == removes(next)) {
            let removes = run.first().is_some_and(|step| removes(step));
            let mut kinds = Kind::ALL;
            if removes {
                kinds.reverse();
            }
            for kind in kinds {
                for family in Family::ALL {
                    let mut places = Vec::new();
                    let mut members = Vec::new();
                    for (place, step) in run.iter().enumerate() {
                        if let Key::Guard(guard) = step.key()
                            && guard.family() == family
                            && let (of, member) = entry(guard)
                            && of == kind
                        {
                            places.push(begun + place);
                            members.push(member);
                        }
                    }
                    let name = kind.name(family);
                    let answers = match (members.is_empty(), removes) {
                        (true, _) => continue,
                        (false, true) => self.ipset.del_members(name, &members).await,
                        (false, false) => self.ipset.add_members(name, &members).await,
                    };
                    for (place, answer) in places.into_iter().zip(answers) {
                        verdicts[place] = verdict::of(answer, explain);
                    }
                }
            }
            begun += run.len();
        }
        verdicts
    }
}

fn removes(step: &Step) -> bool {
    matches!(step, Step::Remove { .. })
}

/// Says whether a set has entries of another kind: ipset's own errors alone say that of what is asked for.
fn is_another(error: &NlError) -> bool {
    error.errno().is_some_and(|errno| errno > IPSET_ERR_PRIVATE)
}

fn is_like_ours(kind: Kind, family: Family, header: &Header) -> bool {
    header.type_name == kind.shape().0 && header.family == Some(netlink_family(family))
}

fn is_host(range: IpNet) -> bool {
    range.prefix_len() == range.max_prefix_len()
}

fn explain(errno: Errno) -> Option<(String, &'static str)> {
    let cause = match errno {
        Errno::ENOENT => "the lockdown is not there",
        Errno::EEXIST => "a set of this name is there and is not like ours",
        _ => return None,
    };
    Some((cause.to_owned(), ""))
}

/// Gives the set that a guard is in, and what it is there.
fn entry(guard: Guard) -> (Kind, Member) {
    let of = |listener: Listener, net| Member {
        ip: listener.address,
        port: Some((listener.protocol.number(), listener.port.get())),
        net,
    };
    match guard {
        Guard::Opening(listener, None) => (Kind::Open, of(listener, None)),
        Guard::Opening(listener, range) => (Kind::Allow, of(listener, range)),
        Guard::Port(listener) => (Kind::Guarded, of(listener, None)),
        Guard::Vip(ip) => {
            let (port, net) = (None, None);
            (Kind::Locked, Member { ip, port, net })
        }
    }
}

/// Gives the guard; none for what weir could never make.
fn guard(kind: Kind, member: &Member) -> Option<Guard> {
    let listener = || {
        let (protocol, port) = member.port?;
        Some(Listener {
            address: member.ip,
            port: Port::new(port.into()).ok()?,
            protocol: Protocol::from_number(protocol)?,
        })
    };
    Some(match kind {
        Kind::Open => Guard::Opening(listener()?, None),
        Kind::Allow => Guard::Opening(listener()?, Some(member.net?)),
        Kind::Guarded => Guard::Port(listener()?),
        Kind::Locked => Guard::Vip(member.ip),
    })
}
