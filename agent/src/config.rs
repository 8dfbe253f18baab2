//! What the agent is told at start: flags, each with a twin in the environment.

mod check;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use weir_proto::model::{Labels, NodeName, unicast};
use weir_proto::tls::{Call, Flags};

pub use self::check::{CheckArgs, CheckForm};
use crate::kernel::linux::loopback::Wanted;

const DATA_DIR: &str = "/var/lib/weir/agent";

/// A year: whoever waits longer than that means never.
const LONGEST_STALE: u64 = 365 * 86_400;

const TELLING: &str = "\
Also in the environment:
  WEIR_LOG                     what is logged: error, warn, info (the default) or debug
  OTEL_EXPORTER_OTLP_ENDPOINT  the OpenTelemetry collector that spans are sent to, as
                               http://HOST:PORT; without it they go nowhere. Which of its
                               other variables hold is in the reference";

/// Programs this node's kernel to balance what the controller says.
///
/// The kernel forwards by itself: stopping the agent stops no traffic.
#[derive(Debug, Parser)]
#[command(
    name = "weir-agent",
    version,
    args_conflicts_with_subcommands = true,
    after_help = TELLING
)]
pub struct Cli {
    /// What to do; nothing named: run the agent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run it.
    #[command(flatten)]
    pub run: Option<Config>,
}

/// What can be done beside running.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Takes everything that is ours out of the kernel, and nothing else, and puts settings back.
    ///
    /// The agent must not be running. Connections through the VIPs end, and those of backends that are being drained with
    /// them. What was accepted is forgotten.
    Cleanup {
        /// Where the journal is.
        #[command(flatten)]
        storage: Storage,
        /// Only say what would be removed, and what would be left and why; changes neither the kernel nor the journal
        #[arg(long)]
        dry_run: bool,
    },
    /// Forgets everything that is ours and leaves the kernel as it is: it goes on serving, and nobody looks after it.
    ///
    /// The agent must not be running. What was accepted, what is ours and what settings were before is forgotten, and told.
    /// An agent that starts afterwards finds somebody else's objects in its way: it reports them, and takes nothing over
    /// until `weir-agent adopt` does. No kernel is opened.
    Release(Storage),
    /// Takes what is in the kernel for ours where the accepted state wants it, in place: weights and connections are kept.
    ///
    /// The agent must have heard from the controller, and must not be running now. Taken are IPVS services with their
    /// backends, sync daemons, weir0 and the VIPs on it, and sets, rules and lockdowns by our names. Nothing in the
    /// kernel changes until the agent starts: it then edits what differs, drains backends that are not wanted, and
    /// `weir-agent cleanup` removes all of it.
    Adopt {
        /// Where the journal is.
        #[command(flatten)]
        storage: Storage,
        /// What holds the loopback sets: as the agent is told
        #[arg(
            long,
            value_name = "ENGINE",
            env = "WEIR_AGENT_LOOPBACK",
            default_value = "auto"
        )]
        loopback: LoopbackEngine,
        /// Only say what would be taken, and what would be left and why
        #[arg(long)]
        dry_run: bool,
    },
    /// Looks whether this machine can be a node, or what is the matter with one, and says what to do.
    ///
    /// It needs neither controller nor journal, and may be run before anything is installed, and beside an agent. With
    /// CAP_NET_ADMIN it tries in the kernel what the agent tries at its start, and takes that away at once; modules that the
    /// kernel loads for it stay, and are named. The exit status is 0 if nothing fails, warnings or not, and otherwise 1.
    Check(CheckArgs),
}

impl Command {
    /// Gives how log lines are written; none: there are none.
    pub fn log_format(&self) -> Option<LogFormat> {
        match self {
            Self::Cleanup { storage, .. }
            | Self::Release(storage)
            | Self::Adopt { storage, .. } => Some(storage.log_format),
            Self::Check(_) => None,
        }
    }
}

/// Where the agent keeps what it must not forget.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Storage {
    /// The directory of the journal; not on FUSE or NFS
    #[arg(
        long,
        value_name = "DIR",
        env = "WEIR_AGENT_DATA_DIR",
        default_value = DATA_DIR
    )]
    pub data_dir: PathBuf,
    /// How log lines are written
    #[arg(
        long,
        value_name = "FORMAT",
        env = "WEIR_AGENT_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What holds the loopback set and its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LoopbackEngine {
    /// ipset where the kernel has it and a rule on it can be had, otherwise nftables.
    Auto,
    /// A kernel IP set, and one rule that looks it up.
    Ipset,
    /// nf_tables alone: the table `inet weir`.
    Nftables,
}

