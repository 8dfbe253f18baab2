//! The door to IPVS: sends what the codec wrote, reads what came back.

use nix::errno::Errno;

use super::command::{IPVS_CMD_ATTR_DAEMON, IPVS_CMD_ATTR_DEST, IPVS_CMD_ATTR_SERVICE};
use super::{
    Command, Daemon, DecodeError, DestStatus, Family, IPVS_GENL_NAME, Info, ServiceKey,
    ServiceStatus, Timeouts,
};
use crate::kernel::linux::netlink::{
    Attrs, Batch, Counts, Message, NetlinkSocket, NlError, Protocol,
    genl::{self, GENL_HEADER_LEN},
};

/// Where the command of one place is written.
pub struct Commands<'a> {
    family: u16,
    batch: &'a mut Batch,
}

impl Commands<'_> {
    /// Writes the command.
    pub fn push(&mut self, command: &Command<'_>) {
        command.write(self.family, self.batch);
    }
}

/// IPVS of one network namespace.
pub struct Ipvs {
    socket: NetlinkSocket,
    family: u16,
}

impl Ipvs {
    /// Opens a socket in this thread's network namespace; `ENOENT` when the kernel has no IPVS.
    pub async fn open() -> Result<Self, NlError> {
        let mut socket = NetlinkSocket::open(Protocol::Generic)?;
        let family = genl::resolve(&mut socket, IPVS_GENL_NAME).await?;
        Ok(Self { socket, family })
    }

    /// Gives what was sent and received so far.
    pub fn counts(&self) -> Counts {
        self.socket.counts()
    }

    /// Carries out commands in order and gives the kernel's verdict on each; see
    /// [`NetlinkSocket::batch`]. What commands that show something show is thrown away.
    pub async fn batch(&mut self, commands: &[Command<'_>]) -> Vec<Result<(), NlError>> {
        let mut verdicts = vec![Ok(()); commands.len()];
        let write = |place: usize, out: &mut Commands<'_>| out.push(&commands[place]);
        for (place, error) in self.pipeline(commands.len(), write).await {
            verdicts[place] = Err(error);
        }
        verdicts
    }

    /// Carries out a command for each place below `count`, in order, and gives those that were refused, by their
    /// places. `write` pushes the command of a place, or none, just before it goes out; see
    /// [`NetlinkSocket::pipeline`].
    pub async fn pipeline(
        &mut self,
        count: usize,
        mut write: impl FnMut(usize, &mut Commands<'_>) + Send,
    ) -> Vec<(usize, NlError)> {
        let family = self.family;
        let write = |place: usize, batch: &mut Batch| write(place, &mut Commands { family, batch });
        self.socket.pipeline(count, write).await
    }

    /// Reads all services.
    pub async fn services(&mut self) -> Result<Vec<ServiceStatus>, NlError> {
        self.dump(&Command::Services, decode_service).await
    }

    /// Reads one service; `None` when it does not exist.
    pub async fn service(&mut self, key: &ServiceKey) -> Result<Option<ServiceStatus>, NlError> {
        match self.show(&Command::GetService(key), decode_service).await {
            Ok(service) => Ok(Some(service)),
            Err(NlError::Errno(errno)) if errno == Errno::ESRCH as i32 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all destinations of a service; none when the service does not exist.
    pub async fn dests(&mut self, key: &ServiceKey) -> Result<Vec<DestStatus>, NlError> {
        let decode = match key.family() {
            Family::Inet => decode_dest_of_inet,
            Family::Inet6 => decode_dest_of_inet6,
        };
        self.dump(&Command::Dests(key), decode).await
    }

    /// Reads the daemons that run.
    pub async fn daemons(&mut self) -> Result<Vec<Daemon>, NlError> {
        self.dump(&Command::Daemons, decode_daemon).await
    }

    /// Reads the connection timeouts.
    pub async fn timeouts(&mut self) -> Result<Timeouts, NlError> {
        self.show(&Command::GetConfig, Timeouts::decode).await
    }

    /// Reads version and table size.
    pub async fn info(&mut self) -> Result<Info, NlError> {
        self.show(&Command::GetInfo, Info::decode).await
    }

    async fn show<T: Send>(
        &mut self,
        command: &Command<'_>,
        decode: Decode<T>,
    ) -> Result<T, NlError> {
        let mut shown = None;
        let take = |message: Message<'_>| shown = Some(decode(message.attrs(GENL_HEADER_LEN)));
        self.socket
            .request(&command.encode(self.family), take)
            .await?;
        Ok(DecodeError::need("IPVS_CMD_ATTR", shown)??)
    }

    async fn dump<T: Send>(
        &mut self,
        command: &Command<'_>,
        decode: Decode<T>,
    ) -> Result<Vec<T>, NlError> {
        let mut entries = Vec::new();
        let take = |message: Message<'_>| entries.push(decode(message.attrs(GENL_HEADER_LEN)));
        self.socket.dump(&command.encode(self.family), take).await?;
        Ok(entries.into_iter().collect::<Result<_, _>>()?)
    }
}

type Decode<T> = fn(Attrs<'_>) -> Result<T, DecodeError>;

fn decode_service(attrs: Attrs<'_>) -> Result<ServiceStatus, DecodeError> {
    ServiceStatus::decode(nested(attrs, IPVS_CMD_ATTR_SERVICE)?)
}

fn decode_dest_of_inet(attrs: Attrs<'_>) -> Result<DestStatus, DecodeError> {
    DestStatus::decode(nested(attrs, IPVS_CMD_ATTR_DEST)?, Family::Inet)
}

fn decode_dest_of_inet6(attrs: Attrs<'_>) -> Result<DestStatus, DecodeError> {
    DestStatus::decode(nested(attrs, IPVS_CMD_ATTR_DEST)?, Family::Inet6)
}

fn decode_daemon(attrs: Attrs<'_>) -> Result<Daemon, DecodeError> {
    Daemon::decode(nested(attrs, IPVS_CMD_ATTR_DAEMON)?)
}

fn nested(attrs: Attrs<'_>, kind: u16) -> Result<Attrs<'_>, DecodeError> {
    Ok(DecodeError::need("IPVS_CMD_ATTR", attrs.get(kind))?.attrs())
}
