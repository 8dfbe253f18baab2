//! The dummy link `weir0` and the VIPs on it.

use std::net::IpAddr;

use nix::errno::Errno;
use weir_proto::model::{ItemKey, unicast};

use super::link::{LinkError, Links};
use super::verdict;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::{Key, Object, Problem, Scope, Step, Table, Unit, VipSpec};

/// The name of the link. Whatever must not look at VIPs (a CNI, networkd) can leave it out by it.
pub const LINK: &str = "weir0";
const DUMMY: &str = "dummy";

/// The link and its addresses.
pub(super) struct Vips {
    links: Option<Links>,
    /// Addresses of others that this node must go on reaching.
    needed: Vec<IpAddr>,
}

impl Vips {
    /// Makes the door; to bind one of the `needed` addresses here would cut this node off from who has it.
    pub(super) fn new(needed: Vec<IpAddr>) -> Self {
        Self {
            links: None,
            needed,
        }
    }

    /// Reads the link and the addresses on it, as far as the scope has them.
    pub(super) async fn read(
        &mut self,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), KernelError> {
        let any = match scope {
            Scope::All => true,
            Scope::Units(units) => units
                .iter()
                .any(|unit| matches!(unit, Unit::Base | Unit::Vip(_))),
        };
        if !any {
            return Ok(());
        }
        let unreadable = |error| verdict::unreadable("the link weir0", error);
        let Some(link) = self
            .door()
            .map_err(unreadable)?
            .find(LINK)
            .await
            .map_err(unreadable)?
        else {
            return Ok(());
        };
        let object = match link.kind.as_deref() {
            Some(DUMMY) if link.up => Object::Present,
            Some(DUMMY) => Object::Value("down".to_owned()),
            kind => Object::Value(kind.unwrap_or("physical").to_owned()),
        };
        table.insert(Key::Link, object);
        let addresses = self.door().map_err(unreadable)?.addresses(link.index).await;
        for address in addresses.map_err(unreadable)? {
            let bound = Object::Vip(VipSpec::default());
            table.insert(Key::Item(ItemKey::Vip(address)), bound);
        }
        table.retain(|key, _| scope.has(*key));
        Ok(())
    }

    /// Gives the addresses of all links but loopback and ours.
    pub(super) async fn node_addresses(&mut self) -> Result<Vec<IpAddr>, KernelError> {
        let unreadable = |error| verdict::unreadable("the node's addresses", error);
        let links = self.door().map_err(unreadable)?;
        let own = links.find(LINK).await.map_err(unreadable)?;
        let mut addresses = links.all_addresses().await.map_err(unreadable)?;
        addresses.retain(|(index, address)| {
            let ours = own.as_ref().is_some_and(|own| own.index == *index);
            !ours && unicast(&address.to_string()).is_ok()
        });
        Ok(addresses.into_iter().map(|(_, address)| address).collect())
    }

    /// Makes or removes the link.
    pub(super) async fn apply_link(&mut self, steps: &[&Step]) -> Vec<Verdict> {
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
            Step::Remove { .. } => self.door()?.delete_dummy(LINK).await,
        }
    }

    /// Binds and unbinds VIPs.
    pub(super) async fn apply(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let found = match self.door() {
            Ok(links) => links.find(LINK).await,
            Err(error) => Err(error),
        };
        let index = match found {
            Ok(Some(link)) if link.kind.as_deref() == Some(DUMMY) => link.index,
            Ok(Some(_)) => {
                let theirs = || {
                    verdict::refused(
                        Errno::EEXIST,
                        "the link weir0 is there and is no dummy link",
                    )
                };
                return steps.iter().map(|_| Err(theirs())).collect();
            }
            Ok(None) => {
                let gone = || verdict::refused(Errno::ENODEV, "the link weir0 is not there");
                return steps.iter().map(|_| Err(gone())).collect();
            }
            Err(error) => {
                let error = refused(error);
                return steps.iter().map(|_| Err(error.clone())).collect();
            }
        };
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            verdicts.push(self.take(index, step).await);
        }
        verdicts
    }

    async fn take(&mut self, index: u32, step: &Step) -> Verdict {
        let Key::Item(ItemKey::Vip(address)) = step.key() else {
            return Err(verdict::refused(Errno::EINVAL, "not a VIP"));
        };
        let needed = self.needed.contains(&address);
        let links = self.door().map_err(refused)?;
        match step {
            Step::Add { .. } if needed => {
                let why = format!("{address} is the controller's own address");
                return Err(verdict::refused(Errno::EADDRINUSE, why));
            }
            Step::Add { .. } if links.is_own(address).await.map_err(refused)? => {
                let why = format!("{address} is an address of this node already");
                return Err(verdict::refused(Errno::EEXIST, why));
            }
            Step::Add { .. } => links.add_address(index, address).await,
            Step::Remove { .. } => links.del_address(index, address).await,
            // a VIP has nothing that could be edited
            Step::Edit { .. } => Ok(()),
        }
        .map_err(refused)
    }

    fn door(&mut self) -> Result<&mut Links, LinkError> {
        match &mut self.links {
            Some(links) => Ok(links),
            none => Ok(none.insert(Links::open()?)),
        }
    }
}

fn refused(error: LinkError) -> StepError {
    match &error {
        LinkError::Refused { act, errno } => StepError::Refused(Problem::new(
            *errno as i32,
            match (*act, errno) {
                ("create the dummy link", Errno::EOPNOTSUPP) => {
                    "this kernel has no dummy links: load the module dummy".to_owned()
                }
                _ => format!("cannot {act}: {}", verdict::sentence(*errno as i32)),
            },
        )),
        LinkError::OtherKind { .. } => {
            StepError::Refused(Problem::new(Errno::EEXIST as i32, error.to_string()))
        }
        LinkError::Interrupted | LinkError::Timeout | LinkError::Closed | LinkError::Io(_) => {
            StepError::Unknown(error.to_string())
        }
    }
}
