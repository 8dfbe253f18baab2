//! What a check looks at on a machine, as plain values. PURE.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use weir_proto::model::{Capability, Listener};

/// Everything that was looked at, and what was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the kernel calls its version (`/proc/sys/kernel/osrelease`).
    pub release: String,
    /// What was found by trying; none: nothing was tried, for want of CAP_NET_ADMIN.
    pub capabilities: Option<Vec<Capability>>,
    /// The modules that came by trying.
    pub loaded: Vec<String>,
    /// The effective capabilities of this process, a bit each; none: not known.
    pub effective: Option<u64>,
    /// Sysctls by their dotted names; one that is not there is left out.
    pub sysctls: BTreeMap<String, String>,
    /// Whether sysctls of the network can be written.
    pub writable: bool,
    /// What may be remembered of connections; none: conntrack is not loaded.
    pub conntrack: Option<Conntrack>,
    /// Where the journal is, or shall be.
    pub journal: Directory,
    /// By what the controller is called.
    pub credentials: Credentials,
    /// The clock on the wall, in Unix milliseconds.
    pub now_unix_ms: u64,
    /// What became of a call of the controller.
    pub controller: Called,
    /// Where the admin pages shall be served.
    pub admin_listen: Option<SocketAddr>,
    /// Who listens.
    pub sockets: Vec<Socket>,
    /// What IPVS balances; none: it could not be read.
    pub frontends: Option<Vec<Listener>>,
    /// Whether the link weir0 is there.
    pub has_link: bool,
    /// Whether the link kube-ipvs0 is there, which kube-proxy makes in its mode IPVS.
    pub has_kube_link: bool,
    /// The programs that run, of those that program IPVS too.
    pub others: Vec<String>,
    /// The chains that decide of forwarded packets; none: they could not be read.
    pub forwarding: Option<Vec<ForwardChain>>,
}

/// How full conntrack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conntrack {
    /// Connections that are remembered.
    pub count: u64,
    /// How many can be.
    pub max: u64,
}

/// A directory that is there, or would be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// The one that was asked for.
    pub path: PathBuf,
    /// The nearest one on the way to it that is there.
    pub nearest: PathBuf,
    /// Whether what is nearest is a directory.
    pub is_directory: bool,
    /// Whether this user may write there.
    pub writable: bool,
    /// What it lies on; none: not known.
    pub filesystem: Option<Filesystem>,
    /// Whether a program holds the journal in it; none: there is none.
    pub held: Option<bool>,
}

/// What a directory lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filesystem {
    /// Its number (`include/uapi/linux/magic.h`).
    pub magic: i64,
    /// Bytes that are free for this user.
    pub free: u64,
}

/// By what the controller is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// By nothing: neither a controller nor a certificate was named.
    #[default]
    Unasked,
    /// The flags make no sense together.
    Flags(Vec<String>),
    /// In plaintext.
    Plaintext,
    /// The files make nothing of use.
    Unusable(String),
    /// By a certificate.
    Certificate {
        /// Whose it is.
        identity: String,
        /// Unix milliseconds from which it is valid.
        begins_unix_ms: u64,
        /// Unix milliseconds until which it is valid.
        expires_unix_ms: u64,
        /// Who may read the key (`st_mode`).
        key_mode: u32,
    },
}

/// What became of a call of the controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Called {
    /// None was named.
    #[default]
    Unasked,
    /// It did not answer, and why.
    Unreached(String),
    /// It answered.
    Answered {
        /// By how many milliseconds its clock is ahead; none: it did not tell.
        skew_ms: Option<i64>,
    },
}

/// A socket that takes what is sent to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// TCP or UDP.
    pub protocol: weir_proto::model::Protocol,
    /// Where.
    pub address: SocketAddr,
    /// Its number.
    pub inode: u64,
    /// The program that has it; empty: not known.
    pub program: String,
}

/// A chain that forwarded packets pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardChain {
    /// What people call it: "ip filter FORWARD".
    pub name: String,
    /// Whether it drops what no rule accepts.
    pub drops: bool,
    /// How many rules it has.
    pub rules: u32,
}
