//! The words of `weirctl import`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "\
What is read becomes services on standard output, as apply takes them. What could not be carried
over is told on standard error, a line each, with where it stands and why. A file that cannot be
read whole gives every error with its line, and nothing else. No controller is called.

Examples:
  # Look at what becomes of a keepalived.conf, then apply it
  weirctl import keepalived /etc/keepalived/keepalived.conf > services.yaml
  weirctl apply -f services.yaml --dry-run

  # A table of IPVS from another machine
  ssh lb-1 ipvsadm -Sn | weirctl import ipvsadm - > services.yaml")]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    pub(crate) source: Source,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Source {
    /// Read a keepalived.conf
    Keepalived(KeepalivedArgs),
    /// Read what ipvsadm -Sn wrote
    Ipvsadm(IpvsadmArgs),
    /// Read this machine's IPVS table as kube-proxy made it
    #[command(after_help = "\
ipvsadm -Sn is run, and ip address show dev kube-ipvs0, which tells what is kube-proxy's: what has
an address on that link. The rest, node ports among it, is left out and told. Without that link
everything is taken. Nothing is written to the kernel; where it has no IPVS, nothing is run.
Backends are the pods of this moment: who knows of pods must keep them up from then on.

Examples:
  # On a node of the cluster, as root
  weirctl import kube-proxy > services.yaml

  # From elsewhere: everything that is in the table
  ssh node-a ipvsadm -Sn | weirctl import ipvsadm - > services.yaml")]
    KubeProxy,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Virtual servers, groups of them and real servers are carried over, with files that are included,
definitions ($NAME=...) and conditions (@NAME). A service is named by its address, port and
protocol, by its firewall mark, or by its group. Of each address, port and protocol the first
virtual server counts.

Not carried over, and told: health checks, quorum and sorry servers, VRRP, scripts, mail, and what
is about keepalived itself. A service has one way to forward and each frontend one port: servers
with another are told too.

Examples:
  weirctl import keepalived /etc/keepalived/keepalived.conf > services.yaml

  # A file for several machines, as keepalived -i lb-1 reads it
  weirctl import keepalived keepalived.conf --config-id lb-1")]
pub(crate) struct KeepalivedArgs {
    /// A file, or - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: String,
    /// Whose lines of those with @NAME count; keepalived takes the machine's host name
    #[arg(short = 'i', long, value_name = "NAME")]
    pub(crate) config_id: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Lines are commands of ipvsadm with -A or -a, as ipvsadm -Sn writes them: with n, for names of hosts
and ports are refused. It writes no thresholds; lines with -x and -y are read all the same.
weirctl get services -o ipvsadm gives the text back.

Examples:
  ipvsadm -Sn | weirctl import ipvsadm - > services.yaml

  # What a distribution restores at boot
  weirctl import ipvsadm /etc/ipvsadm.rules")]
pub(crate) struct IpvsadmArgs {
    /// A file, or - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: String,
}