/// How the agent runs.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The name of this node, unique in the cluster
    #[arg(long, value_name = "NAME", env = "WEIR_AGENT_NODE", value_parser = node_name)]
    pub node: NodeName,
    /// Where the controller listens, as https://HOST:PORT, or http://HOST:PORT without encryption or authentication
    #[arg(
        long,
        value_name = "URL",
        env = "WEIR_AGENT_CONTROLLER",
        default_value = "http://127.0.0.1:7420",
        value_parser = controller_url
    )]
    pub controller: String,
    /// This node's certificate (PEM), followed by those between it and the authority's
    #[arg(long, value_name = "FILE", env = "WEIR_AGENT_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "WEIR_AGENT_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// The certificates of the authorities whose controller is trusted (PEM)
    #[arg(long, value_name = "FILE", env = "WEIR_AGENT_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// Call the controller by http:// even over a network: whoever is on the way can read and change what it says
    #[arg(long, env = "WEIR_AGENT_INSECURE")]
    pub insecure: bool,
    // not flattened: clap takes an optional group for absent when its arguments belong to a nested one
    /// The directory of the journal; not on FUSE or NFS
    #[arg(
        long,
        value_name = "DIR",
        env = "WEIR_AGENT_DATA_DIR",
        default_value = DATA_DIR
    )]
    pub data_dir: PathBuf,
    /// How log lines are written
    #[arg(
        long,
        value_name = "FORMAT",
        env = "WEIR_AGENT_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
    /// A label of this node, for services to select it by (repeatable; in the environment separated by commas)
    #[arg(long = "label", value_name = "K=V", env = "WEIR_AGENT_LABELS", value_delimiter = ',', value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// An address this node is reached at, for people to read (repeatable) [default: those of its links]
    #[arg(
        long = "address",
        value_name = "IP",
        env = "WEIR_AGENT_ADDRESSES",
        value_delimiter = ',',
        value_parser = address
    )]
    pub addresses: Vec<IpAddr>,
    /// Where /livez, /readyz, /metrics and gRPC health are served [default: nowhere]
    #[arg(long, value_name = "ADDR:PORT", env = "WEIR_AGENT_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
    /// Where weir.v1.Agent is served over gRPC, for grpcurl and weirctl --agent [default: nowhere]
    #[arg(long, value_name = "PATH", env = "WEIR_AGENT_SOCKET")]
    pub socket: Option<PathBuf>,
    /// Seconds between two looks at everything the kernel holds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "WEIR_AGENT_AUDIT_INTERVAL",
        default_value = "10",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub audit_interval: u64,
    /// Seconds without the controller after which gRPC health says NOT_SERVING; 0: never. Traffic and /readyz go on
    #[arg(
        long,
        value_name = "SECONDS",
        env = "WEIR_AGENT_STALE_AFTER",
        default_value = "300",
        value_parser = clap::value_parser!(u64).range(..=LONGEST_STALE)
    )]
    pub stale_after: u64,
    /// What holds the set by which a backend reaches itself through a service
    #[arg(
        long,
        value_name = "ENGINE",
        env = "WEIR_AGENT_LOOPBACK",
        default_value = "auto"
    )]
    pub loopback: LoopbackEngine,
    /// Tell /metrics each backend's numbers, too: several series for every backend of every service
    #[arg(long, env = "WEIR_AGENT_BACKEND_METRICS")]
    pub backend_metrics: bool,
}

impl LoopbackEngine {
    /// Gives what is asked of the kernel.
    pub(crate) fn wanted(self) -> Wanted {
        match self {
            Self::Auto => Wanted::Auto,
            Self::Ipset => Wanted::Ipset,
            Self::Nftables => Wanted::Nftables,
        }
    }
}

impl Config {
    /// Gives the labels, and how the controller is called; an error names every bad flag.
    pub fn check(&self) -> Result<(Labels, Call), anyhow::Error> {
        let flags = Flags {
            url: &self.controller,
            certificate: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            authority: self.tls_ca.clone(),
            insecure: self.insecure,
        };
        let labels = Labels::new(self.labels.iter().cloned());
        match (labels, flags.check()) {
            (Ok(labels), Ok(call)) => Ok((labels, call)),
            (labels, call) => {
                let labels = labels.err().unwrap_or_default().into_iter();
                let labels = labels.map(|(key, why)| format!("--label {key}: {why}"));
                let flags = call.err().unwrap_or_default().into_iter();
                let flags = flags.map(|bad| bad.to_string());
                let lines: Vec<String> = labels.chain(flags).collect();
                Err(anyhow::anyhow!(lines.join("\n")))
            }
        }
    }

