//! The chains of nf_tables that packets pass on their way through, whoever made them. Read only, for those who look for what is
//! in the way of replies.

use super::loopback::nftables::{BaseChain, Hook, Nftables};
use super::netlink::NlError;

/// A chain that forwarded packets pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardChain {
    /// Family, table and chain, as `nft` writes them: "ip filter FORWARD".
    pub name: String,
    /// Whether it drops what no rule accepts.
    pub drops: bool,
    /// Rules in it, and jumps to it.
    pub rules: u32,
}

/// Reads them, of every family that IP packets are seen by.
pub async fn forward_chains() -> Result<Vec<ForwardChain>, NlError> {
    let chains = Nftables::open()?.base_chains().await?;
    let forward = chains
        .into_iter()
        .filter(|chain| chain.hook == Hook::Forward);
    let told = forward.filter_map(|chain| {
        let BaseChain {
            family,
            table,
            name,
            drops,
            uses,
            hook: _,
        } = chain;
        // bridge and netdev chains see frames
        let family = match family {
            1 => "inet",
            2 => "ip",
            10 => "ip6",
            _ => return None,
        };
        Some(ForwardChain {
            name: format!("{family} {table} {name}"),
            drops,
            rules: uses,
        })
    });
    Ok(told.collect())
}
