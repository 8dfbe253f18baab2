//! What is done once and ends: taking everything away, letting go of it, and taking it for ours.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{advised, boot, journal_in, open_journal};
use crate::adopt;
use crate::check;
use crate::cleanup;
use crate::config::{Command, LoopbackEngine, Storage};
use crate::journal::{Journal, Remembered};
use crate::kernel::linux::Linux;
use crate::release;

/// What a command has to say.
#[derive(Debug)]
pub struct Said {
    /// A line for each thing.
    pub text: String,
    /// Whether all that was asked for came about.
    pub complete: bool,
}

/// Does what was asked for.
pub async fn once(command: Command) -> anyhow::Result<Said> {
    match command {
        Command::Cleanup { storage, dry_run } => clean_up(storage, dry_run).await,
        Command::Release(storage) => let_go(storage).await,
        Command::Adopt {
            storage,
            loopback,
            dry_run,
        } => adopt(storage, loopback, dry_run).await,
        Command::Check(args) => {
            let check::Checked { text, well } = check::check(&args).await?;
            Ok(Said {
                text: text.trim_end().to_owned(),
                complete: well,
            })
        }
    }
}

/// Takes everything that is ours out of this machine's kernel, or tells what that would be.
async fn clean_up(storage: Storage, dry_run: bool) -> anyhow::Result<Said> {
    let path = journal_of(&storage)?;
    let outcome = if dry_run {
        let remembered = look(&path).await?;
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        cleanup::rehearse(&mut kernel, &remembered).await?
    } else {
        let (journal, remembered) = open_journal(&path).await?;
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        cleanup::cleanup(&mut kernel, &journal, remembered).await?
    };
    Ok(said(&outcome, outcome.left.is_empty() || dry_run))
}

/// Forgets everything that is ours, and opens no kernel.
async fn let_go(storage: Storage) -> anyhow::Result<Said> {
    let (journal, remembered) = open_journal(&journal_of(&storage)?).await?;
    let outcome = release::release(&journal, &remembered).await?;
    Ok(said(&outcome, true))
}

/// Takes what is there and wanted for ours, or tells what that would be.
async fn adopt(storage: Storage, engine: LoopbackEngine, dry_run: bool) -> anyhow::Result<Said> {
    let path = journal_of(&storage)?;
    let (journal, remembered) = if dry_run {
        (None, look(&path).await?)
    } else {
        let (journal, remembered) = open_journal(&path).await?;
        (Some(journal), remembered)
    };
    // before the kernel is opened: that tries things out
    adopt::says_what_is_wanted(&remembered)?;
    let (mut kernel, _) = Linux::open_with(Vec::new(), engine.wanted()).await;
    let elsewhere = kernel.node_addresses().await?.into_iter().collect();
    let outcome = adopt::adopt(&mut kernel, journal.as_ref(), &remembered, &elsewhere).await?;
    Ok(said(&outcome, true))
}

fn said(outcome: &impl fmt::Display, complete: bool) -> Said {
    Said {
        text: outcome.to_string(),
        complete,
    }
}

/// Gives where the journal is. One that is made here would know of nothing.
fn journal_of(storage: &Storage) -> anyhow::Result<PathBuf> {
    let path = journal_in(&storage.data_dir);
    anyhow::ensure!(
        path.is_dir(),
        "there is no journal in {}: name the agent's own --data-dir",
        storage.data_dir.display()
    );
    Ok(path)
}

/// Gives what the journal remembers, and writes nothing to it.
async fn look(path: &Path) -> anyhow::Result<Remembered> {
    let (owned, boot) = (path.to_owned(), boot()?);
    tokio::task::spawn_blocking(move || Journal::look(&owned, &boot))
        .await
        .context("the journal could not be read")?
        .map_err(advised)
        .with_context(|| format!("cannot open the journal in {}", path.display()))
}
