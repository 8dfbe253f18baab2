//! The words of `pki`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use weir_proto::model::{NodeName, Role, TrustDomain};

use crate::ctl::pki::HostName;

/// A year: long enough to be forgotten, short enough that what was lost ends by itself.
const DAYS: &str = "365";
/// Ten years: another authority is another certificate for everybody.
const AUTHORITY_DAYS: &str = "3650";
/// A hundred years; beyond the year 2049 certificates count in another way, which every reader knows.
const MOST_DAYS: i64 = 36_500;

#[derive(Debug, Args)]
#[command(after_help = "\
A certificate says who somebody is: the controller, the agent of one node, or an operator with a
role. A viewer reads; an operator also applies, deletes, drains and steers rollouts; an admin also
deletes nodes, releases what a node holds back, rolls back, and may take much away at once.

Programs read their files again when they change: issue again with --force and copy them; no
connection breaks. All of it happens in files, and nothing is sent anywhere.

Examples:
  # An authority, and the certificates of a controller, a node and an operator
  weirctl pki init
  weirctl pki issue controller --name weir.example --name 10.0.0.1
  weirctl pki issue node node-a
  weirctl pki issue operator alice --role admin

  # Whose they are, and for how long
  weirctl pki show")]
pub(crate) struct PkiArgs {
    #[command(subcommand)]
    pub(crate) command: PkiCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make an authority
    Init(InitArgs),
    /// Issue a certificate, with a new key
    Issue(IssueArgs),
    /// Show whose certificates are, and for how long
    Show(ShowArgs),
}

/// Where the authority is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The directory of the authority
    #[arg(long, value_name = "DIR", global = true, default_value = "weir-pki")]
    pub(crate) dir: PathBuf,
    /// Put new files in the place of those that are there
    #[arg(long, global = true)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The names it gives: its certificates say spiffe://DOMAIN/...
    #[arg(long, value_name = "DOMAIN", default_value = "weir", value_parser = trust_domain)]
    pub(crate) trust_domain: TrustDomain,
    /// How many days it is valid
    #[arg(long, value_name = "N", default_value = AUTHORITY_DAYS, value_parser = days())]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    #[command(subcommand)]
    pub(crate) whom: For,
    /// How many days it is valid
    #[arg(long, value_name = "N", global = true, default_value = DAYS, value_parser = days())]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Subcommand)]
pub(crate) enum For {
    /// The controller, by the names and addresses it is called by; those of its own machine are among them
    Controller {
        /// A name or an address by which agents and operators call it (repeatable)
        #[arg(long = "name", value_name = "DNS|IP", value_parser = host_name)]
        names: Vec<HostName>,
    },
    /// The agent of a node
    Node {
        /// The node, as its agent's --node has it
        #[arg(value_parser = node_name)]
        name: NodeName,
    },
    /// A person or a program that operates the cluster
    Operator {
        /// Who it is, as history will have it
        #[arg(value_parser = node_name)]
        name: NodeName,
        /// What it may do: viewer, operator or admin
        #[arg(long, value_parser = role)]
        role: Role,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The files (none: all certificates of the directory)
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The directory of the authority
    #[arg(long, value_name = "DIR", default_value = "weir-pki")]
    pub(crate) dir: PathBuf,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=MOST_DAYS)
}

fn trust_domain(text: &str) -> Result<TrustDomain, String> {
    TrustDomain::new(text).map_err(|why| why.to_string())
}

fn node_name(text: &str) -> Result<NodeName, String> {
    NodeName::new(text).map_err(|why| why.to_string())
}

fn host_name(text: &str) -> Result<HostName, String> {
    HostName::parse(text).map_err(|why| why.to_string())
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| format!("{text:?} is not viewer, operator or admin"))
}
