//! The words of `get` and `describe`.

use clap::Args;

use super::Form;
use crate::ctl::selector::Selector;

#[derive(Debug, Args)]
#[command(
    override_usage = "weirctl get [OPTIONS] KIND [NAME]...\n       weirctl get [OPTIONS] KIND/NAME..."
)]
#[command(after_help = "\
Kinds:
  services (svc), frontends (fe), backends (be), backendsets (bs), nodes (no), vips, drains, repairs

Frontends and backends are shown by service, and may be named by it: a backend whether the service
lists it itself or a backend set does. Drains are those that were asked for, and those of backends
that were taken out. Repairs are what nodes put right that somebody else had changed, the last 100
of each node; names are those of nodes.

A selector is kubectl's: KEY=VALUE, KEY==VALUE, KEY!=VALUE, KEY in (A, B), KEY notin (A, B), KEY and
!KEY, all of which must be met, with commas between. Frontends, backends and VIPs are selected by
the labels of their services.

With --watch each line that changes is shown again, until Ctrl-C; of what went the age is deleted.
State words are coloured on a terminal, unless NO_COLOR is set.

-o ipvsadm writes services as ipvsadm -Sn would on a node that holds them: backends of backend sets
are among them, drained ones have weight 0, and ipvsadm tells of no thresholds. The order is
ipvsadm's own. Where addresses lie more than half of all apart, that order hangs on the kernel's:
compare such tables sorted.

Examples:
  # All services
  weirctl get services

  # Two services with everything about them
  weirctl get svc web dns -o wide

  # The services of one tier, and how they change
  weirctl get services -l tier=front,env!=test --watch

  # The backends of one service
  weirctl get backends web

  # A service as a file that can be applied again
  weirctl get service/web -o yaml > web.yaml

  # What was repaired on a node
  weirctl get repairs node-a

  # What ipvsadm should show on a node that holds every service, beside what it shows
  weirctl get services -o ipvsadm | diff - <(ssh node-a ipvsadm -Sn)")]
pub(crate) struct GetArgs {
    /// A kind and names of it (none: all), or KIND/NAME
    #[arg(value_name = "KIND", required = true)]
    pub(crate) what: Vec<String>,
    /// How to write it: table, wide, json, yaml, name or ipvsadm
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Table)]
    #[arg(hide_possible_values = true)]
    pub(crate) output: Form,
    /// Only what has these labels
    #[arg(short = 'l', long, value_name = "QUERY")]
    pub(crate) selector: Option<Selector>,
    /// Show what is there, and then each change
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Show each change, and not what is there
    #[arg(long)]
    pub(crate) watch_only: bool,
    /// Leave out the names of the columns
    #[arg(long)]
    pub(crate) no_headers: bool,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "weirctl describe [OPTIONS] KIND [NAME]...\n       weirctl describe [OPTIONS] KIND/NAME..."
)]
#[command(after_help = "\
Kinds:
  services (svc), backendsets (bs), nodes (no), vips, drains

A page for each: what it is to be, the nodes that it is on and how far each is with it, drains under
way, and the last writes that touched it. On a page of a node: what is in its way, what it lacks,
until when its certificate is valid, and what it repaired.

The result of a node is converged, lagging, refused (with the items and the reason), held, rejected,
or unknown where its agent is not connected.

Examples:
  # Where is a service, and what is in its way?
  weirctl describe service web

  # What is the matter with a node?
  weirctl describe node/node-a

  # Who has this address?
  weirctl describe vip 10.100.100.100

  # How far is the drain of a backend, on each node?
  weirctl describe drain web/10.0.0.11:8080")]
pub(crate) struct DescribeArgs {
    /// A kind and names of it (none: all), or KIND/NAME
    #[arg(value_name = "KIND", required = true)]
    pub(crate) what: Vec<String>,
}
