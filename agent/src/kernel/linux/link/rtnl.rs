//! The door to addresses, routes and tunnel links: sends what the codec wrote, reads what came back.

use std::net::IpAddr;

use nix::errno::Errno;

use super::rtm::{Address, Command, Route, Tunnel};
use crate::kernel::linux::netlink::{Counts, NetlinkSocket, NlError, Protocol, Request};

/// The addresses and routes of one network namespace.
pub struct Rtnl {
    socket: NetlinkSocket,
}

impl Rtnl {
    /// Opens a socket in this thread's network namespace.
    pub fn open() -> Result<Self, NlError> {
        Ok(Self {
            socket: NetlinkSocket::open(Protocol::Route)?,
        })
    }

    /// Gives what was sent and received so far.
    pub fn counts(&self) -> Counts {
        self.socket.counts()
    }

    /// Reads the addresses of a family on one link or, with 0, on all.
    pub async fn addresses(&mut self, v6: bool, link: u32) -> Result<Vec<Address>, NlError> {
        let mut addresses = self.addresses_but(v6, link, None).await?;
        // an older kernel than 4.20 sends those of all links
        addresses.retain(|address| link == 0 || address.link == link);
        Ok(addresses)
    }

    /// Reads the addresses of a family on all links but one, without looking at what that one has.
    pub async fn addresses_elsewhere(
        &mut self,
        v6: bool,
        but: Option<u32>,
    ) -> Result<Vec<Address>, NlError> {
        self.addresses_but(v6, 0, but).await
    }

    async fn addresses_but(
        &mut self,
        v6: bool,
        link: u32,
        but: Option<u32>,
    ) -> Result<Vec<Address>, NlError> {
        let mut addresses = Vec::new();
        let request = Command::Addresses { v6, link }.encode();
        let dumped = self.socket.dump(&request, |message| {
            if but.is_none() || Address::link(&message) != but {
                addresses.extend(Address::decode(&message));
            }
        });
        match dumped.await {
            // the link went in the meantime
            Err(NlError::Errno(errno)) if errno == Errno::ENODEV as i32 => {}
            dumped => dumped?,
        }
        // without IPv6 the kernel answers for IPv4
        addresses.retain(|address| address.address.is_ipv6() == v6);
        Ok(addresses)
    }

    /// Dumps routes and hands over each.
    pub async fn routes(
        &mut self,
        command: Command,
        mut each: impl FnMut(Route) + Send,
    ) -> Result<(), NlError> {
        let request = command.encode();
        let dumped = self.socket.dump(&request, |message| {
            if let Some(route) = Route::decode(&message) {
                each(route);
            }
        });
        match dumped.await {
            // there is no such table, or no such link
            Err(NlError::Errno(errno))
                if [Errno::ENOENT as i32, Errno::ENODEV as i32].contains(&errno) =>
            {
                Ok(())
            }
            dumped => dumped,
        }
    }

    /// Asks for the routes that packets to some addresses take; none where there is none.
    pub async fn lookup(&mut self, addresses: &[IpAddr]) -> Result<Vec<Option<Route>>, NlError> {
        let questions: Vec<Request> = addresses
            .iter()
            .map(|address| Command::Lookup(*address).encode())
            .collect();
        let mut routes = vec![None; addresses.len()];
        // who is refused has no route: out of reach, prohibited, or not there
        self.socket
            .ask(&questions, |place, message| {
                routes[place] = Route::decode(&message);
            })
            .await?;
        Ok(routes)
    }

    /// Carries out commands that show nothing, many to a system call, and gives the verdict on each.
    pub async fn batch(&mut self, commands: &[Command]) -> Vec<Result<(), NlError>> {
        let requests: Vec<Request> = commands.iter().map(Command::encode).collect();
        self.socket.batch(&requests).await
    }

    /// Finds a tunnel link, or another by its name.
    pub async fn tunnel(&mut self, name: &str) -> Result<Option<Tunnel>, NlError> {
        let mut found = None;
        let request = Tunnel::ask(name);
        let asked = self.socket.request(&request, |message| {
            found = Tunnel::decode(&message);
        });
        match asked.await {
            Ok(()) => Ok(found),
            Err(NlError::Errno(errno)) if errno == Errno::ENODEV as i32 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Carries out one request that shows nothing.
    pub async fn run(&mut self, request: &Request) -> Result<(), NlError> {
        self.socket.request(request, |_| {}).await
    }
}
