//! Virtual services and backends, as IPVS has them.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use nix::errno::Errno;
use weir_proto::model::{BackendKey, Frontend, ItemKey};

use super::ipvs::{Command, Commands, Dest, DestStatus, Ipvs, Service, ServiceKey, ServiceStatus};
use super::netlink::{Counts, NlError};
use super::objects::{
    backend_key, backend_spec, dest, frontend, service, service_key, service_spec, socket,
};
use super::verdict;
use crate::kernel::{KernelError, Verdict};
use crate::plan::{Connections, Key, Object, Scope, Step, Table, Unit};

/// Above so many services one dump of all of them is cheaper than asking for each.
const ONE_BY_ONE: usize = 64;

/// IPVS of one network namespace.
#[derive(Default)]
pub(super) struct Services {
    ipvs: Option<Ipvs>,
}

/// What a step sends, kept until the batch is written.
enum Request {
    Add(Service),
    Edit(Service),
    Remove(ServiceKey),
    AddBackend(ServiceKey, Dest),
    EditBackend(ServiceKey, Dest),
    RemoveBackend(ServiceKey, SocketAddr),
}

impl Services {
    /// Reads the services of the scope with their backends. Those that weir could never make (of other
    /// protocols) are left out: no key of ours can meet them.
    pub(super) async fn read(
        &mut self,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), KernelError> {
        let unreadable = |error| verdict::unreadable("the IPVS services", error);
        let frontends: Option<Vec<Frontend>> = match scope {
            Scope::All => None,
            Scope::Units(units) => {
                Some(units.iter().filter_map(|unit| frontend_of(*unit)).collect())
            }
        };
        if frontends.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let ipvs = match self.door().await {
            Ok(ipvs) => ipvs,
            // a kernel without IPVS holds no service; what is wanted of it is refused when it is asked for
            Err(NlError::Errno(errno)) if errno == Errno::ENOENT as i32 => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        };
        let statuses = match statuses(ipvs, frontends.as_deref()).await {
            Ok(statuses) => statuses,
            Err(error) => {
                // ENOENT: the family has another number since the module was loaded anew
                self.ipvs = None;
                return Err(unreadable(error));
            }
        };
        for ServiceStatus { service, .. } in &statuses {
            let Some(frontend) = frontend(&service.key) else {
                continue;
            };
            let key = Key::Item(ItemKey::VirtualService(frontend));
            if !scope.has(key) {
                continue;
            }
            table.insert(key, Object::Service(service_spec(service)));
            for DestStatus { dest, .. } in ipvs.dests(&service.key).await.map_err(unreadable)? {
                if let Some(key) = backend_key(frontend, dest.address) {
                    let key = Key::Item(ItemKey::Backend(key));
                    table.insert(key, Object::Backend(backend_spec(&dest)));
                }
            }
        }
        Ok(())
    }

    /// Gives the connections of every backend of these services.
    pub(super) async fn connections(
        &mut self,
        of: &BTreeSet<Frontend>,
    ) -> Result<BTreeMap<BackendKey, Connections>, KernelError> {
        let unreadable = |error| verdict::unreadable("the connections of the backends", error);
        let mut found = BTreeMap::new();
        if of.is_empty() {
            return Ok(found);
        }
        let ipvs = match self.door().await {
            Ok(ipvs) => ipvs,
            Err(NlError::Errno(errno)) if errno == Errno::ENOENT as i32 => return Ok(found),
            Err(error) => return Err(unreadable(error)),
        };
        for frontend in of {
            let dests = match ipvs.dests(&service_key(*frontend)).await {
                Ok(dests) => dests,
                Err(error) => {
                    self.ipvs = None;
                    return Err(unreadable(error));
                }
            };
            for DestStatus {
                dest,
                active,
                inactive,
                ..
            } in dests
            {
                if let Some(key) = backend_key(*frontend, dest.address) {
                    found.insert(key, Connections { active, inactive });
                }
            }
        }
        Ok(found)
    }

    /// Gives what was said so far; nothing, before IPVS was needed.
    pub(super) fn counts(&self) -> Counts {
        self.ipvs.as_ref().map(Ipvs::counts).unwrap_or_default()
    }

