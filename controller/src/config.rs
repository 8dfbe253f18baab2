//! What can be set from outside: flags, each with an environment variable of the same name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use weir_proto::tls::Files;

/// What holds where nothing is said.
struct Defaults {
    listen: SocketAddr,
    admin_listen: SocketAddr,
    data_dir: &'static str,
    log_format: LogFormat,
}

const DEFAULTS: Defaults = Defaults {
    listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7420),
    admin_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7421),
    data_dir: "/var/lib/weir/controller",
    log_format: LogFormat::Text,
};

/// What is read from the environment beside the flags' twins.
const ENVIRONMENT: &str = "\
Environment:
  WEIR_LOG
          What is logged to standard error: error, warn, info (the default), debug or trace,
          or levels by module (info,weir_controller=debug)
  OTEL_EXPORTER_OTLP_ENDPOINT
          The OpenTelemetry collector that spans are sent to, as http://HOST:PORT; without it they
          go nowhere. Which of its other variables hold is in the reference";

/// Decides what every node must hold, and streams it to the agents there.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "weir-controller", version, after_help = ENVIRONMENT)]
pub struct Config {
    /// Address and port for operators and agents (gRPC)
    #[arg(long, env = "WEIR_CONTROLLER_LISTEN", value_name = "ADDRESS:PORT", default_value_t = DEFAULTS.listen)]
    pub listen: SocketAddr,

    /// Address and port of /livez, /readyz and /metrics (HTTP)
    #[arg(long, env = "WEIR_CONTROLLER_ADMIN_LISTEN", value_name = "ADDRESS:PORT", default_value_t = DEFAULTS.admin_listen)]
    pub admin_listen: SocketAddr,

    /// Directory in which the cluster is kept
    #[arg(long, env = "WEIR_CONTROLLER_DATA_DIR", value_name = "DIR", default_value = DEFAULTS.data_dir)]
    pub data_dir: PathBuf,

    /// Serve without encryption or authentication on an address that other machines reach: whoever reaches it
    /// can change the cluster
    #[arg(long, env = "WEIR_CONTROLLER_INSECURE")]
    pub insecure: bool,

    /// The controller's certificate (PEM), followed by those between it and the authority's; with it operators and
    /// agents are served over TLS 1.3 alone, and need certificates of their own
    #[arg(long, env = "WEIR_CONTROLLER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of the certificate (PEM)
    #[arg(long, env = "WEIR_CONTROLLER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// The certificates of the authorities whose operators and agents are let in (PEM)
    #[arg(long, env = "WEIR_CONTROLLER_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,

    /// How log lines look
    #[arg(long, env = "WEIR_CONTROLLER_LOG_FORMAT", value_enum, default_value_t = DEFAULTS.log_format)]
    pub log_format: LogFormat,

    /// Tell on /metrics what passes through each backend, too, beside what passes through each service
    #[arg(long, env = "WEIR_CONTROLLER_BACKEND_METRICS")]
    pub backend_metrics: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// Why the controller cannot run with these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Everybody on the network could change the cluster.
    #[error(
        "--listen {0} is reached by other machines, and what is said there is neither encrypted nor authenticated: give --tls-cert, --tls-key and --tls-ca, listen on a loopback address, or say --insecure"
    )]
    Insecure(SocketAddr),
    /// One without the others makes no TLS.
    #[error("--tls-cert, --tls-key and --tls-ca go together, and not all of them are given: {} missing", .0.join(", "))]
    Incomplete(Vec<&'static str>),
    /// Two servers cannot share one address and port.
    #[error("--listen and --admin-listen are both {0}")]
    Same(SocketAddr),
}

impl Config {
    /// Finds settings that must not be run with.
    pub fn check(&self) -> Result<(), ConfigError> {
        let tls = self.tls()?;
        if tls.is_none() && !self.listen.ip().is_loopback() && !self.insecure {
            return Err(ConfigError::Insecure(self.listen));
        }
        // port 0 is any that is free, and so never the same
        if self.listen == self.admin_listen && self.listen.port() != 0 {
            return Err(ConfigError::Same(self.listen));
        }
        Ok(())
    }

    /// Gives the files of the certificate; none: plaintext is served.
    pub fn tls(&self) -> Result<Option<Files>, ConfigError> {
        let given = [
            ("--tls-cert", &self.tls_cert),
            ("--tls-key", &self.tls_key),
            ("--tls-ca", &self.tls_ca),
        ];
        match given.map(|(_, file)| file.clone()) {
            [Some(certificate), Some(key), Some(authority)] => Ok(Some(Files {
                certificate,
                key,
                authority,
            })),
            [None, None, None] => Ok(None),
            _ => {
                let missing = given.iter().filter(|(_, file)| file.is_none());
                let missing = missing.map(|(flag, _)| *flag).collect();
                Err(ConfigError::Incomplete(missing))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn config(arguments: &[&str]) -> Config {
        let program = ["weir-controller"];
        Config::parse_from(program.iter().chain(arguments))
    }

    #[test]
    fn every_flag_has_an_environment_variable_of_its_name() {
        let command = Config::command();
        let flags = command
            .get_arguments()
            .filter(|flag| !["help", "version"].contains(&flag.get_id().as_str()));
        for flag in flags {
            let name = flag.get_id().as_str().to_uppercase();
            let variable = flag.get_env().and_then(|variable| variable.to_str());
            assert_eq!(variable, Some(format!("WEIR_CONTROLLER_{name}").as_str()));
        }
        command.debug_assert();
    }

    #[test]
    fn help_names_the_environment_that_has_no_flag() {
        let help = Config::command().render_help().to_string();
        for name in ["WEIR_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
            assert!(help.contains(name), "{name}\n{help}");
        }
    }

    #[test]
    fn the_defaults_can_be_run_with() {
        assert_eq!(config(&[]).check(), Ok(()));
    }

    #[test]
    fn plaintext_beyond_this_machine_must_be_asked_for_by_name() {
        let open = config(&["--listen", "0.0.0.0:7420"]);
        assert_eq!(open.check(), Err(ConfigError::Insecure(open.listen)));
        let open = config(&["--listen", "0.0.0.0:7420", "--insecure"]);
        assert_eq!(open.check(), Ok(()));
        assert_eq!(config(&["--listen", "[::1]:7420"]).check(), Ok(()));
    }

    #[test]
    fn certificates_take_the_place_of_being_insecure_and_come_all_together() {
        let open = ["--listen", "0.0.0.0:7420"];
        let tls = ["--tls-cert", "c", "--tls-key", "k", "--tls-ca", "a"];
        let all = config(&[&open[..], &tls].concat());
        let files = Files {
            certificate: "c".into(),
            key: "k".into(),
            authority: "a".into(),
        };
        assert_eq!((all.check(), all.tls()), (Ok(()), Ok(Some(files))));
        let some = config(&[&open[..], &["--insecure"], &tls[2..4]].concat());
        let missing = ConfigError::Incomplete(vec!["--tls-cert", "--tls-ca"]);
        assert_eq!(
            missing.to_string(),
            "--tls-cert, --tls-key and --tls-ca go together, and not all of them are given: --tls-cert, --tls-ca missing"
        );
        assert_eq!(some.check(), Err(missing));
    }

    #[test]
    fn two_servers_do_not_share_a_port() {
        let same = config(&["--admin-listen", "127.0.0.1:7420"]);
        assert_eq!(same.check(), Err(ConfigError::Same(same.listen)));
        let any = config(&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        assert_eq!(any.check(), Ok(()));
    }
}
