//! The composition root: the only place that names the concrete parts together.

mod commands;
mod waiting;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};
use weir_proto::disk::{self, DiskError};
use weir_proto::machine;
use weir_proto::model::Node;
use weir_proto::tls::{Call, Connector, Part, Tls};

use self::waiting::{Waiting, may_pass};
use crate::admin::{self, Staleness};
use crate::config::{Config, LoopbackEngine};
use crate::journal::{Journal, JournalError, Remembered};
use crate::kernel::Kernel;
use crate::kernel::linux::Linux;
use crate::kernel::linux::loopback::Wanted;
use crate::reconciler::Reconciler;
use crate::sampler::{self, Sampler, Shared};
use crate::session::{self, Connect, Contact, Identity, Link, Session};

pub use commands::{Said, once};

/// Accepted changes that may wait for the kernel: a pass takes all that wait, so a few are enough.
const CHANGES: usize = 16;
/// A pass under way at a stop is let finish; one on a kernel that does not answer is not waited for.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What an agent needs beside a kernel.
#[derive(Debug)]
pub struct Settings<C> {
    /// Who it is.
    pub identity: Identity,
    /// How the controller is reached.
    pub controller: C,
    /// Where the journal is kept.
    pub journal: PathBuf,
    /// Where the admin pages are served; none: nowhere.
    pub admin_listen: Option<SocketAddr>,
    /// The time between two audits.
    pub audit_interval: Duration,
    /// Whether the admin pages tell each backend's numbers, too.
    pub backend_metrics: bool,
    /// How old the state may be before gRPC health says so; none: any age.
    pub stale_after: Option<Duration>,
}

/// Runs the agent on this machine's kernel until a signal says stop. The kernel is left serving.
pub async fn agent(config: Config) -> anyhow::Result<()> {
    let (labels, call) = config.check()?;
    info!(
        node = %config.node,
        controller = config.controller,
        tls_cert = ?config.tls_cert,
        tls_key = ?config.tls_key,
        tls_ca = ?config.tls_ca,
        insecure = config.insecure,
        data_dir = %config.data_dir.display(),
        audit_interval_s = config.audit_interval,
        stale_after_s = config.stale_after,
        loopback = ?config.loopback,
        backend_metrics = config.backend_metrics,
        "starting"
    );
    let needed = controller_addresses(&config.controller).await;
    let controller = session::endpoint(&config.controller)
        .with_context(|| format!("cannot use {}", config.controller))?;
    let tls = match call {
        Call::Plaintext => None,
        // read when the controller is called: what the journal holds is served whether or not there is a certificate
        Call::Tls(files) => Some(Tls::new(files, Part::Node(config.node.clone()))),
    };
    let controller = Connector::new(controller, tls);
    let (mut kernel, capabilities) = Linux::open_with(needed, wanted_engine(config.loopback)).await;
    let missing = || {
        capabilities
            .iter()
            .filter(|capability| !capability.available)
    };
    for capability in missing().filter(|capability| !capability.optional) {
        error!(
            capability = capability.name,
            detail = capability.detail,
            "missing"
        );
    }
    let optional = missing().filter(|capability| capability.optional);
    let optional: Vec<&str> = optional.map(|capability| &*capability.name).collect();
    if !optional.is_empty() {
        info!(capabilities = ?optional, "missing, and only some services need them");
    }
    let addresses = if config.addresses.is_empty() {
        kernel.node_addresses().await.unwrap_or_else(|cause| {
            warn!(
                error = &cause as &dyn std::error::Error,
                "this node's addresses are not known"
            );
            Vec::new()
        })
    } else {
        config.addresses.clone()
    };
    let settings = Settings {
        identity: Identity {
            node: Node::new(config.node.clone(), labels, addresses),
            capabilities,
        },
        controller,
        journal: journal_in(&config.data_dir),
        admin_listen: config.admin_listen,
        audit_interval: config.audit_interval(),
        backend_metrics: config.backend_metrics,
        stale_after: config.stale_after(),
    };
    run(settings, kernel, signalled()).await
}

