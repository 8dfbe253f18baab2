//! The words of `get` and `describe`.

use clap::{Args, ValueEnum};

use super::Form;
use crate::ctl::selector::Selector;

/// What an event is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum EventType {
    /// Goes as it should
    Normal,
    /// Somebody may want to look
    Warning,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "weirctl get [OPTIONS] KIND [NAME]...\n       weirctl get [OPTIONS] KIND/NAME..."
)]
#[command(after_help = "\
Kinds:
  services (svc), frontends (fe), backends (be), backendsets (bs), nodes (no), vips, drains,
  repairs, events (ev)

Frontends and backends are shown by service, and may be named by it: a backend whether the service
lists it itself or a backend set does. Drains are those that were asked for, and those of backends
that were taken out. Repairs are what nodes put right that somebody else had changed, the last 100
of each node; names are those of nodes.

Events are what happened of late: the newest 10,000, those that were seen last at the end. The same
event within ten minutes is counted up. Names are their numbers, see -o wide; --for, --node and
--types choose among them. A service has the events of its backends with it, a node has those of
everything on it.

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

  # What happened to a service, and what happens
  weirctl get events --for service/web --watch

  # What went wrong on a node
  weirctl get events --node node-a --types Warning

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
    /// Of events, only those of this
    #[arg(long = "for", value_name = "KIND/NAME")]
    pub(crate) about: Option<String>,
    /// Of events, only those on this node
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Of events, only these types: Normal, Warning
    #[arg(
        long,
        value_enum,
        value_name = "TYPES",
        value_delimiter = ',',
        ignore_case = true
    )]
    #[arg(hide_possible_values = true)]
    pub(crate) types: Vec<EventType>,
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
way, the last writes that touched it, and its last events. On a page of a node: what is in its way,
what it lacks, until when its certificate is valid, and what it repaired.

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
