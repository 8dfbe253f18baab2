//! The errors that only ipset has, by number. Pure.

/// What an errno of 4096 or more means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The kernel's name.
    pub name: &'static str,
    /// A sentence for whoever reads a verdict.
    pub sentence: &'static str,
}

/// Explains an errno of ipset; `None` for one that every part of the kernel has.
///
/// Names and numbers: `enum ipset_errno` in `include/uapi/linux/netfilter/ipset/ip_set.h`, and from 4352
/// on, which mean this only for hash sets, `ip_set_hash.h` beside it.
pub fn explain(errno: i32) -> Option<Explanation> {
    let (name, sentence) = match errno {
        4097 => (
            "IPSET_ERR_PROTOCOL",
            "the kernel does not speak this version of the ipset protocol",
        ),
        4098 => (
            "IPSET_ERR_FIND_TYPE",
            "the kernel has no such type of set in this revision; its module may be missing",
        ),
        4099 => (
            "IPSET_ERR_MAX_SETS",
            "the kernel holds as many sets as it can",
        ),
        4100 => (
            "IPSET_ERR_BUSY",
            "the set is in use: a rule refers to it, or it is being read",
        ),
        4101 => (
            "IPSET_ERR_EXIST_SETNAME2",
            "a set by the second name exists already, or does not exist when swapping",
        ),
        4102 => (
            "IPSET_ERR_TYPE_MISMATCH",
            "the two sets are not of the same type and family",
        ),
        4103 => (
            "IPSET_ERR_EXIST",
            "the element is in the set already, or is not there when deleting or testing",
        ),
        4104 => (
            "IPSET_ERR_INVALID_CIDR",
            "the prefix length is out of range",
        ),
        4105 => ("IPSET_ERR_INVALID_NETMASK", "the netmask is out of range"),
        4106 => (
            "IPSET_ERR_INVALID_FAMILY",
            "the type of set does not know this address family",
        ),
        4107 => ("IPSET_ERR_TIMEOUT", "the set was created without timeouts"),
        4108 => (
            "IPSET_ERR_REFERENCED",
            "the set cannot be renamed while something refers to it",
        ),
        4109 => ("IPSET_ERR_IPADDR_IPV4", "an IPv4 address was expected"),
        4110 => ("IPSET_ERR_IPADDR_IPV6", "an IPv6 address was expected"),
        4111 => ("IPSET_ERR_COUNTER", "the set was created without counters"),
        4112 => (
            "IPSET_ERR_COMMENT",
            "the set was created without comments, or the comment is too long",
        ),
        4113 => ("IPSET_ERR_INVALID_MARKMASK", "the mark mask is not valid"),
        4114 => ("IPSET_ERR_SKBINFO", "the set was created without skbinfo"),
        4352 => (
            "IPSET_ERR_HASH_FULL",
            "the set is full: it was created for fewer elements",
        ),
        4353 => (
            "IPSET_ERR_HASH_ELEM",
            "the element cannot be stored in a hash, for example 0.0.0.0",
        ),
        4354 => (
            "IPSET_ERR_INVALID_PROTO",
            "the protocol is not one that a set can hold",
        ),
        4355 => ("IPSET_ERR_MISSING_PROTO", "the protocol is missing"),
        4356 => (
            "IPSET_ERR_HASH_RANGE_UNSUPPORTED",
            "the type of set takes no ranges",
        ),
        4357 => ("IPSET_ERR_HASH_RANGE", "the range is not valid"),
        _ => return None,
    };
    Some(Explanation { name, sentence })
}
