//! What puts the rule on an ipset set into the kernel: nf_tables through `nft_compat`, or a program.
//!
//! Both refer to the same set, by destination address, destination port and source address.

use weir_proto::trace::chain;

use super::{Iptables, IptablesError, NftCompat, NftError};
use crate::kernel::linux::netlink::Family;

/// What puts the rule into the kernel.
pub enum RuleEngine {
    /// nf_tables over netlink.
    NftCompat(NftCompat),
    /// A program of the iptables family.
    Iptables(Iptables),
}

/// What [`RuleEngine::choose`] chose, and why not the other.
pub struct Choice {
    /// The engine; `None` when neither works.
    pub engine: Option<RuleEngine>,
    /// A sentence for the report of capabilities.
    pub reason: String,
}

/// How the rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none of ours.
    Absent,
    /// There is one of ours that is not, or not only, as this version puts it: an earlier one did, or somebody changed
    /// it.
    Older,
    /// It is there, once, as it should be.
    Whole,
}

/// Why the rule is not as asked.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// nf_tables refused.
    #[error("the nf_tables rule failed")]
    Nft(#[from] NftError),
    /// The program failed.
    #[error("the iptables rule failed")]
    Iptables(#[from] IptablesError),
}

/// The set that the rule refers to: nf_tables knows it by index, iptables by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetRef<'a> {
    /// The family of its addresses, and of the rule.
    pub family: Family,
    /// Its name.
    pub name: &'a str,
    /// Its index, see `Ipset::index`. A set that is destroyed and created again may get another.
    pub index: u16,
}

impl RuleEngine {
    /// Tries nf_tables, then the iptables programs, for IPv4, and says what it found.
    pub async fn choose() -> Choice {
        let refused = match NftCompat::open() {
            Ok(mut nft) => match nft.probe(Family::Inet).await {
                Ok(()) => {
                    let reason = "nf_tables with a compat match on the set".to_owned();
                    return Choice {
                        engine: Some(Self::NftCompat(nft)),
                        reason,
                    };
                }
                Err(error) => chain(&error),
            },
            Err(error) => chain(&error),
        };
        match Iptables::find().await {
            Ok(iptables) => {
                let reason = format!("{}, since nf_tables: {refused}", iptables.describe());
                Choice {
                    engine: Some(Self::Iptables(iptables)),
                    reason,
                }
            }
            Err(error) => Choice {
                engine: None,
                reason: format!("nf_tables: {refused}; iptables: {}", chain(&error)),
            },
        }
    }

    /// Says how the rule stands that refers to this set.
    pub async fn standing(&mut self, set: SetRef<'_>) -> Result<Standing, RuleError> {
        match self {
            Self::NftCompat(nft) => Ok(nft.standing(set.family, set.index).await?),
            Self::Iptables(iptables) => Ok(iptables.standing(set.family, set.name).await?),
        }
    }

    /// Puts the rule there, in place of one of ours that is not whole; one that is stays as it is.
    pub async fn install(&mut self, set: SetRef<'_>) -> Result<(), RuleError> {
        match self {
            Self::NftCompat(nft) => Ok(nft.install(set.family, set.index).await?),
            Self::Iptables(iptables) => Ok(iptables.install(set.family, set.name).await?),
        }
    }

    /// Takes the rule away; one that is not there is well.
    pub async fn remove(&mut self, set: SetRef<'_>) -> Result<(), RuleError> {
        match self {
            Self::NftCompat(nft) => Ok(nft.remove(set.family).await?),
            Self::Iptables(iptables) => Ok(iptables.remove(set.family, set.name).await?),
        }
    }
}
