//! The dummy link `weir0` and the VIPs on it.
//!
//! Rules:
//! - A VIP is an address of the link, or a local route to it of protocol [`RTPROT_WEIR`](super::link::rtm::RTPROT_WEIR), which costs the kernel the same
//!   however many there are. Silent is an IPv4 address of scope host, for which no ARP is answered where `arp_ignore` is 3.
//! - Nothing is asked of the kernel for each VIP of many: a look at the node serves all steps of a pass.
//! - A step on something that is not ours, or not on the link, is refused.

mod anchor;
mod binding;
mod foreseen;
mod gone;
mod node;
mod notices;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use nix::errno::Errno;
use weir_proto::model::{ItemKey, VipBinding, unicast};

use self::anchor::Anchor;
use self::binding::{Place, Work};
use self::node::{Found, Node};
use self::notices::Notices;
use super::link::rtm::{Address, Command, RT_SCOPE_HOST, RTPROT_KERNEL, Route};
use super::link::{ANCHOR, LinkError, Links, Rtnl};
use super::netlink::{Counts, NlError};
use super::verdict;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::{Key, Object, Problem, Scope, Step, Table, Unit, VipSpec};

/// The name of the link. Whatever must not look at VIPs (a CNI, networkd) can leave it out by it.
pub const LINK: &str = "weir0";
const DUMMY: &str = "dummy";
/// Above so many VIPs one dump is cheaper than asking for each.
const ONE_BY_ONE: usize = 64;

/// The link and its addresses.
pub(super) struct Vips {
    links: Option<Links>,
    rtnl: Option<Rtnl>,
    /// Addresses of others that this node must go on reaching.
    needed: Vec<IpAddr>,
    /// As it was since the last read, and how it leaves the node since the last read of everything.
    node: Node,
    anchor: Anchor,
    notices: Notices,
}

impl Vips {
    /// Makes the door; to bind one of the `needed` addresses here would cut this node off from who has it.
    pub(super) fn new(needed: Vec<IpAddr>) -> Self {
        Self {
            links: None,
            rtnl: None,
            needed,
            node: Node::default(),
            anchor: Anchor::default(),
            notices: Notices::default(),
        }
    }

    /// Begins to hear of what goes. Where that fails it is tried again when it is asked for.
    pub(super) async fn listen(&mut self) {
        let _ = self.notices.open().await;
    }

    /// Waits until somebody takes something away that hangs on the link.
    pub(super) async fn disturbed(&mut self) -> Scope {
        self.notices.disturbed().await
    }

    /// Gives what was said about addresses and routes so far; nothing, before it was needed.
    pub(super) fn counts(&self) -> Counts {
        self.rtnl.as_ref().map(Rtnl::counts).unwrap_or_default()
    }

    /// Reads the link and the VIPs on it, as far as the scope has them.
    pub(super) async fn read(
        &mut self,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), KernelError> {
        self.node.forget(*scope == Scope::All);
        let vips: Option<Vec<IpAddr>> = match scope {
            Scope::All => None,
            Scope::Units(units) => Some(units.iter().filter_map(|unit| vip_of(*unit)).collect()),
        };
        let link = scope.has(Key::Link);
        if !link && vips.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let unreadable = |error| verdict::unreadable("the link weir0", error);
        let found = self.door().map_err(unreadable)?.find(LINK).await;
        let Some(found) = found.map_err(unreadable)? else {
            return Ok(());
        };
        if link {
            let object = match found.kind.as_deref() {
                Some(DUMMY) if found.up => Object::Present,
                Some(DUMMY) => Object::Value("down".to_owned()),
                kind => Object::Value(kind.unwrap_or("physical").to_owned()),
            };
            table.insert(Key::Link, object);
        }
        let read = self.read_vips(found.index, vips.as_deref()).await;
        let vips = read.map_err(|error| verdict::unreadable("the VIPs", error))?;
        let vips = vips
            .into_iter()
            .map(|(address, object)| (Key::Item(ItemKey::Vip(address)), object));
        table.extend(vips.filter(|(key, _)| scope.has(*key)));
        Ok(())
    }

