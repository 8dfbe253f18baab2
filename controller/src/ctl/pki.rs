//! A private authority for those who have none: makes it, signs by it, and shows what was signed. No key leaves this machine.

mod authority;
mod directory;
mod show;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use weir_proto::model::Identity;
use weir_proto::tls::{Certificate, Files};

use super::args::{For, InitArgs, IssueArgs, PkiArgs, PkiCommand, ShowArgs};
use super::outcome::print;
use super::render::{human, table};

pub use authority::{Authority, AuthorityError, HostName, Issued, Validity};
pub use directory::{Directory, DirectoryError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const SECOND: Duration = Duration::from_secs(1);
/// By what a controller is called on its own machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Makes and shows certificates.
pub(super) fn run(args: &PkiArgs) -> Result<()> {
    match &args.command {
        PkiCommand::Init(args) => init(args),
        PkiCommand::Issue(args) => issue(args),
        PkiCommand::Show(args) => show(args),
    }
}

fn init(args: &InitArgs) -> Result<()> {
    let InitArgs {
        trust_domain,
        days,
        place,
    } = args;
    let directory = Directory::new(&place.dir, place.force);
    let validity = Validity::days(SystemTime::now(), *days);
    let (_, made) = Authority::make(trust_domain, validity)?;
    let Files {
        certificate, key, ..
    } = directory.keep_authority(&made)?;
    let (certificate, key) = (certificate.display(), key.display());
    print(&format!(
        "{certificate}: the authority of trust domain {trust_domain}, for {}; every program's --tls-ca\n\
         {key}: its key; whoever reads it can be anybody: no program needs it, keep it off their machines\n",
        human(DAY * *days)
    ))
}

fn issue(args: &IssueArgs) -> Result<()> {
    let IssueArgs { whom, days, place } = args;
    let directory = Directory::new(&place.dir, place.force);
    let authority = directory.authority()?;
    let (who, names) = match whom {
        For::Controller { names } => {
            let local = LOCAL.map(HostName::parse).into_iter();
            let mut all = local.collect::<Result<Vec<_>, _>>()?;
            all.extend(
                names
                    .iter()
                    .filter(|name| !all.contains(name))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            (Identity::Controller, all)
        }
        For::Node { name } => (Identity::Node(name.clone()), Vec::new()),
        For::Operator { name, role } => {
            let (role, name) = (*role, name.clone());
            (Identity::Operator { role, name }, Vec::new())
        }
    };
    let now = SystemTime::now();
    let issued = authority.issue(&who, &names, Validity::days(now, *days))?;
    let says = Certificate::from_pem(issued.certificate.as_bytes())?;
    // it ends with the authority at the latest: what is there is not to give way to what nobody takes
    let ended = super::now().checked_sub(says.expires_unix_ms);
    if let Some(ago) = ended.map(Duration::from_millis) {
        let (dir, ago) = (place.dir.display(), human(ago));
        bail!(
            "the authority in {dir} expired {ago} ago; weirctl pki init --force makes another, for everybody"
        );
    }
    // a certificate counts in whole seconds
    let expires = UNIX_EPOCH + Duration::from_millis(says.expires_unix_ms) + SECOND;
    let files = directory.keep(&who, &issued)?;
    let called = match names.as_slice() {
        [] => String::new(),
        names => {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            format!(", called {}", names.join(", "))
        }
    };
    print(&format!(
        "{}: the certificate of {who}{called}, for {}; --tls-cert\n{}: its key; --tls-key\n{}: the authority; --tls-ca\n",
        files.certificate.display(),
        human(expires.duration_since(now).unwrap_or_default()),
        files.key.display(),
        files.authority.display(),
    ))
}

fn show(args: &ShowArgs) -> Result<()> {
    let ShowArgs { files, dir } = args;
    let files = if files.is_empty() {
        Directory::new(dir, false).certificates()?
    } else {
        files.clone()
    };
    let mut read = Vec::with_capacity(files.len());
    for path in files {
        let pem =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let says = show::Says::read(&pem)
            .with_context(|| format!("{} is not one of ours", path.display()))?;
        read.push((path.display().to_string(), says));
    }
    print(&table(&show::rows(&read, super::now())))
}
