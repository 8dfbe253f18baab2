//! The loopback rule over nf_tables netlink: `ip weir loopback`, and `ip6` the same.
//!
//! nf_tables has no expression for a kernel IP set, so the rule borrows the `set` match of xtables through
//! `nft_compat` (`net/netfilter/nft_compat.c`), which exists in the families ip and ip6 and not in inet.
//! `nft list ruleset` shows it as `xt match set`. The rest is native: `counter` and `masq`.
//!
//! The table is weir's own by name. It is removed only while it holds nothing but weir's chain and rules
//! that carry weir's mark in their user data.

use nix::errno::Errno;

use super::Standing;
use crate::kernel::linux::netlink::{
    Attr, Attrs, Counts, DecodeError, Family, Message, NetlinkSocket, NlError, Protocol, Refused,
    Request,
    wire::{NLM_F_APPEND, NLM_F_CREATE},
};

const NFNL_SUBSYS_NFTABLES: u8 = 10;
const NFNL_SUBSYS_NFT_COMPAT: u8 = 11;
const NFGEN_HEADER_LEN: usize = 4;

const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_DELTABLE: u8 = 2;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_GETCHAIN: u8 = 4;
const NFT_MSG_NEWRULE: u8 = 6;
const NFT_MSG_GETRULE: u8 = 7;
const NFT_MSG_DELRULE: u8 = 8;
const NFT_MSG_GETSET: u8 = 10;
const NFNL_MSG_COMPAT_GET: u8 = 0;

const NFTA_TABLE_NAME: u16 = 1;

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;

const NFTA_SET_TABLE: u16 = 1;

const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

const NFTA_MATCH_NAME: u16 = 1;
const NFTA_MATCH_REV: u16 = 2;
const NFTA_MATCH_INFO: u16 = 3;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;
const NFTA_MASQ_FLAGS: u16 = 1;

const NFTA_COMPAT_NAME: u16 = 1;
const NFTA_COMPAT_REV: u16 = 2;
const NFTA_COMPAT_TYPE: u16 = 3;

const NF_INET_POST_ROUTING: u32 = 4;
/// `NF_IP_PRI_NAT_SRC`, which `nft` calls `srcnat`.
const NF_IP_PRI_NAT_SRC: u32 = 100;
/// A source port chosen at random, so that two nodes or two rules do not try the same ones in order.
const NF_NAT_RANGE_PROTO_RANDOM_FULLY: u32 = 1 << 4;

const TABLE: &str = "weir";
const CHAIN: &str = "loopback";
const MATCH: &str = "set";
/// The revision whose layout is [`match_info`]; every kernel since 3.19 has it.
const MATCH_REV: u32 = 4;
/// A comment as `nft` shows it: `NFTNL_UDATA_RULE_COMMENT`, a length, a string that ends in zero.
const USERDATA: &[u8] = b"\x00\x18weir: loopback backends\0";