    /// Reads how these VIPs are bound, or those of the whole link.
    async fn read_vips(
        &mut self,
        link: u32,
        vips: Option<&[IpAddr]>,
    ) -> Result<BTreeMap<IpAddr, Object>, NlError> {
        match vips {
            Some([]) => Ok(BTreeMap::new()),
            Some(vips) if vips.len() <= ONE_BY_ONE => self.read_each(link, vips).await,
            _ => self.dump(link).await,
        }
    }

    async fn read_each(
        &mut self,
        link: u32,
        vips: &[IpAddr],
    ) -> Result<BTreeMap<IpAddr, Object>, NlError> {
        let rtnl = self.rtnl()?;
        let routes = rtnl.lookup(vips).await?;
        let all = vips.iter().zip(routes);
        let mut found: BTreeMap<IpAddr, Object> = all
            .filter_map(|(vip, route)| Some((*vip, object(&route?, link)?)))
            .collect();
        // an IPv6 address has its route only once the kernel is done with it, which is after it is added
        // (`addrconf_dad_work` in `net/ipv6/addrconf.c`)
        let unseen = vips.iter().filter(|vip| !found.contains_key(vip));
        let unseen = v6_of(unseen.copied());
        let there = rtnl.has(link, &unseen).await?;
        let there = unseen.iter().zip(there).filter(|(_, there)| *there);
        found.extend(there.map(|(vip, _)| (IpAddr::V6(*vip), address(false))));
        // the route of an address does not tell its scope, and IPv4 has no request for one address alone
        let scoped = |(vip, object): (&IpAddr, &Object)| vip.is_ipv4() && *object == address(false);
        if found.iter().any(scoped) {
            for bound in rtnl.addresses(false, link).await? {
                if let Some(object) = found.get_mut(&bound.address) {
                    *object = as_address(&bound);
                }
            }
        }
        Ok(found)
    }

    async fn dump(&mut self, link: u32) -> Result<BTreeMap<IpAddr, Object>, NlError> {
        let rtnl = self.rtnl()?;
        let mut found = BTreeMap::new();
        for v6 in [false, true] {
            for bound in rtnl.addresses(v6, link).await? {
                found.insert(bound.address, as_address(&bound));
            }
            let routes = Command::LocalRoutes {
                v6,
                link: Some(link),
            };
            rtnl.routes(routes, |route| {
                // the kernel's own go with the addresses
                if route.protocol != RTPROT_KERNEL
                    && let Some(object) = object(&route, link)
                {
                    found.entry(route.destination).or_insert(object);
                }
            })
            .await?;
        }
        self.anchor.seen(&found);
        // what every link has by itself, and what holds ours together, are no VIPs
        found.retain(|address, _| match address {
            IpAddr::V4(_) => *address != ANCHOR,
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        });
        Ok(found)
    }

    /// Gives the addresses of all links but loopback and ours.
    pub(super) async fn node_addresses(&mut self) -> Result<Vec<IpAddr>, KernelError> {
        let unreadable = |error| verdict::unreadable("the node's addresses", error);
        let links = self.door().map_err(unreadable)?;
        let own = links.find(LINK).await.map_err(unreadable)?;
        let own = own.map(|own| own.index);
        let read = self.addresses_elsewhere(own).await;
        let mut addresses =
            read.map_err(|error| verdict::unreadable("the node's addresses", error))?;
        addresses.retain(|address| {
            !node::is_compatible(*address) && unicast(&address.to_string()).is_ok()
        });
        Ok(addresses)
    }

    async fn addresses_elsewhere(&mut self, own: Option<u32>) -> Result<Vec<IpAddr>, NlError> {
        let rtnl = self.rtnl()?;
        let mut addresses = rtnl.addresses_elsewhere(false, own).await?;
        addresses.extend(rtnl.addresses_elsewhere(true, own).await?);
        Ok(addresses.into_iter().map(|found| found.address).collect())
    }