/// Runs an agent on any kernel until `stop` is over.
pub async fn run<C: Connect, K: Kernel>(
    settings: Settings<C>,
    kernel: K,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Settings {
        identity,
        controller,
        journal,
        admin_listen,
        audit_interval,
        backend_metrics,
        stale_after,
    } = settings;
    let staleness = Staleness {
        started: Instant::now(),
        stale_after,
    };
    tokio::pin!(stop);
    let opened = match open_journal(&journal).await {
        Err(error) if may_pass(&error) => {
            let waiting = Waiting {
                controller: controller.clone(),
                identity: identity.clone(),
                journal: &journal,
                admin_listen,
                staleness: staleness.clone(),
            };
            tokio::select! {
                opened = waiting.until_opened(error) => opened?,
                () = &mut stop => return Ok(()),
            }
        }
        opened => opened?,
    };
    let (journal, mut remembered) = opened;
    info!(
        generation = %remembered.keeping.accepted.generation,
        items = remembered.keeping.accepted.state.items().len(),
        owned = remembered.ledger.made().count(),
        "remembered"
    );
    let keeping = remembered.keeping.clone();
    let totals = std::mem::take(&mut remembered.totals);
    let sampler = Sampler::new(identity.node.name.clone(), kernel.meter(), sampler::EVERY)
        .remembering(journal.clone(), totals, backend_metrics);
    let (controller, connection) = Shared::new(controller);
    let (reconciler, status) = Reconciler::new(kernel, journal.clone(), remembered);
    let (changes, queue) = mpsc::channel(CHANGES);
    // one who asks waits for the answer
    let (asks, asked) = mpsc::channel(1);
    let reconciler = reconciler.asked(asked);
    let (link, link_watch) = watch::channel(Link {
        contact: Contact::Never,
        accepted: keeping.accepted.generation,
        hold: keeping.hold.as_ref().map(|hold| hold.told.clone()),
        refused: keeping.accepted.refused.count(),
    });
    let stages = admin::Stages::default();
    let sources = admin::Sources {
        stages: stages.clone(),
        status: status.clone(),
        link: link_watch.clone(),
        degraded: journal.degraded(),
        numbers: sampler.numbers(),
        staleness,
    };
    let admin = match admin_listen {
        Some(address) => Some(serve_admin(address, sources).await?),
        None => None,
    };
    if admin_listen.is_some() {
        tokio::spawn(stages.clone().watch(link_watch.clone(), status.clone()));
    }
    let session = Session {
        stages,
        controller,
        identity,
        journal,
        keeping,
        changes,
        status,
        drains: reconciler.drains(),
        repairs: reconciler.repairs_to_tell(),
        asks,
        link,
    };
    let mut reconciling = tokio::spawn(reconciler.run(queue, audit_interval));
    let mut session = tokio::spawn(session.run());
    // it ends with the session, and nothing depends on it
    let sampling = tokio::spawn(sampler.run(link_watch, connection));
    // neither ends by itself: an agent that lost one must not look alive
    let lost = tokio::select! {
        () = &mut stop => None,
        ended = &mut reconciling => Some(("the reconciler", ended)),
        ended = &mut session => Some(("the session", ended)),
    };
    if let Some(admin) = admin {
        admin.abort();
    }
    session.abort();
    if let Some((part, ended)) = lost {
        ended.with_context(|| format!("{part} failed"))?;
        anyhow::bail!("{part} ended");
    }
    info!("stopping");
    // with the session went the sender of changes, and with it goes the reconciler
    if tokio::time::timeout(STOP_PATIENCE, reconciling)
        .await
        .is_err()
    {
        warn!("the kernel does not answer; stopping without waiting for it");
    }
    if tokio::time::timeout(STOP_PATIENCE, sampling).await.is_err() {
        warn!("the last counts are not durable; stopping without waiting for them");
    }
    Ok(())
}

async fn open_journal(path: &Path) -> anyhow::Result<(Journal, Remembered)> {
    let (owned, boot) = (path.to_owned(), boot()?);
    disk::aside(path, move || Journal::open(&owned, &boot))
        .await
        .context("the journal could not be opened")?
        .map_err(advised)
        .with_context(|| format!("cannot open the journal in {}", path.display()))
}

/// Gives the name of this boot.
fn boot() -> anyhow::Result<String> {
    machine::boot().context("it is not known which boot this is")
}

fn wanted_engine(engine: LoopbackEngine) -> Wanted {
    match engine {
        LoopbackEngine::Auto => Wanted::Auto,
        LoopbackEngine::Ipset => Wanted::Ipset,
        LoopbackEngine::Nftables => Wanted::Nftables,
    }
}

/// Finds the addresses behind the controller's URL, as far as they can be known now.
async fn controller_addresses(url: &str) -> Vec<IpAddr> {
    let (_, authority) = url.split_once("://").unwrap_or_default();
    let authority = authority.trim_end_matches('/');
    match tokio::net::lookup_host(authority).await {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(cause) => {
            warn!(
                url,
                error = &cause as &dyn std::error::Error,
                "the controller's address is not known"
            );
            Vec::new()
        }
    }
}

/// Adds what to do about a journal that cannot be opened.
fn advised(error: JournalError) -> anyhow::Error {
    match advice(&error) {
        Some(advice) => anyhow::Error::new(error).context(advice),
        None => error.into(),
    }
}

fn advice(error: &JournalError) -> Option<&'static str> {
    match error {
        JournalError::Disk(DiskError::Held { .. }) => Some("weir-agent runs: stop it first"),
        JournalError::Record { .. } => Some(
            "move it aside and start the agent: it takes over what hangs on weir0, and asks the controller for the rest",
        ),
        JournalError::Disk(_) | JournalError::Closed | JournalError::Abandoned => None,
    }
}

async fn serve_admin(
    address: SocketAddr,
    sources: admin::Sources,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    Ok(tokio::spawn(async move {
        if let Err(cause) = admin::serve(listener, sources).await {
            error!(
                error = &cause as &dyn std::error::Error,
                "the admin pages are gone"
            );
        }
    }))
}

fn journal_in(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// Waits for SIGTERM or SIGINT.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind: SignalKind| match signal(kind) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        // without a handler the signal ends the process by itself, which loses nothing
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
}