/// Why nf_tables cannot hold the rule.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// No socket.
    #[error("no netfilter netlink socket")]
    Open(#[source] NlError),
    /// The kernel cannot look a set up from a rule: `xt_set` or `nft_compat` is missing.
    #[error("the kernel has no set match for nf_tables (xt_set, nft_compat)")]
    NoMatch(#[source] NlError),
    /// The kernel has no nf_tables for this family, or no nat chains in it.
    #[error("the kernel has no nf_tables nat chain for this family (nf_tables, nft_chain_nat)")]
    NoTables(#[source] NlError),
    /// The rule was not put there or taken away.
    #[error("cannot change the table weir")]
    Change(#[from] Refused),
    /// What is there cannot be read.
    #[error("cannot read the table weir")]
    Read(#[from] NlError),
    /// Somebody put more into the table.
    #[error("the table weir holds what weir did not put there")]
    Foreign,
}

/// The engine that speaks nf_tables.
pub struct NftCompat {
    socket: NetlinkSocket,
}

/// What the rule counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets: the first of each connection, since a nat chain sees no others.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A rule of the chain, as far as weir reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands.
    pub chain: String,
    /// Whether it carries weir's mark.
    pub ours: bool,
    /// The set it refers to, when it is the match that weir writes.
    pub set: Option<u16>,
    /// How it masquerades (`NF_NAT_RANGE_*`), if it does.
    pub masquerades: Option<u32>,
    /// What it counted.
    pub counter: Counter,
}

impl NftCompat {
    /// Opens a socket in this thread's network namespace.
    pub fn open() -> Result<Self, NftError> {
        let socket = NetlinkSocket::open(Protocol::Netfilter).map_err(NftError::Open)?;
        Ok(Self { socket })
    }

    /// Gives what was sent and received so far.
    pub fn counts(&self) -> Counts {
        self.socket.counts()
    }

    /// Tries whether the kernel can hold the rule, and leaves nothing behind.
    ///
    /// Asks `nft_compat` for the match, then makes a chain of the same kind and deletes it in one
    /// transaction, which goes through every check that the real one does.
    pub async fn probe(&mut self, family: Family) -> Result<(), NftError> {
        let mut get = Request::netfilter(
            NFNL_SUBSYS_NFT_COMPAT,
            NFNL_MSG_COMPAT_GET,
            family.number(),
            0,
        );
        get.string(NFTA_COMPAT_NAME, MATCH)
            .be32(NFTA_COMPAT_REV, MATCH_REV)
            .be32(NFTA_COMPAT_TYPE, 0);
        self.socket
            .request(&get, |_| {})
            .await
            .map_err(NftError::NoMatch)?;
        let name = format!("weir-probe-{}", std::process::id());
        let batch = [
            new_table(family, &name),
            new_chain(family, &name),
            del_table(family, &name),
        ];
        let outcome = self.socket.transaction(NFNL_SUBSYS_NFTABLES, &batch).await;
        outcome.map_err(|refused| NftError::NoTables(refused.error))
    }

    /// Says how the rule on this set stands. One of ours on another set, or that masquerades in another way, is older.
    pub async fn standing(&mut self, family: Family, set_index: u16) -> Result<Standing, NftError> {
        let mut rules = self.rules(family).await?;
        rules.retain(|rule| rule.chain == CHAIN && rule.ours);
        Ok(match &rules[..] {
            [] => Standing::Absent,
            [one] if one.is_whole(set_index) => Standing::Whole,
            _ => Standing::Older,
        })
    }

    /// Reads what the rule on this set counted; `None` when it is not there.
    pub async fn counter(
        &mut self,
        family: Family,
        set_index: u16,
    ) -> Result<Option<Counter>, NftError> {
        let rules = self.rules(family).await?;
        let rule = rules
            .iter()
            .find(|rule| rule.ours && rule.set == Some(set_index));
        Ok(rule.map(|rule| rule.counter))
    }

    /// Puts table, chain and rule there in one transaction; a rule that is there stays as it is, one that
    /// refers to another set is replaced.
    pub async fn install(&mut self, family: Family, set_index: u16) -> Result<(), NftError> {
        let rules = self.rules(family).await?;
        if rules.iter().any(|rule| !(rule.chain == CHAIN && rule.ours)) {
            return Err(NftError::Foreign);
        }
        if matches!(&rules[..], [rule] if rule.is_whole(set_index)) {
            return Ok(());
        }
        let mut batch = vec![new_table(family, TABLE), new_chain(family, TABLE)];
        if !rules.is_empty() {
            batch.push(del_rules(family));
        }
        batch.push(new_rule(family, set_index));
        Ok(self
            .socket
            .transaction(NFNL_SUBSYS_NFTABLES, &batch)
            .await?)
    }

    /// Deletes the table; one that is not there is well. [`NftError::Foreign`] leaves it as it is.
    pub async fn remove(&mut self, family: Family) -> Result<(), NftError> {
        let rules = self.rules(family).await?;
        let chains = self
            .names(family, NFT_MSG_GETCHAIN, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME)
            .await?;
        // the kernel's dump of sets takes a table by itself; a named set of somebody's is foreign too
        let sets = self
            .names(family, NFT_MSG_GETSET, NFTA_SET_TABLE, NFTA_SET_TABLE)
            .await?;
        let ours = rules.iter().all(|rule| rule.chain == CHAIN && rule.ours)
            && chains.iter().all(|chain| chain == CHAIN)
            && sets.is_empty();
        if !ours {
            return Err(NftError::Foreign);
        }
        match self
            .socket
            .transaction(NFNL_SUBSYS_NFTABLES, &[del_table(family, TABLE)])
            .await
        {
            Err(refused) if refused.error.errno() == Some(Errno::ENOENT as i32) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Reads the rules of weir's table in every chain; none when there is no table.
    async fn rules(&mut self, family: Family) -> Result<Vec<Rule>, NftError> {
        let mut get = Request::netfilter(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETRULE, family.number(), 0);
        get.string(NFTA_RULE_TABLE, TABLE);
        let mut rules = Vec::new();
        let take = |message: Message<'_>| {
            let attrs = message.attrs(NFGEN_HEADER_LEN);
            if attrs.get(NFTA_RULE_TABLE).and_then(|attr| attr.str()) == Some(TABLE) {
                rules.push(Rule::decode(attrs));
            }
        };
        self.dump(&get, take).await?;
        Ok(rules
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(NlError::from)?)
    }

    /// Reads the names of weir's objects of one kind.
    async fn names(
        &mut self,
        family: Family,
        get: u8,
        table: u16,
        name: u16,
    ) -> Result<Vec<String>, NftError> {
        let mut get = Request::netfilter(NFNL_SUBSYS_NFTABLES, get, family.number(), 0);
        get.string(table, TABLE);
        let mut names = Vec::new();
        let take = |message: Message<'_>| {
            let attrs = message.attrs(NFGEN_HEADER_LEN);
            let read = |kind| attrs.get(kind).and_then(|attr| attr.str());
            if read(table) == Some(TABLE) {
                names.push(read(name).unwrap_or_default().to_owned());
            }
        };
        self.dump(&get, take).await?;
        Ok(names)
    }

    /// Dumps; that there is no such table is an empty answer.
    async fn dump(
        &mut self,
        get: &Request,
        take: impl FnMut(Message<'_>) + Send,
    ) -> Result<(), NftError> {
        match self.socket.dump(get, take).await {
            Err(NlError::Errno(errno)) if errno == Errno::ENOENT as i32 => Ok(()),
            outcome => Ok(outcome?),
        }
    }
}

fn new_table(family: Family, table: &str) -> Request {
    let mut out = Request::netfilter(
        NFNL_SUBSYS_NFTABLES,
        NFT_MSG_NEWTABLE,
        family.number(),
        NLM_F_CREATE,
    );
    out.string(NFTA_TABLE_NAME, table);
    out
}

fn del_table(family: Family, table: &str) -> Request {
    let mut out = Request::netfilter(NFNL_SUBSYS_NFTABLES, NFT_MSG_DELTABLE, family.number(), 0);
    out.string(NFTA_TABLE_NAME, table);
    out
}

fn new_chain(family: Family, table: &str) -> Request {
    let mut out = Request::netfilter(
        NFNL_SUBSYS_NFTABLES,
        NFT_MSG_NEWCHAIN,
        family.number(),
        NLM_F_CREATE,
    );
    out.string(NFTA_CHAIN_TABLE, table)
        .string(NFTA_CHAIN_NAME, CHAIN)
        .nest(NFTA_CHAIN_HOOK, |out| {
            out.be32(NFTA_HOOK_HOOKNUM, NF_INET_POST_ROUTING)
                .be32(NFTA_HOOK_PRIORITY, NF_IP_PRI_NAT_SRC);
        })
        .string(NFTA_CHAIN_TYPE, "nat");
    out
}

/// Deletes every rule of the chain.
fn del_rules(family: Family) -> Request {
    let mut out = Request::netfilter(NFNL_SUBSYS_NFTABLES, NFT_MSG_DELRULE, family.number(), 0);
    out.string(NFTA_RULE_TABLE, TABLE)
        .string(NFTA_RULE_CHAIN, CHAIN);
    out
}

fn new_rule(family: Family, set_index: u16) -> Request {
    let flags = NLM_F_CREATE | NLM_F_APPEND;
    let mut out = Request::netfilter(
        NFNL_SUBSYS_NFTABLES,
        NFT_MSG_NEWRULE,
        family.number(),
        flags,
    );
    let expression = |out: &mut Request, name: &str, fill: &dyn Fn(&mut Request)| {
        out.nest(NFTA_LIST_ELEM, |out| {
            out.string(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, fill);
        });
    };
    out.string(NFTA_RULE_TABLE, TABLE)
        .string(NFTA_RULE_CHAIN, CHAIN)
        .nest(NFTA_RULE_EXPRESSIONS, |out| {
            expression(out, "match", &|out| {
                out.string(NFTA_MATCH_NAME, MATCH)
                    .be32(NFTA_MATCH_REV, MATCH_REV)
                    .bytes(NFTA_MATCH_INFO, &match_info(set_index));
            });
            expression(out, "counter", &|_| {});
            expression(out, "masq", &|out| {
                out.be32(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
            });
        })
        .bytes(NFTA_RULE_USERDATA, USERDATA);
    out
}

/// Writes a `struct xt_set_info_match_v4` (`include/uapi/linux/netfilter/xt_set.h`): the set, three
/// dimensions of which the third is the packet's source and the others its destination, and no counters.
fn match_info(set_index: u16) -> [u8; 48] {
    const IPSET_DIM_THREE: u8 = 3;
    const IPSET_DIM_THREE_SRC: u8 = 1 << IPSET_DIM_THREE;
    let mut info = [0; 48];
    info[..2].copy_from_slice(&set_index.to_ne_bytes());
    info[2] = IPSET_DIM_THREE;
    info[3] = IPSET_DIM_THREE_SRC;
    info
}

impl Rule {
    /// Says whether it does what this version writes for this set.
    fn is_whole(&self, set_index: u16) -> bool {
        self.set == Some(set_index) && self.masquerades == Some(NF_NAT_RANGE_PROTO_RANDOM_FULLY)
    }

    /// Reads the attributes behind the `nfgenmsg` of an `NFT_MSG_NEWRULE`.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let chain = DecodeError::need("NFTA_RULE_CHAIN", attrs.get(NFTA_RULE_CHAIN))?;
        let mut rule = Self {
            chain: DecodeError::read("NFTA_RULE_CHAIN", chain.str())?.to_owned(),
            ours: attrs
                .get(NFTA_RULE_USERDATA)
                .is_some_and(|attr| attr.payload == USERDATA),
            set: None,
            masquerades: None,
            counter: Counter::default(),
        };
        let list = attrs.get(NFTA_RULE_EXPRESSIONS);
        for expression in list.iter().flat_map(Attr::attrs) {
            let name = expression
                .attrs()
                .get(NFTA_EXPR_NAME)
                .and_then(|attr| attr.str());
            let data = expression.attrs().get(NFTA_EXPR_DATA);
            let find = |kind| data.and_then(|data| data.attrs().get(kind));
            match name {
                Some("match") => rule.set = find(NFTA_MATCH_INFO).and_then(|info| read_set(&info)),
                Some("masq") => {
                    let flags = find(NFTA_MASQ_FLAGS).and_then(|attr| attr.be32());
                    rule.masquerades = Some(flags.unwrap_or_default());
                }
                Some("counter") => {
                    let number = |kind| find(kind).and_then(|attr| attr.be64()).unwrap_or_default();
                    rule.counter.packets = number(NFTA_COUNTER_PACKETS);
                    rule.counter.bytes = number(NFTA_COUNTER_BYTES);
                }
                _ => {}
            }
        }
        Ok(rule)
    }
}

/// Reads the set's index when all but the index is as [`match_info`] writes it. The kernel pads the match
/// to the alignment of its tables (`XT_ALIGN`), so more zeros may follow.
fn read_set(info: &Attr<'_>) -> Option<u16> {
    let index = u16::from_ne_bytes(*info.payload.first_chunk::<2>()?);
    let (head, rest) = info.payload.split_at_checked(4)?;
    let as_written = head == &match_info(index)[..4] && rest.iter().all(|byte| *byte == 0);
    as_written.then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rule_is_read_as_it_was_written() {
        let request = new_rule(Family::Inet, 7);
        let rule = Rule::decode(Attrs::new(&request.as_bytes()[20..]));
        let expected = Rule {
            chain: CHAIN.to_owned(),
            ours: true,
            set: Some(7),
            masquerades: Some(NF_NAT_RANGE_PROTO_RANDOM_FULLY),
            counter: Counter::default(),
        };
        assert_eq!(rule, Ok(expected));
    }

    #[test]
    fn a_match_with_other_directions_is_not_ours() {
        let mut request = Request::new(0, 0);
        let mut info = match_info(7);
        info[3] = 0;
        request.bytes(NFTA_MATCH_INFO, &info);
        let attr = Attrs::new(&request.as_bytes()[16..])
            .get(NFTA_MATCH_INFO)
            .expect("it");
        assert_eq!(read_set(&attr), None);
    }

    #[test]
    fn the_user_data_is_one_comment_of_its_own_length() {
        assert_eq!(usize::from(USERDATA[1]), USERDATA.len() - 2);
        assert_eq!(USERDATA.last(), Some(&0));
    }

    proptest! {
        #[test]
        fn reading_a_rule_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Rule::decode(Attrs::new(&bytes));
        }
    }
}
