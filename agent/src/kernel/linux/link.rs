//! Links, their addresses and the routes to them: the dummy link that holds this node's virtual addresses, and what
//! stands on it.
//!
//! `rtm` is the codec, `rtnl` the door for what there are thousands of; links go through `rtnetlink`.
//!
//! Rules of the latter:
//! - A request counts as done only when its acknowledgement came, a dump as complete only when its end
//!   came: when a connection of `rtnetlink` dies, the streams of its answers end as if all were well.
//! - After silence or a dead connection the next call opens a new one; the caller reads back.
//! - The connection belongs to the network namespace of the thread that opens it.

pub mod rtm;
mod rtnl;

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use nix::errno::Errno;
use rtnetlink::{Handle, LinkDummy, LinkMessageBuilder, LinkUnspec};
use tokio::{task::JoinHandle, time::timeout};

pub use rtnl::Rtnl;

/// An address for a link that must have one of IPv4. All of 127/8 ends here in any case, is never a source elsewhere, and is
/// neither asked for nor answered by ARP (`arp_process` in `net/ipv4/arp.c`).
pub(super) const ANCHOR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 119, 0, 1));

/// Silence after which an answer is lost. The kernel holds the RTNL lock for long only while it tears down
/// network namespaces or very many links, which takes it about a second.
const SILENCE: Duration = Duration::from_secs(5);

/// Why a link is not as asked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The kernel refused.
    #[error("cannot {act}")]
    Refused {
        /// What was tried.
        act: &'static str,
        /// The errno, by its number and its text.
        #[source]
        errno: Errno,
    },
    /// The name is taken by a link that weir must not touch.
    #[error("link {name} exists and is a {kind}, not a dummy")]
    OtherKind {
        /// The name.
        name: String,
        /// What it is, as `ip -d link` shows it; `physical` when it has no kind.
        kind: String,
    },
    /// The table changed while it was read.
    #[error("the table changed while it was read")]
    Interrupted,
    /// No answer came in time.
    #[error("no answer from the kernel")]
    Timeout,
    /// The connection died before the answer was complete.
    #[error("the route netlink connection failed")]
    Closed,
    /// No connection could be opened.
    #[error("no route netlink connection")]
    Io(#[from] io::Error),
}

impl LinkError {
    /// Gives the errno of a refusal.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::OtherKind { .. }
            | Self::Interrupted
            | Self::Timeout
            | Self::Closed
            | Self::Io(_) => None,
        }
    }
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// What it is, as `ip -d link` shows it; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Whether it is set up.
    pub up: bool,
}

/// The links of one network namespace.
pub struct Links {
    /// `None` after a failure, until next used.
    connection: Option<Connection>,
}