    /// Makes or removes the link.
    pub(super) async fn apply_link(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        self.node = Node::default();
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            verdicts.push(self.take_link(step).await.map_err(refused));
        }
        verdicts
    }

    async fn take_link(&mut self, step: &Step) -> Result<(), LinkError> {
        match step {
            Step::Add { .. } | Step::Edit { .. } => {
                self.door()?.ensure_dummy(LINK).await.map(|_| ())
            }
            Step::Remove { .. } => {
                self.door()?.delete_dummy(LINK).await?;
                self.notices.link_was_ours();
                Ok(())
            }
        }
    }

    /// Binds and unbinds VIPs.
    pub(super) async fn apply(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let absent = || verdict::refused(Errno::ENODEV, "the link weir0 is not there");
        let link = self.link().await.and_then(|link| link.ok_or_else(absent));
        let link = match link {
            Ok(link) => link,
            Err(error) => return steps.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut verdicts = Vec::with_capacity(steps.len());
        // a second step on a VIP is for what the first one left
        for lot in lots(steps) {
            verdicts.extend(self.take(link, lot).await);
        }
        if self.anchor.let_go() {
            let address = ANCHOR;
            // gone already is as good, and what keeps it does no harm
            let _ = self.batch(&[Command::DelAddress { link, address }]).await;
        }
        verdicts
    }

    /// Gives the number of the link; none: it is not there.
    async fn link(&mut self) -> Result<Option<u32>, StepError> {
        let found = match self.door() {
            Ok(links) => links.find(LINK).await,
            Err(error) => Err(error),
        };
        match found.map_err(refused)? {
            Some(link) if link.kind.as_deref() == Some(DUMMY) => Ok(Some(link.index)),
            Some(_) => Err(verdict::refused(
                Errno::EEXIST,
                "the link weir0 is there and is no dummy link",
            )),
            None => Ok(None),
        }
    }

    /// Takes steps on VIPs that are all different.
    async fn take(&mut self, link: u32, steps: &[&Step]) -> Vec<Verdict> {
        let works = match self.works(link, steps).await {
            Ok(works) => works,
            Err(error) => {
                self.node = Node::default();
                return steps
                    .iter()
                    .map(|_| verdict::of(Err(error.clone()), |_| None))
                    .collect();
            }
        };
        let mut verdicts: Vec<Verdict> = works
            .iter()
            .map(|work| work.as_ref().map(|_| ()).map_err(Clone::clone))
            .collect();
        self.begin(link, &works, &mut verdicts).await;
        self.end(&works, &mut verdicts).await;
        for (step, verdict) in steps.iter().zip(&verdicts) {
            if let Some(vip) = vip_of(step.key().unit()) {
                self.anchor.note(vip, step, verdict.is_ok());
            }
            match (verdict, vip_of(step.key().unit())) {
                (Ok(()), Some(vip)) => self.node.note(vip, left_by(step)),
                (Ok(()), None) => {}
                // what was known may be out of date
                (Err(_), _) => self.node = Node::default(),
            }
        }
        verdicts
    }

    /// Sends what binds, all together.
    async fn begin(
        &mut self,
        link: u32,
        works: &[Result<Work, StepError>],
        verdicts: &mut [Verdict],
    ) {
        let mut commands = Vec::new();
        let anchored = works.iter().flatten().any(Work::needs_anchor);
        if anchored {
            self.anchor.put_up();
            commands.push(Command::AddAddress {
                link,
                address: ANCHOR,
                scope: RT_SCOPE_HOST,
            });
        }
        let first = works.iter().flatten().flat_map(|work| &work.first);
        commands.extend(first.map(|(command, _)| *command));
        let mut answers = self.batch(&commands).await.into_iter();
        if anchored {
            // it is there already but for the first time; should it not come to be, the routes bind all the same
            answers.next();
        }
        for (work, verdict) in works.iter().zip(verdicts) {
            if let Ok(work) = work {
                *verdict = work.begun(answers.by_ref().take(work.first.len()));
            }
        }
    }

    /// Sends what unbinds, of the steps that bound what they should.
    async fn end(&mut self, works: &[Result<Work, StepError>], verdicts: &mut [Verdict]) {
        let begun = || {
            let all = works.iter().zip(verdicts.iter());
            all.filter_map(|(work, verdict)| work.as_ref().ok().filter(|_| verdict.is_ok()))
        };
        let commands: Vec<Command> = begun().flat_map(|work| work.then.clone()).collect();
        let mut answers = self.batch(&commands).await.into_iter();
        for (work, verdict) in works.iter().zip(verdicts) {
            if let (Ok(work), Ok(())) = (work, &verdict) {
                *verdict = work.ended(answers.by_ref().take(work.then.len()));
            }
        }
    }

    async fn batch(&mut self, commands: &[Command]) -> Vec<Result<(), NlError>> {
        if commands.is_empty() {
            return Vec::new();
        }
        let answers = match self.rtnl() {
            Ok(rtnl) => rtnl.batch(commands).await,
            Err(error) => commands.iter().map(|_| Err(error.clone())).collect(),
        };
        self.notices.catch_up();
        for (command, answer) in commands.iter().zip(&answers) {
            if answer.is_ok() {
                self.notices.was_ours(command);
            }
        }
        answers
    }

    /// Says what each step takes, or why it is refused.
    async fn works(
        &mut self,
        link: u32,
        steps: &[&Step],
    ) -> Result<Vec<Result<Work, StepError>>, NlError> {
        // a few are taken away without asking how they are bound
        let many = steps.len() > ONE_BY_ONE;
        let binds = |step: &&&Step| !matches!(step, Step::Remove { .. });
        let looked_at = steps.iter().filter(|step| many || binds(step));
        let looked_at: Vec<IpAddr> = looked_at
            .filter_map(|step| vip_of(step.key().unit()))
            .collect();
        let bound = steps.iter().filter(binds);
        let bound = bound.filter_map(|step| vip_of(step.key().unit()));
        let families: BTreeSet<bool> = bound.map(|vip| vip.is_ipv6()).collect();
        let rtnl = match &mut self.rtnl {
            Some(rtnl) => rtnl,
            none => none.insert(Rtnl::open()?),
        };
        let mut found = self.node.find(rtnl, link, &looked_at).await?;
        // what is edited was seen, if need be without a route
        let edited = steps
            .iter()
            .filter(|step| matches!(step, Step::Edit { .. }));
        let edited = edited.filter_map(|step| vip_of(step.key().unit()));
        let unseen = v6_of(edited.filter(|vip| !found.get(vip).is_some_and(|found| found.any())));
        for (vip, there) in unseen.iter().zip(rtnl.has(link, &unseen).await?) {
            found.entry(IpAddr::V6(*vip)).or_default().address |= there;
        }
        let mut outward = BTreeMap::new();
        for v6 in families {
            outward.insert(v6, self.node.outward(rtnl, v6, link).await?);
        }
        let mut works = Vec::with_capacity(steps.len());
        for step in steps {
            let Some(address) = vip_of(step.key().unit()) else {
                works.push(Err(verdict::refused(Errno::EINVAL, "not a VIP")));
                continue;
            };
            let outward = outward.get(&address.is_ipv6());
            let place = Place {
                link,
                address,
                source: outward.and_then(|outward| outward.source),
            };
            let known = found.get(&address).copied();
            let found = known.unwrap_or_default();
            let refused = match step {
                Step::Add { .. } if self.needed.contains(&address) => Some((
                    Errno::EADDRINUSE,
                    format!("{address} is the controller's own address"),
                )),
                Step::Add { .. } if outward.is_some_and(|way| way.gateways.contains(&address)) => {
                    Some((
                        Errno::EADDRINUSE,
                        format!("{address} is this node's default gateway"),
                    ))
                }
                Step::Add { .. } | Step::Edit { .. } => unfit(step, address, found),
                Step::Remove { .. } => None,
            };
            works.push(match (refused, step) {
                (Some((errno, cause)), _) => Err(verdict::refused(errno, cause)),
                (None, Step::Add { object, .. }) => Ok(place.add(&spec(object))),
                (None, Step::Edit { object, .. }) => Ok(place.edit(&spec(object), found)),
                (None, Step::Remove { .. }) => Ok(place.remove(known)),
            });
        }
        Ok(works)
    }

    fn door(&mut self) -> Result<&mut Links, LinkError> {
        match &mut self.links {
            Some(links) => Ok(links),
            none => Ok(none.insert(Links::open()?)),
        }
    }

    fn rtnl(&mut self) -> Result<&mut Rtnl, NlError> {
        match &mut self.rtnl {
            Some(rtnl) => Ok(rtnl),
            none => Ok(none.insert(Rtnl::open()?)),
        }
    }
}