    /// Sends steps, each encoded just before it goes out, and puts their verdicts behind `verdicts`.
    pub(super) async fn apply<S: Borrow<Step> + Sync>(
        &mut self,
        steps: &[S],
        verdicts: &mut Vec<Verdict>,
    ) {
        let step = |place: usize| -> &Step { steps[place].borrow() };
        let mut unfit = Vec::new();
        let refused = match self.door().await {
            Ok(ipvs) => {
                let write = |place: usize, out: &mut Commands<'_>| match request(step(place)) {
                    Some(request) => out.push(&command(&request)),
                    None => unfit.push(place),
                };
                ipvs.pipeline(steps.len(), write).await
            }
            Err(error) => (0..steps.len()).map(|at| (at, error.clone())).collect(),
        };
        let present = self.ipvs.is_some();
        // it may be the family that is not there: the next use looks for it again
        if refused.iter().any(|(_, error)| is_absent(error)) {
            self.ipvs = None;
        }
        let first = verdicts.len();
        verdicts.resize_with(first + steps.len(), || Ok(()));
        for (place, error) in refused {
            verdicts[first + place] =
                verdict::of(Err(error), |errno| explain(step(place), errno, present));
        }
        for place in unfit {
            let why = "IPVS cannot hold such an object";
            verdicts[first + place] = Err(verdict::refused(Errno::EINVAL, why));
        }
    }

    async fn door(&mut self) -> Result<&mut Ipvs, NlError> {
        match &mut self.ipvs {
            Some(ipvs) => Ok(ipvs),
            none => Ok(none.insert(Ipvs::open().await?)),
        }
    }
}

/// Reads the services with these keys, or all.
async fn statuses(
    ipvs: &mut Ipvs,
    frontends: Option<&[Frontend]>,
) -> Result<Vec<ServiceStatus>, NlError> {
    match frontends {
        Some(frontends) if frontends.len() <= ONE_BY_ONE => {
            let mut found = Vec::with_capacity(frontends.len());
            for frontend in frontends {
                found.extend(ipvs.service(&service_key(*frontend)).await?);
            }
            Ok(found)
        }
        _ => ipvs.services().await,
    }
}

fn is_absent(error: &NlError) -> bool {
    error.errno() == Some(Errno::ENOENT as i32)
}

fn frontend_of(unit: Unit) -> Option<Frontend> {
    match unit {
        Unit::Service(frontend) => Some(frontend),
        Unit::Base | Unit::Entry(_) | Unit::Guard(_) | Unit::Vip(_) | Unit::SyncDaemon(_) => None,
    }
}

fn request(step: &Step) -> Option<Request> {
    Some(match step {
        Step::Add {
            key: Key::Item(ItemKey::VirtualService(frontend)),
            object: Object::Service(spec),
        } => Request::Add(service(*frontend, spec)),
        Step::Edit {
            key: Key::Item(ItemKey::VirtualService(frontend)),
            object: Object::Service(spec),
        } => Request::Edit(service(*frontend, spec)),
        Step::Remove {
            key: Key::Item(ItemKey::VirtualService(frontend)),
        } => Request::Remove(service_key(*frontend)),
        Step::Add {
            key: Key::Item(ItemKey::Backend(key)),
            object: Object::Backend(spec),
        } => Request::AddBackend(service_key(key.frontend), dest(key, spec)?),
        Step::Edit {
            key: Key::Item(ItemKey::Backend(key)),
            object: Object::Backend(spec),
        } => Request::EditBackend(service_key(key.frontend), dest(key, spec)?),
        Step::Remove {
            key: Key::Item(ItemKey::Backend(key)),
        } => Request::RemoveBackend(service_key(key.frontend), socket(key.endpoint)),
        _ => return None,
    })
}

fn command(request: &Request) -> Command<'_> {
    match request {
        Request::Add(service) => Command::NewService(service),
        Request::Edit(service) => Command::SetService(service),
        Request::Remove(key) => Command::DelService(key),
        Request::AddBackend(key, dest) => Command::NewDest(key, dest),
        Request::EditBackend(key, dest) => Command::SetDest(key, dest),
        Request::RemoveBackend(key, address) => Command::DelDest(key, *address),
    }
}

/// Says what an error number of IPVS means here (`net/netfilter/ipvs/ip_vs_ctl.c`).
fn explain(step: &Step, errno: Errno, present: bool) -> Option<(String, &'static str)> {
    if !present && errno == Errno::ENOENT {
        let cause = "this kernel has no IPVS: load the module ip_vs";
        return Some((cause.to_owned(), ""));
    }
    match (step, errno) {
        // ip_vs_genl_set_cmd: ip_vs_scheduler_get found no such module
        (
            Step::Add {
                object: Object::Service(spec),
                ..
            }
            | Step::Edit {
                object: Object::Service(spec),
                ..
            },
            Errno::ENOENT,
        ) => Some((
            format!(
                "scheduler {0} is not in this kernel: load the module ip_vs_{0}",
                spec.scheduler
            ),
            "scheduler",
        )),
        (_, Errno::ESRCH) => Some(("the virtual service is not there".to_owned(), "")),
        (_, Errno::ENOENT) => Some(("the backend is not there".to_owned(), "")),
        (_, Errno::EEXIST) => Some(("it is there already and is not ours".to_owned(), "")),
        // __ip_vs_add_dest, ip_vs_new_dest: inet_addr_type is not unicast
        (
            Step::Add {
                key: Key::Item(ItemKey::Backend(_)),
                ..
            },
            Errno::EINVAL,
        ) => Some((
            "the kernel does not take the address as a unicast one, or it is of another family than its frontend while a \
             sync daemon runs"
                .to_owned(),
            "address",
        )),
        _ => None,
    }
}
