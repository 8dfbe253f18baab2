//! The words of `weir-agent check`: those of the agent, none of which must be given.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use weir_proto::model::NodeName;

use super::{DATA_DIR, LoopbackEngine, controller_url, node_name};

/// How a check is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckForm {
    /// A page of ticks, in groups.
    Text,
    /// One JSON object.
    Json,
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// The name that the certificate must be of [default: whatever it is of]
    #[arg(long, value_name = "NAME", env = "WEIR_AGENT_NODE", value_parser = node_name)]
    pub node: Option<NodeName>,
    /// A controller to call, for its clock and to see whether it is reached [default: none is called]
    #[arg(long, value_name = "URL", env = "WEIR_AGENT_CONTROLLER", value_parser = controller_url)]
    pub controller: Option<String>,
    /// This node's certificate (PEM)
    #[arg(long, value_name = "FILE", env = "WEIR_AGENT_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "WEIR_AGENT_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// The certificates of the authorities whose controller is trusted (PEM)
    #[arg(long, value_name = "FILE", env = "WEIR_AGENT_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// Call the controller by http:// even over a network
    #[arg(long, env = "WEIR_AGENT_INSECURE")]
    pub insecure: bool,
    /// The directory of the journal
    #[arg(
        long,
        value_name = "DIR",
        env = "WEIR_AGENT_DATA_DIR",
        default_value = DATA_DIR
    )]
    pub data_dir: PathBuf,
    /// Where the admin pages shall be served
    #[arg(long, value_name = "ADDR:PORT", env = "WEIR_AGENT_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
    /// What shall hold the loopback sets
    #[arg(
        long,
        value_name = "ENGINE",
        env = "WEIR_AGENT_LOOPBACK",
        default_value = "auto"
    )]
    pub loopback: LoopbackEngine,
    /// How it is told
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    pub output: CheckForm,
}