    /// Gives how old the state may be; none: any age.
    pub fn stale_after(&self) -> Option<Duration> {
        (self.stale_after > 0).then(|| Duration::from_secs(self.stale_after))
    }

    /// Gives the time between two audits.
    pub fn audit_interval(&self) -> Duration {
        Duration::from_secs(self.audit_interval)
    }
}

fn node_name(text: &str) -> Result<NodeName, String> {
    NodeName::new(text).map_err(|why| why.to_string())
}

fn address(text: &str) -> Result<IpAddr, String> {
    unicast(text).map_err(|why| why.to_string())
}

fn label(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text:?} is not K=V"))
}

fn controller_url(text: &str) -> Result<String, String> {
    let authority = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or_else(|| format!("{text:?} does not begin with https:// or http://"))?;
    match authority.trim_end_matches('/').rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("{text:?} is not https://HOST:PORT")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        let words = std::iter::once("weir-agent").chain(line.split_whitespace());
        Cli::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_agent_is_run_with_a_name_a_directory_and_labels() {
        let cli = parse("--node node-a --data-dir d --label rack=3 --label tier=").expect("parsed");
        let config = cli.run.expect("a run");
        assert_eq!(config.controller, "http://127.0.0.1:7420");
        assert_eq!(config.audit_interval(), Duration::from_secs(10));
        assert_eq!(config.stale_after(), Some(Duration::from_secs(300)));
        assert_eq!(config.loopback, LoopbackEngine::Auto);
        assert!(!config.backend_metrics);
        let (labels, call) = config.check().expect("labels");
        assert_eq!(call, Call::Plaintext);
        let pairs: Vec<(&str, &str)> = labels.iter().collect();
        assert_eq!(pairs, [("rack", "3"), ("tier", "")]);
    }

    #[test]
    fn what_ends_by_itself_needs_no_name() {
        let storage = |dir: &str| Storage {
            data_dir: PathBuf::from(dir),
            log_format: LogFormat::Text,
        };
        for (line, command) in [
            (
                "cleanup",
                Command::Cleanup {
                    storage: storage(DATA_DIR),
                    dry_run: false,
                },
            ),
            (
                "cleanup --data-dir d --dry-run",
                Command::Cleanup {
                    storage: storage("d"),
                    dry_run: true,
                },
            ),
            ("release --data-dir d", Command::Release(storage("d"))),
            (
                "adopt --data-dir d --loopback nftables --dry-run",
                Command::Adopt {
                    storage: storage("d"),
                    loopback: LoopbackEngine::Nftables,
                    dry_run: true,
                },
            ),
        ] {
            assert_eq!(parse(line).expect(line).command, Some(command));
        }
        let error = parse("release --dry-run").expect_err("no such flag");
        assert!(error.contains("--dry-run"), "{error}");
    }

    #[test]
    fn a_bad_flag_says_what_is_wrong_with_it() {
        for (line, why) in [
            ("--node A --data-dir d", "\"A\" is not a name"),
            ("--node a --data-dir d --label x", "\"x\" is not K=V"),
            (
                "--node a --data-dir d --controller 10.0.0.1:7420",
                "does not begin with https:// or http://",
            ),
            (
                "--node a --data-dir d --controller http://10.0.0.1",
                "is not https://HOST:PORT",
            ),
            (
                "--node a --data-dir d --address 127.0.0.1",
                "127.0.0.1 is a loopback address",
            ),
            (
                "--node a --data-dir d --audit-interval 0",
                "0 is not in 1..=3600",
            ),
            (
                "--node a --data-dir d --stale-after 1y",
                "invalid digit found in string",
            ),
            (
                "--node a --data-dir d --loopback iptables",
                "[possible values: auto, ipset, nftables]",
            ),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
        let config = parse("--node a --data-dir d --stale-after 0").expect("parsed");
        assert_eq!(config.run.expect("a run").stale_after(), None);
        let line = "--node a --data-dir d --label a?=1,b=x,c=! --controller http://10.0.0.1:7420 --tls-ca a";
        let config = parse(line).expect("parsed");
        let error = config.run.expect("a run").check().expect_err("bad");
        let text = error.to_string();
        for bad in [
            "--label a?:",
            "--label c:",
            "--tls-ca: of use only",
            "or say --insecure",
        ] {
            assert!(text.contains(bad), "{bad}: {text}");
        }
    }
}