/// Says why what is there does not let a step be taken.
fn unfit(step: &Step, address: IpAddr, found: Found) -> Option<(Errno, String)> {
    let adds = matches!(step, Step::Add { .. });
    match found.foreign {
        Some(protocol) => Some((
            Errno::EEXIST,
            format!("a local route to {address} is there that is not ours (protocol {protocol})"),
        )),
        None if found.elsewhere || (adds && found.any()) => Some((
            Errno::EEXIST,
            format!("{address} is an address of this node already"),
        )),
        None if !adds && !found.any() => {
            Some((Errno::EADDRNOTAVAIL, format!("{address} is not bound")))
        }
        None => None,
    }
}

/// Cuts steps where a VIP comes a second time.
fn lots<'a, 'b>(steps: &'a [&'b Step]) -> Vec<&'a [&'b Step]> {
    let mut lots = Vec::new();
    let (mut seen, mut from) = (BTreeSet::new(), 0);
    for (place, step) in steps.iter().enumerate() {
        if !seen.insert(step.key()) {
            lots.push(&steps[from..place]);
            seen = BTreeSet::from([step.key()]);
            from = place;
        }
    }
    lots.push(&steps[from..]);
    lots
}

fn vip_of(unit: Unit) -> Option<IpAddr> {
    match unit {
        Unit::Vip(address) => Some(address),
        Unit::Base | Unit::Entry(_) | Unit::Guard(_) | Unit::Service(_) | Unit::SyncDaemon(_) => {
            None
        }
    }
}

