//! Links and their addresses: the dummy link that holds this node's virtual addresses.
//!
//! Rules:
//! - A request counts as done only when its acknowledgement came, a dump as complete only when its end
//!   came: when a connection of `rtnetlink` dies, the streams of its answers end as if all were well.
//! - After silence or a dead connection the next call opens a new one; the caller reads back.
//! - The connection belongs to the network namespace of the thread that opens it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, CacheInfo},
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use nix::errno::Errno;
use rtnetlink::{AddressMessageBuilder, Handle, LinkDummy, LinkMessageBuilder, LinkUnspec};
use tokio::{task::JoinHandle, time::timeout};

/// Silence after which an answer is lost. The kernel holds the RTNL lock for long only while it tears down
/// network namespaces or very many links, which takes it about a second.
const SILENCE: Duration = Duration::from_secs(5);

/// Why a link or an address is not as asked.
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

    /// Reads the addresses of a link, without those that IPv6 gives every link by itself (`fe80::/10`).
    ///
    /// The kernel picks them out itself since 4.20 (`ifa_index` of a strictly checked request, see
    /// `inet_valid_dump_ifaddr_req` in `net/ipv4/devinet.c`); an older one sends those of all links.
    pub async fn addresses(&mut self, index: u32) -> Result<Vec<IpAddr>, LinkError> {
        let all = self.dump_addresses(index).await?;
        let here = all.into_iter().filter(|(on, _)| *on == index);
        Ok(here.map(|(_, address)| address).collect())
    }

    /// Reads the addresses of all links, each with the index of its link, without those that IPv6 gives
    /// every link by itself.
    pub async fn all_addresses(&mut self) -> Result<Vec<(u32, IpAddr)>, LinkError> {
        self.dump_addresses(0).await
    }

    async fn dump_addresses(&mut self, index: u32) -> Result<Vec<(u32, IpAddr)>, LinkError> {
        let mut addresses = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = AddressMessage::default();
            message.header.family = family;
            message.header.index = index;
            let get = RouteNetlinkMessage::GetAddress(message);
            self.ask("read the addresses", get, NLM_F_DUMP, |answer| {
                if let RouteNetlinkMessage::NewAddress(address) = answer {
                    let on = address.header.index;
                    addresses.extend(read_address(&address).map(|found| (on, found)));
                }
            })
            .await?;
        }
        addresses.retain(|(_, address)| match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        });
        Ok(addresses)
    }

    /// Says whether an address is one of this host's own, on whatever link: packets to it stay here.
    pub async fn is_own(&mut self, address: IpAddr) -> Result<bool, LinkError> {
        let mut message = RouteMessage::default();
        let (family, bits, destination) = match address {
            IpAddr::V4(v4) => (AddressFamily::Inet, 32, RouteAddress::Inet(v4)),
            IpAddr::V6(v6) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(v6)),
        };
        message.header.address_family = family;
        message.header.destination_prefix_length = bits;
        message
            .attributes
            .push(RouteAttribute::Destination(destination));
        let get = RouteNetlinkMessage::GetRoute(message);
        let mut own = false;
        let asked = self.ask("find the route", get, NLM_F_ACK, |answer| {
            if let RouteNetlinkMessage::NewRoute(route) = answer {
                own |= route.header.kind == RouteType::Local;
            }
        });
        match asked.await {
            Ok(()) => Ok(own),
            // no route at all: not here
            Err(LinkError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds an address as a host of its own, `/32` or `/128`; `EEXIST` when the link has it.
    ///
    /// An IPv6 address skips duplicate detection, since the other nodes hold it too, and is deprecated from
    /// the start (preferred lifetime zero), so that nothing on this node takes it as its source.
    pub async fn add_address(&mut self, index: u32, address: IpAddr) -> Result<(), LinkError> {
        let new = RouteNetlinkMessage::NewAddress(host_address(index, address));
        self.ask("add the address", new, CREATE, |_| {}).await
    }

    /// Deletes an address that was added as a host; `EADDRNOTAVAIL` when the link does not have it.
    pub async fn del_address(&mut self, index: u32, address: IpAddr) -> Result<(), LinkError> {
        let gone = RouteNetlinkMessage::DelAddress(host_address(index, address));
        self.ask("delete the address", gone, NLM_F_ACK, |_| {})
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

/// Reads `IFA_LOCAL`, which is the link's own end, or `IFA_ADDRESS` where there is no other end.
fn read_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
    local.or_else(|| {
        message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
    })
}

fn host_address(index: u32, address: IpAddr) -> AddressMessage {
    match address {
        IpAddr::V4(v4) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(v4, 32)
            .build(),
        IpAddr::V6(v6) => {
            let mut message = AddressMessageBuilder::<Ipv6Addr>::new()
                .index(index)
                .address(v6, 128)
                .build();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
            // preferred for no time, valid without end (`INFINITY_LIFE_TIME` in `include/net/addrconf.h`)
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_valid = u32::MAX;
            message
                .attributes
                .push(AddressAttribute::CacheInfo(lifetimes));
            message
        }
    }
}
