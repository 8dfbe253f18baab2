//! The daemons that keep connections like those of another node.

use std::net::{IpAddr, Ipv4Addr};

use nix::errno::Errno;
use weir_proto::model::{ItemKey, SyncRole};

use super::ipvs::{Command, Daemon, DaemonState, Ipvs};
use super::netlink::NlError;
use super::verdict;
use crate::kernel::{KernelError, Verdict};
use crate::plan::{Key, Object, Scope, Step, SyncDaemonSpec, Table, Unit};

/// The sync daemons of one network namespace.
#[derive(Default)]
pub(super) struct SyncDaemons {
    ipvs: Option<Ipvs>,
}

impl SyncDaemons {
    /// Reads the daemons of the scope.
    pub(super) async fn read(
        &mut self,
        scope: &Scope,
        table: &mut Table,
    ) -> Result<(), KernelError> {
        let any = match scope {
            Scope::All => true,
            Scope::Units(units) => {
                let is_one = |unit: &Unit| matches!(unit, Unit::SyncDaemon(_));
                units.iter().any(is_one)
            }
        };
        if !any {
            return Ok(());
        }
        let daemons = match self.daemons().await {
            Ok(daemons) => daemons,
            // a kernel without IPVS has none; a door that was open knows it by a number that it had before its module
            // was loaded anew
            Err(NlError::Errno(errno)) if errno == Errno::ENOENT as i32 && self.ipvs.is_none() => {
                return Ok(());
            }
            Err(error) => {
                self.ipvs = None;
                return Err(verdict::unreadable("the sync daemons", error));
            }
        };
        for daemon in daemons {
            let key = Key::Item(ItemKey::SyncDaemon(role(daemon.state)));
            if scope.has(key) {
                table.insert(key, Object::SyncDaemon(spec(daemon)));
            }
        }
        Ok(())
    }

    /// Starts and stops daemons. One that runs cannot be changed: it is stopped and started anew.
    pub(super) async fn apply(&mut self, steps: &[&Step]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            verdicts.push(verdict::of(self.take(step).await, |errno| {
                explain(step, errno)
            }));
        }
        verdicts
    }

    async fn take(&mut self, step: &Step) -> Result<(), NlError> {
        let Key::Item(ItemKey::SyncDaemon(role)) = step.key() else {
            return Err(NlError::Errno(Errno::EINVAL as i32));
        };
        match step {
            Step::Add { object, .. } => self.start(role, object).await,
            Step::Edit { object, .. } => {
                self.stop(role).await?;
                self.start(role, object).await
            }
            Step::Remove { .. } => self.stop(role).await,
        }
    }

    async fn start(&mut self, role: SyncRole, object: &Object) -> Result<(), NlError> {
        let Object::SyncDaemon(spec) = object else {
            return Err(NlError::Errno(Errno::EINVAL as i32));
        };
        let daemon = daemon(role, spec);
        self.first_of(&[Command::NewDaemon(&daemon)]).await
    }

    /// Stops a daemon. Of one that never ran yet the kernel stops the thread with `EINTR`, and then says nothing
    /// (`kthread_stop` in `kernel/kthread.c`, `netlink_rcv_skb` in `net/netlink/af_netlink.c`): the question behind it shows
    /// that it was heard.
    async fn stop(&mut self, role: SyncRole) -> Result<(), NlError> {
        let heard = [Command::DelDaemon(state(role)), Command::GetInfo];
        match self.first_of(&heard).await {
            Err(NlError::Errno(errno)) if errno == Errno::EINTR as i32 => Ok(()),
            stopped => stopped,
        }
    }

    /// Sends commands together and gives the verdict on the first.
    async fn first_of(&mut self, commands: &[Command<'_>]) -> Result<(), NlError> {
        let answers = self.door().await?.batch(commands).await;
        answers.into_iter().next().unwrap_or(Err(NlError::Timeout))
    }

    async fn daemons(&mut self) -> Result<Vec<Daemon>, NlError> {
        self.door().await?.daemons().await
    }

    async fn door(&mut self) -> Result<&mut Ipvs, NlError> {
        match &mut self.ipvs {
            Some(ipvs) => Ok(ipvs),
            none => Ok(none.insert(Ipvs::open().await?)),
        }
    }
}

fn state(role: SyncRole) -> DaemonState {
    match role {
        SyncRole::Master => DaemonState::Master,
        SyncRole::Backup => DaemonState::Backup,
    }
}

fn role(state: DaemonState) -> SyncRole {
    match state {
        DaemonState::Master => SyncRole::Master,
        DaemonState::Backup => SyncRole::Backup,
    }
}

fn daemon(role: SyncRole, spec: &SyncDaemonSpec) -> Daemon {
    Daemon {
        state: state(role),
        interface: spec.interface.clone(),
        sync_id: spec.sync_id.into(),
        max_len: spec.max_length,
        group: Some(spec.group),
        port: spec.port,
        ttl: spec.ttl,
        other: Vec::new(),
    }
}

fn spec(daemon: Daemon) -> SyncDaemonSpec {
    SyncDaemonSpec {
        interface: daemon.interface,
        // the kernel keeps what it was given, 0 to 255 (`ip_vs_genl_new_daemon`)
        sync_id: u8::try_from(daemon.sync_id).unwrap_or(u8::MAX),
        group: daemon.group.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        port: daemon.port,
        ttl: daemon.ttl,
        max_length: daemon.max_len,
    }
}

/// Says what an error number means here (`start_sync_thread` in `net/netfilter/ipvs/ip_vs_sync.c`).
fn explain(step: &Step, errno: Errno) -> Option<(String, &'static str)> {
    let interface = match step {
        Step::Add {
            object: Object::SyncDaemon(spec),
            ..
        }
        | Step::Edit {
            object: Object::SyncDaemon(spec),
            ..
        } => &spec.interface,
        _ => return None,
    };
    match errno {
        Errno::ENODEV => Some((format!("there is no link {interface}"), "interface")),
        // ip_vs_genl_new_daemon: mixed_address_family_dests
        Errno::EINVAL => Some((
            "a sync daemon cannot run while a backend is of another family than its frontend"
                .to_owned(),
            "",
        )),
        _ => None,
    }
}