/// Reads how a step wants a VIP; one that only says that it be there wants an address.
fn spec(object: &Object) -> VipSpec {
    match object {
        Object::Vip(spec) => *spec,
        _ => VipSpec::default(),
    }
}

/// Says what a step leaves when it was taken.
fn left_by(step: &Step) -> Found {
    let route = match step {
        Step::Add { object, .. } | Step::Edit { object, .. } => {
            spec(object).binding == VipBinding::Route
        }
        Step::Remove { .. } => return Found::default(),
    };
    Found {
        address: !route,
        route,
        ..Found::default()
    }
}

fn address(silent: bool) -> Object {
    Object::Vip(VipSpec {
        binding: VipBinding::Address,
        silent,
    })
}

fn as_address(bound: &Address) -> Object {
    address(bound.address.is_ipv4() && bound.scope == RT_SCOPE_HOST)
}

fn v6_of(vips: impl Iterator<Item = IpAddr>) -> Vec<Ipv6Addr> {
    vips.filter_map(|vip| match vip {
        IpAddr::V6(vip) => Some(vip),
        IpAddr::V4(_) => None,
    })
    .collect()
}

/// Says how a VIP is bound by its route; none when it is not bound on our link.
fn object(route: &Route, link: u32) -> Option<Object> {
    match Found::of(route, link) {
        Found { address: true, .. } => Some(address(false)),
        Found { route: true, .. } => Some(Object::Vip(VipSpec {
            binding: VipBinding::Route,
            silent: false,
        })),
        Found {
            foreign: Some(protocol),
            ..
        } => Some(Object::Value(format!(
            "a local route of protocol {protocol}"
        ))),
        _ => None,
    }
}

fn refused(error: LinkError) -> StepError {
    match &error {
        LinkError::Refused { act, errno } => StepError::from(Problem::new(
            *errno as i32,
            match (*act, errno) {
                ("create the dummy link", Errno::EOPNOTSUPP) => {
                    "this kernel has no dummy links: load the module dummy".to_owned()
                }
                _ => format!("cannot {act}: {}", verdict::sentence(*errno as i32)),
            },
        )),
        LinkError::OtherKind { .. } => {
            StepError::from(Problem::new(Errno::EEXIST as i32, error.to_string()))
        }
        LinkError::Interrupted | LinkError::Timeout | LinkError::Closed | LinkError::Io(_) => {
            StepError::Unknown(error.to_string())
        }
    }
}
