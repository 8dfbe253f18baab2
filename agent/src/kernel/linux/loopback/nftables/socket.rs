//! The door to nf_tables: sends what the codec wrote, reads what came back.

use std::collections::BTreeSet;

use nix::errno::Errno;

use super::{
    BaseChain, Chain, Command, DecodeError, Element, NFGEN_HEADER_LEN, NFNL_SUBSYS_NFTABLES, Place,
    Refused, Rule, Set, Table, decode_key,
};
use crate::kernel::linux::netlink::{
    Attrs, Counts, Message, NetlinkSocket, NlError, Protocol, Request,
};

/// How often the elements of a set are listed at most until two listings agree.
const LISTINGS: u32 = 5;

/// How often an answer that was lost is asked for. Each time is a silence of five seconds.
const TRIES: u32 = 3;

/// The tables of family `inet` of one network namespace.
pub struct Nftables {
    socket: NetlinkSocket,
    /// Table and name of the sets whose elements were changed and not listed since.
    changed: BTreeSet<(String, String)>,
}

impl Nftables {
    /// Opens a socket in this thread's network namespace.
    pub fn open() -> Result<Self, NlError> {
        Ok(Self {
            socket: NetlinkSocket::open(Protocol::Netfilter)?,
            changed: BTreeSet::new(),
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

    /// Reads the chains of every table that hang at a hook.
    pub async fn base_chains(&mut self) -> Result<Vec<BaseChain>, NlError> {
        let mut chains = Vec::new();
        let take = |message: Message<'_>| {
            let family = message.payload.first().copied().unwrap_or_default();
            chains.push(BaseChain::decode(family, message.attrs(NFGEN_HEADER_LEN)));
        };
        self.dump(&Command::GetChains, take).await?;
        let chains = chains.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(chains.into_iter().flatten().collect())
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

    /// Reads those elements of a set that are an address, a protocol, a port and an address; `None` when the set is not
    /// there.
    pub async fn elements(&mut self, place: Place<'_>) -> Result<Option<Vec<Element>>, NlError> {
        let keys = self.keys(place).await?;
        Ok(keys.map(|keys| keys.iter().filter_map(|key| decode_key(key)).collect()))
    }

    /// Says whether an element is in a set; no when there is no set.
    pub async fn has(&mut self, place: Place<'_>, element: &Element) -> Result<bool, NlError> {
        let get = Command::Get(place, element);
        Ok(self.show(&get, |_attrs| Ok(())).await?.is_some())
    }

    /// Says whether a key is in a set; no when there is no set.
    pub async fn has_key(&mut self, place: Place<'_>, key: &[u8]) -> Result<bool, NlError> {
        let get = Command::GetKey(place, key);
        Ok(self.show(&get, |_attrs| Ok(())).await?.is_some())
    }

    /// Reads the keys of a set; `None` when it is not there.
    ///
    /// A set that was changed is listed until a listing shows nothing that those before it did not, since the kernel
    /// fits the table behind a set to its size some time after a change, and a listing in several messages goes on in
    /// the new table where it was in the old one: it leaves out what it passed over, and says nothing of it
    /// (`nft_rhash_walk` in `net/netfilter/nft_set_hash.c`, `rhashtable_walk_start` in `lib/rhashtable.c`).
    pub async fn keys(&mut self, place: Place<'_>) -> Result<Option<BTreeSet<Vec<u8>>>, NlError> {
        let set = (place.table.to_owned(), place.name.to_owned());
        let mut keys = BTreeSet::new();
        if !self.list(place, &mut keys).await? {
            return Ok(None);
        }
        if self.changed.contains(&set) {
            for _ in 1..LISTINGS {
                let before = keys.len();
                if !self.list(place, &mut keys).await? {
                    return Ok(None);
                }
                if keys.len() == before {
                    self.changed.remove(&set);
                    break;
                }
            }
        }
        Ok(Some(keys))
    }

    /// Lists a set once, and says whether it is there.
    async fn list(
        &mut self,
        place: Place<'_>,
        keys: &mut BTreeSet<Vec<u8>>,
    ) -> Result<bool, NlError> {
        let take = |message: Message<'_>| {
            keys.extend(super::keys(message.attrs(NFGEN_HEADER_LEN)));
        };
        self.dump(&Command::List(place), take).await
    }

    /// Carries out all commands or none.
    pub async fn transaction(&mut self, commands: &[Command<'_>]) -> Result<(), Refused> {
        let changed = commands.iter().filter_map(Command::changes);
        let changed = changed.map(|place| (place.table.to_owned(), place.name.to_owned()));
        self.changed.extend(changed);
        let requests: Vec<Request> = commands.iter().map(Command::encode).collect();
        self.socket
            .transaction(NFNL_SUBSYS_NFTABLES, &requests)
            .await
    }

    /// Carries out commands that together leave nothing behind, to see whether the kernel takes them. Where an answer is
    /// lost it asks again: only the kernel's own word counts, since one that was taken for unable would be given
    /// another engine's rules beside those of this one that it may hold.
    pub async fn try_out(&mut self, commands: &[Command<'_>]) -> Result<(), Refused> {
        let mut tried = self.transaction(commands).await;
        for _ in 1..TRIES {
            match &tried {
                Err(refused) if !refused.error.is_answer() => {
                    tried = self.transaction(commands).await;
                }
                _ => break,
            }
        }
        tried
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