struct Connection {
    handle: Handle,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Links {
    /// Opens a connection in this thread's network namespace. Must be called inside a tokio runtime.
    pub fn open() -> Result<Self, LinkError> {
        Ok(Self {
            connection: Some(connect()?),
        })
    }

    /// Finds a link by name.
    pub async fn find(&mut self, name: &str) -> Result<Option<Link>, LinkError> {
        let message = LinkMessageBuilder::<LinkUnspec>::new()
            .name(name.to_owned())
            .build();
        let mut links = Vec::new();
        let found = self
            .ask(
                "find the link",
                RouteNetlinkMessage::GetLink(message),
                NLM_F_ACK,
                |answer| {
                    if let RouteNetlinkMessage::NewLink(link) = answer {
                        links.push(read_link(&link));
                    }
                },
            )
            .await;
        match found {
            Ok(()) => Ok(links.pop()),
            Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that a dummy link exists and is up, and gives its index.
    ///
    /// A link of another kind by this name is an error and stays as it is. `EOPNOTSUPP` means that the
    /// kernel has no `dummy` module.
    pub async fn ensure_dummy(&mut self, name: &str) -> Result<u32, LinkError> {
        let link = match self.find(name).await? {
            Some(link) => link,
            None => {
                let new = RouteNetlinkMessage::NewLink(LinkDummy::new(name).up().build());
                self.ask("create the dummy link", new, CREATE, |_| {})
                    .await?;
                self.find(name).await?.ok_or(LinkError::Interrupted)?
            }
        };
        must_be_dummy(name, &link)?;
        if !link.up {
            let up = LinkMessageBuilder::<LinkUnspec>::new()
                .index(link.index)
                .up()
                .build();
            let up = RouteNetlinkMessage::SetLink(up);
            self.ask("set the dummy link up", up, NLM_F_ACK, |_| {})
                .await?;
        }
        Ok(link.index)
    }

    /// Deletes a dummy link with its addresses; one that does not exist is well.
    pub async fn delete_dummy(&mut self, name: &str) -> Result<(), LinkError> {
        let Some(link) = self.find(name).await? else {
            return Ok(());
        };
        must_be_dummy(name, &link)?;
        let gone = LinkMessageBuilder::<LinkUnspec>::new()
            .index(link.index)
            .build();
        let gone = RouteNetlinkMessage::DelLink(gone);
        self.ask("delete the dummy link", gone, NLM_F_ACK, |_| {})
            .await
    }

    /// Sends a request and hands each answer to `each`, until its acknowledgement or the dump's end.
    async fn ask(
        &mut self,
        act: &'static str,
        message: RouteNetlinkMessage,
        flags: u16,
        each: impl FnMut(RouteNetlinkMessage) + Send,
    ) -> Result<(), LinkError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect()?),
        };
        let outcome = converse(&mut connection.handle, act, message, flags, each).await;
        if matches!(outcome, Err(LinkError::Timeout | LinkError::Closed)) {
            self.connection = None;
        }
        outcome
    }
}

const CREATE: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

fn connect() -> Result<Connection, LinkError> {
    let (mut connection, handle, _unsolicited) = rtnetlink::new_connection_with_strict_check()?;
    connection.set_forward_ack(true);
    connection.set_forward_done(true);
    Ok(Connection {
        handle,
        driver: tokio::spawn(connection),
    })
}

async fn converse(
    handle: &mut Handle,
    act: &'static str,
    message: RouteNetlinkMessage,
    flags: u16,
    mut each: impl FnMut(RouteNetlinkMessage) + Send,
) -> Result<(), LinkError> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    let answers = handle
        .request(request)
        .map_err(|_closed| LinkError::Closed)?;
    pin_mut!(answers);
    let mut interrupted = false;
    loop {
        let next = timeout(SILENCE, answers.next()).await;
        let answer = next
            .map_err(|_elapsed| LinkError::Timeout)?
            .ok_or(LinkError::Closed)?;
        interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(answer) => each(answer),
            NetlinkPayload::Error(error) => match error.raw_code() {
                0 => return Ok(()),
                code => {
                    let errno = Errno::from_raw(code.saturating_neg());
                    return Err(LinkError::Refused { act, errno });
                }
            },
            NetlinkPayload::Done(done) if done.code != 0 => {
                let errno = Errno::from_raw(done.code.saturating_neg());
                return Err(LinkError::Refused { act, errno });
            }
            NetlinkPayload::Done(_) if interrupted => return Err(LinkError::Interrupted),
            NetlinkPayload::Done(_) => return Ok(()),
            _ => return Err(LinkError::Closed),
        }
    }
}

fn must_be_dummy(name: &str, link: &Link) -> Result<(), LinkError> {
    match link.kind.as_deref() {
        Some("dummy") => Ok(()),
        kind => Err(LinkError::OtherKind {
            name: name.to_owned(),
            kind: kind.unwrap_or("physical").to_owned(),
        }),
    }
}

fn read_link(message: &LinkMessage) -> Link {
    let infos = message
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        });
    let kind = infos.flatten().find_map(|info| match info {
        LinkInfo::Kind(InfoKind::Dummy) => Some("dummy".to_owned()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    });
    Link {
        index: message.header.index,
        kind,
        up: message.header.flags.contains(LinkFlags::Up),
    }
}
