//! The door to nf_tables: sends what the codec wrote, reads what came back.

use nix::errno::Errno;

use super::{
    Chain, Command, DecodeError, Element, Elements, NFGEN_HEADER_LEN, NFNL_SUBSYS_NFTABLES, Place,
    Refused, Rule, Set, Table,
};
use crate::kernel::linux::netlink::{
    Attrs, Counts, Message, NetlinkSocket, NlError, Protocol, Request,
};

/// The tables of family `inet` of one network namespace.
pub struct Nftables {
    socket: NetlinkSocket,
}

impl Nftables {
    /// Opens a socket in this thread's network namespace.
    pub fn open() -> Result<Self, NlError> {
        Ok(Self {
            socket: NetlinkSocket::open(Protocol::Netfilter)?,
        })
    }

    /// Gives what was sent and received so far.
    pub fn counts(&self) -> Counts {
        self.socket.counts()
    }

    /// Reads a table; `None` when it is not there.
    pub async fn table(&mut self, table: &str) -> Result<Option<Table>, NlError> {
        self.show(&Command::GetTable(table), Table::decode).await
    }

    /// Reads a chain; `None` when it is not there.
    pub async fn chain(&mut self, place: Place<'_>) -> Result<Option<Chain>, NlError> {
        self.show(&Command::GetChain(place), Chain::decode).await
    }

    /// Reads what a set is; `None` when it is not there.
    pub async fn set(&mut self, place: Place<'_>) -> Result<Option<Set>, NlError> {
        self.show(&Command::GetSet(place), Set::decode).await
    }

    /// Reads the rules of a chain; none when it is not there.
    pub async fn rules(&mut self, place: Place<'_>) -> Result<Vec<Rule>, NlError> {
        let mut rules = Vec::new();
        let take = |message: Message<'_>| rules.push(Rule::decode(message.attrs(NFGEN_HEADER_LEN)));
        let there = self.dump(&Command::GetRules(place), take).await?;
        let rules = rules.into_iter().collect::<Result<Vec<_>, _>>()?;
        // kernels that do not look at what was asked for show the rules of other tables as well
        let asked = |rule: &Rule| there && rule.table == place.table && rule.chain == place.name;
        Ok(rules.into_iter().filter(asked).collect())
    }

    /// Reads the elements of a set; `None` when it is not there.
    pub async fn elements(&mut self, place: Place<'_>) -> Result<Option<Elements>, NlError> {
        let mut elements = Elements::default();
        let take = |message: Message<'_>| elements.take(message.attrs(NFGEN_HEADER_LEN));
        let there = self.dump(&Command::List(place), take).await?;
        Ok(there.then_some(elements))
    }

    /// Says whether an element is in a set; no when there is no set.
    pub async fn has(&mut self, place: Place<'_>, element: &Element) -> Result<bool, NlError> {
        let get = Command::Get(place, element);
        Ok(self.show(&get, |_attrs| Ok(())).await?.is_some())
    }

    /// Carries out all commands or none.
    pub async fn transaction(&mut self, commands: &[Command<'_>]) -> Result<(), Refused> {
        let requests: Vec<Request> = commands.iter().map(Command::encode).collect();
        self.socket
            .transaction(NFNL_SUBSYS_NFTABLES, &requests)
            .await
    }

    async fn show<T: Send>(
        &mut self,
        command: &Command<'_>,
        decode: fn(Attrs<'_>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, NlError> {
        let mut shown = None;
        let take = |message: Message<'_>| shown = Some(decode(message.attrs(NFGEN_HEADER_LEN)));
        match self.socket.request(&command.encode(), take).await {
            Err(error) if is_absent(&error) => Ok(None),
            answer => {
                answer?;
                Ok(shown.transpose()?)
            }
        }
    }

    /// Dumps, and says whether what was asked for is there.
    async fn dump(
        &mut self,
        command: &Command<'_>,
        take: impl FnMut(Message<'_>) + Send,
    ) -> Result<bool, NlError> {
        match self.socket.dump(&command.encode(), take).await {
            Err(error) if is_absent(&error) => Ok(false),
            answer => answer.map(|()| true),
        }
    }
}

fn is_absent(error: &NlError) -> bool {
    error.errno() == Some(Errno::ENOENT as i32)
}
